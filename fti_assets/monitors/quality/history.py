"""The quality that a monitor has measured before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from fti_assets.core.sql import timestamp
from fti_assets.core.times import Partition
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitoring.quality.judging import QUALITY, Judged, Series, note
from fti_assets.monitors.history import LEAST_WEEKS
from fti_assets.monitors.monitor import START, Monitor
from fti_assets.orchestration.partitions import partitions_between
from fti_assets.stores.lake.lake import Lake


def quality_history(
    lake: Lake, monitor: Monitor, partitions: Sequence[Partition], snapshot: int
) -> dict[Series, Judged]:
    """By series, the stored partitions of the weeks before that were judged, and whether there was a breach; none of those that are run."""
    first, last = partitions[0].start, partitions[-1].start
    is_needed = any(rule.in_a_row > 1 for rule in monitor.quality)
    if first is None or last is None or not is_needed or not lake.has(monitor.table):
        return {}
    since, own = first - timedelta(weeks=max(monitor.weeks, LEAST_WEEKS)), {one.key for one in partitions}
    ledger = lake.ledger(monitor.table, snapshot=snapshot)
    stored = [one.key for one in partitions_between(monitor.calendar, since, last) if one.key in ledger]
    keys = [key for key in stored if key not in own]
    if not keys:
        return {}
    rows = lake.rows(monitor.table, snapshot=snapshot, partitions=keys).filter(
        f"subject = '{QUALITY}' AND {START} >= {timestamp(since)} AND verdict IN ('ok', 'warning')"
    )
    columns = f"{START}, column_name, statistic, slice, build, arm, value, rows, threshold, estimated"
    history: dict[Series, Judged] = {}
    earlier = [
        Measurement(
            partition_start=start,
            subject=QUALITY,
            column_name=column,
            statistic=statistic,
            slice=part,
            build=build,
            arm=arm,
            value=value,
            rows=count,
            threshold=threshold,
            estimated=estimated,
            verdict="ok",  # what it was by itself is told by its threshold
        )
        for start, column, statistic, part, build, arm, value, count, threshold, estimated in rows.project(
            columns
        ).fetchall()
    ]
    note(history, earlier, {rule.metric: rule for rule in monitor.quality})
    return history
