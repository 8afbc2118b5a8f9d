"""The newest partitions of a definition, however many it has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

import dagster as dg

from fti_assets.core.times import Partition, naive_utc
from fti_assets.orchestration.conditions.within_reach import (
    Spans,
)


def newest_first(partitions_def: dg.TimeWindowPartitionsDefinition) -> Iterator[Partition]:
    """The partitions of a definition from the newest back."""
    return back_from(partitions_def, partitions_def.get_last_partition_window())


def newest_within(partitions_def: dg.TimeWindowPartitionsDefinition, spans: Spans) -> Iterator[Partition]:
    """The partitions of a definition that start within some spans, from the newest back; others are not walked through."""
    last = partitions_def.get_last_partition_window()
    if last is None:
        return
    for start, end in reversed(spans):
        following = partitions_def.get_next_partition_window(end.replace(tzinfo=UTC), respect_bounds=False)
        assert following is not None
        until = min(following.start, last.end, key=naive_utc)
        for partition in back_from(partitions_def, partitions_def.get_prev_partition_window(until)):
            if partition.start is None or partition.start < start:
                break
            yield partition


def back_from(partitions_def: dg.TimeWindowPartitionsDefinition, window: dg.TimeWindow | None) -> Iterator[Partition]:
    while window is not None:
        [key] = partitions_def.get_partition_keys_in_time_window(window)
        yield Partition(str(key), naive_utc(window.start), naive_utc(window.end))
        window = partitions_def.get_prev_partition_window(window.start)
