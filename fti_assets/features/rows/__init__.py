"""Rows from a function's result to a staged table."""
