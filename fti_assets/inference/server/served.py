"""What the server serves under one name: a predictor, which looks features up, or a graph, which takes its own inputs."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import numpy as np

from fti_assets.core import clock
from fti_assets.core.rollouts.rollout import CHAMPION
from fti_assets.core.types import ColumnType
from fti_assets.errors import RequestError, list_some, one_of
from fti_assets.inference.server.messages.tensors import DATATYPES, datatype_of
from fti_assets.inference.serving.answers.prediction import Explain, Prediction
from fti_assets.inference.serving.forks import flights
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.inference.serving.requests.form import moment
from fti_assets.inference.serving.requests.overrides import OtherValues
from fti_assets.inference.serving.served_build import ServedBuild
from fti_assets.stores.models.graphs.graph import Graph, Tensor

PLATFORM = "onnxruntime_onnx"
GRAPH = ".graph"
"""What stands behind the name of a model whose graph is asked on its own."""

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
_WHOLE = tuple(name for name in DATATYPES if "INT" in name)
_FIELDS: dict[ColumnType, tuple[str, ...]] = {
    "text": ("BYTES",),
    "timestamp": ("BYTES",),
    "integer": ("INT64", *(name for name in _WHOLE if name != "INT64")),
    "number": ("FP64", "FP32", "FP16", *_WHOLE),
    "boolean": ("BOOL",),
    "vector": ("FP32", "FP64", "FP16", *_WHOLE),
}
"""The datatypes in which a field of each type may come; the first is the one that the metadata name."""


class TensorSpec(NamedTuple):
    """A tensor as the metadata describe it; -1 stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


class Stages(NamedTuple):
    """How long the parts of an answer took, in seconds: to look features up, and to run the graph."""

    lookup: float
    graph: float


class Answer(NamedTuple):
    """What one build of a model gave: every output in order, what to note beside them, how many rows, how long it took, and the
    predictions with the plain requests that they answer."""

    outputs: dict[str, np.ndarray]
    version: str
    parameters: dict[str, Any]
    rows: int
    stages: Stages
    predictions: Sequence[Prediction] = ()
    requests: Sequence[Mapping[str, Any]] = ()


class Endpoint(Protocol):
    """Something that answers inference requests under a name."""

    name: str

    @property
    def version(self) -> str:
        """The version, as the protocol has it."""

    @property
    def build(self) -> str:
        """The build that answers."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What a request brings."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What an answer has."""

    @property
    def latency_goal(self) -> float | None:
        """Within how many seconds a request is to be answered, if its model says so."""

    def infer(self, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any], *, most_rows: int) -> Answer:
        """Answer one request.

        Raises:
            RequestError: an input is missing, unknown, of another type or shape, or has too many rows.
            PredictionError: the request cannot be answered.
        """


class ServedPredictor:
    """A model whose inputs are the fields of a request, one row an element."""

    def __init__(self, name: str, predictor: Predictor) -> None:
        self.name = name
        self.predictor = predictor

    @property
    def version(self) -> str:
        return str(self.predictor.serving.manifest.version)

    @property
    def build(self) -> str:
        return self.predictor.build

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        serving = self.predictor.serving
        return tuple(
            TensorSpec(
                field.name,
                _FIELDS[field.type][0],
                (-1, serving.dims.get(field.name, -1)) if field.type == "vector" else (-1,),
            )
            for field in serving.fields
        )

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        serving = self.predictor.serving
        classes = serving.manifest.classes if serving.manifest.answers_by_name else ()
        return (TensorSpec(serving.output, "FP32", (-1, len(classes)) if classes else (-1,)),)

    @property
    def latency_goal(self) -> float | None:
        return self.predictor.serving.manifest.latency_goal

    def predict(
        self, requests: Sequence[Any], at: Any = None, *, overrides: OtherValues | None = None, explain: Explain = False
    ) -> tuple[list[Prediction], Stages]:
        """Answer plain requests.

        Raises:
            PredictionError: as ``Predictor.predict``.
        """
        return _predict(self.predictor.serving, requests, at, overrides=overrides, explain=explain)

    def infer(self, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any], *, most_rows: int) -> Answer:
        serving = self.predictor.serving  # once: the next look may find another champion
        columns, rows = _columns(self.name, serving, inputs)
        check_rows(rows, most_rows)
        names = list(columns)
        requests = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        predictions, stages = _predict(serving, requests, parameters.get("at")) if rows else ([], Stages(0.0, 0.0))
        classes = serving.manifest.classes if serving.manifest.answers_by_name else ()
        values = [list(one.value.values()) if isinstance(one.value, dict) else one.value for one in predictions]
        array = np.array(values, dtype=np.float32).reshape((rows, len(classes)) if classes else (rows,))
        notes: dict[str, Any] = {"build": serving.reference}
        if any(one.arm != CHAMPION for one in predictions):
            notes |= {"arms": [one.arm for one in predictions], "builds": [one.build for one in predictions]}
        if classes:
            notes["classes"] = list(classes)
        notes |= {
            name: of_rows for name in _REPORTS if any(of_rows := [list(getattr(one, name)) for one in predictions])
        }
        return Answer(
            {serving.output: array}, str(serving.manifest.version), notes, rows, stages, predictions, requests
        )


