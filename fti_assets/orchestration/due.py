"""When the newest partition should have been materialized: the one rule of what is stale."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from fti_assets.core.times import Partition, naive_utc
from fti_assets.orchestration.conditions.reach import longest_run
from fti_assets.orchestration.partitions import is_timed, partitions_of


def due_partition(
    partitions_def: dg.PartitionsDefinition[str] | None, delay: timedelta | None, now: datetime
) -> Partition | None:
    """The newest partition that should be materialized by now; None if there is none yet, or no more since the definition has ended.

    A partition is due once it has ended for as long as the next one is, and for the delay of its rows.

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


def due_at(
    partition: Partition, partitions_def: dg.PartitionsDefinition[str] | None, delay: timedelta | None
) -> datetime:
    """When a partition was due, naive UTC.

    >>> days = dg.DailyPartitionsDefinition(start_date="2024-01-01")
    >>> due_at(partitions_of(days, ["2024-01-02"])[0], days, timedelta(hours=1))
    datetime.datetime(2024, 1, 4, 1, 0)
    """
    assert is_timed(partitions_def)
    assert partition.end is not None
    following = partitions_def.get_next_partition_window(partition.end.replace(tzinfo=UTC), respect_bounds=False)
    assert following is not None
    return naive_utc(following.end) + (delay or timedelta(0))


def longest_silence(partitions_def: dg.TimeWindowPartitionsDefinition, delay: timedelta | None) -> timedelta:
    """For how long nothing may be materialized while no partition is overdue; after that, the one that is due is missing.

    The one that is due at an instant ended at most two partitions and the delay before it, and is materialized after its end.

    >>> days = dg.DailyPartitionsDefinition(start_date="2024-01-01")
    >>> longest_silence(days, timedelta(hours=1))
    datetime.timedelta(days=2, seconds=3600)
    >>> longest_silence(dg.MonthlyPartitionsDefinition(start_date="2024-01-01"), None).days
    62
    """
    return longest_run(partitions_def, 2) + (delay or timedelta(0))
