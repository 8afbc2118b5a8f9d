"""What was made of an asset's partitions, and whether that is final."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from fti_assets.core.times import Partition, naive_utc
from fti_assets.orchestration.conditions.within_reach import Upstream
from fti_assets.orchestration.partitions import is_timed, partitions_between

PROVISIONAL = "fti/provisional"
"""The tag of a materialization that was made before its end and delay had passed."""

_EVENTS = 400
_MOST_PAGES = 25
_INSTANT = timedelta(microseconds=1)


def newest_made(instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str]) -> dict[str, bool]:
    """Of some partitions, those that were made, and whether their newest materialization is provisional."""
    return {
        event.partition: (event.tags or {}).get(PROVISIONAL) == "true"
        for event in newest_events(instance, key, partitions)
        if event.partition is not None
    }


def newest_events(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str | None]
) -> Iterator[dg.AssetMaterialization]:
    """The newest materialization of each of some partitions, of those that have one; None is that of an asset without partitions."""
    unseen = set(partitions)
    while unseen:
        keys = sorted(one for one in unseen if one is not None)
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=keys or None), limit=_EVENTS
        ).records
        for record in records:  # newest first
            event = record.asset_materialization
            if event is not None and event.partition in unseen:
                unseen.discard(event.partition)
                yield event
        if len(records) < _EVENTS or not keys:
            break


def newest_marks(instance: dg.DagsterInstance, key: dg.AssetKey, *, after: int | None) -> dict[str, bool]:
    """The partitions that were made since an event, and whether the newest materialization of each is provisional.

    Args:
        after: the event; without one the newest 10,000 materializations are looked at, so that a first look at years ends.
    """
    marks: dict[str, bool] = {}
    cursor: str | None = None
    for _ in range(_MOST_PAGES if after is None else sys.maxsize):
        page = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, after_storage_id=after), limit=_EVENTS, cursor=cursor
        )
        for record in page.records:  # newest first
            event = record.asset_materialization
            if event is not None and event.partition is not None:
                marks.setdefault(event.partition, (event.tags or {}).get(PROVISIONAL) == "true")
        if not page.has_more:
            break
        cursor = page.cursor
    return marks


def last_before(source: Upstream, cutoff: datetime) -> Partition | None:
    """The source's last partition before a cutoff; None if it has none that early, and the cutoff then cannot be ready."""
    partitions_def = source.partitions_def
    assert is_timed(partitions_def)
    before = partitions_between(partitions_def, cutoff - _INSTANT, cutoff)
    if not before:  # its definition ended earlier, or leaves out the last partition
        end = cutoff if partitions_def.end is None else min(cutoff, naive_utc(partitions_def.end))
        last = partitions_def.get_prev_partition_window(end.replace(tzinfo=UTC))
        before = [] if last is None else partitions_between(partitions_def, naive_utc(last.start), naive_utc(last.end))
    return before[-1] if before else None


def missing_before(instance: dg.DagsterInstance, upstream: Iterable[Upstream], cutoff: datetime | None) -> list[str]:
    """What a cutoff still waits for: the last partition before it of each upstream that is not there, or not final.

    Args:
        cutoff: naive UTC; None for an asset without cutoffs, which reads whatever is there.
    """
    results = []
    for source in upstream:
        name = source.key.to_user_string()
        if cutoff is None or not is_timed(source.partitions_def):
            if instance.get_latest_materialization_event(source.key) is None:
                results.append(name)
            continue
        last = last_before(source, cutoff)
        if last is None:
            results.append(f"{name}, which has no partition before {cutoff}")
        elif newest_made(instance, source.key, [last.key]).get(last.key, True):
            results.append(f"{name} {last.key}")
    return results
