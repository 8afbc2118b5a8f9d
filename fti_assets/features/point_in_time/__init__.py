"""The point-in-time join: of each key the row that could be known at an instant."""
