"""The join of windows over a group's rows, each computed at the prediction time of a spine row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from fti_assets.core.manifest import JoinedGroup, RequestWindows
from fti_assets.core.sql import quote, temporary_name, timestamp
from fti_assets.core.times import EPOCH, from_microseconds
from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.point_in_time.asof import KEY, ROW, Points, same_keys
from fti_assets.features.rows.table import Grid, Table
from fti_assets.features.rows.visibility import check_columns
from fti_assets.features.windows.aggregates import Aggregate, Count, Max
from fti_assets.features.windows.axis import AT, Axis, Windows
from fti_assets.features.windows.combined import aggregated
from fti_assets.features.windows.records import aggregate_of
from fti_assets.features.windows.sweep import spans_table
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb

ROWS = "__fti_rows"
"""The column of a join that says how many rows are in the longest window."""
_EVENT, _AVAILABLE = "__fti_latest_event", "__fti_latest_available"
_INSTANT = "__fti_instant"


def windows_at_points(
    connection: duckdb.DuckDBPyConnection, points: Points, group: JoinedGroup, rows: duckdb.DuckDBPyRelation
) -> str:
    """The SQL of the join: the spine's row numbers with the group's features, in no order; rows without a value may be absent.

    A row of the spine counts only its own key's rows, those that became visible after the window's far end and at or before its
    prediction time, as ``RequestWindows`` says. Of a column that is a key of the group the spine's own value comes where the
    key has a row in the longest window.

    A time of the source as a column is the latest of the rows in the longest window, ``ROWS`` how many there are.

    Raises:
        DeclarationError: a column is missing, or cannot be aggregated so.
    """
    assert group.windows is not None
    plan = _Plan.of(group, group.windows)
    check_columns([*(key.group for key in group.keys), *plan.read], rows.columns, of=group.table.name)
    axis = _axis(connection, points)
    table = quote("temp", temporary_name("windowed"))
    windows = Windows(
        Table(
            connection.sql(f"FROM {relation_name(rows)}"),
            connection,
            group.table.name,
            (KEY,),
            event_time=group.event_time,
            available_at=group.available_at,
            serving_delay=timedelta(microseconds=group.serving_delay_us),
            grid=Grid(_INSTANT, EPOCH, EPOCH),
        ),
        (KEY,),
        plan.aggregates,
        plan.lengths,
        "visible_at",
        axis,
        cell=group.windows.every_us,
    )
    columns = ", ".join([f"c.{KEY}", *(f"r.{quote(name)}" for name in plan.read)])
    # Stored, since it is read once for each float's span of exponents, and for the windows.
    connection.execute(
        f"CREATE TEMP TABLE {table} AS SELECT {columns} FROM (FROM {relation_name(rows)} WHERE {_within_reach(windows)}) r "
        f"JOIN {points.codes} c ON {same_keys(group, points.with_nul, spine='c', rows='r')}"
    )
    windows = replace(windows, rows=replace(windows.rows, relation=connection.sql(f"FROM {table}")))
    keys = " AND ".join(f"s.{quote(key.spine)} = c.{quote(key.spine)}" for key in group.keys)
    at = f"epoch_us(s.{quote(points.prediction_time)}::TIMESTAMP)"
    targets = (
        f"SELECT s.{ROW}, c.{KEY}, {at} - {axis.first} AS {AT} FROM {points.spine} s JOIN {points.codes} c ON {keys} "
        f"WHERE s.{quote(points.prediction_time)} IS NOT NULL"
    )
    results = relation_name(aggregated(windows, [ROW], targets, spans_table()))
    has_rows = f"w.{quote(f'{ROWS}_{group.windows.longest.text}')} > 0"
    own = {key.group: f"s.{quote(key.spine)}" for key in group.keys}
    own |= {name: f"w.{quote(f'{column}_{group.windows.longest.text}')}" for name, column in plan.of_rows.items()}
    features = "".join(
        f", CASE WHEN {has_rows} THEN {own.get(one.column) or f'w.{quote(one.column)}'} END AS {quote(one.feature)}"
        for one in group.columns
    )
    return f"SELECT s.{ROW}{features} FROM {points.spine} s LEFT JOIN {results} w USING ({ROW})"


@dataclass(frozen=True)
class _Plan:
    """What is computed for a join: its aggregates by name, its windows by text, what is read of each row, and which aggregate says the
    latest time of the rows, by its column.

    The number of rows in the longest window is always there: it says which keys have a value.
    """

    aggregates: dict[str, Aggregate]
    lengths: dict[str, int]
    read: list[str]
    of_rows: dict[str, str]

    @classmethod
    def of(cls, group: JoinedGroup, windows: RequestWindows) -> _Plan:
        known, keys = windows.columns, {key.group for key in group.keys}
        times = [name for name in (group.event_time, group.available_at) if name is not None]
        names = [one.column for one in group.columns]
        unknown = [name for name in names if name not in known and name not in {*keys, *times, ROWS}]
        if unknown:
            raise DeclarationError(f"{group.table_name} has no column {unknown[0]!r}: it has {one_of(known)}")
        selected = [known[name] for name in names if name in known]
        aggregates: dict[str, Aggregate] = {one.name: aggregate_of(one) for one, *_ in selected} | {ROWS: Count()}
        of_rows = {ROWS: ROWS}
        for time, name in zip(times, (_EVENT, _AVAILABLE), strict=False):
            if time in names:
                aggregates[name], of_rows[time] = Max(time), name
        texts = {length.text for _, length, _ in selected} | {windows.longest.text}
        lengths = {one.text: one.us for one in windows.lengths if one.text in texts}
        columns = [one.column for one, *_ in selected if one.column is not None]
        return cls(aggregates, lengths, list(dict.fromkeys([*times, *columns])), of_rows)


def _axis(connection: duckdb.DuckDBPyConnection, points: Points) -> Axis:
    """Every microsecond from the first prediction to the last."""
    at = f"{quote(points.prediction_time)}::TIMESTAMP"
    [(first, last)] = connection.execute(
        f"SELECT epoch_us(min({at})), epoch_us(max({at})) FROM {points.spine}"
    ).fetchall()
    return Axis(0, 1, 0) if first is None else Axis(first, 1, last - first + 1)


def _within_reach(windows: Windows) -> str:
    """The SQL of a condition on rows, in comparisons with constants, so that files beyond them are not read."""
    last = timestamp(from_microseconds(windows.axis.first + windows.axis.number))
    times = [quote(name) for name in (windows.rows.event_time, windows.rows.available_at) if name is not None]
    recent = " OR ".join(f"({one})" for one in windows.recent())
    return " AND ".join([f"({recent})", *(f"{time} <= {last}" for time in times)])
