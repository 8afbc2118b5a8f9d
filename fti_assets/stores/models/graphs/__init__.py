"""Graphs in ONNX: read and bounded before they are run, and run by onnxruntime on the providers that are chosen."""
