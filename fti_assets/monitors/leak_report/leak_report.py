"""What leaks would promise of a view: a quick model on an honest join and on two leaky ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from fti_assets.core.manifest import Column
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DataError, DeclarationError, ModelError, list_some
from fti_assets.features.external.rows import read_external
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.monitoring.leak_report.quick_model import Arrays, QuickTask, fit
from fti_assets.monitoring.leak_report.report import JOINS, JoinKind, LeakReport, promises_of
from fti_assets.monitors.leak_report.event_time_rows import EventTimeRows
from fti_assets.monitors.leak_report.joins import LeakyJoins
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.dataset import SPLIT, TrainingDataset
from fti_assets.training.freshness.rows import NUMBER, dataset_rows
from fti_assets.training.freshness.run import stored_cutoff

ROWS = 50_000
_MOST_CLASSES = 50


def leak_report(
    dataset: TrainingDataset,
    *,
    stores: Stores,
    partition: str | None = None,
    rows: int | None = ROWS,
    seed: int = 0,
    say: Callable[[str], object] = lambda line: None,
) -> LeakReport:
    """What a quick model promises offline and delivers when served, for three joins of the same rows.

    Rows, labels and splits are those of a dataset at a cutoff. The *honest* join is the stored one. *Event time* takes what had happened
    by the prediction time, whether it was known or not: available-at and serving delays count for nothing, an outcome with the spine's keys
    counts from the prediction time of its spine row on, and groups that are made of others are made again of such rows. *Same day* takes
    them as of the end of the row's partition. A model learns from each, and is scored on test rows of its own join, which is what an
    offline evaluation promises, and on the honest ones, which is what it gets when it is served.

    Args:
        dataset: a dataset over the view, whose view joins groups with an event time.
        stores: where it is; nothing is written there.
        partition: the dataset's partition, the newest by default.
        rows: about how many train rows are taken, None for all. The test rows are always all of them.
        seed: of the quick model.
        say: called with a line of text as the work goes on.

    Raises:
        DeclarationError: no group of the view could leak.
        NotMaterializedError: the dataset is not there, or its snapshot is expired.
        MissingExtraError: scikit-learn is not installed.
        ModelError: the labels have one value, or a part has no rows.
    """
    view = dataset.view
    if view.has_several_labels:
        raise DeclarationError(
            f"view {view.name!r} has the labels {list_some(view.labels)}, and a leak report is of one: declare a dataset of a view of that "
            "label alone"
        )
    if not any(group.event_time is not None for group in view.groups if group is not view.spine) or view.time is None:
        raise DeclarationError(f"view {view.name!r} joins no group that has an event time: no join of it could leak")
    if rows is not None and rows < 1:
        raise DeclarationError(f"rows={rows}: give a whole number above 0")
    with stores.offline_store().connect() as lake:
        read_external(lake, view.groups)
        key, manifest = stored_cutoff(lake, dataset, partition)
        at_cutoff = dataset_rows(lake, dataset.table, key, manifest, train_rows=rows)
        [(first, last)] = lake.connection.execute(
            f"SELECT min({quote(view.time)}), max({quote(view.time)}) FROM {at_cutoff.spine}"
        ).fetchall()
        happened = EventTimeRows(lake, view, manifest.snapshot, first, last)
        joins = LeakyJoins(lake, at_cutoff, view.spine, happened, {one.table_name: one for one in view.groups})
        features = manifest.view.features
        tables = {}
        for join in JOINS:
            tables[join] = joins.features(join)
            say(f"{join}: {JOINS[join]}")
        task, classes = _task(lake, tables["honest"], manifest.label)
        lengths = _lengths(lake, tables.values(), features)
        columns = _columns(features, lengths)
        honest = _parts(lake, tables["honest"], features, manifest.label, classes, lengths)
        if not all(len(honest[part][1]) for part in ("train", "test")):
            raise ModelError(f"{dataset.table_name} {key} has no rows to train or to test on")
        offline: dict[JoinKind, np.ndarray] = {}
        served: dict[JoinKind, np.ndarray] = {}
        changed: dict[JoinKind, float] = {}
        for join, table in tables.items():
            parts = honest if join == "honest" else _parts(lake, table, features, manifest.label, classes, lengths)
            model = fit(task, columns, parts["train"], parts["validation"], seed=seed)
            offline[join] = model.answers(parts["test"][0])
            served[join] = offline[join] if join == "honest" else model.answers(honest["test"][0])
            changed[join] = _changed(parts["test"][0], honest["test"][0], columns)
            say(f"{join}: trained on {len(parts['train'][1]):,} rows")
    return LeakReport(
        view=view.name,
        dataset=dataset.table_name,
        partition=key,
        task=task,
        train_rows=len(honest["train"][1]),
        test_rows=len(honest["test"][1]),
        promises=promises_of(task, honest["test"][1], offline, served, changed),
        notes=(*_nowhere_known(honest["train"][0], features, lengths), *_notes(happened)),
    )


def _task(lake: Lake, table: str, label: Column) -> tuple[QuickTask, list[str]]:
    """What kind of label it is, and its classes in order; none of a binary one and of a value."""
    name = quote(label.name)
    result = lake.connection.execute(f"SELECT DISTINCT {name} FROM {table} LIMIT {_MOST_CLASSES + 1}").fetchall()
    values = {value for (value,) in result}
    if len(values) < 2:
        raise ModelError(f"the label {label.name!r} has one value only, so there is nothing to learn")
    if values <= {0, 1}:  # True and False are among them
        return "binary", []
    if label.type != "text":
        return "regression", []
    if len(values) > _MOST_CLASSES:
        raise DataError(
            f"the label {label.name!r} has more than {_MOST_CLASSES} classes, which is too many for a quick model"
        )
    return "multiclass", sorted(values)


def _parts(
    lake: Lake,
    table: str,
    features: Sequence[Column],
    label: Column,
    classes: Sequence[str],
    lengths: Mapping[str, int],
) -> dict[str, tuple[Arrays, np.ndarray]]:
    """The features and labels of each part, by the rows' numbers, so that parts of several joins are of the same rows."""
    parts: dict[str, tuple[Arrays, np.ndarray]] = {}
    for part in ("train", "validation", "test"):
        rows = lake.connection.sql(f"FROM {table} WHERE {quote(SPLIT)} = {literal(part)} ORDER BY {NUMBER}")
        arrays = _flat(fetch_columns(rows, features), lengths)
        labels = fetch_columns(rows, [label])[label.name]
        y = np.searchsorted(np.array(classes), labels.astype(str)) if classes else labels.astype(np.float64)
        parts[part] = (arrays, y)
    return parts


