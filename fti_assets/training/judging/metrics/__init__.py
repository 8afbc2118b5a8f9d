"""Metrics: what each is for, which way is better, and its value on weighted rows."""
