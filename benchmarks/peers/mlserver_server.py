"""MLServer around the graph, run in an environment of its own: ``python mlserver_server.py FOLDER PORT``."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

FOLDER = Path(sys.argv[1])


class Delay(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession((FOLDER / "model.onnx").read_bytes(), options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        numbers = NumpyCodec.decode_input(payload.inputs[0])
        output = self.session.run(None, {"numbers": numbers.astype(np.float32)})[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probability", output)])


async def main() -> None:
    port = int(sys.argv[2])
    settings = Settings(
        host="127.0.0.1",
        http_port=port,
        grpc_port=port + 1000 if port < 60000 else port - 1000,
        metrics_endpoint=None,
        parallel_workers=0,
        debug=False,
        logging_settings=None,
    )
    await MLServer(settings).start(models_settings=[ModelSettings(name="delay_net", implementation=Delay)])


if __name__ == "__main__":
    asyncio.run(main())
