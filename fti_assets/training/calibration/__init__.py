"""Calibration of a classifier: fitted on the validation part, and within the exported graph."""
