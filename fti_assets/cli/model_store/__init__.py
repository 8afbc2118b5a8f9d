"""The model store's commands."""
