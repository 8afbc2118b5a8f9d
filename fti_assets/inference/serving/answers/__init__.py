"""What the predictor answers, and why."""
