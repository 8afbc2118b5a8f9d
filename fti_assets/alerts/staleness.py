"""Which feature groups are stale: a partition that has ended and is due was not materialized."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import dagster as dg

from fti_assets.alerts.causes import Cause, Findings
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.due import due_partition


def findings_of_groups(instance: dg.DagsterInstance, groups: Iterable[FeatureGroup], now: datetime) -> Findings:
    """The groups whose newest due partition is not materialized.

    A partition is due once it has ended for as long as it is itself, and for the group's serving delay. What has no partitions of time
    has no due date, and neither has what lies outside.

    Args:
        instance: Dagster's.
        groups: those that are watched.
        now: the instant of this look.
    """
    causes = []
    for group in groups:
        due = due_partition(group.partitions_def, group.serving_delay, now) if group.source is None else None
        if due is None or _is_materialized(instance, group.key, due.key):
            continue
        causes.append(
            Cause(
                subject=f"stale {group.table_name}",
                title=f"{group.table_name} is stale: partition {due.key} is missing",
                text=f"It ended at {due.end}. Materialize it, or see why its run did not begin.",
                end=f"{group.table_name} is fresh again",
            )
        )
    return Findings(tuple(causes))


def _is_materialized(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> bool:
    of_partition = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    return bool(instance.fetch_materializations(of_partition, limit=1).records)
