"""Where an entity is: the rows of each table, other tables with a column of that name, tiles, builds, online keys, rejected rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fti_assets.core.names import TableName
from fti_assets.errors import DataError
from fti_assets.forget.carriers import Carrier, Values, name_of, other_carriers
from fti_assets.forget.dead_letters import letters_with
from fti_assets.forget.log_files import (
    REQUEST_COLUMN,
    comparable,
    in_request,
)
from fti_assets.orchestration.declaration import Declaration
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.occurrences import (
    Occurrences,
    RowTiles,
    columns_of,
    equals,
    find,
    find_tiles,
    match_sql,
    tuples,
)
from fti_assets.stores.lake.upkeep.rejected_rows import rejected_rows
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import OnlineStore

NO_ROW = "false"


@dataclass(frozen=True)
class Search:
    """A table, what finds the entity's rows in it, and where they are."""

    carrier: Carrier
    predicate: str
    occurrences: Occurrences
    identities: tuple[tuple[tuple[str, ...], frozenset[tuple[Any, ...]]], ...]
    refusals: tuple[DataError, ...]
    """Why columns of the key cannot hold it, such as in a version with a key of another type."""


def search_table(lake: Lake, carrier: Carrier) -> Search:
    """Find the entity's rows: by the columns that hold its key, and by the spine rows that do."""
    types, parts, identities, refusals = columns_of(lake, carrier.table), [], [], []
    is_log = carrier.kind in ("log", "predictions") and {REQUEST_COLUMN, "request_id"} <= types.keys()
    if is_log:
        parts += [f"({in_request(values, types)})" for values in carrier.values]
    if carrier.kind == "dead_letters":
        parts += [f"({letters_with(values)})" for values in carrier.values]
    for values in () if is_log or carrier.kind == "dead_letters" else carrier.values:
        if set(values) <= types.keys():
            try:
                parts.append(f"({equals(lake, carrier.table, values)})")
            except DataError as error:
                refusals.append(error)
    for spine in carrier.spines:
        spine_types = columns_of(lake, spine.table)
        if {*spine.identity, *spine.values} <= spine_types.keys() and set(spine.identity) <= types.keys():
            try:
                rows = tuples(lake, spine.table, equals(lake, spine.table, spine.values), spine.identity)
            except DataError as error:
                refusals.append(error)
                continue
            parts.append(match_sql(spine.identity, rows))
            records = lake.connection.sql(f"FROM {rows}").fetchall()
            identities.append((spine.identity, frozenset(tuple(map(comparable, row)) for row in records)))
    predicate = " OR ".join(parts) or NO_ROW
    return Search(carrier, predicate, find(lake, carrier.table, predicate), tuple(identities), tuple(refusals))


def named_columns(search: Search) -> frozenset[str]:
    """The columns that may stand in a search's predicate."""
    of_values = [name for values in search.carrier.values for name in values]
    return frozenset([*of_values, *(name for spine in search.carrier.spines for name in spine.identity)])


def matches_elsewhere(
    lake: Lake, declarations: Sequence[Declaration], group: str, key: Values, tables: Sequence[TableName]
) -> dict[str, tuple[Occurrences, str]]:
    results: dict[str, tuple[Occurrences, str]] = {}
    for carrier in other_carriers(declarations, group, key, tables):
        for values in carrier.values:
            if not set(values) <= columns_of(lake, carrier.table).keys():
                continue
            try:
                occurrences = find(lake, carrier.table, equals(lake, carrier.table, values))
            except DataError:  # a column of that name is of another type, so it holds something else
                continue
            if occurrences.rows or occurrences.snapshots:
                key_options = " ".join(f"--key {column}=..." for column in values)
                results[carrier.table.full_name] = (occurrences, f"fti forget {name_of(carrier.table)} {key_options}")
    return results


def tiles_holding(lake: Lake, searches: Sequence[Search]) -> list[RowTiles]:
    groups = [search for search in searches if search.carrier.kind == "group"]
    return [match for search in groups for match in find_tiles(lake, search.carrier.table, search.predicate)]


def source_snapshots(lake: Lake, search: Search) -> list[int]:
    """The snapshots that a dataset's partitions which hold the key were made from."""
    if search.carrier.kind != "dataset":
        return []
    records = lake.ledger(search.carrier.table, partitions=list(search.occurrences.rows)).values()
    snapshots = [json.loads(record.record).get("snapshot") for record in records]
    return [int(snapshot) for snapshot in snapshots if snapshot is not None]


def builds_holding(store: ModelStore, holding: Sequence[Search]) -> list[str]:
    """The builds, rejected ones too, whose snapshot holds the key in a table that they or their dataset were made of."""
    snapshots_of = {search.carrier.table: search.occurrences.snapshots for search in holding}
    results = []
    for model in store.models():
        for build in store.builds(model):
            view = build.view
            tables = {build.dataset.table, view.spine_table, *(join.table for join in view.joins)}
            if any(build.snapshot in snapshots_of.get(table, ()) for table in tables):
                results.append(f"{model} {build.reference} ({build.status}, snapshot {build.snapshot})")
    return results


def online_keys_of(lake: Lake, online: OnlineStore, searches: Iterable[Search]) -> dict[str, list[tuple[Any, ...]]]:
    """The keys of each namespace that are the entity's: those that the lake has at any snapshot, and the key itself."""
    namespaces, results = online.namespaces(), {}
    for search in searches:
        carrier = search.carrier
        types = columns_of(lake, carrier.table)
        if carrier.table.name not in namespaces or not carrier.keys or not set(carrier.keys) <= types.keys():
            continue
        rows = tuples(lake, carrier.table, search.predicate, carrier.keys)
        keys = set(lake.connection.sql(f"FROM {rows}").fetchall())
        for values in carrier.values:
            if set(values) == set(carrier.keys):
                casts = ", ".join(f"TRY_CAST(? AS {types[column]})" for column in carrier.keys)
                key = [values[column] for column in carrier.keys]
                keys.update(lake.connection.execute(f"SELECT {casts}", key).fetchall())
        results[carrier.table.name] = sorted((one for one in keys if None not in one), key=repr)
    return results


def forget_rejected_rows(lake: Lake, search: Search, *, remove: bool) -> tuple[int, int]:
    def matches(row: Mapping[str, Any]) -> bool:
        return any(_has(row, values) for values in search.carrier.values) or any(
            set(identity) <= row.keys() and tuple(comparable(row[name]) for name in identity) in of_spine
            for identity, of_spine in search.identities
        )

    return rejected_rows(lake.store.rejected / search.carrier.table.name, matches, remove=remove)


def _has(row: Mapping[str, Any], values: Values) -> bool:
    return all(column in row and comparable(row[column]) == comparable(text) for column, text in values.items())
