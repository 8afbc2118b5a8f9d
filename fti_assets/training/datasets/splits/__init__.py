"""Splits: which rows train a model, which ones choose it, which ones judge it."""
