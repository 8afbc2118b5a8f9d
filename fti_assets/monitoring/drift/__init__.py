"""Drift: how the values of some rows are spread, compared with how those of others were."""
