"""When each row of a table came to the lake for the first time, and whether that can be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, TypeAlias

import duckdb

from fti_assets.core.names import PARTITION, TableName
from fti_assets.core.sql import literal, quote, temporary_name, timestamp
from fti_assets.core.times import Partition, Times
from fti_assets.features.point_in_time.frontier import available_sql
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.snapshots import commit_times

Standing: TypeAlias = Literal["judged", "backfill", "unknown"]
"""Whether a row's commit says how late it was; the column ``standing``."""

_SNAPSHOT, _OF = "__fti_snapshot", "__fti_of"


def first_commits(
    lake: Lake,
    table: TableName,
    identity: Sequence[str],
    times: Times,
    partitions: Mapping[str, Partition],
    *,
    since: datetime | None = None,
) -> str:
    """A temporary table of the rows of a table by their first commit.

    A row is what its keys and times name: a correction with an available-at of its own is another row, and one that a rerun writes again
    is the same. A backfill says nothing of how late its rows were: the rows of a partition whose first commit came later after its end
    than the partition is long are not judged, in whichever run they came, nor the rows of the first commit of a partition that has no
    span of time. Rows that were there at the oldest snapshot that can be read are unknown.

    Args:
        lake: the open lake.
        table: the table.
        identity: the columns that name a row.
        times: its event time, which is not None, and when rows are available.
        partitions: the span of each of its partitions, by key; none for one without a span.
        since: leaves out rows with an event time before that.

    Returns:
        The quoted name of a table with ``event``, ``available``, ``committed`` (timestamps; null where unknown) and ``standing``.
    """
    connection, commits = lake.connection, commit_times(lake).by_number
    oldest, newest = min(commits), max(commits)
    names = ", ".join(map(quote, identity))
    event, available = quote(str(times.event_time)), available_sql(times)
    kept = "true" if since is None else f"{event} >= {timestamp(since)}"
    old_rows = _at(lake, table, oldest)
    moments = _table(
        connection,
        f"SELECT unnest([{', '.join(map(str, commits))}]) AS number, unnest([{', '.join(map(timestamp, commits.values()))}]) AS at",
    )
    rows, ledger = (_insertions(lake, schema, name, oldest, newest) for schema, name in _parts(table))
    new_rows = _table(
        connection,
        f"SELECT {names}, min({event}) AS event, min({available}) AS available, min(snapshot_id) AS {_SNAPSHOT}, "
        f"arg_min({PARTITION}, snapshot_id) AS {_OF} FROM {rows} rows WHERE {kept}"
        + ("" if old_rows is None else f" AND NOT EXISTS (FROM {old_rows} old WHERE {_same(identity)})")
        + f" GROUP BY {names}",
    )
    firsts = _table(connection, f"SELECT partition, min(snapshot_id) AS {_SNAPSHOT} FROM {ledger} GROUP BY partition")
    spans = _table(connection, _spans(partitions))
    before = _partitions_at(lake, table, oldest)
    # With a span: the partition was first made in time. Without: the row came in a later commit than the partition's first.
    judged = (
        "CASE WHEN spans.until IS NOT NULL THEN coalesce(made.at <= spans.until, false) "
        f"ELSE coalesce(new.{_SNAPSHOT} > firsts.{_SNAPSHOT}, false) OR new.{_OF} IN ({before}) END"
    )
    known = f"(spans.until IS NULL OR new.{_OF} NOT IN ({before}))"
    select = (
        "SELECT new.event, new.available, moments.at AS committed, "
        f"CASE WHEN NOT {known} THEN 'unknown' WHEN {judged} THEN 'judged' ELSE 'backfill' END AS standing "
        f"FROM {new_rows} new JOIN {moments} moments ON moments.number = new.{_SNAPSHOT} "
        f"LEFT JOIN {firsts} firsts ON firsts.partition = new.{_OF} "
        f"LEFT JOIN {moments} made ON made.number = firsts.{_SNAPSHOT} LEFT JOIN {spans} spans ON spans.partition = new.{_OF}"
    )
    if old_rows is not None:
        select += f" UNION ALL SELECT {event}, {available}, NULL::TIMESTAMP, 'unknown' FROM {old_rows} WHERE {kept}"
    return _table(connection, select)


def _parts(table: TableName) -> tuple[tuple[str, str], tuple[str, str]]:
    """The schema and name of a table and of its ledger."""
    return (table.schema, table.name), ("ledger", f"{table.schema}_{table.name}")


def _insertions(lake: Lake, schema: str, name: str, oldest: int, newest: int) -> str:
    """The SQL of what came to a table after the oldest snapshot, with the snapshot of each row; deleted rows are among them."""
    first = min(oldest + 1, newest)
    return f"ducklake_table_insertions('lake', {literal(schema)}, {literal(name)}, {first}, {newest})"


def _at(lake: Lake, table: TableName, snapshot: int) -> str | None:
    """The SQL of a table as of a snapshot, None where it was not there."""
    rows = f"(FROM {table.sql} AT (VERSION => {snapshot}))"
    try:
        lake.connection.execute(f"SELECT 1 FROM {rows} LIMIT 0")
    except duckdb.Error:
        return None
    return rows


def _partitions_at(lake: Lake, table: TableName, snapshot: int) -> str:
    keys = lake.ledger(table, snapshot=snapshot)
    return ", ".join(map(literal, keys)) or "NULL"


def _spans(partitions: Mapping[str, Partition]) -> str:
    """The SQL of the instant until which a partition is made in its time: its end, and once more its length."""
    spans = [
        f"({literal(key)}, {timestamp(one.end + (one.end - one.start))})"
        for key, one in partitions.items()
        if one.start is not None and one.end is not None
    ]
    if not spans:
        return "SELECT NULL::VARCHAR AS partition, NULL::TIMESTAMP AS until WHERE false"
    return f"FROM (VALUES {', '.join(spans)}) spans(partition, until)"


def _same(identity: Sequence[str]) -> str:
    return " AND ".join(f"old.{quote(name)} IS NOT DISTINCT FROM rows.{quote(name)}" for name in identity)


def _table(connection: duckdb.DuckDBPyConnection, select: str) -> str:
    name = quote("temp", temporary_name("commits"))
    connection.execute(f"CREATE TEMP TABLE {name} AS {select}")
    return name
