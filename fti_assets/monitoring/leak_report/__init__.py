"""What a leak promises: a quick model on an honest join and on leaky ones, as tested and as served."""
