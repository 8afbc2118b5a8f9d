"""What makes a feature group's declaration impossible."""

from __future__ import annotations

from fti_assets.core.names import checked_version
from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.window_calls import has_windows_of_each_row
from fti_assets.features.rows.duplicates import KeepLast
from fti_assets.features.rows.rename import checked_column
from fti_assets.features.rows.table import partitioned_by_arrival
from fti_assets.orchestration.partitions import is_timed, refuse_unsupported


def check_group(group: FeatureGroup) -> None:
    """Raise a DeclarationError if a group's declaration is impossible."""
    what = f"feature group {group.table_name}"
    checked_version(group.version, what=what)
    if not group.keys:
        raise DeclarationError(f"{what} has no keys: name the columns that identify the entity, keys=['customer_id']")
    if group.event_time is None:
        timed = {"available_at": group.available_at, "serving_delay": group.serving_delay, "ttl": group.ttl}
        stated = [name for name, value in timed.items() if value is not None]
        if stated:
            raise DeclarationError(
                f"{what} states {one_of(stated)} but no event_time: name the column that says when a row was true"
            )
    if group.available_at is not None and group.serving_delay is not None:
        raise DeclarationError(
            f"{what} states both available_at={group.available_at!r} and a serving_delay: the column already says when "
            "a row could be used, so leave out serving_delay"
        )
    if group.online and group.event_time is not None and group.available_at is None and group.serving_delay is None:
        raise DeclarationError(
            f"{what} is online but does not say when its rows can be used: name the available_at column, or state "
            "serving_delay, the time from a row's event time to the end of the run that stores it"
        )
    for name in [*group.time_columns, *filter(None, [group.tie_break, group.partition_by])]:
        checked_column(name, group.rename, what=f"column of {what}")
    if is_timed(group.partitions_def) and group.partition_by is None:
        raise DeclarationError(
            f"{what} has time partitions but neither event_time nor partition_by: say which column tells a row's partition"
        )
    for name in dict.fromkeys([*group.time_columns, *filter(None, [group.partition_by])]):
        kind = (group.columns or {}).get(name)
        if kind not in ("timestamp", None):
            raise DeclarationError(f"{what}: {name!r} says when, but its schema declares {kind}: make it a timestamp")
    kept_by = group.duplicates.by if isinstance(group.duplicates, KeepLast) else None
    named = [
        *group.keys,
        *group.time_columns,
        *(name for name in (group.tie_break, group.partition_by, kept_by) if name),
    ]
    for name in group.columns or ():
        checked_column(name, group.rename, what=f"column of {what}")
    group.refuse_unknown_columns(named)
    refuse_unsupported(group.partitions_def, what=what)
    for parameter, other in group.inputs.items():
        if other.partitions_def is None or group.partitions_def is None:
            continue
        if type(other.partitions_def) is not type(group.partitions_def):
            raise DeclarationError(
                f"{what} and its input {parameter!r} ({other.table_name}) are partitioned differently: "
                f"{type(group.partitions_def).__name__} and {type(other.partitions_def).__name__}"
            )
        _refuse_other_arrivals(group, parameter, other)


def _refuse_other_arrivals(group: FeatureGroup, parameter: str, source: FeatureGroup) -> None:
    """Refuse windows at each row of a source that is partitioned by when its rows arrive, in a group that is not."""
    arrives = None if source.partition_by == source.event_time else source.partition_by
    if arrives is None or not is_timed(group.partitions_def) or group.partition_by == arrives:
        return
    if has_windows_of_each_row(group.function, parameter):
        raise DeclarationError(
            f"feature group {group.table_name}: {partitioned_by_arrival(source.table_name, arrives)}"
        )
