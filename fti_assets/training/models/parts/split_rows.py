"""The rows of one part of a dataset, as a model is trained and judged on them, and what float64 makes of their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.manifest import Column, DatasetManifest
from fti_assets.core.sql import quote
from fti_assets.core.types import EXACT
from fti_assets.features.point_in_time.arrays import canonical_sql
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.dataset import SPLIT
from fti_assets.training.datasets.queries import QUERY, numbered
from fti_assets.training.models.model import Model
from fti_assets.training.trainer.parts.rows import Rows, write_rows

if TYPE_CHECKING:
    import duckdb

LABEL = "_fti_label"
WEIGHT = "_fti_weight"
TIME = "_fti_time"
ROW = "_fti_row"
"""The column that numbers the rows of a part from 1."""


@dataclass(frozen=True)
class SplitRows:
    """The rows of one part, in the order of time and keys: their features on disk, since they may not fit into memory, the labels and
    prediction times in it.

    ``table`` is what holds them in the lake, of validation and test a temporary table in which ``_fti_row`` numbers them from 1. Of a
    dataset with queries, those of one stand together, and ``queries`` numbers each row's, int64 ``[n]`` ascending. ``weights`` are what the
    rows count, as they are stored, float64 ``[n]``, of a dataset that says it.
    """

    stored: Rows
    labels: np.ndarray
    times: np.ndarray | None
    table: str
    queries: np.ndarray | None = None
    weights: np.ndarray | None = None

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Each feature ``[n]``, read whenever it is asked for."""
        return self.stored.columns


def train_rows(
    lake: Lake, model: Model, partition: str, dataset: DatasetManifest, snapshot: int, folder: Path
) -> SplitRows:
    """The rows of the train part at a snapshot, sorted once into a file of the folder.

    Raises:
        StoreError: there is no room for the file.
    """
    rows = lake.rows(model.dataset.table, partitions=[partition], snapshot=snapshot)
    return _stored(lake, dataset, _part(lake, rows, dataset, "train"), _order(dataset), folder / "train.arrow")


def split_rows(
    lake: Lake, model: Model, partition: str, dataset: DatasetManifest, part: str, snapshot: int, folder: Path
) -> SplitRows:
    """The rows of another part at a snapshot, in a temporary table and in a file of the folder.

    Raises:
        StoreError: there is no room for the file.
    """
    table = quote(f"__fti_{part}_part")
    order = ", ".join(map(quote, _order(dataset)))
    rows = _part(lake, lake.rows(model.dataset.table, partitions=[partition], snapshot=snapshot), dataset, part)
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT row_number() OVER (ORDER BY {order}) AS {ROW}, * FROM {rows}"
    )
    return _stored(lake, dataset, table, (ROW,), folder / f"{part}.arrow")


def _stored(lake: Lake, dataset: DatasetManifest, table: str, order: Sequence[str], path: Path) -> SplitRows:
    view = dataset.view
    labels = {f"{LABEL}_{at}": one for at, one in enumerate(dataset.label_columns)}
    beside = labels | ({WEIGHT: Column(dataset.weight, "number")} if dataset.weight else {})
    beside |= {QUERY: Column(QUERY, "integer")} if dataset.query else {}
    beside |= {TIME: Column(view.prediction_time, "timestamp")} if view.prediction_time else {}
    named = [(column.name, column) for column in view.features] + [*beside.items()]
    columns = ", ".join(f"{canonical_sql(column)} AS {quote(name)}" for name, column in named)
    # Of the stored columns, not of the canonical ones, which may have their names.
    in_order = ", ".join(f"stored.{quote(name)}" for name in order)
    stored = write_rows(
        path,
        lake.connection.sql(f"SELECT {columns} FROM {table} stored ORDER BY {in_order}"),
        [*view.features, *(Column(name, one.type) for name, one in beside.items())],
    )
    return SplitRows(
        stored.part([feature.name for feature in view.features]),
        _stacked([stored.column(name) for name in labels]),
        stored.column(TIME) if view.prediction_time else None,
        table,
        stored.column(QUERY).astype(np.int64) if dataset.query else None,
        stored.column(WEIGHT) if dataset.weight else None,
    )


def _part(lake: Lake, rows: duckdb.DuckDBPyRelation, dataset: DatasetManifest, part: str) -> str:
    """The quoted name of the rows of a part, with the numbers of their queries if they have some."""
    of_part = f"FROM {relation_name(rows)} WHERE {quote(SPLIT)} = '{part}'"
    if dataset.query:
        of_part = numbered(f"({of_part})", dataset.query, dataset.view.prediction_time)
    return relation_name(lake.connection.sql(of_part))


def _order(dataset: DatasetManifest) -> tuple[str, ...]:
    return (*([QUERY] if dataset.query else []), *dataset.view.order)


def _stacked(labels: Sequence[np.ndarray]) -> np.ndarray:
    """A label as it is ``[n]``, or several, which are numbers, side by side ``[n, k]``."""
    return labels[0] if len(labels) == 1 else np.stack(labels, axis=1).astype(np.float64)


def column_positions(lake: Lake, table: str, column: str) -> np.ndarray:
    """For each row of a part ``[n]`` the position of its value among those of a column, from 0; what is missing is one value."""
    rows = lake.connection.execute(
        f"SELECT dense_rank() OVER (ORDER BY {quote(column)}) - 1 AS position FROM {table} ORDER BY {ROW}"
    )
    return np.asarray(rows.fetchnumpy()["position"], dtype=np.int64)


_WIDE = ("bigint", "ubigint", "hugeint", "uhugeint", "decimal")
"""The types of which float64 merges numbers."""


def beyond_float64(lake: Lake, table: str, features: Sequence[Column]) -> tuple[dict[str, int], dict[str, int]]:
    """Stored features beside what float64 makes of them, all in two queries.

    Returns:
        a whole number of each feature that has one of 2**53 and more; how many different values each feature has of which float64
        merges some.
    """
    relation = lake.connection.sql(f"FROM {table}")
    types = {name: kind.id for name, kind in zip(relation.columns, relation.types, strict=True)}
    wide = [feature.name for feature in features if types[feature.name] in _WIDE]
    large: dict[str, int] = {}
    doubtful = []
    for name, smallest, largest in _pairs(lake, table, wide, "min({0}), max({0})"):
        if smallest is None:
            continue
        extreme = max(smallest, largest, key=abs)
        if types[name] != "decimal" and abs(extreme) >= EXACT:
            large[name] = int(extreme)
        if types[name] == "decimal" or name in large:
            doubtful.append(name)
    counts = _pairs(lake, table, doubtful, "count(DISTINCT {0}), count(DISTINCT {0}::DOUBLE)")
    return large, {name: exact for name, exact, left in counts if left < exact}


def _pairs(lake: Lake, table: str, names: Sequence[str], pair: str) -> list[tuple[str, Any, Any]]:
    """Two aggregates of each of some columns."""
    if not names:
        return []
    items = ", ".join(pair.format(quote(name)) for name in names)
    [values] = lake.connection.execute(f"SELECT {items} FROM {table}").fetchall()
    return list(zip(names, values[::2], values[1::2], strict=True))
