"""From point-in-time rows to a judged ONNX model: views, datasets, splits, encoders, export, evaluation and gates."""
