"""When each row of a table came to the lake for the first time, and whether that can be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb

from fti_assets.core.names import PARTITION, TableName
from fti_assets.core.sql import literal, quote, temporary_name, timestamp
from fti_assets.core.times import Partition, Times
from fti_assets.features.rows.visibility import available_sql
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.snapshots import commit_times

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

    A row is what its keys and times name: a correction with an available-at of its own is another row, and one that a rerun writes
    again is the same. A backfill says nothing of how late its rows were: the rows of a partition whose first commit came later after
    its end than the partition is long are not judged, in whichever run they came, nor the rows of the first commit of a partition
    that has no span of time. Such a partition is judged all the same where first commits come at the pace of partitions, always as
    late: where that of the one before it or after it lies half to one and a half as far away as it does itself. Rows that were there
    at the oldest snapshot that can be read are unknown.

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
    rows, ledger = (_insertions(schema, name, oldest, newest) for schema, name in _parts(table))
    new_rows = _table(
        connection,
        f"SELECT {names}, min({event}) AS event, min({available}) AS available, min(snapshot_id) AS {_SNAPSHOT}, "
        f"arg_min({PARTITION}, snapshot_id) AS {_OF} FROM {rows} rows WHERE {kept}"
        + ("" if old_rows is None else f" AND NOT EXISTS (FROM {old_rows} old WHERE {_same(identity)})")
        + f" GROUP BY {names}",
    )
    firsts = _table(connection, f"SELECT partition, min(snapshot_id) AS {_SNAPSHOT} FROM {ledger} GROUP BY partition")
    before = _partitions_at(lake, table, oldest)
    made = (
        f"SELECT spans.*, made.at AS made_at FROM ({_spans(partitions)}) spans LEFT JOIN {firsts} firsts USING (partition) "
        f"LEFT JOIN {moments} made ON made.number = firsts.{_SNAPSHOT}"
    )
    # When a partition that the oldest snapshot had was first made is not known.
    known_made = f"FROM ({made}) WHERE (partition IN ({before})) IS NOT TRUE"
    spans = _table(connection, f"SELECT *, {_is_at_pace()} AS is_at_pace {known_made} WINDOW w AS (ORDER BY start)")
    # With a span: the partition was first made in time, or as late as its neighbours. Without: the row came in a later commit than the
    # partition's first.
    judged = (
        "CASE WHEN spans.until IS NOT NULL THEN coalesce(spans.made_at <= spans.until, false) OR spans.is_at_pace "
        f"ELSE coalesce(new.{_SNAPSHOT} > firsts.{_SNAPSHOT}, false) OR new.{_OF} IN ({before}) END"
    )
    is_new = f"new.{_OF} NOT IN ({before})" if partitions else "true"
    select = (
        "SELECT new.event, new.available, moments.at AS committed, "
        f"CASE WHEN NOT {is_new} THEN 'unknown' WHEN {judged} THEN 'judged' ELSE 'backfill' END AS standing "
        f"FROM {new_rows} new JOIN {moments} moments ON moments.number = new.{_SNAPSHOT} "
        f"LEFT JOIN {firsts} firsts ON firsts.partition = new.{_OF} "
        f"LEFT JOIN {spans} spans ON spans.partition = new.{_OF}"
    )
    if old_rows is not None:
        select += f" UNION ALL SELECT {event}, {available}, NULL::TIMESTAMP, 'unknown' FROM {old_rows} WHERE {kept}"
    return _table(connection, select)


def _parts(table: TableName) -> tuple[tuple[str, str], tuple[str, str]]:
    """The schema and name of a table and of its ledger."""
    return (table.schema, table.name), ("ledger", f"{table.schema}_{table.name}")


def _insertions(schema: str, name: str, oldest: int, newest: int) -> str:
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
    """The SQL of each partition's start, and of the instant until which it is made in its time: its end, and once more its length."""
    spans = [
        f"({literal(key)}, {timestamp(one.start)}, {timestamp(one.end + (one.end - one.start))})"
        for key, one in partitions.items()
        if one.start is not None and one.end is not None
    ]
    if not spans:
        return "SELECT NULL::VARCHAR AS partition, NULL::TIMESTAMP AS start, NULL::TIMESTAMP AS until WHERE false"
    return f"FROM (VALUES {', '.join(spans)}) spans(partition, start, until)"


def _is_at_pace() -> str:
    """The SQL of whether the neighbour before or after was first made about as much earlier or later as it lies earlier or later."""
    paces = [
        f"(epoch_us(made_at) - {near}(epoch_us(made_at)) OVER w) / (epoch_us(start) - {near}(epoch_us(start)) OVER w) BETWEEN 0.5 AND 1.5"
        for near in ("lag", "lead")
    ]
    return f"({' OR '.join(f'coalesce({pace}, false)' for pace in paces)})"


def _same(identity: Sequence[str]) -> str:
    return " AND ".join(f"old.{quote(name)} IS NOT DISTINCT FROM rows.{quote(name)}" for name in identity)


def _table(connection: duckdb.DuckDBPyConnection, select: str) -> str:
    name = quote("temp", temporary_name("commits"))
    connection.execute(f"CREATE TEMP TABLE {name} AS {select}")
    return name
