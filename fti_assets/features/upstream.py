"""Which partitions of a group something reads, and which of them are missing or provisional."""

from __future__ import annotations

from datetime import datetime, timedelta

from fti_assets.core.rules import Rule
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.partitions import is_timed, windows_between
from fti_assets.stores.lake.lake import Lake

COMPLETE = Rule("upstream_complete", "Every partition that is read was materialized after it ended", blocking=False)


def missing_partitions(lake: Lake, group: FeatureGroup, start: datetime, end: datetime, *, snapshot: int) -> list[str]:
    """The group's partitions in ``[start, end)`` that are not stored, as ``weather_v1 2013-06-01``."""
    if not is_timed(group.partitions_def):
        return []
    stored = lake.ledger(group.table, snapshot=snapshot)
    windows = windows_between(group.partitions_def, start, end)
    return [f"{group.table_name} {window.key}" for window in windows if window.key not in stored]


def provisional_partitions(
    lake: Lake, group: FeatureGroup, start: datetime, end: datetime, *, snapshot: int
) -> list[str]:
    """The group's partitions in ``[start, end)`` whose last run was before their window and delay had ended."""
    if not is_timed(group.partitions_def):
        return []
    stored, delay = lake.ledger(group.table, snapshot=snapshot), group.serving_delay or timedelta(0)
    return [
        f"{group.table_name} {window.key}"
        for window in windows_between(group.partitions_def, start, end)
        if window.key in stored and window.end is not None and stored[window.key].run_at < window.end + delay
    ]
