"""Backtests: how a model does at one cutoff after another, each judged on the test rows of its own cutoff."""
