"""LitServe around the graph, run in an environment of its own: ``python litserve_server.py FOLDER PORT``."""

import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
import onnxruntime

FOLDER = Path(sys.argv[1])


class Delay(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession((FOLDER / "model.onnx").read_bytes(), options)

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        return np.array([request["numbers"]], dtype=np.float32)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"numbers": x})[0]

    def encode_response(self, output: np.ndarray) -> dict[str, float]:
        return {"value": float(output[0])}


if __name__ == "__main__":
    server = litserve.LitServer(Delay(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", generate_client_file=False)
