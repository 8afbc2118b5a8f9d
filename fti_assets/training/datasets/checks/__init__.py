"""The checks of a dataset: of its rows, its parts and its joins, and all that is said of them before they are stored."""
