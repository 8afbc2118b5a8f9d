"""The messages of the Open Inference Protocol's REST side, read from and written to bodies with or without binary tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from fti_assets.errors import RequestError, excerpt, one_of
from fti_assets.inference.server.messages.tensors import datatype_of, from_bytes, from_json, to_bytes, to_json

BINARY_LENGTH = b"inference-header-content-length"
"""The header that says where a body's JSON ends and its tensors begin."""

Parameters = dict[str, Any]


class InputTensor(msgspec.Struct):
    """An input of a request."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters = {}
    data: Any = msgspec.UNSET


class RequestedOutput(msgspec.Struct):
    """An output that a request asks for."""

    name: str
    parameters: Parameters = {}


class InferRequest(msgspec.Struct):
    """A request for an inference."""

    inputs: list[InputTensor]
    id: str = ""
    parameters: Parameters = {}
    outputs: list[RequestedOutput] | None = None


_decoder = msgspec.json.Decoder(InferRequest)
_encoder = msgspec.json.Encoder()


def read_json(body: bytes | memoryview, decoder: Any = None) -> Any:
    """A body as JSON.

    Raises:
        RequestError: it is none, or not of the decoder's type.
    """
    try:
        return (decoder or _plain).decode(body)
    except msgspec.ValidationError as error:
        raise RequestError(f"the body is not as expected: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is no JSON: {error}") from error
    except RecursionError as error:
        raise RequestError("the body is nested too deep") from error


_plain = msgspec.json.Decoder()


def write_json(value: Any) -> bytes:
    """A value as JSON."""
    return _encoder.encode(value)


def read_request(body: bytes, json_length: bytes | None) -> tuple[InferRequest, dict[str, np.ndarray]]:
    """A request and its inputs.

    Args:
        body: the whole body.
        json_length: the value of the header ``Inference-Header-Content-Length``, None without it.

    Raises:
        RequestError: it lies about a length, or a tensor is not what it says.
    """
    view = memoryview(body)
    end = len(body) if json_length is None else _length(json_length, len(body))
    request: InferRequest = read_json(view[:end], _decoder)
    inputs: dict[str, np.ndarray] = {}
    for tensor in request.inputs:
        if tensor.name in inputs:
            raise RequestError(f"input {tensor.name!r} comes twice")
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            if tensor.data is msgspec.UNSET:
                raise RequestError(f"input {tensor.name!r} has neither data nor binary_data_size")
            inputs[tensor.name] = from_json(tensor.name, tensor.datatype, tensor.shape, tensor.data)
            continue
        if tensor.data is not msgspec.UNSET:
            raise RequestError(f"input {tensor.name!r} has both data and binary_data_size")
        if size.__class__ is not int or not 0 <= size <= len(body) - end:
            raise RequestError(
                f"input {tensor.name!r} has the binary_data_size {excerpt(size)}: {len(body) - end} bytes are left of the body"
            )
        inputs[tensor.name] = from_bytes(tensor.name, tensor.datatype, tensor.shape, view[end : end + size])
        end += size
    if end != len(body):
        raise RequestError(f"the body has {len(body) - end} bytes after its last input")
    return request, inputs


def write_response(
    request: InferRequest,
    outputs: Mapping[str, np.ndarray],
    *,
    model: str,
    version: str,
    parameters: Mapping[str, Any],
) -> tuple[bytes, int | None]:
    """A response's body, and how long its JSON is if tensors follow it.

    Args:
        outputs: every output of the model, in order.

    Raises:
        RequestError: the request asks for an output that is not there, or twice.
    """
    names = wanted_outputs(request, list(outputs))
    tensors, blobs = [], []
    for name, binary in names:
        array = outputs[name]
        tensor: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if binary:
            blobs.append(to_bytes(array))
            tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            tensor["data"] = to_json(array)
        tensors.append(tensor)
    message: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": tensors}
    if request.id:
        message["id"] = request.id
    if parameters:
        message["parameters"] = dict(parameters)
    head = write_json(message)
    return (b"".join([head, *blobs]), len(head)) if blobs else (head, None)


def wanted_outputs(request: InferRequest, names: Sequence[str]) -> list[tuple[str, bool]]:
    """The outputs that a request asks for, all if it names none, and whether each is to be binary.

    Raises:
        RequestError: one is not there, comes twice, or is asked for in a way that is not known.
    """
    default = _flag(request.parameters, "binary_data_output", False, "the request")
    if not request.outputs:
        return [(name, default) for name in names]
    results: dict[str, bool] = {}
    for output in request.outputs:
        if output.name not in names or output.name in results:
            problem = (
                "comes twice" if output.name in results else f"is none of the model's: {one_of(names)} is expected"
            )
            raise RequestError(f"output {output.name!r} {problem}")
        if "classification" in output.parameters:
            raise RequestError(f"output {output.name!r} asks for classification, which this server does not offer")
        results[output.name] = _flag(output.parameters, "binary_data", default, f"output {output.name!r}")
    return list(results.items())


def _flag(parameters: Mapping[str, Any], name: str, default: bool, what: str) -> bool:
    value = parameters.get(name, default)
    if value.__class__ is not bool:
        raise RequestError(f"{name} of {what} is {excerpt(value)}: true or false is expected")
    return bool(value)


def _length(header: bytes, size: int) -> int:
    if not header.isdigit() or len(header) > 18 or int(header) > size:
        raise RequestError(
            f"Inference-Header-Content-Length is {excerpt(header.decode('latin-1'))}: the body has {size} bytes"
        )
    return int(header)
