"""What a view brings to a spine row, searched for row by row, as of the row's prediction time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from fti_assets.core.manifest import Column, JoinedGroup, ViewRecord
from fti_assets.core.on_demand.call import LoadedCall
from fti_assets.core.sql import literal, quote, temporary_name, timestamp
from fti_assets.core.times import Partition
from fti_assets.core.types import SIDES
from fti_assets.core.types.columns import canonical
from fti_assets.errors import NotMaterializedError
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.features.point_in_time.assemble import assemble, column_types
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.features.rows.visibility import available_sql
from fti_assets.features.spine_rows import stored_spine
from fti_assets.stores.duckdb.nul_texts import equal_columns, equal_values
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.testing.failures import LeakFound
from fti_assets.training.views.terms import Label
from fti_assets.training.views.view import FeatureView


def record_of(lake: Lake, view: FeatureView) -> ViewRecord:
    """The view with the types that its groups are stored with.

    Raises:
        NotMaterializedError: a group is not there.
    """

    return view.record(lambda group: lake.column_types(group.table))


def assert_join_is_honest(
    lake: Lake, view: FeatureView, partitions: Sequence[Partition], sample: int, seed: int
) -> None:
    """Check a view's joins, on-demand features and label, for the spine rows of some partitions.

    Raises:
        LeakFound: one of them differs from what was known at a row's prediction time.
        NotMaterializedError: a group, or every spine row of the partitions, is not there.
    """
    record = record_of(lake, view)
    spine = stored_spine(lake, record, partitions=[one.key for one in partitions])
    table = quote(temporary_name("searched"))
    joined_rows = assemble(lake, record, spine, snapshot=lake.snapshot())
    lake.connection.execute(f"CREATE TEMP TABLE {table} AS FROM {relation_name(joined_rows)}")
    rows = lake.connection.sql(f"FROM {table}").fetchall()
    if not rows:
        raise NotMaterializedError(
            f"{view.spine.table_name} has no rows in {partitions[0].key} to {partitions[-1].key}"
        )
    columns = lake.connection.sql(f"FROM {table}").columns
    numbers = sorted(random.Random(seed).sample(range(len(rows)), min(sample, len(rows))))
    samples = [dict(zip(columns, rows[number], strict=True)) for number in numbers]
    _refuse(
        f"view {view.name!r} takes columns of its spine {view.spine.table_name} that are not those of the version visible at the "
        "prediction time",
        (difference for row in samples for difference in _corrections(lake, record, row)),
    )
    _refuse(
        f"view {view.name!r} joins rows that were not the newest known at the prediction time",
        (difference for row in samples for join in record.joins for difference in _search(lake, record, join, row)),
    )
    _refuse(
        f"view {view.name!r} has on-demand features that depend on the other rows of the batch, which no request brings",
        _alone(lake, record, table, numbers, samples),
    )
    for name, label in view.labels.items():
        _refuse_visible_labels(lake, view, name, label, table)


def _refuse(message: str, differences: Iterator[dict[str, Any]]) -> None:
    result = pd.DataFrame(list(differences))
    if len(result):
        raise LeakFound(f"{message}: {', '.join(sorted(set(result['feature'])))}", result)


def _corrections(lake: Lake, view: ViewRecord, row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The differences between a spine row's own columns and those of the version that was visible at its prediction time."""
    if view.prediction_time is None:
        return
    at: datetime = row[view.prediction_time]
    times = view.times
    names = [column.name for column in view.request]
    tie = "NULL" if times.tie_break is None else quote(times.tie_break)
    available = available_sql(times)
    identity = {name: row[name] for name in view.identity}
    versions = lake.connection.execute(
        f"SELECT {available}, {tie}, {', '.join(map(quote, names))} "
        f"FROM {relation_name(lake.rows(view.spine_table))} "
        f"WHERE {equal_values(identity)}",
        list(identity.values()),
    ).fetchall()

    # In Python, row by row, and with no SQL of the join: an oracle that shares its mistakes would find none.
    def rank(version: tuple[Any, ...]) -> tuple[Any, ...]:
        when, last = version[0], (version[1] is not None, version[1] if version[1] is not None else 0)
        return (True, when - datetime.min, last) if when <= at else (False, datetime.min - when, last)

    winner = max((version for version in versions if version[0] is not None), key=rank, default=None)
    if winner is None:
        return
    for name, value in zip(names, winner[2:], strict=True):
        if _plain(row[name]) != _plain(value):
            yield {**{one: row[one] for one in view.identity}, "feature": name, "joined": row[name], "known": value}


