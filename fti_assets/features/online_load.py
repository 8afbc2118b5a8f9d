"""A group's rows in the online store: computed whole from the lake, written in one transaction with its snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import duckdb

from fti_assets import clock
from fti_assets.errors import DeclarationError
from fti_assets.features.feature_group import FeatureGroup
from fti_assets.features.point_in_time import EVENT, VISIBLE, frontier, view_of
from fti_assets.features.schema import type_of_sql
from fti_assets.stores.columns import ColumnType
from fti_assets.stores.files import locked, make_folder
from fti_assets.stores.manifest import Column, JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.stores.offline import Lake
from fti_assets.stores.online import OnlineStore
from fti_assets.stores.sql import quoted
from fti_assets.times import microseconds

_FETCH_ROWS = 20_000
_LOCK_TIMEOUT_S = 600.0


def load_online(lake: Lake, store: OnlineStore, group: FeatureGroup) -> int:
    """Load a group from the lake's newest snapshot and say how many keys the namespace holds.

    It holds every version that an instant from ``online_history`` ago on can need, those not yet visible included.
    """
    with loading(store, group.table):
        return _load_newest(lake, store, group)


@contextmanager
def loading(store: OnlineStore, namespace: str) -> Iterator[None]:
    """Hold the lock of those who load a namespace, or delete from it what an older snapshot of the lake has."""
    make_folder(store.root)
    with locked(store.root / f".{namespace}.loading", timeout=_LOCK_TIMEOUT_S):
        yield


def _load_newest(lake: Lake, store: OnlineStore, group: FeatureGroup) -> int:
    """Read and write under one lock, so that of two loads at once the newer snapshot stays."""
    snapshot = lake.snapshot()
    whole = joined_whole(group, lake.types(group.table_name))
    rows = lake.rows(group.table_name, snapshot=snapshot)
    answers_from = None if group.event_time is None else clock.now() - group.online_history
    versions = rows if answers_from is None else _since(lake.connection, rows, whole, microseconds(answers_from))
    loaded = _Counted(_by_key(lake.connection, versions, whole))
    store.load(
        group.table,
        key_types=tuple(key.type for key in whole.keys),
        columns=tuple(Column(column.column, column.type) for column in whole.columns),
        rows=loaded,
        answers_from=answers_from,
        snapshot=snapshot,
        event_time=group.event_time is not None,
    )
    return loaded.count


def joined_whole(group: FeatureGroup, sql_types: Mapping[str, str]) -> JoinedGroup:
    """The join that brings every column of a group that a feature can be made of, by the types it is stored with.

    Raises:
        DeclarationError: a key is neither text, nor a whole number, nor a boolean.
    """
    types = {name: type_of_sql(kind) for name, kind in sql_types.items()}
    keys = []
    for key in group.keys:
        kind = types.get(key)
        if kind not in ("text", "integer", "boolean"):
            raise DeclarationError(
                f"key {key!r} of {group.table} is {kind or 'of a type that cannot be joined on'}: make it text or a whole number"
            )
        keys.append(JoinedKey(key, key, kind))
    columns = [
        JoinedColumn(name, name, kind) for name, kind in types.items() if kind is not None and name not in group.keys
    ]
    return joined_group(group, keys, columns)


def joined_group(group: FeatureGroup, keys: Sequence[JoinedKey], columns: Sequence[JoinedColumn]) -> JoinedGroup:
    """The record of a join to a group, with the group's times as they are declared."""
    return JoinedGroup(
        group=group.name,
        version=group.version,
        keys=tuple(keys),
        columns=tuple(columns),
        event_time=group.event_time,
        available_at=group.available_at,
        serving_delay_us=group.delay_us,
        ttl_us=None if group.ttl is None else microseconds(group.ttl),
        tie_break=group.tie_break,
        external="" if group.source is None else group.source.place,
    )


def _since(
    connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, whole: JoinedGroup, since_us: int
) -> duckdb.DuckDBPyRelation:
    """The frontier's rows that win at ``since_us`` or later, by key and in the order of visibility."""
    keys = ", ".join(quoted(key.group) for key in whole.keys)
    return connection.sql(
        f"SELECT * FROM {view_of(frontier(connection, rows, whole))} "
        f"QUALIFY coalesce(lead({VISIBLE}) OVER (PARTITION BY {keys} ORDER BY {VISIBLE}) > make_timestamp({since_us}), true) "
        f"ORDER BY {keys}, {VISIBLE}"
    )


def _by_key(
    connection: duckdb.DuckDBPyConnection, versions: duckdb.DuckDBPyRelation, whole: JoinedGroup
) -> Iterator[tuple[tuple[Any, ...], list[tuple[Any, Any, tuple[Any, ...]]]]]:
    """Each key with its versions; times and timestamps as whole microseconds."""
    width = len(whole.keys)
    timed = [f"epoch_us({VISIBLE})", f"epoch_us({EVENT})"] if whole.event_time is not None else ["NULL", "NULL"]
    values = [_value(column.column, column.type) for column in whole.columns]
    selected = ", ".join([*(quoted(key.group) for key in whole.keys), *timed, *values])
    not_null = " AND ".join(f"{quoted(key.group)} IS NOT NULL" for key in whole.keys)
    order = "" if whole.event_time is not None else f" ORDER BY {', '.join(quoted(key.group) for key in whole.keys)}"
    cursor = connection.sql(f"SELECT {selected} FROM {view_of(versions)} WHERE {not_null}{order}")

    def fetched() -> Iterator[tuple[Any, ...]]:
        while batch := cursor.fetchmany(_FETCH_ROWS):
            yield from batch

    for key, rows in groupby(fetched(), key=lambda row: row[:width]):
        yield key, [(row[width], row[width + 1], row[width + 2 :]) for row in rows]


def _value(column: str, kind: ColumnType) -> str:
    if kind == "timestamp":
        return f"epoch_us({quoted(column)}::TIMESTAMP)"
    return f"{quoted(column)}::DOUBLE" if kind == "number" else quoted(column)


class _Counted:
    """An iterable that counts what passes."""

    def __init__(self, rows: Iterator[Any]) -> None:
        self._rows, self.count = rows, 0

    def __iter__(self) -> Iterator[Any]:
        for row in self._rows:
            self.count += 1
            yield row
