"""Forgetting a key: every table, the online store and the rejected rows, then what is left and where."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.core.names import Commit, PartitionRecord, TableName
from fti_assets.describe import existing_store
from fti_assets.errors import DataError, StoreError
from fti_assets.forget.carriers import Carrier, Values, carriers, check_key, name_of, other_carriers
from fti_assets.forget.events import home_instance, tell_dagster
from fti_assets.forget.log_files import (
    REQUEST_COLUMN,
    await_closed,
    comparable,
    holding_files,
    in_request,
    line_counts,
    log_folders,
    take_out_of_files,
)
from fti_assets.forget.report import Forgotten, TableReport
from fti_assets.forget.sinks import forget_in_sinks
from fti_assets.orchestration.declaration import Declaration, TableDeclaration, declarations_of
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.upkeep.recorded import compared_tables, recorded_tables, refuse_lost
from fti_assets.stores.files import may_write
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.dropping import drop_tables
from fti_assets.stores.lake.upkeep.forgetting import expire_snapshots, take_out, unnamed_files_holding
from fti_assets.stores.lake.upkeep.occurrences import (
    Occurrences,
    RowTiles,
    columns_of,
    equals,
    find,
    find_tiles,
    match_sql,
    tables_with_files,
    tuples,
)
from fti_assets.stores.lake.upkeep.pins import NEWEST, pins
from fti_assets.stores.lake.upkeep.rejected_rows import rejected_rows
from fti_assets.stores.lake.upkeep.unnamed_files import refuse_only_copies, refuse_to_delete_most, unnamed_tables
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import OnlineStore
from fti_assets.training.datasets.dataset import SPLIT

Key = Mapping[str, str]
_NO_ROW = "false"


@dataclass(frozen=True)
class _Search:
    """A table, what finds the entity's rows in it, and where they are."""

    carrier: Carrier
    predicate: str
    occurrences: Occurrences
    identities: tuple[tuple[tuple[str, ...], frozenset[tuple[Any, ...]]], ...]
    refusals: tuple[DataError, ...]
    """Why columns of the key cannot hold it, such as in a version with a key of another type."""


