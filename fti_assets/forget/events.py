"""Telling Dagster that partitions have new data versions, so that it shows what is stale and runs it again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from fti_assets.core.names import WHOLE, Commit
from fti_assets.orchestration.dagster_internals import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG


def tell_dagster(commits: Mapping[dg.AssetKey | None, Commit]) -> int:
    """Report each partition that has other rows to the instance of ``DAGSTER_HOME``, if there is one; how many it was.

    An event keeps the tags of the one before it: its code version and what it was made of.
    """
    changes = [
        (key, commit.snapshot, record)
        for key, commit in commits.items()
        for record in commit.partitions
        if key is not None and record.partition in commit.changed
    ]
    with home_instance() as instance:
        if instance is None:
            return 0
        for key, snapshot, record in changes:
            partition = None if record.partition == WHOLE else record.partition
            newest = dg.AssetRecordsFilter(asset_key=key, asset_partitions=None if partition is None else [partition])
            events = [one.asset_materialization for one in instance.fetch_materializations(newest, limit=1).records]
            tags = {tag: value for event in events if event is not None for tag, value in (event.tags or {}).items()}
            tags |= {DATA_VERSION_TAG: record.data_version, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    key,
                    partition=partition,
                    description="A key was forgotten.",
                    metadata={"dagster/partition_row_count": record.rows, "snapshot": snapshot},
                    tags=tags,
                )
            )
    return len(changes)


@contextmanager
def home_instance() -> Iterator[dg.DagsterInstance | None]:
    """The instance of ``DAGSTER_HOME``, None where there is no such folder."""
    home = os.environ.get("DAGSTER_HOME")
    if not home or not Path(home).is_dir():
        yield None
        return
    with dg.DagsterInstance.get() as instance:
        yield instance
