"""The messages of the protocol's gRPC side, and tensors read from and written to them.

``tritonclient`` registers the same names in protobuf's default pool, where each may be defined but once: these have a pool of their own.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from fti_assets.errors import RequestError
from fti_assets.inference.server.endpoints.endpoint import Answer, Endpoint
from fti_assets.inference.server.messages.rest import InferRequest, RequestedOutput, wanted_outputs
from fti_assets.inference.server.messages.tensors import (
    DATATYPES,
    check_shape,
    datatype_of,
    from_bytes,
    from_json,
    to_bytes,
)


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    descriptors = Path(__file__).with_name("inference.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.Add(file)
    return pool


POOL = _pool()
SERVICE = POOL.FindServiceByName("inference.GRPCInferenceService")
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where a tensor's values stand that are not raw; FP16 has no such place."""


@cache
def message(name: str) -> Any:
    """The class of a message, by its name without the package."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


def message_of(name: str, values: Mapping[str, Any]) -> Any:
    """A message with values as the REST side has them; what the message has no field for is left out."""
    return json_format.ParseDict(values, message(name)(), ignore_unknown_fields=True, descriptor_pool=POOL)


def read_infer(request: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The inputs and the parameters of a ``ModelInferRequest``.

    Raises:
        RequestError: a tensor is not what it says, or a parameter has no value.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise RequestError(
            f"raw_input_contents has {len(raw)} tensors: one for each of {len(request.inputs)} inputs is expected"
        )
    inputs: dict[str, np.ndarray] = {}
    for position, tensor in enumerate(request.inputs):
        if tensor.name in inputs:
            raise RequestError(f"input {tensor.name!r} comes twice")
        if not raw:
            inputs[tensor.name] = _to_array(tensor)
            continue
        if tensor.contents.ListFields():
            raise RequestError(f"input {tensor.name!r} has both contents and raw_input_contents")
        inputs[tensor.name] = from_bytes(tensor.name, tensor.datatype, list(tensor.shape), memoryview(raw[position]))
    return inputs, _parameters(request.parameters, "the request")


def write_infer(request: Any, answer: Answer, endpoint: Endpoint) -> Any:
    """The ``ModelInferResponse`` to a request: raw if the request was, or if an output has no other form.

    Raises:
        RequestError: the request asks for an output that is not there, or twice.
    """
    infer = InferRequest(
        [],
        outputs=[
            RequestedOutput(one.name, _parameters(one.parameters, f"output {one.name!r}")) for one in request.outputs
        ],
    )
    outputs = {name: answer.outputs[name] for name, _ in wanted_outputs(infer, list(answer.outputs))}
    response = message("ModelInferResponse")(model_name=endpoint.name, model_version=answer.version, id=request.id)
    for name, value in answer.parameters.items():
        response.parameters[name].string_param = value if isinstance(value, str) else json.dumps(value)
    is_raw = bool(request.raw_input_contents) or any(datatype_of(one) not in _CONTENTS for one in outputs.values())
    for name, array in outputs.items():
        datatype = datatype_of(array)
        tensor = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if is_raw:
            response.raw_output_contents.append(to_bytes(array))
        else:
            values = array.ravel().tolist()
            if datatype == "BYTES":
                values = [str(value).encode() for value in values]
            getattr(tensor.contents, _CONTENTS[datatype]).extend(values)
    return response


def _to_array(tensor: Any) -> np.ndarray:
    name, datatype, shape = tensor.name, tensor.datatype, list(tensor.shape)
    count = check_shape(name, datatype, shape)
    place = _CONTENTS.get(datatype)
    if place is None:
        raise RequestError(
            f"input {name!r} is {datatype}, which has no typed contents: raw_input_contents are expected"
        )
    if strays := [field.name for field, _ in tensor.contents.ListFields() if field.name != place]:
        raise RequestError(f"input {name!r} of datatype {datatype} has {strays[0]}: {place} is expected")
    values = list(getattr(tensor.contents, place))
    if len(values) != count:
        raise RequestError(f"input {name!r} of shape {shape} has {len(values)} values: {count} are expected")
    if DATATYPES[datatype].kind == "f":  # unlike JSON, protobuf has the infinities
        return np.array(values, dtype=DATATYPES[datatype]).reshape(shape)
    if datatype == "BYTES":
        try:
            values = [value.decode() for value in values]
        except UnicodeDecodeError as error:
            raise RequestError(f"input {name!r} has bytes that are not UTF-8 text") from error
    return from_json(name, datatype, shape, values)


def _parameters(parameters: Any, what: str) -> dict[str, Any]:
    values = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise RequestError(f"parameter {name!r:.100} of {what} has no value")
        values[name] = getattr(parameter, choice)
    return values
