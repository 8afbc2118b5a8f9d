"""Encoders: fitted on train rows, exported as an ONNX graph."""
