"""What a step tells Dagster: one result, and for a range one event a partition with its own version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.core.names import WHOLE, Commit
from fti_assets.orchestration.conditions.made import PROVISIONAL
from fti_assets.orchestration.dagster_internals import (
    DATA_VERSION_TAG,
    SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION,
    build_data_version_tags,
    get_code_version,
    get_input_provenance_data,
)
from fti_assets.orchestration.partitions import partitions_of

_NO_EVENTS = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
"""The metadata of a result that has its effect on what follows, while the step reports its events by itself."""


def report_commit(
    context: dg.AssetExecutionContext,
    commit: Commit,
    metadata: Mapping[str, Any],
    *,
    delay: timedelta | None = None,
    by_partition: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[Any]:
    """Report a commit: the step's result, then for a range of partitions an event for each.

    Args:
        context: the step's.
        commit: what was stored.
        metadata: what the asset's page shows.
        delay: how long after its end a partition is still provisional; None if its rows are never that.
        by_partition: what the event of each partition shows beside; Dagster plots its numbers.
    """
    own = by_partition or {}
    early = set() if delay is None else _provisional(context, commit, delay)
    common = {**metadata, "dagster/row_count": commit.rows, "snapshot": commit.snapshot}
    newest = commit.partitions[-1]
    if not (context.has_partition_key_range and len(context.partition_keys) > 1):
        partition = commit.partitions[0]
        own_metadata = {**common, **own.get(partition.partition, {})}
        if partition.partition != WHOLE:
            own_metadata["dagster/partition_row_count"] = partition.rows
        version = dg.DataVersion(partition.data_version)
        yield dg.MaterializeResult(
            metadata=own_metadata, data_version=version, tags={PROVISIONAL: "true"} if early else None
        )
        return
    # Dagster would write an event a partition of its own, all with one data version that it makes up: the result asks for none.
    yield dg.MaterializeResult(metadata=_NO_EVENTS)
    tags = _provenance(context)
    for partition in commit.partitions:
        key = partition.partition
        own_metadata = {
            **(common if partition is newest else {}),  # the newest event is what the asset's page shows
            **own.get(key, {}),
            "dagster/partition_row_count": partition.rows,
            "snapshot": commit.snapshot,
        }
        marks = {PROVISIONAL: str(key in early).lower()} if early else {}
        context.log_event(_event(context, key, partition.data_version, own_metadata, {**tags, **marks}))


def one_materialized(
    context: dg.AssetExecutionContext, partition: str, data_version: str, metadata: Mapping[str, Any]
) -> dg.AssetMaterialization:
    """The event of one partition, of a step that reports each by itself as soon as it is there."""
    return _event(context, partition, data_version, metadata, _provenance(context))


def runless_materialized(
    asset: dg.AssetsDefinition, partition: str, data_version: str, metadata: Mapping[str, Any], *, is_provisional: bool
) -> dg.AssetMaterialization:
    """The event of one partition that no run has made, with the tags of one that a run has made."""
    code_version = asset.code_versions_by_key[asset.key] or ""
    tags = build_data_version_tags(dg.DataVersion(data_version), code_version, {}, True)
    if is_provisional:
        tags[PROVISIONAL] = "true"
    return dg.AssetMaterialization(asset.key, partition=partition, metadata=dict(metadata), tags=tags)


def _event(
    context: dg.AssetExecutionContext,
    partition: str,
    data_version: str,
    metadata: Mapping[str, Any],
    tags: Mapping[str, str],
) -> dg.AssetMaterialization:
    key, tags = context.assets_def.key, {**tags, DATA_VERSION_TAG: data_version}
    return dg.AssetMaterialization(key, partition=partition, metadata=dict(metadata), tags=tags)


def _provisional(context: dg.AssetExecutionContext, commit: Commit, delay: timedelta) -> set[str]:
    """The partitions that were stored before their end and delay had passed."""
    if context.assets_def.partitions_def is None:
        return set()
    run_at = {record.partition: record.run_at for record in commit.partitions}
    partitions = partitions_of(context.assets_def.partitions_def, list(run_at))
    return {one.key for one in partitions if one.end is not None and run_at[one.key] < one.end + delay}


def _provenance(context: dg.AssetExecutionContext) -> dict[str, str]:
    """The tags of an event that say what it was made by and from, as Dagster gives them to its own."""
    key, step = context.assets_def.key, context.get_step_execution_context()
    inputs = get_input_provenance_data(key, step)
    tags: dict[str, str] = build_data_version_tags(dg.DataVersion(""), get_code_version(key, step), inputs, True)
    return tags
