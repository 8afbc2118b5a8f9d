"""Training datasets: their rows at a cutoff, their split and their checks."""
