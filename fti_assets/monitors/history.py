"""What a monitor has measured before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fti_assets.core.sql import timestamp
from fti_assets.core.times import Partition
from fti_assets.monitoring.drift.judging import Series
from fti_assets.monitors.monitor import START, Monitor
from fti_assets.orchestration.partitions import partitions_between
from fti_assets.stores.lake.lake import Lake

LEAST_WEEKS = 4
"""How far back a row of breaches reaches at least."""


def earlier_breaches(
    lake: Lake, monitor: Monitor, partitions: Sequence[Partition], snapshot: int
) -> dict[Series, dict[datetime, bool]]:
    """By series, the stored partitions of the weeks before that were judged, and whether there was a breach; none of those that are run."""
    first, last = partitions[0].start, partitions[-1].start
    if (
        first is None
        or last is None
        or all(rule.in_a_row == 1 for rule in monitor.drift)
        or not lake.has(monitor.table)
    ):
        return {}
    since, own = first - timedelta(weeks=max(monitor.weeks, LEAST_WEEKS)), {one.key for one in partitions}
    ledger = lake.ledger(monitor.table, snapshot=snapshot)
    keys = [
        one.key for one in partitions_between(monitor.calendar, since, last) if one.key in ledger and one.key not in own
    ]
    if not keys:
        return {}
    rows = lake.rows(monitor.table, snapshot=snapshot, partitions=keys).filter(
        f"{START} >= {timestamp(since)} AND verdict IN ('ok', 'warning') AND threshold IS NOT NULL"
    )
    history: dict[Series, dict[datetime, bool]] = {}
    query = f"subject, column_name, statistic, reference, slice, arm, {START}, value > threshold"
    for *series, start, breach in rows.project(query).fetchall():
        own_history = history.setdefault(tuple(series), {})
        own_history[start] = own_history.get(start, False) or bool(breach)
    return history
