"""What a feature group's table demands of its rows, as its declaration tells it before a step runs."""

from __future__ import annotations

import dagster as dg

from fti_assets.features.duplicates import KeepLast
from fti_assets.features.feature_group import FeatureGroup
from fti_assets.features.layout import Layout
from fti_assets.rules import Rule

NOT_FUTURE = Rule(
    "rows_not_in_future", "No row is said to be true and available only after it is stored", blocking=False
)
IN_TIME = Rule("rows_in_time", "New rows are stored before they are said to be available", blocking=False)


def layout_of(group: FeatureGroup) -> Layout:
    """What the group's table demands of its rows."""
    return Layout(
        what=group.table,
        not_null=(*group.keys, *group.times),
        unique=group.identity,
        partition_by=group.partition_by
        if isinstance(group.partitions_def, dg.TimeWindowPartitionsDefinition)
        else None,
        schema=group.schema,
        types=group.columns or {},
        times=tuple(name for name in dict.fromkeys([*group.times, group.partition_by]) if name is not None),
        keep_last_by=group.duplicates.by if isinstance(group.duplicates, KeepLast) else None,
        rename=group.rename if group.source is None else {},  # an external group's rows come under its own names
    )


def judges_time(group: FeatureGroup) -> bool:
    """Whether the group says when its rows can be used, so that a late one is a breach."""
    return group.available_at is not None or group.serving_delay is not None
