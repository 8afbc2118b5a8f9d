"""A model in one file: its build, its on-demand code and a slice of the online store."""
