"""Rollouts of a model: its arms, and which keys each of them answers."""
