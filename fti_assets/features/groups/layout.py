"""What a feature group's table demands of its rows, as its declaration tells it before a step runs."""

from __future__ import annotations

from fti_assets.core.rules import Rule
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.duplicates import KeepLast
from fti_assets.features.rows.layout import Layout
from fti_assets.orchestration.partitions import is_timed

NOT_FUTURE = Rule(
    "rows_not_in_future", "No row is said to be true and available only after it is stored", blocking=False
)
IN_TIME = Rule("rows_in_time", "New rows are stored before they are said to be available", blocking=False)


def layout_of(group: FeatureGroup) -> Layout:
    """What the group's table demands of its rows."""
    return Layout(
        what=group.table_name,
        not_null=(*group.keys, *group.time_columns),
        unique=group.identity,
        partition_by=group.partition_by if is_timed(group.partitions_def) else None,
        schema=group.schema,
        types=group.columns or {},
        times=tuple(name for name in dict.fromkeys([*group.time_columns, group.partition_by]) if name is not None),
        keep_last_by=group.duplicates.by if isinstance(group.duplicates, KeepLast) else None,
        rename=group.rename if group.source is None else {},  # an external group's rows come under its own names
    )


def judges_time(group: FeatureGroup) -> bool:
    """Whether the group says when its rows can be used, so that a late one is a breach."""
    return group.available_at is not None or group.serving_delay is not None
