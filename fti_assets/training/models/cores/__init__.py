"""Trained models of each library as ONNX, before the encoders are put in front of them."""