def forget(
    definitions: dg.Definitions,
    group: str,
    key: Key,
    *,
    stores: Stores,
    expire: bool = False,
    dry_run: bool = False,
    log_seconds: float = 90.0,
) -> Forgotten:
    """Take a key out of all versions of a group, of predictions and their sinks, of prediction logs, the online store and rejected rows.

    What windows keep of its partitions is dropped, and made anew by their next run. One commit a table; its message names the
    columns, never the key.

    Args:
        definitions: the system's.
        group: the name of a feature group.
        key: one or more of its key columns, each with its value as text.
        stores: where it is stored.
        expire: also take it out of training datasets, expire every snapshot that holds it, pinned ones too, and delete
            the files.
        dry_run: only look; a lake that cannot be written is looked at without the writers' lock.
        log_seconds: how long to wait for files of a prediction log that hold it and are being written; their writers close them in
            a minute.

    Raises:
        NotMaterializedError: there is no such group, or no offline store.
        DeclarationError: a column is no key of the group.
        DataError: a value is not of its column's type, in no table.
        DamagedError: with ``expire``, the lake's catalog has lost commits or is an old one: what it does not name may be the only
            copy of rows. Nothing was changed.
        StoreError: a table could not be written, or the bytes could not be overwritten while others read.
    """
    declarations, store = declarations_of(definitions), stores.offline_store()
    if not store.exists():
        check_key(declarations, group, key, [])
    with existing_store(stores).connect() as lake:
        tables_before = tables_with_files(lake)
        check_key(declarations, group, key, tables_before)
        if expire:
            _refuse_old_catalog(lake, declarations)
        by_group_first = sorted(carriers(declarations, group, key, tables_before), key=lambda one: one.kind != "group")
        searches = [_search(lake, carrier) for carrier in by_group_first]
        refusals = [error for search in searches for error in search.refusals]
        if refusals and all(search.predicate == _NO_ROW for search in searches if search.carrier.kind != "log"):
            raise refusals[0]
        folders = log_folders(declarations, group, key, stores.log_folder())
        # All is looked at before anything is changed: what cannot be read leaves no half of it done.
        log_counts = line_counts(folders)
        namespaces = _online_keys(lake, stores.online_store(), searches)
        for search in searches:
            _forget_rejected_rows(lake, search, remove=False)
        elsewhere = _elsewhere(lake, declarations, group, key, tables_before)
        tiles = _tiles(lake, searches)
        _models(stores.model_store(), searches)
        if not dry_run:
            _refuse_unwritable(stores.online_store(), namespaces)
            # The files before their table: what is taken in meanwhile is then without the key, or found in the table.
            await_closed(folders, log_seconds)
            log_counts = take_out_of_files(lake, folders)
            searches = [_search(lake, one.carrier) if one.carrier.kind == "log" else one for one in searches]
        holding = [search for search in searches if search.occurrences.rows or search.occurrences.snapshots]
        models = _models(stores.model_store(), holding)
        made_from = {search.carrier.table: _made_from(lake, search) for search in holding}
        online_keys = _online_keys(lake, stores.online_store(), searches)
        predicates = {search.carrier.table: search.predicate for search in searches}
        strays = unnamed_files_holding(lake, predicates)
        current = [match.table for match in tiles if match.current]
        commits: dict[TableName, Commit] = {}
        partitions_told = 0
        if not dry_run:
            # The lake before the online store: a load that runs meanwhile brings nothing back that the lake no longer
            # has.
            commits = _take_out(lake, searches, group, key, datasets=expire)
            with lake.store.lock():
                drop_tables(lake, current, message=f"forget a key of {group} in what windows keep")
            assets = {search.carrier.table: search.carrier.asset for search in searches}
            partitions_told = tell_dagster({assets[table]: commit for table, commit in commits.items()})
        store_online = stores.online_store()
        online = {
            name: sum(map(store_online.reader(name).holds, keys)) if dry_run else store_online.delete(name, keys)
            for name, keys in online_keys.items()
        }
        rejects = {
            search.carrier.table.name: counts
            for search in searches
            if (counts := _forget_rejected_rows(lake, search, remove=not dry_run)) != (0, 0)
        }
        holders_of = {one.carrier.table: (one.predicate, _named_columns(one)) for one in searches}
        changes = {one.carrier.table: list(one.occurrences.rows) for one in searches if one.carrier.table in commits}
        sinks = forget_in_sinks(lake, declarations, group, key, holders_of, changes, write=not dry_run)
        # Looked for anew: a run that began before may have written the key again meanwhile.
        still = [
            find(lake, one.carrier.table, one.predicate) if commits or one.carrier.kind == "log" else one.occurrences
            for one in searches
        ]
        logs = [search.carrier.table for search in searches if search.carrier.kind == "log" and not dry_run]
        again = [match.table.full_name for match in still if match.rows and match.table in (*commits, *logs)]
        of_tiles = tiles if dry_run else _tiles(lake, searches)
        again += [match.table.full_name for match in of_tiles if match.current and not dry_run]
        holders = [*(match.snapshots for match in still), *(match.snapshots for match in of_tiles)]
        snapshots = sorted({snapshot for of_table in holders for snapshot in of_table})
        pins_by_snapshot: dict[int, tuple[str, ...]] = {}
        expiry = None
        kept_for_sinks = expire and not dry_run and any(report.may_hold for report in sinks)
        if expire and not dry_run and not kept_for_sinks:
            # DuckLake cannot expire the newest snapshot, which every read without a number uses.
            snapshots = [snapshot for snapshot in snapshots if snapshot != lake.snapshot()]
            pins_by_snapshot = _pinned_snapshots(lake, stores, snapshots)
            expiry = expire_snapshots(lake, snapshots, predicates)
    return Forgotten(
        group=group,
        columns=tuple(key),
        dry_run=dry_run,
        tables=[
            TableReport(one.carrier.kind, one.occurrences, one.carrier.table in commits, made_from[one.carrier.table])
            for one in holding
        ],
        tiles=[table.full_name for table in current],
        online=online,
        rejected=rejects,
        logged=log_counts,
        sinks=sinks,
        kept_for_sinks=kept_for_sinks,
        still_logged=[] if dry_run else [str(path) for path in holding_files(folders)],
        elsewhere=elsewhere,
        models=models,
        snapshots=snapshots,
        pinned=pins_by_snapshot,
        expired=expiry,
        of_killed_writers=len(strays),
        without_lock=not may_write(store.root),
        written_again=again,
        reported_partitions=partitions_told,
    )


def _refuse_old_catalog(lake: Lake, declarations: Sequence[Declaration]) -> None:
    """Refuse to delete what the catalog does not name where it seems to be an old one."""
    known_tables: frozenset[TableName] = frozenset()
    with lake.store.lock_if_writable():
        # Without Dagster a killed writer's first run of a partition looks like a lost one, and it may hold the key: it goes.
        comparable_tables = frozenset(unnamed_tables(lake))
    with home_instance() as instance:
        if instance is not None:
            tables = {one.key: one.table for one in declarations if isinstance(one, TableDeclaration)}
            refuse_lost(lake, instance, tables)
            with lake.store.lock_if_writable():
                comparable_tables = compared_tables(lake, instance)
                known_tables = recorded_tables(lake, instance, comparable_tables)
    with lake.store.lock_if_writable():
        refuse_to_delete_most(lake, older_than=timedelta(0), tables_recorded=known_tables)
        refuse_only_copies(lake, tables_compared=comparable_tables)


