"""What a feature group answers at an instant: of each key the row that wins."""

from __future__ import annotations

from datetime import datetime

import duckdb

from fti_assets.core.sql import quoted, timestamp
from fti_assets.errors import NotMaterializedError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.point_in_time.frontier import EVENT, VISIBLE, frontier
from fti_assets.stores.duckdb.relations import view_of


def visible_at(
    connection: duckdb.DuckDBPyConnection, group: FeatureGroup, rows: duckdb.DuckDBPyRelation, at: datetime
) -> duckdb.DuckDBPyRelation:
    """The one row a key that a request at an instant would have been answered with, its times included.

    Among the rows visible at or before ``at`` the one with the latest event time wins; one from before ``at - ttl`` is no
    answer. All rows of a group without an event time, which are always visible.

    Args:
        connection: the connection that ``rows`` belongs to.
        group: the group, for its keys, times and ttl.
        rows: the group's rows as they are stored.
        at: naive UTC.

    Raises:
        NotMaterializedError: no row was visible yet.
    """
    if group.event_time is None:
        return rows
    times = group.times
    every = view_of(
        frontier(connection, rows, group.keys, rows.columns, times, of=group.table_name, validated=group.source is None)
    )
    first = connection.sql(f"SELECT min({VISIBLE}) FROM {every}").fetchall()[0][0]
    if first is None or at < first:
        message = "it has no rows" if first is None else f"its first became visible at {first}"
        raise NotMaterializedError(f"{group.table_name} had no row that was visible at {at}: {message}")
    partition = ", ".join(map(quoted, group.keys))
    alive = "" if times.ttl_us is None else f" WHERE {EVENT} >= {timestamp(at)} - to_microseconds({times.ttl_us})"
    return connection.sql(
        f"SELECT {', '.join(map(quoted, rows.columns))} FROM (FROM {every} WHERE {VISIBLE} <= {timestamp(at)} "
        f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {VISIBLE} DESC) = 1){alive}"
    )
