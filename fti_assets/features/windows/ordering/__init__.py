"""Aggregates that need a window's rows in an order: the last ones, percentiles, sessions."""
