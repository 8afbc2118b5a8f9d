"""The leak report of a feature view on the stores of a system."""
