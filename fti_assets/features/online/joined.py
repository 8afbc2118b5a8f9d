"""The join that brings the columns of a group to the online store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.types import KEY_TYPES, type_of_sql
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.window_columns import window_types
from fti_assets.features.online.table import OnlineTable
from fti_assets.features.online.tails import with_sources


def joined_whole(group: OnlineTable, sql_types: Mapping[str, str]) -> JoinedGroup:
    """The join that brings every column of a group that a feature can be made of, by the types it is stored with, lists and maps as text.

    Raises:
        DeclarationError: a key is neither text, nor a whole number, nor a boolean, nor a time.
    """
    types = {name: "text" if name in group.as_json else type_of_sql(kind) for name, kind in sql_types.items()}
    if group.windows is not None:
        types = window_types(group.windows, group.keys, types, of=group.table_name)
    keys = []
    for key in group.keys:
        kind = types.get(key)
        if kind is None or kind not in KEY_TYPES:
            raise DeclarationError(
                f"key {key!r} of {group.table_name} is {kind or 'of a type that cannot be joined on'}: make it text, a whole number or a "
                "time"
            )
        keys.append(JoinedKey(key, key, kind))
    columns = [
        JoinedColumn(name, name, kind) for name, kind in types.items() if kind is not None and name not in group.keys
    ]
    joined = joined_group(group, keys, columns)
    return joined if group.windows is None else replace(joined, windows=with_sources(group.windows, sql_types))


def joined_group(group: OnlineTable, keys: Sequence[JoinedKey], columns: Sequence[JoinedColumn]) -> JoinedGroup:
    """The record of a join to a group, with the group's times as they are declared."""
    return JoinedGroup(
        group=group.name,
        version=group.version,
        keys=tuple(keys),
        columns=tuple(columns),
        **asdict(group.times),
        external="" if group.source is None else group.source.place,
        windows=group.windows,
    )
