"""The sizes that operators of ONNX give, by which a graph is bounded before it is run."""
