"""What trains again or makes again from the command line: datasets, models by cutoff, models by delay."""
