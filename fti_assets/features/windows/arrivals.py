"""The rows that arrive in each partition of a run, where a source is partitioned by when its rows arrive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from fti_assets.core.sql import quoted, temporary_name, timestamp
from fti_assets.errors import DeclarationError
from fti_assets.features.rows.table import Grid, Table, partitioned_by_arrival
from fti_assets.features.windows.axis import Axis, RowsBy, Windows
from fti_assets.stores.duckdb.relations import view_of

if TYPE_CHECKING:
    import duckdb


def arrivals(
    rows: Table, grid: Grid, keys: Sequence[str], columns: Sequence[str], lengths: dict[str, int], rows_by: RowsBy
) -> Iterator[tuple[Table, Windows, str]]:
    """For each partition of a run that new rows arrive in, what it sees of the source, its windows, and those rows.

    A partition sees what has arrived before its end, whatever its event time, and nothing of later ones: so a range gives
    what its days give. A row belongs to the partition of its first version; the others are corrections of it.

    What the run may need is read from the source once, sorted by event time, so that a partition reads its own part of it.

    Args:
        rows: the source.
        grid: the run's instants, by whose bounds rows arrive.
        keys: the columns that with the event time name a row.
        columns: what the windows read of the source.
        lengths: each window's length in microseconds, by its text.
        rows_by: what a window is measured by.

    Yields:
        The source with a grid that spans the event times of the new rows, the windows on it, and the SQL of the ``keys``,
        event time and arrival of those rows.

    Raises:
        DeclarationError: the running group is not partitioned by the source's column.
    """
    assert rows.arrives is not None
    if grid.arrives != rows.arrives:
        raise DeclarationError(partitioned_by_arrival(rows.name, rows.arrives))
    event, arrived = quoted(rows.event_time or ""), quoted(rows.arrives)
    new = _first_versions(rows, grid, list(dict.fromkeys([*map(quoted, keys), event])))

    def windows_of(condition: str) -> tuple[Grid, Windows, datetime] | None:
        (first, last), *_ = rows.connection.execute(
            f"SELECT min({event}), max({event}) FROM {new} WHERE {condition}"
        ).fetchall()
        if first is None:
            return None
        spanned = Grid(grid.instant, first, last + timedelta(microseconds=1))
        return spanned, Windows(Axis.of(spanned, None), lengths, rows_by), last

    whole = windows_of("true")
    if whole is None:
        return
    recent = " OR ".join(f"({one})" for one in whole[1].recent(rows))
    near = _copied(rows, rows.relation.filter(recent), columns)
    beyond = None if rows.beyond is None else _copied(rows, rows.beyond.filter(recent), columns)
    for start, end in pairwise([grid.start, *grid.starts, grid.end]):
        within = f"{arrived} >= {timestamp(start)} AND {arrived} < {timestamp(end)}"
        part = windows_of(within)
        if part is not None:
            spanned, windows, last = part
            seen = near.filter(f"{arrived} < {timestamp(end)} AND {event} <= {timestamp(last)}")
            found = replace(rows, relation=seen, beyond=beyond, arrives=None, partitions=None, grid=spanned)
            yield found, windows, f"(FROM {new} WHERE {within})"


def _first_versions(rows: Table, grid: Grid, identity: Sequence[str]) -> str:
    """The quoted name of a temporary table of the rows whose first version arrives in a run, and when."""
    arrived, name = quoted(rows.arrives or ""), quoted("temp", temporary_name("arrivals"))
    names, known = ", ".join(identity), " AND ".join(f"{one} IS NOT NULL" for one in identity)
    rows.connection.execute(
        f"CREATE TEMP TABLE {name} AS SELECT {names}, min(old.{arrived}) AS {arrived} FROM {view_of(rows.relation)} old "
        f"WHERE {known} GROUP BY {names} HAVING min(old.{arrived}) >= {timestamp(grid.start)} "
        f"AND min(old.{arrived}) < {timestamp(grid.end)}"
    )
    if rows.beyond is not None:  # a version from before the lookback
        same = " AND ".join(f"new.{one} = old.{one}" for one in identity)
        rows.connection.execute(f"DELETE FROM {name} new USING {view_of(rows.beyond)} old WHERE {same}")
    return name


def _copied(rows: Table, some: duckdb.DuckDBPyRelation, columns: Sequence[str]) -> duckdb.DuckDBPyRelation:
    """Columns of some rows in a temporary table, of which DuckDB reads the blocks within bounds of the event time alone."""
    name = quoted("temp", temporary_name("arrived"))
    kept = ", ".join(quoted(column) for column in columns if column in some.columns)
    rows.connection.execute(
        f"CREATE TEMP TABLE {name} AS SELECT {kept} FROM {view_of(some)} ORDER BY {quoted(rows.event_time or '')}"
    )
    return rows.connection.sql(f"FROM {name}")
