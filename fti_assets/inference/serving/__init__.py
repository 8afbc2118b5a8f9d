"""The predictor: numpy, onnxruntime and the online and model stores alone."""
