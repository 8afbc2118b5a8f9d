"""Tuning: a search over a model's parameters, judged on validation."""
