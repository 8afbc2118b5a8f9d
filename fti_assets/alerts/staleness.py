"""Which feature groups are stale: a partition that has ended and is due was not materialized."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg

from fti_assets.alerts.causes import Cause, Findings
from fti_assets.core.times import Partition
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.partitions import is_timed, partitions_of


def findings_of_groups(instance: dg.DagsterInstance, groups: Iterable[FeatureGroup], now: datetime) -> Findings:
    """The groups whose newest due partition is not materialized.

    A partition is due once it has ended for as long as it is itself, and for the group's serving delay. What has no partitions of time
    has no due date, and neither has what lies outside.

    Args:
        instance: Dagster's.
        groups: those that are watched.
        now: the instant of this look.
    """
    causes = []
    for group in groups:
        due = due_partition(group.partitions_def, group.serving_delay, now) if group.source is None else None
        if due is None or _is_materialized(instance, group.key, due.key):
            continue
        causes.append(
            Cause(
                subject=f"stale {group.table_name}",
                title=f"{group.table_name} is stale: partition {due.key} is missing",
                text=f"It ended at {due.end}. Materialize it, or see why its run did not begin.",
                end=f"{group.table_name} is fresh again",
            )
        )
    return Findings(tuple(causes))


def due_partition(
    partitions_def: dg.PartitionsDefinition[str] | None, delay: timedelta | None, now: datetime
) -> Partition | None:
    """The newest partition that should be materialized by now; None if there is none yet, or no more since the definition has ended.

    >>> days = dg.DailyPartitionsDefinition(start_date="2024-01-01")
    >>> due_partition(days, timedelta(hours=1), datetime(2024, 1, 5, 0, 30)).key
    '2024-01-02'
    >>> due_partition(days, timedelta(hours=1), datetime(2024, 1, 5, 1)).key
    '2024-01-03'
    """
    if not is_timed(partitions_def):
        return None
    latest = (now - (delay or timedelta(0))).replace(tzinfo=UTC)
    # The last one that has ended has the one before it due, since that ended a partition's length ago.
    ended = partitions_def.get_prev_partition_window(latest)
    window = None if ended is None else partitions_def.get_prev_partition_window(ended.start)
    if window is not None and partitions_def.end is not None and window.end > partitions_def.end:
        window = partitions_def.get_prev_partition_window(partitions_def.end)
    keys = [] if window is None else partitions_def.get_partition_keys_in_time_window(window)
    return partitions_of(partitions_def, keys[:1])[0] if keys else None


def _is_materialized(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> bool:
    of_partition = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    return bool(instance.fetch_materializations(of_partition, limit=1).records)
