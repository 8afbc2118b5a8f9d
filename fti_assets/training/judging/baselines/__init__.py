"""Baselines: answers that are easy to have, which a model should beat."""
