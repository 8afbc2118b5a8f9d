"""What makes the declaration of a group with a stream impossible."""

from __future__ import annotations

from fti_assets.core.types import KEY_TYPES
from fti_assets.errors import DeclarationError, class_name, excerpt, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.partitions import is_timed
from fti_assets.stores.streams.decoding import check_event_type
from fti_assets.stores.streams.stream import EventStream


def check_stream(group: FeatureGroup) -> None:
    """Raise a DeclarationError if a group cannot take its rows from its stream."""
    what, stream = f"feature group {group.table_name}", group.stream
    if not isinstance(stream, EventStream):
        raise DeclarationError(
            f"stream of {what} is {excerpt(stream)}: give fti.NatsStream(...), fti.KafkaStream(...) or fti.RedisStream(...)"
        )
    if group.event_time is None or group.available_at is None:
        lacking = "event_time" if group.event_time is None else "available_at"
        raise DeclarationError(
            f"{what} takes a stream but names no {lacking}: name the column that says when an event was true, event_time='at', and the "
            "one that gets the instant at which the broker stored it, available_at='stored_at', which events do not carry"
        )
    if not is_timed(group.partitions_def):
        raise DeclarationError(
            f"{what} takes a stream but has no partitions of time, to which its rows could be added: give partitions_def, such as "
            "dg.DailyPartitionsDefinition(...)"
        )
    if group.schema is None:
        raise DeclarationError(
            f"{what} takes a stream but has no schema: declare its columns and their types, which its events are held against, schema=..."
        )
    from fti_assets.features.validation.division import can_be_divided  # which imports pandas

    if not can_be_divided(group.schema):
        raise DeclarationError(
            f"{what} takes a stream, but its schema changes rows or names columns by a pattern (parsers, defaults, regex, an index, "
            "drop_invalid_rows, strict='filter'), so that no event can be judged as it comes: leave these out"
        )
    columns = group.columns or {}
    untyped = [name for name, kind in columns.items() if kind is None or _is_decimal(group, name)]
    if untyped:
        raise DeclarationError(
            f"{what} takes a stream, whose columns are text, whole numbers, numbers, booleans, timestamps and vectors: its schema says "
            f"something else of {one_of(untyped)}, or nothing. Declare a type; of money whole cents"
        )
    columns_in_use = dict.fromkeys([*group.identity, *([group.partition_by] if group.partition_by is not None else [])])
    lacking_columns = [name for name in columns_in_use if name not in columns]
    if lacking_columns:
        raise DeclarationError(
            f"{what} takes a stream, but its schema lacks {one_of(lacking_columns)}: declare every column, keys and times too"
        )
    if stream.type is not None:
        check_event_type([name for name in columns if name != group.available_at], stream.type)
    if not isinstance(group.duplicates, str):
        raise DeclarationError(
            f"{what} takes a stream and drops duplicates by {class_name(group.duplicates)}, which is decided among all rows of a run: "
            "name tie_break instead, the column whose greatest value wins"
        )
    keys = [key for key in group.keys if columns[key] not in KEY_TYPES]
    if keys:
        raise DeclarationError(
            f"{what}: key {one_of(keys)} is {columns[keys[0]]}, by which no row is found again for sure: make it text or a whole number"
        )


def _is_decimal(group: FeatureGroup, name: str) -> bool:
    from pandera import dtypes

    return group.schema is not None and isinstance(group.schema.columns[name].dtype, dtypes.Decimal)
