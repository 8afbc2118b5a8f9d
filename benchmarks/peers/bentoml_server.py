"""BentoML around the graph, run in an environment of its own: ``python bentoml_server.py FOLDER PORT``."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    environment = {
        **os.environ,
        "PEER_FOLDER": sys.argv[1],
        "PYTHONPATH": str(Path(__file__).parent),
        "BENTOML_DO_NOT_TRACK": "1",
    }
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "bentoml_server:Delay",
        "--host",
        "127.0.0.1",
        "--port",
        sys.argv[2],
    ]
    sys.exit(subprocess.call(command, env=environment))

import bentoml
import onnxruntime


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Delay:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        onnx_bytes = (Path(os.environ["PEER_FOLDER"]) / "model.onnx").read_bytes()
        self.session = onnxruntime.InferenceSession(onnx_bytes, options)

    @bentoml.api
    def predict(self, numbers: np.ndarray) -> float:
        return float(self.session.run(None, {"numbers": numbers.astype(np.float32)})[0][0])