def _search(lake: Lake, view: ViewRecord, join: JoinedGroup, row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The differences between what the join brought to a row and the winner among all rows of its key."""
    winner = _winner(lake, view, join, row) if join.windows is None else _windows_alone(lake, view, join, row)
    for position, column in enumerate(join.columns):
        value = None if winner is None else winner[position]
        if _plain(row[column.feature]) != _plain(value):
            key_values = {name: row[name] for name in view.identity}
            yield {**key_values, "feature": column.feature, "joined": row[column.feature], "known": value}


def _winner(lake: Lake, view: ViewRecord, join: JoinedGroup, row: Mapping[str, Any]) -> tuple[Any, ...] | None:
    keys = {key.group: row[key.spine] for key in join.keys}
    if None in keys.values():
        return None
    values = ", ".join(quote(column.column) for column in join.columns)
    equal = equal_values(keys)
    rows = relation_name(lake.rows(join.table))
    if join.event_time is None or view.prediction_time is None:
        records = lake.connection.execute(f"SELECT {values} FROM {rows} WHERE {equal}", list(keys.values())).fetchall()
        return tuple(records[0]) if records else None
    available = available_sql(join.times)
    tie = "NULL" if join.tie_break is None else quote(join.tie_break)
    candidates = lake.connection.execute(
        f"SELECT {quote(join.event_time)}, {available}, {tie}, {values} FROM {rows} WHERE {equal}",
        list(keys.values()),
    ).fetchall()
    at: datetime = row[view.prediction_time]
    visible = [one for one in candidates if one[0] is not None and one[1] is not None and max(one[0], one[1]) <= at]
    if not visible:
        return None
    winner = max(visible, key=lambda one: (one[0], one[1], one[2] is not None, 0 if one[2] is None else one[2]))
    is_expired = join.ttl_us is not None and winner[0] < at - timedelta(microseconds=join.ttl_us)
    return None if is_expired else winner[3:]


def _windows_alone(lake: Lake, view: ViewRecord, join: JoinedGroup, row: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What windows come to for a row that is joined by itself, where no row is that was not visible at its time."""
    time, connection = str(view.prediction_time), lake.connection
    at = row[time]
    if at is None:
        return None
    visible = lake.rows(join.table).filter(
        f"greatest({quote(str(join.event_time))}, {available_sql(join.times)}) <= {timestamp(at)}"
    )
    keys = dict.fromkeys(key.spine for key in join.keys)
    types = {key.spine: SIDES[key.type].sql for key in join.keys}
    spine = connection.sql(
        f"SELECT {', '.join(f'?::{types[name]} AS {quote(name)}' for name in keys)}, {timestamp(at)} AS {quote(time)}",
        params=[row[name] for name in keys],
    )
    joined = point_in_time(connection, spine, [join], lambda _: visible, prediction_time=time)
    [values] = joined.project(", ".join(quote(column.feature) for column in join.columns)).fetchall()
    return tuple(values)


def _alone(
    lake: Lake, view: ViewRecord, table: str, numbers: Sequence[int], samples: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The differences between on-demand features of a row among others and of the row alone."""
    types = column_types(view)
    for call in view.on_demand:
        names = dict.fromkeys([*call.inputs, *(output.name for output in call.outputs)])
        arrays = fetch_columns(lake.connection.sql(f"FROM {table}"), [Column(name, types[name]) for name in names])
        function = LoadedCall(call, types=types)
        for number, row in zip(numbers, samples, strict=True):
            # A copy: what the function writes into its input must not reach the next row's.
            outputs = function({name: arrays[name][number : number + 1].copy() for name in call.inputs}, 1)
            for output, values in zip(call.outputs, outputs, strict=True):
                in_batch, alone = arrays[output.name][number], canonical(values, output.type)[0]
                if not _close(in_batch, alone):
                    key_values = {name: row[name] for name in view.spine_keys}
                    yield {**key_values, "feature": output.name, "among others": in_batch, "alone": alone}


def _refuse_visible_labels(lake: Lake, view: FeatureView, name: str, label: Label, table: str) -> None:
    """An outcome that was visible at its own prediction time was no prediction, or its times are wrong."""
    if view.time is None or label.group.event_time is None or label.horizon is not None:
        return
    event = label.group.event_time
    available = available_sql(label.group.times)
    outcomes = lake.connection.sql(
        f"SELECT *, greatest({quote(event)}, {available}) AS __fti_visible FROM {relation_name(lake.rows(label.group.table))}"
    )
    keys = {key: label.column.spine_keys.get(key, key) for key in label.group.keys}
    same = equal_columns(lake.connection, table, keys, rows="spine", target="outcome")
    advice = f"say when an outcome of {label.group.table_name} is known, by its event_time or available_at"
    if label.group is view.spine:
        same += f" AND spine.{quote(view.time)} = outcome.{quote(event)} AND outcome.{quote(label.name)} IS NOT NULL"
        advice = (
            f"it is on the spine row of {label.group.table_name} itself. Give it a group of its own, whose event_time or "
            "available_at says when it was known"
        )
    names = ", ".join(f"spine.{quote(name)}" for name in (*view.spine.keys, view.time))
    visible = lake.connection.sql(
        f"SELECT {names}, {literal(name)} AS feature, outcome.__fti_visible AS known_at FROM {table} spine "
        f"JOIN {relation_name(outcomes)} outcome ON {same} WHERE outcome.__fti_visible <= spine.{quote(view.time)} ORDER BY ALL"
    ).df()
    if len(visible):
        raise LeakFound(
            f"the label {name!r} of view {view.name!r} was visible at its own prediction time for {len(visible)} rows: "
            f"{advice}",
            visible,
        )


def _plain(value: Any) -> Any:
    return None if value is None or value != value else value


def _close(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first.shape == second.shape and np.allclose(first, second, rtol=1e-6, atol=0.0, equal_nan=True)
    if isinstance(first, float | np.floating):
        # numpy may sum a column in another order than one row alone, which changes the last digits.
        return bool(np.isclose(first, second, rtol=1e-9, atol=0.0, equal_nan=True))
    return bool(first == second or (first != first and second != second))
