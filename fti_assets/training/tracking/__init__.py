"""Tracking: builds and their tuning trials as runs of MLflow."""
