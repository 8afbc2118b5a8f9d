"""How old the newest row is that can be used, and how late rows are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb

from fti_assets.core import clock
from fti_assets.core.names import PartitionRecord
from fti_assets.core.rules import Rule, Verdict
from fti_assets.core.sql import quote, timestamp
from fti_assets.core.times import Partition
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.visibility import available_sql
from fti_assets.stores.lake.files.current_files import refuse_damaged_files
from fti_assets.stores.lake.lake import Lake

FRESH = Rule("fresh", "The newest row that can be used is not older than the ttl", blocking=False)


def is_backfill(partition: Partition, now: datetime) -> bool:
    """Whether a partition ended longer ago than it is long, so that its rows were available in their own time."""
    if partition.start is None or partition.end is None:
        return False
    return partition.end + (partition.end - partition.start) < now


def fresh(lake: Lake, group: FeatureGroup, partitions: Sequence[Partition]) -> list[Verdict]:
    """Judge the newest visible row against the ttl, if the group has one and the run is no backfill."""
    if group.ttl is None or group.event_time is None:
        return []
    now = clock.now()
    if all(is_backfill(partition, now) for partition in partitions):
        message = "no: the run is a backfill, its partitions ended longer ago than one of them is long"
        return [Verdict(FRESH, facts={"judged": message, "ttl_s": group.ttl.total_seconds()})]
    newest = _newest(lake, group, now, since=now - group.ttl)
    stale = newest is None
    # Only for the message: without a bound on time, every file of the table is looked at.
    newest = newest or _newest(lake, group, now, since=None)
    facts: dict[str, Any] = {"ttl_s": group.ttl.total_seconds()}
    if newest is None:
        return [Verdict(FRESH, 1, (), f"{group.table_name} has no row that can be used at {now}", facts)]
    facts |= {"newest_event": str(newest), "age_s": (now - newest).total_seconds()}
    problem = (
        f"the newest row of {group.table_name} that can be used at {now} is of {newest}, {now - newest} before: older than the ttl of "
        f"{group.ttl}, so it answers nothing"
    )
    return [Verdict(FRESH, int(stale), (), problem if stale else "", facts)]


def _newest(lake: Lake, group: FeatureGroup, now: datetime, *, since: datetime | None) -> datetime | None:
    """The latest event time of the rows visible now; ``since`` lets the lake skip old files."""
    assert group.event_time is not None
    event, moment = quote(group.event_time), timestamp(now)
    available = available_sql(group.times)
    refuse_damaged_files(lake, group.table)
    young = "" if since is None else f" AND {event} >= {timestamp(since)}"
    rows = lake.connection.execute(
        f"SELECT max({event}) FROM {group.table.sql} WHERE {event} <= {moment} AND {available} <= {moment}{young}"
    ).fetchall()
    newest: datetime | None = rows[0][0]
    return newest


def future_sql(group: FeatureGroup, now: datetime) -> str:
    """The SQL of whether a row is said to be true and available only after now, so that nobody can have it yet.

    Where ``available_at`` is a column, either alone is honest: the event of a timetable lies ahead, and a row may be stored before
    others are to see it.
    """
    assert group.event_time is not None
    return " AND ".join(f"{quote(name)} > {timestamp(now)}" for name in dict.fromkeys(group.time_columns))


def delays(
    connection: duckdb.DuckDBPyConnection, group: FeatureGroup, new_rows: str, now: datetime
) -> tuple[int, dict[str, Any]]:
    """How many new rows are stored later than they are said to be available, and how long after their event time.

    A row that is stored before its event time is there when the event is: its delay is 0.

    Args:
        connection: the lake's connection.
        group: the group, which has an event time.
        new_rows: the SQL of the rows.
        now: when they are stored.
    """
    assert group.event_time is not None
    available = available_sql(group.times)
    event, moment = quote(group.event_time), timestamp(now)
    # In seconds, as numbers: that is how the check shows them, and it plots no intervals.
    delay = f"greatest(epoch_us({moment}) - epoch_us({event}), 0) / 1000000.0"
    late, rows, ahead, middle, most, longest = connection.execute(
        f"SELECT count(*) FILTER ({available} < {moment}), count(*), count(*) FILTER ({event} > {moment}), quantile_cont({delay}, 0.5), "
        f"quantile_cont({delay}, 0.95), max({delay}) FROM ({new_rows})"
    ).fetchall()[0]
    facts: dict[str, Any] = {"new_rows": int(rows)}
    if ahead:
        facts["new_rows_before_their_event"] = int(ahead)
    if rows:
        facts |= {"measured_delay_p50_s": middle, "measured_delay_p95_s": most, "measured_delay_max_s": longest}
    if group.serving_delay is not None:
        facts["stated_delay_s"] = group.serving_delay / timedelta(seconds=1)
    return int(late), facts


def was_in_time(partition: Partition, ledger: Mapping[str, PartitionRecord]) -> bool:
    """Whether the last run of a partition was no backfill."""
    record = ledger.get(partition.key)
    return record is not None and not is_backfill(partition, record.run_at)
