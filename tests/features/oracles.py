"""What the design says about time, in plain Python over lists of dicts: slow, and with nothing to get wrong."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import duckdb

from fti_assets.core.manifest import JoinedGroup

Row = dict[str, Any]
MINUTE = timedelta(minutes=1)
START = datetime(2013, 1, 1)


@cache
def _shared() -> duckdb.DuckDBPyConnection:
    """An empty database: to make one takes longer than most tests."""
    return duckdb.connect()


def connection_to_shared() -> duckdb.DuckDBPyConnection:
    """One with temporary tables of its own, for tests that make no others."""
    return _set_up(_shared().cursor())


def connection() -> duckdb.DuckDBPyConnection:
    """A connection set up as the library's own are."""
    return _set_up(duckdb.connect())


def _set_up(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    connection.execute("SET TimeZone='UTC'; SET python_enable_replacements=false; SET threads=2")
    return connection


def relation(
    connection: duckdb.DuckDBPyConnection, columns: Mapping[str, str], rows: Sequence[Row]
) -> duckdb.DuckDBPyRelation:
    """Rows as a relation of the given column types, in their order."""
    selected = ", ".join(f'unnest(?::{kind}[]) AS "{name}"' for name, kind in columns.items())
    return connection.sql(f"SELECT {selected}", params=[[row[name] for row in rows] for name in columns])


def available(row: Row, event_time: str, available_at: str | None, delay: timedelta) -> datetime | None:
    if available_at is not None:
        return row[available_at]
    return None if row[event_time] is None else row[event_time] + delay


def visible(row: Row, event_time: str, available_at: str | None, delay: timedelta) -> datetime | None:
    """The later of event time and available-at; None if the row is never visible."""
    at = available(row, event_time, available_at, delay)
    return None if at is None or row[event_time] is None else max(row[event_time], at)


def winner(group: JoinedGroup, rows: Sequence[Row], keys: Sequence[Any], at: datetime | None) -> Row | None:
    """The one row of a group that a spine row with these keys gets at ``at``."""
    if None in keys:
        return None
    same = [row for row in rows if all(row[key.group] == value for key, value in zip(group.keys, keys, strict=True))]
    if group.event_time is None:
        return same[0] if same else None
    times = (group.event_time, group.available_at, timedelta(microseconds=group.serving_delay_us))
    observed = [row for row in same if at is not None and (when := visible(row, *times)) is not None and when <= at]

    def rank(row: Row) -> tuple[Any, ...]:
        tie = row[group.tie_break] if group.tie_break is not None else None
        return row[group.event_time], available(row, *times), tie is not None, tie or 0

    if not observed or at is None:
        return None
    best = max(observed, key=rank)
    expired = group.ttl_us is not None and best[group.event_time] < at - timedelta(microseconds=group.ttl_us)
    return None if expired else best


def point_in_time(
    spine: Sequence[Row], joins: Sequence[JoinedGroup], rows: Mapping[str, Sequence[Row]], prediction_time: str | None
) -> list[list[Any]]:
    """Each join's values, one list a spine row."""
    joined = []
    for row in spine:
        values: list[Any] = []
        for group in joins:
            at = None if prediction_time is None else row[prediction_time]
            best = winner(group, rows[group.table_name], [row[key.spine] for key in group.keys], at)
            values += [None if best is None else best[column.column] for column in group.columns]
        joined.append(values)
    return joined


def spine_version(versions: Sequence[Row], at: datetime, available: str, tie_break: str | None = None) -> Row:
    """Of the versions of one spine row the one that was visible at its prediction time; if none was, the earliest."""

    def tie(row: Row) -> tuple[bool, Any]:
        value = None if tie_break is None else row[tie_break]
        return value is not None, value or 0

    observed = [row for row in versions if row[available] <= at]
    if observed:
        newest = max(row[available] for row in observed)
        return max((row for row in observed if row[available] == newest), key=tie)
    earliest = min(row[available] for row in versions)
    return max((row for row in versions if row[available] == earliest), key=tie)
