"""Feature groups, on-demand features, windows and the point-in-time join."""
