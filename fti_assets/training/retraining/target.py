"""Which cutoff a trigger trains: the newest that has come and whose groups are final before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

import dagster as dg

from fti_assets.core.times import Partition, naive_utc
from fti_assets.features.asset import upstream_of
from fti_assets.orchestration.conditions.made import missing_before
from fti_assets.orchestration.conditions.newest import back_from
from fti_assets.orchestration.conditions.reach import Reach
from fti_assets.orchestration.partitions import UNPARTITIONED, is_timed, partitions_between
from fti_assets.training.datasets.dataset import TrainingDataset

_MOST_CUTOFFS = 100
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Target:
    """What would be trained now.

    Args:
        partition: the cutoff, or the whole of a dataset without cutoffs; None if none is ready.
        waits: what the newest cutoff that has come still misses, if it is not the one that is trained.
    """

    partition: Partition | None
    waits: tuple[str, ...] = ()

    @property
    def waiting_text(self) -> str:
        """What is missed, as the end of a sentence; empty if nothing is."""
        more = len(self.waits) - 3
        reasons = ", ".join([*self.waits[:3], *([f"{more} more"] if more > 0 else [])])
        return f" waits for {reasons}" if reasons else ""


def target_of(instance: dg.DagsterInstance, dataset: TrainingDataset, now: datetime) -> Target:
    """What a model of a dataset would be trained at, of the newest 100 cutoffs that have come."""
    upstream = upstream_of(dict.fromkeys(dataset.view.upstream, Reach(None, own=False)))
    if not is_timed(dataset.partitions_def):
        waits = missing_before(instance, upstream, None)
        return Target(None if waits else UNPARTITIONED, tuple(waits))
    first: tuple[str, ...] = ()
    for cutoff in islice(_come(dataset.partitions_def, now), _MOST_CUTOFFS):
        waits = missing_before(instance, upstream, cutoff.start)
        if not waits:
            return Target(cutoff, first)
        first = first or tuple(f"{one} before the cutoff {cutoff.key}" for one in waits)
    return Target(None, first)


def _come(partitions_def: dg.TimeWindowPartitionsDefinition, now: datetime) -> Iterator[Partition]:
    """The cutoffs that have come, the newest first; by the one clock, where Dagster's own goes on."""
    newest = partitions_between(partitions_def, now, now + _INSTANT)
    yield from newest
    end = (newest[0].start if newest else None) or now
    for partition in back_from(partitions_def, partitions_def.get_prev_partition_window(end.replace(tzinfo=UTC))):
        if partition.end is not None and naive_utc(partition.end) <= end:
            yield partition
