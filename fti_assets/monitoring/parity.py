"""Parity: what the predictor sees and answers, against the offline join and the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core import clock
from fti_assets.core.manifest import ModelManifest, ViewRecord
from fti_assets.core.times import instant
from fti_assets.core.types import ColumnType
from fti_assets.core.types.vectors import plain_vector, vector
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.models.answering import Answering
from fti_assets.stores.models.graphs.graph import Graph

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class ParityReport:
    """What was compared without a difference.

    Attributes:
        build: the build that answered.
        rows: how many spine rows were replayed.
        features: the features that were compared.
        largest_difference: between an answer of the predictor and the graph's; above 0 by rounding only.
    """

    build: str
    rows: int
    features: tuple[str, ...]
    largest_difference: float


def compare(
    predictor: Predictor, manifest: ModelManifest, graph: Graph, offline: duckdb.DuckDBPyRelation, *, tolerance: float
) -> tuple[ParityReport, list[dict[str, Any]]]:
    """Ask a predictor each spine row as of its prediction time, and compare features and answer with the offline ones.

    Args:
        predictor: answers as an app would have it.
        manifest: that of the build that it uses.
        graph: the build's graph, which answers on the offline features.
        offline: spine rows with their features, as the offline join has them.
        tolerance: the largest difference of an answer; features must be equal.

    Returns:
        The report, and a row for each difference: the spine's keys, ``at``, ``feature`` (``value`` for the answer), ``online``,
        ``offline``.
    """
    view = manifest.view
    arrays = fetch_columns(offline, view.features)
    rows = [dict(zip(offline.columns, row, strict=True)) for row in offline.fetchall()]
    if len(rows) == 1:  # one row alone is rounded otherwise than among others
        arrays = {feature: np.repeat(values, 2) for feature, values in arrays.items()}
    answers = Answering(manifest, graph)(arrays)
    differences: list[dict[str, Any]] = []
    largest = 0.0
    for row, answer in zip(rows, answers, strict=False):
        at = row[view.prediction_time] if view.prediction_time is not None else clock.now()
        prediction = predictor.predict(request_of(view, row), at=at)
        key_values = {**{key: row[key] for key in view.spine_keys}, "at": at}
        differences += ({**key_values, **one} for one in feature_differences(view, row, prediction.features))
        difference = float(np.max(np.abs(numbers_of(manifest, prediction.value) - answer)))
        largest = max(largest, difference)
        if not difference <= tolerance:  # a NaN differs, too
            differences.append({**key_values, "feature": "value", "online": prediction.value, "offline": answer})
    features = tuple(feature.name for feature in view.features)
    return ParityReport(manifest.reference, len(rows), features, largest), differences


def request_of(view: ViewRecord, row: Mapping[str, Any]) -> dict[str, Any]:
    """The request that an app would send for a spine row."""
    request = {column.name: row[column.name] for column in view.request if column.name != view.prediction_time}
    numbers = [
        column.name for column in view.request if column.type == "number" and request.get(column.name) is not None
    ]
    return request | {name: float(request[name]) for name in numbers}


def feature_differences(
    view: ViewRecord, row: Mapping[str, Any], features: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The features that an answer saw otherwise than the offline join has them in ``row``."""
    on_demand = {output.name for call in view.on_demand for output in call.outputs}
    for feature in view.features:
        online, offline = (plain(values[feature.name], feature.type) for values in (features, row))
        same = online == offline or (online in (None, "") and offline in (None, ""))
        # numpy may round a row alone otherwise than among others, by vector instructions
        if feature.name in on_demand and isinstance(online, float) and isinstance(offline, float):
            same = bool(np.isclose(online, offline, rtol=1e-9, atol=0.0))
        if feature.name in on_demand and isinstance(online, list) and isinstance(offline, list):
            same = len(online) == len(offline) and np.allclose(
                _floats(online), _floats(offline), rtol=1e-6, atol=0.0, equal_nan=True
            )
        if not same:
            yield {"feature": feature.name, "online": online, "offline": offline}


def plain(value: Any, kind: ColumnType) -> Any:
    """A feature's value as both sides have it: a decimal as the float that the online store holds, an instant of a log as one, a vector as
    a list of float32, no NaN.

    >>> from decimal import Decimal
    >>> plain(Decimal("0.10"), "number"), plain("2013-06-01T12:00:00", "timestamp"), plain(float("nan"), "number")
    (0.1, datetime.datetime(2013, 6, 1, 12, 0), None)
    """
    if kind == "vector" and isinstance(value, list | tuple | np.ndarray):
        return plain_vector(vector(value))
    if value is None or value != value:
        return None
    if isinstance(value, Decimal):
        return float(value)
    return instant(value) if kind == "timestamp" and isinstance(value, str) and value else value


def _floats(numbers: list[float | None]) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


def numbers_of(manifest: ModelManifest, value: Any) -> np.ndarray:
    """An answer as numbers, of several classes in the order of the manifest."""
    return np.array([value[name] for name in manifest.classes] if isinstance(value, dict) else value, dtype=np.float64)
