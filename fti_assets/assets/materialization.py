"""What a step tells Dagster: one result, and for a range one event a partition with its own version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.assets.conditions import PROVISIONAL
from fti_assets.assets.windows import windows_of
from fti_assets.stores.tables import WHOLE, Commit

_CODE_VERSION = "dagster/code_version"
_DATA_VERSION = "dagster/data_version"
_USER_PROVIDED = "dagster/data_version_is_user_provided"


def materialized(
    context: dg.AssetExecutionContext,
    commit: Commit,
    metadata: Mapping[str, Any],
    *,
    delay: timedelta | None = None,
    by_partition: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[Any]:
    """Report a commit: the step's result, then for a range of partitions an event for each.

    The result comes first: Dagster writes an event a partition of its own then, whose tags the later events keep.

    Args:
        context: the step's.
        commit: what was stored.
        metadata: what the asset's page shows.
        delay: how long after its window's end a partition is still provisional; None if its rows are never that.
        by_partition: what the event of each partition shows beside; Dagster plots its numbers.
    """
    own = by_partition or {}
    partitions = commit.partitions
    early = set() if delay is None else _provisional(context, commit, delay)
    common = {**metadata, "dagster/row_count": commit.rows, "snapshot": commit.snapshot}
    if not _is_range(context):
        partition = partitions[0]
        yield dg.MaterializeResult(
            metadata={
                **common,
                **own.get(partition.partition, {}),
                **({"dagster/partition_row_count": partition.rows} if partition.partition != WHOLE else {}),
            },
            data_version=dg.DataVersion(partition.data_version),
            tags={PROVISIONAL: "true"} if early else None,
        )
        return
    yield dg.MaterializeResult(tags={PROVISIONAL: "true"} if early else None)
    key = context.assets_def.key
    own_tags = _tags_of_newest_events(context, key, [partition.partition for partition in partitions])
    for partition in partitions:
        context.log_event(
            dg.AssetMaterialization(
                key,
                partition=partition.partition,
                metadata={
                    **(
                        common if partition is partitions[-1] else {}
                    ),  # the newest event is what the asset's page shows
                    **own.get(partition.partition, {}),
                    "dagster/partition_row_count": partition.rows,
                    "snapshot": commit.snapshot,
                },
                tags={
                    **own_tags.get(partition.partition, {}),
                    _DATA_VERSION: partition.data_version,
                    _USER_PROVIDED: "true",
                    **({PROVISIONAL: str(partition.partition in early).lower()} if early else {}),
                },
            )
        )


def _provisional(context: dg.AssetExecutionContext, commit: Commit, delay: timedelta) -> set[str]:
    """The partitions that were stored before their window and delay had ended."""
    records = {record.partition: record for record in commit.partitions}
    if context.assets_def.partitions_def is None:
        return set()
    windows = windows_of(context.assets_def.partitions_def, list(records))
    return {w.key for w in windows if w.end is not None and records[w.key].run_at < w.end + delay}


def log_materialized(
    context: dg.AssetExecutionContext, partition: str | None, data_version: str, metadata: Mapping[str, Any]
) -> None:
    """Report one partition of a step that reports each by itself, with the code version that Dagster would tag it with."""
    key = context.assets_def.key
    code_version = context.assets_def.code_versions_by_key.get(key)
    context.log_event(
        dg.AssetMaterialization(
            key,
            partition=partition,
            metadata=dict(metadata),
            tags={
                _DATA_VERSION: data_version,
                _USER_PROVIDED: "true",
                **({} if code_version is None else {_CODE_VERSION: code_version}),
            },
        )
    )


def _is_range(context: dg.AssetExecutionContext) -> bool:
    return context.has_partition_key_range and len(context.partition_keys) > 1


def _tags_of_newest_events(
    context: dg.AssetExecutionContext, key: dg.AssetKey, partitions: list[str]
) -> dict[str, dict[str, str]]:
    """The tags of each partition's newest event, which is the one that Dagster wrote just now."""
    found = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions), limit=len(partitions)
    ).records
    events = [record.asset_materialization for record in reversed(found)]
    return {str(event.partition): dict(event.tags or {}) for event in events if event is not None}
