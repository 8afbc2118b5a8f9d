"""KServe's own clients, run in an environment of their own: ``python kserve_client.py HTTP_ADDRESS GRPC_ADDRESS``.

They ask ``simple`` for sums and differences over REST, in JSON and in binary tensors, and over gRPC; ``delay_net`` in fields; and one model
that is not there. The last line printed is JSON: what each was answered.
"""

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

LEFT = np.arange(16, dtype=np.int32).reshape(1, 16)
RIGHT = np.full((1, 16), 3, dtype=np.int32)


def sums(*, binary: bool) -> InferRequest:
    inputs = []
    for name, values in (("INPUT0", LEFT), ("INPUT1", RIGHT)):
        one = InferInput(name, [1, 16], "INT32")
        one.set_data_from_numpy(values, binary_data=binary)
        inputs.append(one)
    outputs = [RequestedOutput(name, parameters={"binary_data": binary}) for name in ("OUTPUT0", "OUTPUT1")]
    return InferRequest(model_name="simple", infer_inputs=inputs, request_outputs=outputs, request_id="mine")


def fields(request: dict[str, Any]) -> InferRequest:
    inputs = []
    for name, value in request.items():
        kind, array = {
            int: ("INT64", np.array([value])),
            float: ("FP64", np.array([value])),
            str: ("BYTES", np.array([value], dtype=np.object_)),
        }[type(value)]
        one = InferInput(name, [1], kind)
        one.set_data_from_numpy(array, binary_data=False)
        inputs.append(one)
    return InferRequest(model_name="delay_net", infer_inputs=inputs)


def answer(response: Any) -> dict[str, Any]:
    return {"id": response.id, **{one.name: one.as_numpy().ravel().tolist() for one in response.outputs}}


async def ask(http: str, grpc: str, request: dict[str, Any]) -> dict[str, Any]:
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    url = f"http://{http}"
    message: dict[str, Any] = {
        "live": await rest.is_server_live(url),
        "ready": await rest.is_server_ready(url),
        "model_ready": await rest.is_model_ready(url, "simple"),
        "json": answer(await rest.infer(url, sums(binary=False), model_name="simple")),
        "binary": answer(await rest.infer(url, sums(binary=True), model_name="simple")),
        "fields": answer(await rest.infer(url, fields(request), model_name="delay_net")),
    }
    try:
        await rest.infer(url, sums(binary=False), model_name="nothing")
    except httpx.HTTPStatusError as error:
        message["unknown"] = error.response.status_code
    await rest.close()
    client = InferenceGRPCClient(grpc)
    message["grpc_live"] = await client.is_server_live()
    message["grpc_ready"] = await client.is_model_ready("simple")
    message["grpc"] = answer(await client.infer(sums(binary=True)))
    await client.close()
    return message


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))))