def _predict(
    serving: ServedBuild,
    requests: Sequence[Any],
    at: Any,
    *,
    overrides: OtherValues | None = None,
    explain: Explain = False,
) -> tuple[list[Prediction], Stages]:
    when: datetime = clock.now() if at is None else moment(at)
    marks = [time.perf_counter()]
    with flights:
        predictions = serving.predict(requests, when, marks, overrides=overrides, explain=explain)
    start, looked_up, ran = marks
    return predictions, Stages(looked_up - start, ran - looked_up)


_REPORTS = ("missing", "unknown", "out_of_schema")
"""What an answer tells of a request beside its value, by row where a row has any."""


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
        _check_names(self.name, [spec.name for spec in specs], inputs)
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


def check_rows(rows: int, most: int) -> None:
    """Refuse more rows than a server takes of one request.

    Raises:
        TooManyRowsError: there are more.
    """
    if rows > most:
        raise TooManyRowsError(f"the request has {rows} rows: at most {most} are taken at once")


class TooManyRowsError(RequestError):
    """A request has more rows than a server takes at once."""


def _columns(name: str, serving: ServedBuild, inputs: Mapping[str, np.ndarray]) -> tuple[dict[str, list[Any]], int]:
    """The inputs as lists of plain values, and how many rows they have."""
    fields = {field.name: field.type for field in serving.fields}
    _check_names(name, list(fields), inputs)
    lengths = {field: len(inputs[field]) if kind == "vector" else inputs[field].size for field, kind in fields.items()}
    for field, kind in fields.items():
        array = inputs[field]
        datatype = datatype_of(array)
        if datatype not in _FIELDS[kind]:
            raise RequestError(f"input {field!r} is {datatype}: {one_of(_FIELDS[kind])} is expected for a {kind}")
        if kind == "vector":
            dim = serving.dims.get(field, -1)
            if array.ndim != 2 or (dim >= 0 and array.shape[1] != dim):
                raise RequestError(f"input {field!r} has the shape {list(array.shape)}: [n, {dim}] is expected")
            continue
        if array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 1):
            raise RequestError(f"input {field!r} has the shape {list(array.shape)}: [n] or [n, 1] is expected")
    if len(set(lengths.values())) > 1:
        raise RequestError(f"the inputs differ in length: {lengths}"[:500])
    columns = {
        field: list(inputs[field]) if kind == "vector" else inputs[field].ravel().tolist()
        for field, kind in fields.items()
    }
    return columns, next(iter(lengths.values()), 0)


def _check_names(name: str, names: Sequence[str], inputs: Mapping[str, np.ndarray]) -> None:
    if missing := [one for one in names if one not in inputs]:
        raise RequestError(
            f"model {name!r} needs the inputs {list_some(missing)}: the request brings {list_some(inputs)}"
        )
    if extras := [one for one in inputs if one not in names]:
        raise RequestError(f"model {name!r} has no input {one_of(extras[:5])}: its inputs are {list_some(names, 20)}")


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
