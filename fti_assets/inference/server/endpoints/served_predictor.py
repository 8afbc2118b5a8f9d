"""A model that looks its features up: the fields of a request as tensors, and the predictor behind them."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from fti_assets.core import clock
from fti_assets.core.rollouts.rollout import CHAMPION
from fti_assets.core.types import ColumnType
from fti_assets.errors import RequestError, one_of
from fti_assets.inference.server.endpoints.endpoint import Answer, Stages, TensorSpec, check_names, check_rows
from fti_assets.inference.server.messages.tensors import DATATYPES, datatype_of
from fti_assets.inference.serving.answers.prediction import Explain, Prediction
from fti_assets.inference.serving.forks import flights
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.inference.serving.requests.form import moment
from fti_assets.inference.serving.requests.overrides import OtherValues
from fti_assets.inference.serving.served_build import ServedBuild

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


def _columns(name: str, serving: ServedBuild, inputs: Mapping[str, np.ndarray]) -> tuple[dict[str, list[Any]], int]:
    """The inputs as lists of plain values, and how many rows they have."""
    fields = {field.name: field.type for field in serving.fields}
    check_names(name, list(fields), inputs)
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