def _search(lake: Lake, carrier: Carrier) -> _Search:
    """Find the entity's rows: by the columns that hold its key, and by the spine rows that do."""
    types, parts, identities, refusals = columns_of(lake, carrier.table), [], [], []
    is_log = carrier.kind in ("log", "predictions") and {REQUEST_COLUMN, "request_id"} <= types.keys()
    if is_log:
        parts += [f"({in_request(values, types)})" for values in carrier.values]
    for values in () if is_log else carrier.values:
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
    predicate = " OR ".join(parts) or _NO_ROW
    return _Search(carrier, predicate, find(lake, carrier.table, predicate), tuple(identities), tuple(refusals))


def _named_columns(search: _Search) -> frozenset[str]:
    """The columns that may stand in a search's predicate."""
    of_values = [name for values in search.carrier.values for name in values]
    return frozenset([*of_values, *(name for spine in search.carrier.spines for name in spine.identity)])


def _elsewhere(
    lake: Lake, declarations: Sequence[Declaration], group: str, key: Key, tables: Sequence[TableName]
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


def _tiles(lake: Lake, searches: Sequence[_Search]) -> list[RowTiles]:
    groups = [search for search in searches if search.carrier.kind == "group"]
    return [match for search in groups for match in find_tiles(lake, search.carrier.table, search.predicate)]


def _take_out(
    lake: Lake, searches: Sequence[_Search], group: str, key: Key, *, datasets: bool
) -> dict[TableName, Commit]:
    """Predictions and datasets first: they are found by the rows of their spine."""
    order = ("log", "predictions", "dataset", "group") if datasets else ("log", "predictions", "group")
    commits = {}
    for kind in order:
        for search in searches:
            if search.carrier.kind != kind or not (search.occurrences.rows or search.occurrences.snapshots):
                continue
            has_split = kind == "dataset" and SPLIT in columns_of(lake, search.carrier.table)
            commit = take_out(
                lake,
                search.carrier.table,
                search.predicate,
                message=f"forget a key of {group} in {search.carrier.table.name}",
                extra={"asset": search.carrier.table.name, "columns": sorted(key)},
                record=_recount if has_split else (lambda old, splits: old.record),
                split=SPLIT if has_split else None,
            )
            if commit is not None:
                commits[search.carrier.table] = commit
    return commits


def _recount(old: PartitionRecord, splits: Mapping[str, int]) -> str:
    """A dataset's manifest that counts the rows which are left in each split."""
    manifest = json.loads(old.record)
    if "rows" in manifest:
        manifest["rows"] = {part: splits.get(part, 0) for part in manifest["rows"]}
    return json.dumps(manifest, indent=2) + "\n"


def _made_from(lake: Lake, search: _Search) -> list[int]:
    """The snapshots that a dataset's partitions which hold the key were made from."""
    if search.carrier.kind != "dataset":
        return []
    records = lake.ledger(search.carrier.table, partitions=list(search.occurrences.rows)).values()
    snapshots = [json.loads(record.record).get("snapshot") for record in records]
    return [int(snapshot) for snapshot in snapshots if snapshot is not None]


def _models(store: ModelStore, holding: Sequence[_Search]) -> list[str]:
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


def _online_keys(lake: Lake, online: OnlineStore, searches: Iterable[_Search]) -> dict[str, list[tuple[Any, ...]]]:
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


def _refuse_unwritable(online: OnlineStore, namespaces: Iterable[str]) -> None:
    """Refuse namespaces that cannot be written.

    Raises:
        StoreError: one cannot be.
    """
    for name in namespaces:
        with online.writing(name):
            pass


def _forget_rejected_rows(lake: Lake, search: _Search, *, remove: bool) -> tuple[int, int]:
    def matches(row: Mapping[str, Any]) -> bool:
        return any(_has(row, values) for values in search.carrier.values) or any(
            set(identity) <= row.keys() and tuple(comparable(row[name]) for name in identity) in of_spine
            for identity, of_spine in search.identities
        )

    return rejected_rows(lake.store.rejected / search.carrier.table.name, matches, remove=remove)


def _has(row: Mapping[str, Any], values: Values) -> bool:
    return all(column in row and comparable(row[column]) == comparable(text) for column, text in values.items())


def _pinned_snapshots(lake: Lake, stores: Stores, snapshots: Sequence[int]) -> dict[int, tuple[str, ...]]:
    try:
        result = pins(lake, stores.model_store(), stores.online_store())
    except StoreError as unreadable:  # a damaged manifest keeps nobody from being forgotten
        return dict.fromkeys(snapshots[:1], (f"somebody, but {unreadable}",))
    lost = {snapshot: tuple(what for what in result.get(snapshot, ()) if what != NEWEST) for snapshot in snapshots}
    return {snapshot: whats for snapshot, whats in lost.items() if whats}
