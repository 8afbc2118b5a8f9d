"""Sensors over what has landed."""
