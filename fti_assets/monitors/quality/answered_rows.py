"""The answered rows of some partitions as arrays: what was answered, how it turned out, and what rows are sliced and drawn by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fti_assets.core.manifest import BY_NAME, Column, ModelManifest, Task, each_task
from fti_assets.core.sql import literal, quote
from fti_assets.core.times import Partition
from fti_assets.core.types import type_of_sql
from fti_assets.errors import DataError
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.monitors.answers.answered import ANSWER, ARM, BUILD, MATURE, PARTITION, Answered
from fti_assets.training.datasets.labels import LABEL
from fti_assets.training.datasets.queries import QUERY, numbered
from fti_assets.training.trainer.parts.labels import label_codes

_CLUSTER, _NUMBER = "_fti_cluster", "_fti_number"


@dataclass(frozen=True)
class AnsweredRows:
    """``n`` answered rows in the order of time and keys, as datasets have it.

    Args:
        partition: the key of each row's partition of the monitor ``[n]``.
        build, arm: who answered each ``[n]``.
        mature: whether each is as old as the label's maturity ``[n]``.
        labels: the canonical labels ``[n]``, or of several ``[n, k]`` by ``label_names``.
        answers: float64 ``[n]``, or ``[n, k]`` of several numbers by ``names``; NaN where there is none.
        names: what the numbers of an answer are called.
        columns: canonical arrays ``[n]`` by name.
        clusters: ``[n]``, which rows are drawn together; None if each is drawn by itself.
        queries: ``[n]``, the number of each row's list, of a ranking.
        number: ``[n]``, the place of each row among all.
    """

    partition: np.ndarray
    build: np.ndarray
    arm: np.ndarray
    mature: np.ndarray
    labels: np.ndarray
    answers: np.ndarray
    names: tuple[str, ...]
    columns: dict[str, np.ndarray]
    clusters: np.ndarray | None
    queries: np.ndarray | None
    number: np.ndarray
    label_names: tuple[str, ...] = ()

    def part(self, rows: np.ndarray) -> AnsweredRows:
        """Those of some rows, by position or by a mask."""
        clusters, queries = (None if one is None else one[rows] for one in (self.clusters, self.queries))
        return replace(
            self,
            partition=self.partition[rows],
            build=self.build[rows],
            arm=self.arm[rows],
            mature=self.mature[rows],
            labels=self.labels[rows],
            answers=self.answers[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
            clusters=clusters,
            queries=queries,
            number=self.number[rows],
        )

    def by_name(self, names: Sequence[str]) -> AnsweredRows:
        """With the numbers of the answers, and of several labels these, in that order; NaN for one that none has."""
        if self.answers.ndim == 1:
            return self
        labels = self.labels if self.labels.ndim == 1 else _in_order(self.labels, self.label_names, names)
        names = tuple(names)
        of_labels = names if self.label_names else ()
        answers = _in_order(self.answers, self.names, names)
        return replace(self, answers=answers, names=names, labels=labels, label_names=of_labels)


def answered_rows(answers: Answered, partitions: Sequence[Partition], columns: Iterable[str]) -> AnsweredRows:
    """The rows of some partitions, with those of the columns that stand beside the answers."""
    connection, table = answers.lake.connection, answers.labelled(partitions)
    stored = dict(zip((relation := connection.sql(f"FROM {table}")).columns, map(str, relation.types), strict=True))
    beside = {name: type_of_sql(stored[name]) or "text" for name in columns if name in stored}
    names: tuple[str, ...] = ()
    items = [f"{ANSWER}::DOUBLE AS {ANSWER}"]
    if answers.model.task in BY_NAME:
        keys = f"SELECT DISTINCT unnest(map_keys({ANSWER})) AS name FROM {table} ORDER BY 1"
        names = tuple(name for (name,) in connection.execute(keys).fetchall())
        items = [f"{ANSWER}[{literal(name)}] AS {ANSWER}{place}" for place, name in enumerate(names)]
    cluster, query = answers.drawn_by, answers.query
    has_clusters = cluster is not None and cluster in stored
    if has_clusters:
        items.append(f"dense_rank() OVER (ORDER BY {quote(cluster or '')}) AS {_CLUSTER}")
    rows = numbered(table, query, answers.time) if query else f"FROM {table}"
    order = ", ".join([*([QUERY] if query else []), *map(quote, answers.order)])
    labels = {column: name for name, column in answers.label_columns.items()}
    fixed = [PARTITION, BUILD, ARM, MATURE, *labels, *([QUERY] if query else [])]
    listed = ", ".join([*fixed, *items, *map(quote, beside)])
    in_order = connection.sql(
        f"SELECT {listed}, row_number() OVER (ORDER BY {order}) AS {_NUMBER} FROM ({rows}) ORDER BY {_NUMBER}"
    )
    kinds = [Column(name, "text") for name in (PARTITION, BUILD, ARM)]
    kinds += [Column(MATURE, "boolean"), Column(_NUMBER, "integer")]
    kinds += [Column(column, type_of_sql(stored[column]) or "text") for column in labels]
    kinds += [Column(name, "integer") for name, is_present in ((QUERY, query), (_CLUSTER, has_clusters)) if is_present]
    places = [f"{ANSWER}{place}" for place in range(len(names))] if answers.model.task in BY_NAME else [ANSWER]
    kinds += [Column(name, "number") for name in places]
    kinds += [Column(name, kind) for name, kind in beside.items()]
    arrays = fetch_columns(in_order, kinds)
    numbers = [arrays[name] for name in places]
    return AnsweredRows(
        partition=arrays[PARTITION],
        build=arrays[BUILD],
        arm=arrays[ARM],
        mature=arrays[MATURE] == 1,
        labels=arrays[LABEL] if LABEL in labels else _together([arrays[one] for one in labels], len(arrays[BUILD])),
        answers=_together(numbers, len(arrays[BUILD])) if answers.model.task in BY_NAME else numbers[0],
        names=names,
        columns={name: arrays[name] for name in beside},
        clusters=arrays[_CLUSTER].astype(np.int64) if has_clusters else None,
        queries=arrays[QUERY].astype(np.int64) if query else None,
        number=arrays[_NUMBER].astype(np.int64),
        label_names=() if LABEL in labels else tuple(labels.values()),
    )


def features_beside(
    answers: Answered,
    rows: AnsweredRows,
    manifest: ModelManifest,
    partitions: Sequence[Partition],
    names: Sequence[str],
) -> AnsweredRows:
    """The rows of one build with features that it saw.

    Raises:
        FtiError: it cannot be told what it saw.
    """
    kinds = [one for one in manifest.view.features if one.name in names and one.name not in answers.redacted]
    table = answers.joined(manifest, partitions)
    order = ", ".join(map(quote, answers.order))
    own = answers.lake.connection.sql(f"FROM {table} WHERE {BUILD} = {literal(manifest.reference)} ORDER BY {order}")
    arrays = fetch_columns(own, kinds)
    if any(len(values) != len(rows.labels) for values in arrays.values()):
        raise DataError(
            f"{manifest.reference} of {manifest.model!r} joins other rows than were answered: its spine is another version"
        )
    return replace(rows, columns={**rows.columns, **arrays})


def _together(numbers: Sequence[np.ndarray], rows: int) -> np.ndarray:
    return np.stack(numbers, axis=1) if numbers else np.full((rows, 0), np.nan)


def has_label(labels: np.ndarray) -> np.ndarray:
    """Which canonical labels ``[n]`` there are; of several, ``[n, k]``, which rows have all."""
    is_labelled = np.asarray(labels != "" if labels.dtype.kind in "OU" else ~np.isnan(labels))
    return is_labelled if is_labelled.ndim == 1 else np.asarray(is_labelled.all(axis=1))


def _in_order(values: np.ndarray, before: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Columns ``[n, k]`` in another order; NaN for one that there is not."""
    nothing = np.full(len(values), np.nan)
    columns = [values[:, before.index(name)] if name in before else nothing for name in names]
    return _together(columns, len(values))


def label_fits(labels: np.ndarray, task: Task, classes: Sequence[str]) -> np.ndarray:
    """Which labels ``[n]``, or all of a row's ``[n, k]``, are such as a model learns: 0 or 1, one of its classes, a finite number."""
    if labels.ndim == 2:
        each = [label_fits(labels[:, at], each_task(task), ()) for at in range(labels.shape[1])]
        return np.asarray(np.all(each, axis=0))
    is_labelled = has_label(labels)
    distinct, positions = np.unique(labels[is_labelled], return_inverse=True)
    fits = np.zeros(len(distinct), dtype=bool)
    for place, one in enumerate(distinct) if task in ("binary", "multiclass") or labels.dtype.kind in "OU" else ():
        try:
            label_codes(np.array([one], dtype=labels.dtype), task, classes, what="a label")
        except DataError:
            continue
        fits[place] = True
    if task not in ("binary", "multiclass") and labels.dtype.kind not in "OU":
        fits = np.isfinite(distinct) & ((distinct >= 0) | (task != "ranking"))
    result = np.zeros(len(labels), dtype=bool)
    result[is_labelled] = fits[positions]
    return result
