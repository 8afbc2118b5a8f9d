"""A graph that is asked on its own inputs, without what its model looks up."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fti_assets.errors import RequestError
from fti_assets.inference.server.endpoints.endpoint import Answer, Stages, TensorSpec, check_names, check_rows
from fti_assets.inference.server.messages.tensors import datatype_of
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.models.graphs.graph import Graph, Tensor

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class GraphBuild(NamedTuple):
    """A graph, and the version and the build that it is of."""

    graph: Graph
    version: str
    build: str
    latency_goal: float | None


class ServedGraph:
    """A graph that is asked on its own inputs.

    Args:
        now: gives the graph of now: its champion may change.
    """

    def __init__(self, name: str, now: Callable[[], GraphBuild]) -> None:
        self.name = name
        self._now = now

    @classmethod
    def of(cls, name: str, predictor: Predictor) -> "ServedGraph":
        """The graph of what a predictor serves."""

        def now() -> GraphBuild:
            serving = predictor.serving
            manifest = serving.manifest
            return GraphBuild(serving.graph, str(manifest.version), serving.reference, manifest.latency_goal)

        return cls(name, now)

    @property
    def version(self) -> str:
        return self._now().version

    @property
    def build(self) -> str:
        return self._now().build

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return _specs(self._now().graph.takes)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return _specs(self._now().graph.gives)

    @property
    def latency_goal(self) -> float | None:
        return self._now().latency_goal

    def infer(self, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any], *, most_rows: int) -> Answer:
        graph, version, build, _ = self._now()
        specs = _specs(graph.takes)
        check_names(self.name, [spec.name for spec in specs], inputs)
        rows = 0
        feeds = {}
        for spec in specs:
            array = inputs[spec.name]
            _check_tensor(self.name, spec, array)
            rows = max(rows, array.shape[0])
            if spec.datatype == "BYTES":
                _check_texts(spec.name, array)
            feeds[spec.name] = array
        check_rows(rows, most_rows)
        start = time.perf_counter()
        try:
            outputs = graph.run_feeds(feeds)
        except Exception as error:  # onnxruntime's own exceptions share no base
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RequestError(f"the graph of {self.name!r} cannot run on these inputs: {problem:.200}") from error
        return Answer(outputs, version, {"build": build}, rows, Stages(0.0, time.perf_counter() - start))


def _check_tensor(name: str, spec: TensorSpec, array: np.ndarray) -> None:
    if (datatype := datatype_of(array)) != spec.datatype:
        raise RequestError(f"input {spec.name!r} of {name!r} is {datatype}: {spec.datatype} is expected")
    fits = len(spec.shape) == array.ndim and all(
        size in (-1, length) for size, length in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise RequestError(
            f"input {spec.name!r} of {name!r} has the shape {list(array.shape)}: {list(spec.shape)} is expected"
        )


def _check_texts(name: str, array: np.ndarray) -> None:
    if any(value is None for value in array.ravel().tolist()):
        raise RequestError(f"input {name!r} has a null: a graph takes text only")


def _specs(tensors: Sequence[Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            tensor.name,
            _DATATYPES.get(tensor.type, tensor.type),
            tuple(size if isinstance(size, int) else -1 for size in tensor.shape),
        )
        for tensor in tensors
    )