def _lengths(lake: Lake, tables: Iterable[str], features: Sequence[Column]) -> dict[str, int]:
    """How many numbers the vectors among the features have in any join: the honest one may have none."""
    names = [feature.name for feature in features if feature.type == "vector"]
    if not names:
        return {}
    lengths = ", ".join(f"coalesce(max(len({quote(name)})), 0)" for name in names)
    of_tables = [lake.connection.execute(f"SELECT {lengths} FROM {table}").fetchall()[0] for table in tables]
    return {name: max(each) for name, each in zip(names, zip(*of_tables, strict=True), strict=True)}


def _columns(features: Sequence[Column], lengths: Mapping[str, int]) -> list[Column]:
    """The features, with a number for each of a vector."""
    return [
        column
        for feature in features
        for column in (
            [Column(f"{feature.name}:{place}", "number") for place in range(lengths[feature.name])]
            if feature.name in lengths
            else [feature]
        )
    ]


def _flat(arrays: Arrays, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The arrays of ``_columns``; what a vector lacks is NaN."""
    result = {name: values for name, values in arrays.items() if name not in lengths}
    for name, dim in lengths.items():
        numbers = np.full((len(arrays[name]), dim), np.nan)
        for row, value in enumerate(arrays[name]):
            if value is not None:
                numbers[row, : len(value)] = value[:dim]
        result |= {f"{name}:{place}": numbers[:, place] for place in range(dim)}
    return result


def _changed(leaky: Arrays, honest: Arrays, columns: Sequence[Column]) -> float:
    """The share of rows that have another value of some feature."""
    differs = np.zeros(len(next(iter(honest.values()))), dtype=bool)
    for column in columns:
        one, other = leaky[column.name], honest[column.name]
        same = one == other
        if column.type == "timestamp":
            same |= np.isnat(one) & np.isnat(other)
        elif column.type != "text":
            same |= np.isnan(one) & np.isnan(other)
        differs |= ~same
    return float(differs.mean()) if len(differs) else 0.0


def _nowhere_known(train: Arrays, features: Sequence[Column], lengths: Mapping[str, int]) -> Iterator[str]:
    """What the honest join has in no train row: an outcome, say, the clearest leak."""
    for feature in features:
        columns = [train[column.name] for column in _columns([feature], lengths)]
        if all((values == "").all() if feature.type == "text" else np.all(values != values) for values in columns):
            yield f"{feature.name} is known at no prediction time of train, so that a served model has nothing of it"


def _notes(happened: EventTimeRows) -> Iterator[str]:
    if happened.outcomes:
        yield f"outcomes that count from their spine row's prediction time on: {', '.join(happened.outcomes)}"
    if happened.computed:
        yield f"computed again of such rows: {', '.join(happened.computed)}"
    for table, why in happened.left.items():
        yield f"{table} keeps its own rows, so the leaky joins may promise too little: {why}"
