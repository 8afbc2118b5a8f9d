"""The delay audit of a feature group on the stores of a system."""
