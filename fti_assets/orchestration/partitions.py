"""Partitions as the pure core sees them: a key and the instants that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeGuard

import dagster as dg

from fti_assets.core.names import WHOLE
from fti_assets.core.times import Partition, naive_utc
from fti_assets.errors import DataError, DeclarationError

UNPARTITIONED = Partition(WHOLE)

RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""The tags of a run over a range of partitions, with its first and its last."""


def is_timed(partitions_def: Any) -> TypeGuard[dg.TimeWindowPartitionsDefinition]:
    """Whether partitions are stretches of time."""
    return isinstance(partitions_def, dg.TimeWindowPartitionsDefinition)


def partitions_of(partitions_def: dg.PartitionsDefinition[str] | None, keys: Sequence[str]) -> list[Partition]:
    """The partitions of some keys, in the order of time."""
    if partitions_def is None:
        return [UNPARTITIONED]
    if not is_timed(partitions_def):
        return [Partition(key) for key in keys]
    spans = {key: partitions_def.time_window_for_partition_key(key) for key in keys}
    partitions = [Partition(key, naive_utc(one.start), naive_utc(one.end)) for key, one in spans.items()]
    return sorted(partitions, key=lambda partition: partition.start or datetime.min)


def running_partitions(context: dg.AssetExecutionContext) -> list[Partition]:
    """The partitions that a step is run for: one, or a range."""
    if not context.has_partition_key and not context.has_partition_key_range:
        if context.assets_def.partitions_def is not None:
            raise DataError(
                f"{context.asset_key.to_user_string()} is partitioned, but the run names no partition: give it one "
                "(--partition) or a range (--partition-range). Nothing was stored"
            )
        return [UNPARTITIONED]
    return partitions_of(context.assets_def.partitions_def, list(context.partition_keys))


def partitions_between(partitions_def: dg.PartitionsDefinition[str], start: datetime, end: datetime) -> list[Partition]:
    """The partitions that overlap ``[start, end)``, of those that the definition has."""
    assert is_timed(partitions_def)
    bound = naive_utc(partitions_def.start)
    last = datetime.max if partitions_def.end is None else naive_utc(partitions_def.end)
    start, end = max(start, bound), min(end, last)
    if start >= end:
        return []
    before = partitions_def.get_prev_partition_window(start.replace(tzinfo=UTC), respect_bounds=False)
    first = (
        start.replace(tzinfo=UTC) if before is None else before.end
    )  # where the partition that holds the start begins
    span = dg.TimeWindow(first, end.replace(tzinfo=UTC))
    partitions = partitions_of(partitions_def, partitions_def.get_partition_keys_in_time_window(span))
    # Dagster lists the partition that the definition's end cuts off, too, although the definition does not have it.
    return [p for p in partitions if p.end and p.start and start < p.end <= last and bound <= p.start < end]


def refuse_unsupported(partitions_def: dg.PartitionsDefinition[str] | None, *, what: str) -> None:
    """Refuse partitions of several dimensions, which have no single span of time."""
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        raise DeclarationError(
            f"{what} has multi-dimensional partitions, which have no one span of time: partition it by time and keep the "
            "other dimension as a key column"
        )
