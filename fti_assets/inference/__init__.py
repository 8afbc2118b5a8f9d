"""Asking a model: the predictor, and what it does with a request."""
