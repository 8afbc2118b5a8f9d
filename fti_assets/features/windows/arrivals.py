"""Windows for each row that arrives in a run, where a source is partitioned by when its rows arrive: partition by partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from fti_assets.core.sql import quote, temporary_name, timestamp
from fti_assets.errors import DeclarationError
from fti_assets.features.rows.table import Grid, Table, partitioned_by_arrival
from fti_assets.features.windows.axis import AT, Axis, Windows
from fti_assets.features.windows.combined import aggregated
from fti_assets.features.windows.sweep import spans_table
from fti_assets.stores.duckdb.nul_texts import equal_columns
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb


def windows_of_arrivals(windows: Windows, own: Sequence[str]) -> duckdb.DuckDBPyRelation:
    """The aggregates for each row whose first version arrives in the run, with when it arrived; other versions are corrections.

    A partition sees what has arrived before its end, whatever its event time, and nothing of later ones: so a range gives
    what its days give. What the run may need is read from the source once, sorted by event time, so that a partition reads
    its own part of it.

    Args:
        windows: what to compute; its axis is the whole run's, by whose bounds rows arrive.
        own: the columns that with the keys and the event time name a row.

    Raises:
        DeclarationError: the running group is not partitioned by the source's column.
    """
    rows, grid, event, arrives = windows.rows, windows.grid, windows.event, windows.rows.arrives or ""
    if grid.arrives != arrives:
        raise DeclarationError(partitioned_by_arrival(rows.name, arrives))
    extras = [name for name in dict.fromkeys([*own, arrives]) if name not in windows.keys]
    new = _first_versions(windows, [*own, *windows.keys])

    def over_new(source: Table, condition: str) -> tuple[Windows, datetime] | None:
        """The windows over the span of the new rows' event times, and its end."""
        sql = f"SELECT min({event}), max({event}) FROM {new} WHERE {condition}"
        first, last = rows.connection.sql(sql).fetchall()[0]
        if first is None:
            return None
        span = Grid(grid.instant, first, last + timedelta(microseconds=1))
        return windows.over(replace(source, grid=span), Axis.of(span, None)), last

    whole = over_new(rows, "true")
    if whole is None:
        nothing = windows.over(replace(rows, relation=rows.relation.filter("false"), beyond=None), windows.axis)
        return aggregated(nothing, extras, nothing.own_instants(extras), spans_table())
    recent = " OR ".join(f"({one})" for one in whole[0].recent())
    near = _copy(windows, rows.relation.filter(recent), own)
    beyond = None if rows.beyond is None else _copy(windows, rows.beyond.filter(recent), own)
    results, spans = quote("temp", temporary_name("windows")), spans_table()
    columns, add = ", ".join(map(quote, [*extras, *windows.keys])), f"CREATE TEMP TABLE {results} AS"
    for start, end in pairwise([grid.start, *grid.starts, grid.end]):
        within = f"{quote(arrives)} >= {timestamp(start)} AND {quote(arrives)} < {timestamp(end)}"
        part = over_new(replace(rows, beyond=beyond), within)
        if part is None:
            continue
        visible = near.filter(f"{quote(arrives)} < {timestamp(end)} AND {event} <= {timestamp(part[1])}")
        of_part = replace(part[0], rows=replace(part[0].rows, relation=visible))
        targets = f"SELECT {columns}, epoch_us({event}) - {of_part.axis.first} AS {AT} FROM {new} WHERE {within}"
        # Stored at once: one plan of all partitions would hold what each of them needs until the end.
        rows.connection.execute(f"{add} FROM {relation_name(aggregated(of_part, extras, targets, spans))}")
        add = f"INSERT INTO {results}"
    return rows.connection.sql(f"FROM {results}")


def _first_versions(windows: Windows, keys: Sequence[str]) -> str:
    """The quoted name of a temporary table of the rows whose first version arrives in a run, and when."""
    rows, grid, name = windows.rows, windows.grid, quote("temp", temporary_name("arrivals"))
    identity = list(dict.fromkeys([*map(quote, keys), windows.event]))
    names, complete = ", ".join(identity), " AND ".join(f"{one} IS NOT NULL" for one in identity)
    first = f"min(old.{quote(rows.arrives or '')})"
    rows.connection.execute(
        f"CREATE TEMP TABLE {name} AS SELECT {names}, {first} AS {quote(rows.arrives or '')} "
        f"FROM {relation_name(rows.relation)} old WHERE {complete} GROUP BY {names} "
        f"HAVING {first} >= {timestamp(grid.start)} AND {first} < {timestamp(grid.end)}"
    )
    if rows.beyond is not None:  # a version from before the lookback
        own = {one: one for one in (*keys, rows.event_time or "")}
        same = equal_columns(rows.connection, name, own, rows="new", target="old")
        rows.connection.execute(f"DELETE FROM {name} new USING {relation_name(rows.beyond)} old WHERE {same}")
    return name


def _copy(windows: Windows, some: duckdb.DuckDBPyRelation, own: Sequence[str]) -> duckdb.DuckDBPyRelation:
    """What windows read of some rows in a temporary table, of which DuckDB reads the blocks within bounds of the event time."""
    rows, name = windows.rows, quote("temp", temporary_name("arrived"))
    read = dict.fromkeys(
        [*own, *windows.keys, rows.event_time, rows.available_at, rows.arrives, *windows.aggregated_columns]
    )
    columns = ", ".join(quote(column) for column in read if column is not None and column in some.columns)
    rows.connection.execute(
        # Sorted by time, so that a part of the run skips the blocks that are not of its days.
        f"CREATE TEMP TABLE {name} AS SELECT {columns} FROM {relation_name(some)} ORDER BY {windows.event}"
    )
    return rows.connection.sql(f"FROM {name}")
