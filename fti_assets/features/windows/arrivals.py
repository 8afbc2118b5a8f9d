"""The rows that arrive in each partition of a run, where a source is partitioned by when its rows arrive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from fti_assets.core.sql import quoted, temporary_name, timestamp
from fti_assets.errors import DeclarationError
from fti_assets.features.rows.table import Grid, Table
from fti_assets.stores.duckdb.relations import view_of


def arrivals(rows: Table, grid: Grid, keys: Sequence[str]) -> Iterator[tuple[Table, str]]:
    """For each partition of a run that new rows arrive in, what it sees of the source, and a table of those rows.

    A partition sees what has arrived before its end, whatever its event time, and nothing of later ones: so a range gives
    what its days give. A row belongs to the partition of its first version; the others are corrections of it.

    Args:
        rows: the source.
        grid: the run's instants, by whose bounds rows arrive.
        keys: the columns that with the event time name a row.

    Yields:
        The source with a grid that spans the event times of the new rows, and the quoted name of a temporary table of their
        ``keys``, event time and arrival.

    Raises:
        DeclarationError: the running group is not partitioned by the source's column.
    """
    assert rows.arrives is not None
    if grid.arrives != rows.arrives:
        raise DeclarationError(
            f"{rows.name} is partitioned by {rows.arrives!r}, so windows for each of its rows are too, or those of a row that "
            f"lands late would belong to a partition that was run before: declare the group with partition_by={rows.arrives!r}, "
            "which the windows carry along, or give every='1h' for windows at the instants of a grid"
        )
    event, arrived = quoted(rows.event_time or ""), quoted(rows.arrives)
    identity = list(dict.fromkeys([*map(quoted, keys), event]))
    names, known = ", ".join(identity), " AND ".join(f"{one} IS NOT NULL" for one in identity)
    same = " AND ".join(f"new.{one} = old.{one}" for one in identity)
    bounds = [grid.start, *grid.starts, grid.end]
    for start, end in pairwise(bounds):
        seen = rows.relation.filter(f"{arrived} < {timestamp(end)}")
        name = quoted("temp", temporary_name("arrivals"))
        rows.connection.execute(
            f"CREATE TEMP TABLE {name} AS SELECT {names}, min(old.{arrived}) AS {arrived} FROM {view_of(seen)} old "
            f"WHERE {known} GROUP BY {names} HAVING min(old.{arrived}) >= {timestamp(start)}"
        )
        if rows.beyond is not None:  # a version from before the lookback
            rows.connection.execute(f"DELETE FROM {name} new USING {view_of(rows.beyond)} old WHERE {same}")
        first, last = rows.connection.execute(f"SELECT min({event}), max({event}) FROM {name}").fetchall()[0]
        if first is not None:
            spanned = Grid(grid.instant, first, last + timedelta(microseconds=1))
            yield replace(rows, relation=seen, arrives=None, partitions=None, grid=spanned), name
