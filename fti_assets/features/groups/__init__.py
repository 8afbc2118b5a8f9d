"""What is declared of features: groups, selections of them, and on-demand functions."""
