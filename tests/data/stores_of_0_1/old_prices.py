"""What the on-demand function of the old system takes from another module of its app."""

FREE_OVER = 40.0
