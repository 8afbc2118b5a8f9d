"""Telling Dagster that partitions have new data versions, so that it shows what is stale and runs it again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from fti_assets.core.names import WHOLE, Commit
from fti_assets.orchestration.dagster_internals import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG


def tell_dagster(commits: Mapping[dg.AssetKey | None, Commit]) -> int:
    """Report each partition that has other rows to the instance of ``DAGSTER_HOME``, if there is one; how many it was.

    An event keeps the tags of the one before it: its code version and what it was made of.
    """
    home = os.environ.get("DAGSTER_HOME")
    if not home or not Path(home).is_dir():
        return 0
    message = 0
    with dg.DagsterInstance.get() as instance:
        for key, commit in commits.items():
            if key is None:
                continue
            for record in commit.partitions:
                if record.partition not in commit.changed:
                    continue
                partition = None if record.partition == WHOLE else record.partition
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(
                        key,
                        partition=partition,
                        description="A key was forgotten.",
                        metadata={"dagster/partition_row_count": record.rows, "snapshot": commit.snapshot},
                        tags={
                            **_tags(instance, key, partition),
                            DATA_VERSION_TAG: record.data_version,
                            DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
                        },
                    )
                )
                message += 1
    return message


def _tags(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None) -> dict[str, str]:
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=None if partition is None else [partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    return dict(event.tags or {}) if event is not None else {}
