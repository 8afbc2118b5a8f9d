"""Parity: what the predictor sees and answers, against the offline join and the graph."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from fti_assets.core import clock
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import ModelManifest, ViewRecord
from fti_assets.core.sql import quoted, timestamp
from fti_assets.errors import NotMaterializedError
from fti_assets.features.external.rows import read_external
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.spine_rows import stored_spine
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.duckdb.relations import view_of
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.testing.failures import ParityBroken
from fti_assets.training.judging.evaluation import OUTPUT_NAMES
from fti_assets.training.models.model import Model

_VALUE = "value"


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


@checked_arguments()
def assert_parity(
    model: Model | str,
    /,
    *,
    stores: Stores,
    partitions: Sequence[str] | None = None,
    predictor: Predictor | None = None,
    sample: int = 50,
    seed: int = 0,
    tolerance: float = 1e-5,
) -> ParityReport:
    """Assert that online is offline: replay past spine rows through the predictor as of their prediction time.

    Each row becomes the request that an app would send. Every feature must be what the offline join over the lake has
    at that instant, and the answer that of the graph on those features.

    Args:
        model: the model, or its name.
        stores: where its groups, online namespaces and builds are.
        partitions: the spine's partitions to replay; by default every row that the online store still answers for.
        predictor: the predictor to ask, by default one that follows the champion in ``stores``.
        sample: how many rows.
        seed: which ones.
        tolerance: the largest difference of an answer; features must be equal.

    Raises:
        ParityBroken: something differs; its ``rows`` name the feature, the row and both values.
        NotMaterializedError: there is no row to replay.
        NoChampionError: the model has no champion.
        PredictionError: the online store does not reach back to a row of the partitions that were asked for.

    >>> assert_parity(delay_net, stores=stores, partitions=["2013-02-20"]).rows  # doctest: +SKIP
    50
    """
    name = model if isinstance(model, str) else model.name
    store = stores.model_store()
    asked = predictor or Predictor.load(name, models=store.root, online=stores.online_store().location)
    manifest, graph = load_build(store, name, asked.build)
    view = manifest.view
    with stores.offline_store().connect() as lake:
        read_external(lake, [] if isinstance(model, str) else model.view.groups)
        table = _replayed(lake, view, partitions, _answers_from(stores, view), sample, seed)
        columns = lake.connection.sql(f"FROM {table}").columns
        rows = [dict(zip(columns, row, strict=True)) for row in lake.connection.sql(f"FROM {table}").fetchall()]
        arrays = fetch_columns(lake.connection.sql(f"FROM {table}"), view.features)
    if len(rows) == 1:  # one row alone is rounded otherwise than among others
        arrays = {feature: np.repeat(values, 2) for feature, values in arrays.items()}
    answers = graph.run(arrays)[OUTPUT_NAMES[manifest.task]]
    results: list[dict[str, Any]] = []
    largest = 0.0
    for row, answer in zip(rows, answers, strict=False):
        at = row[view.prediction_time] if view.prediction_time is not None else clock.now()
        prediction = asked.predict(_request(view, row), at=at)
        named = {key: row[key] for key in view.spine_keys}
        results += ({**named, "at": at, **one} for one in _feature_differences(view, row, prediction.features))
        difference = float(np.max(np.abs(_numbers(manifest, prediction.value) - answer)))
        largest = max(largest, difference)
        if not difference <= tolerance:
            results.append({**named, "at": at, "feature": _VALUE, "online": prediction.value, "offline": answer})
    if results:
        frame = pd.DataFrame(results)
        counts = ", ".join(f"{feature} {number}" for feature, number in frame["feature"].value_counts().items())
        raise ParityBroken(
            f"online and offline differ for model {name!r} {manifest.reference}: of {len(rows)} rows, {counts}", frame
        )
    return ParityReport(manifest.reference, len(rows), tuple(one.name for one in view.features), largest)


def _answers_from(stores: Stores, view: ViewRecord) -> datetime | None:
    """The earliest instant that every namespace of a view answers for."""
    online = stores.online_store()
    since = [online.reader(join.table).answers_from for join in view.joins]
    return max((moment for moment in since if moment is not None), default=None)


def _replayed(
    lake: Lake, view: ViewRecord, partitions: Sequence[str] | None, since: datetime | None, sample: int, seed: int
) -> str:
    """A temporary table of sampled spine rows with their features, as the offline join has them now."""
    name = view.spine_table
    spine = stored_spine(lake, view, partitions=partitions)
    if partitions is None and since is not None and view.prediction_time is not None:
        spine = spine.filter(f"{quoted(view.prediction_time)} >= {timestamp(since)}")
    numbered = quoted("__fti_replayed")
    order = ", ".join(map(quoted, view.spine_keys))
    lake.connection.execute(
        f"CREATE TEMP TABLE {numbered} AS SELECT row_number() OVER (ORDER BY {order}) AS __fti_row, * FROM {view_of(spine)}"
    )
    total = int(lake.connection.table(numbered).aggregate("count(*)").fetchall()[0][0])
    if not total:
        reach = f"; the online store answers from {since}" if since is not None else ""
        raise NotMaterializedError(f"{name} has no row to replay{reach}: materialize a later partition of it")
    chosen = sorted(random.Random(seed).sample(range(1, total + 1), min(sample, total)))
    rows = lake.connection.sql(f"SELECT * EXCLUDE (__fti_row) FROM {numbered} WHERE __fti_row IN {(0, *chosen)}")
    table = quoted("__fti_replayed_features")
    assembled = assemble(lake, view, rows, snapshot=lake.snapshot())
    lake.connection.execute(f"CREATE TEMP TABLE {table} AS FROM {view_of(assembled)}")
    return table


def _request(view: ViewRecord, row: Mapping[str, Any]) -> dict[str, Any]:
    fields = [column for column in view.request if column.name != view.prediction_time]
    return {
        column.name: float(row[column.name]) if column.type == "number" and row[column.name] is not None
        else row[column.name]
        for column in fields
    }  # fmt: skip


def _feature_differences(view: ViewRecord, row: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    made = {output.name for call in view.on_demand for output in call.outputs}
    for feature in view.features:
        online, offline = (_plain(values[feature.name]) for values in (seen, row))
        same = online == offline or (online in (None, "") and offline in (None, ""))
        if feature.name in made and isinstance(online, float) and isinstance(offline, float):
            same = bool(np.isclose(online, offline, rtol=1e-9, atol=0.0))
        if not same:
            yield {"feature": feature.name, "online": online, "offline": offline}


def _plain(value: Any) -> Any:
    return None if value is None or value != value else value


def _numbers(manifest: ModelManifest, value: Any) -> np.ndarray:
    return np.array([value[name] for name in manifest.classes] if isinstance(value, dict) else value, dtype=np.float64)
