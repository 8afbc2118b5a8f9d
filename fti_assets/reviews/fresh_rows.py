"""Rows of which neither of two builds has learned and whose labels are mature, with the features that each build takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from fti_assets.core.manifest import OUTPUT_NAMES, Column, ModelManifest
from fti_assets.core.sql import quote, temporary_name, timestamp
from fti_assets.core.types import type_of_sql
from fti_assets.errors import ModelError, one_of
from fti_assets.features.external.rows import read_external
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.spine_rows import stored_spine, with_spine_times
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.datasets.labels import LABEL, complete_for, with_label
from fti_assets.training.datasets.spine_filter import filtered
from fti_assets.training.judging.metrics.answers import THRESHOLD, Answers, answers_of
from fti_assets.training.models.champions.champion import in_classes
from fti_assets.training.models.data import label_codes
from fti_assets.training.models.model import Model

_ROW = "_fti_fresh"


@dataclass(frozen=True)
class FreshRows:
    """Rows in the order of time.

    Args:
        lake: the open lake, which has them in ``table``.
        snapshot: that they are of, and their features.
        labels: ``[n]``.
        times: their prediction times, ``datetime64[us]`` ``[n]``.
    """

    lake: Lake
    snapshot: int
    table: str
    labels: np.ndarray
    times: np.ndarray

    def earliest(self, rows: int) -> FreshRows:
        """The first so many: a look takes no more, and each row that is left out is joined for nobody."""
        return replace(self, labels=self.labels[:rows], times=self.times[:rows])

    def fingerprint(self) -> str:
        """What tells these rows, their order and their labels from others."""
        rows = self.lake.connection.execute(f"SELECT sum(hash(fresh)::HUGEINT) FROM (FROM {self._source}) fresh")
        return f"{len(self.times)} rows {rows.fetchall()[0][0]}"

    @property
    def _source(self) -> str:
        return f"{self.table} WHERE {_ROW} <= {len(self.times):d}"

    def features(self, build: ModelManifest, model: Model) -> Mapping[str, np.ndarray]:
        """What a build takes of the rows, by feature.

        Raises:
            ModelError: it answers for another spine, or a request to it brings a field that these rows do not have.
        """
        view, spine = with_spine_times(build.view, model.view.spine), model.view.spine
        if view.spine_table != spine.table:
            raise ModelError(f"{build.reference} answers rows of {view.spine_table.name}, not of {spine.table_name}")
        own_columns = self.lake.connection.table(self.table.strip('"')).columns
        if missing := [field.name for field in view.request if field.name not in own_columns]:
            raise ModelError(
                f"{build.reference} takes {one_of(missing)}, which the rows of {spine.table_name} do not have"
            )
        rows = self.lake.connection.sql(f"FROM {self._source}")
        joined = assemble(self.lake, view, rows, snapshot=self.snapshot)
        columns = fetch_columns(joined, [*view.features, Column(_ROW, "integer")])
        order = np.argsort(columns.pop(_ROW).astype(np.int64), kind="stable")
        return {name: values[order] for name, values in columns.items()}

    def clusters(self, name: str | None, features: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """What names each row's cluster, a feature or a key; None for none."""
        if name is None:
            return None
        if name in features:
            return features[name]
        rows = self.lake.connection.execute(
            f"SELECT dense_rank() OVER (ORDER BY {quote(name)}) AS cluster FROM {self._source} ORDER BY {_ROW}"
        )
        return np.asarray(rows.fetchnumpy()["cluster"], dtype=np.int64)


def fresh_rows(lake: Lake, model: Model, *, since: datetime, now: datetime, most: int) -> FreshRows:
    """The earliest rows of a model's spine from an instant on whose labels are mature by now.

    Args:
        lake: the open lake.
        model: whose view, and filter, says which rows there are.
        since: no row is earlier; naive UTC, as ``now``.
        now: by the one clock.
        most: at most so many.
    """
    connection, view = lake.connection, model.view
    read_external(lake, view.groups)
    snapshot, spine, label = lake.snapshot(), view.spine, view.only_label
    record = view.record(lambda group: lake.column_types(group.table))
    time = quote(view.time or "")
    rows = stored_spine(lake, record, snapshot=snapshot).filter(
        f"{time} >= {timestamp(since)} AND {time} <= {timestamp(now - label.age)}"
    )
    if model.dataset.where is not None:
        rows, _ = filtered(connection, rows, model.dataset.where, what=model.dataset.table_name)
    has_versions = spine.available_at is not None or spine.tie_break is not None
    is_own = label.group is spine and label.horizon is None and not has_versions
    labels = None if is_own else lake.rows(label.group.table, snapshot=snapshot)
    complete = complete_for(lake, label, now, snapshot=snapshot)
    labelled = relation_name(with_label(connection, rows, labels, label, spine, now, complete=complete))
    table, order = quote(temporary_name("fresh")), ", ".join(map(quote, record.order))
    connection.execute(
        f"CREATE TEMP TABLE {table} AS SELECT row_number() OVER (ORDER BY {order}) AS {_ROW}, * FROM {labelled} "
        f"WHERE {LABEL} IS NOT NULL QUALIFY {_ROW} <= {most:d}"
    )
    kind = type_of_sql(str(connection.table(table.strip('"')).select(LABEL).types[0])) or "text"
    arrays = fetch_columns(
        connection.sql(f"FROM {table} ORDER BY {_ROW}"), [Column(LABEL, kind), Column(view.time or "", "timestamp")]
    )
    return FreshRows(lake, snapshot, table, arrays[LABEL], arrays[view.time or ""])


def answers_to(
    rows: FreshRows, build: ModelManifest, graph: Graph, model: Model, classes: tuple[str, ...]
) -> tuple[Answers, Mapping[str, np.ndarray]]:
    """What a build answers to fresh rows beside their labels, at its own threshold, and the features that it was given.

    Args:
        classes: those by which the answers are told, the champion's.

    Raises:
        ModelError: it cannot answer them, or has other levels.
        DataError: a label is none of the classes.
    """
    features = rows.features(build, model)
    outputs = dict(graph.run(features))
    if build.task == "multiclass":
        outputs["probabilities"] = in_classes(outputs["probabilities"], build.classes, classes)
    if build.task == "quantile" and build.classes != classes:
        raise ModelError(f"{build.reference} has the levels {one_of(build.classes)}, not {one_of(classes)}")
    y = label_codes(rows.labels, model.task, classes, what="the rows that have come")
    threshold = THRESHOLD if build.threshold is None else build.threshold.value
    own = {OUTPUT_NAMES[build.task]: outputs[OUTPUT_NAMES[build.task]]}
    return answers_of(build.task, own, y, classes, threshold=threshold), features
