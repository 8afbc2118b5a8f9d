"""What a monitor has measured before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from fti_assets.core.sql import timestamp
from fti_assets.core.times import Partition
from fti_assets.monitoring.drift.judging import Series
from fti_assets.monitors.monitor import START, Monitor
from fti_assets.orchestration.partitions import partitions_between
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake

LEAST_WEEKS = 4
"""How far back a row of breaches reaches at least."""


def reach_of(monitor: Monitor) -> timedelta:
    """How far back what was measured counts."""
    return timedelta(weeks=max(monitor.weeks, LEAST_WEEKS))


def earlier_breaches(
    lake: Lake, monitor: Monitor, partitions: Sequence[Partition], snapshot: int
) -> dict[Series, dict[datetime, bool]]:
    """By series, the stored partitions of the weeks before that were judged, and whether there was a breach; none of those that are run."""
    if all(rule.in_a_row == 1 for rule in monitor.drift):
        return {}
    where = "verdict IN ('ok', 'warning') AND threshold IS NOT NULL"
    rows = _earlier(lake, monitor, partitions, snapshot, where, "bool_or(value > threshold)")
    return {series: {start: bool(value) for start, value in of.items()} for series, of in rows.items()}


def earlier_values(
    lake: Lake, monitor: Monitor, partitions: Sequence[Partition], snapshot: int
) -> dict[Series, dict[datetime, float]]:
    """By series, what the figures of the weeks before were, of rows enough; none of the partitions that are run."""
    if not any(rule.unusual for rule in monitor.drift):
        return {}
    where = "verdict IN ('ok', 'warning', 'no_reference') AND threshold IS NOT NULL AND value IS NOT NULL"
    return _earlier(lake, monitor, partitions, snapshot, where, "max(value)")


def _earlier(
    lake: Lake, monitor: Monitor, partitions: Sequence[Partition], snapshot: int, where: str, value: str
) -> dict[Series, dict[datetime, Any]]:
    """By series and partition, the value of some SQL over the stored figures of the weeks before."""
    first, last = partitions[0].start, partitions[-1].start
    if first is None or last is None or not lake.has(monitor.table):
        return {}
    since, own = first - reach_of(monitor), {one.key for one in partitions}
    ledger = lake.ledger(monitor.table, snapshot=snapshot)
    keys = [
        one.key for one in partitions_between(monitor.calendar, since, last) if one.key in ledger and one.key not in own
    ]
    if not keys:
        return {}
    rows = lake.rows(monitor.table, snapshot=snapshot, partitions=keys)
    names = f"subject, column_name, statistic, reference, slice, arm, {START}"
    query = f"SELECT {names}, {value} FROM {relation_name(rows)} WHERE {START} >= {timestamp(since)} AND {where} GROUP BY {names}"
    history: dict[Series, dict[datetime, Any]] = {}
    for *series, start, one in lake.connection.execute(query).fetchall():
        history.setdefault(tuple(series), {})[start] = one
    return history
