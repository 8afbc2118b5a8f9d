"""The drift of what was answered: which columns are compared, and with what."""
