"""A graph as Triton's model repository has it: ``<name>/config.pbtxt`` and ``<name>/<version>/model.onnx``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fti_assets.errors import ModelError, one_of
from fti_assets.stores.models.graphs.graph import Graph, Tensor

# https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto, DataType
_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}


def repository_files(name: str, version: int, graph: Graph, onnx_bytes: bytes, build: str) -> dict[str, bytes]:
    """The files of one model in a repository, by path.

    Args:
        name: under which Triton serves it.
        version: the number of its folder.
        graph: the graph, loaded.
        onnx_bytes: its file.
        build: which one it is, as a parameter of the configuration.

    Raises:
        ModelError: an input or output has a type that Triton has not.
    """
    return {
        f"{name}/config.pbtxt": _config(name, version, graph, build).encode(),
        f"{name}/{version}/model.onnx": onnx_bytes,
    }


def _config(name: str, version: int, graph: Graph, build: str) -> str:
    """A ``ModelConfig`` as protobuf's text. Rows are a dimension of the graph's own, so that Triton adds none (``max_batch_size: 0``)."""
    lines = [f"name: {json.dumps(name)}", 'platform: "onnxruntime_onnx"', 'default_model_filename: "model.onnx"']
    lines += ["max_batch_size: 0", f"version_policy {{ specific {{ versions: {version} }} }}"]
    lines += _tensors("input", name, graph.takes) + _tensors("output", name, graph.gives)
    # As where it was judged: more threads only spin on a row.
    for key, value in (("intra_op_thread_count", "1"), ("fti_build", build)):
        lines.append(f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}")
    return "\n".join(lines) + "\n"


def _tensors(field: str, name: str, tensors: Sequence[Tensor]) -> list[str]:
    lines = []
    for one in tensors:
        if one.type not in _TYPES:
            raise ModelError(
                f"the {field} {one.name!r} of {name!r} is {one.type}, which Triton has not: it has {one_of(_TYPES)}"
            )
        sizes = ", ".join(str(size) if isinstance(size, int) and size > 0 else "-1" for size in one.shape)
        text = json.dumps(one.name, ensure_ascii=False)
        lines.append(f"{field} {{ name: {text} data_type: {_TYPES[one.type]} dims: [ {sizes} ] }}")
    return lines
