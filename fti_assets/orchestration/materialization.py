"""What a step tells Dagster: one result, and for a range one event a partition with its own version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.core.names import WHOLE, Commit
from fti_assets.orchestration.conditions.partition_conditions import PROVISIONAL
from fti_assets.orchestration.dagster_internals import (
    DATA_VERSION_TAG,
    SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION,
    build_data_version_tags,
    get_code_version,
    get_input_provenance_data,
)
from fti_assets.orchestration.partitions import windows_of

_NO_EVENTS = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
"""The metadata of a result that has its effect on what follows, while the step reports its events by itself."""


def materialized(
    context: dg.AssetExecutionContext,
    commit: Commit,
    metadata: Mapping[str, Any],
    *,
    delay: timedelta | None = None,
    by_partition: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[Any]:
    """Report a commit: the step's result, then for a range of partitions an event for each.

    Of a range, Dagster would write an event a partition of its own, all with one data version that it makes up, so the result
    asks for none.

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
    yield dg.MaterializeResult(metadata=_NO_EVENTS)
    key = context.assets_def.key
    tags = _provenance(context, key)
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
                    **tags,
                    DATA_VERSION_TAG: partition.data_version,
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


def one_materialized(
    context: dg.AssetExecutionContext, partition: str, data_version: str, metadata: Mapping[str, Any]
) -> dg.AssetMaterialization:
    """The event of one partition, of a step that reports each by itself as soon as it is there."""
    key = context.assets_def.key
    return dg.AssetMaterialization(
        key,
        partition=partition,
        metadata=dict(metadata),
        tags={**_provenance(context, key), DATA_VERSION_TAG: data_version},
    )


def _is_range(context: dg.AssetExecutionContext) -> bool:
    return context.has_partition_key_range and len(context.partition_keys) > 1


def _provenance(context: dg.AssetExecutionContext, key: dg.AssetKey) -> dict[str, str]:
    """The tags of an event that say what it was made by and from, as Dagster gives them to its own."""
    step = context.get_step_execution_context()
    inputs = get_input_provenance_data(key, step)
    tags: dict[str, str] = build_data_version_tags(dg.DataVersion(""), get_code_version(key, step), inputs, True)
    return tags
