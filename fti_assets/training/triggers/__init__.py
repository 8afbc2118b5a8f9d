"""Triggers: what asks for a model to be trained again."""
