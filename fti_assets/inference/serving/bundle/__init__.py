"""Bundles: writing a model with all that it answers from into one file, and opening it."""
