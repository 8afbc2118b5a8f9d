"""Forgetting a key: every table, the online store and the rejected rows, then what is left and where."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg

from fti_assets.core.home import home
from fti_assets.core.names import Commit, PartitionRecord, TableName
from fti_assets.describe import existing_store
from fti_assets.errors import StoreError
from fti_assets.forget.carriers import Carrier, Values, carriers, check_key
from fti_assets.forget.events import tell_dagster
from fti_assets.forget.log_files import (
    await_closed,
    holding_files,
    line_counts,
    log_folders,
    take_out_of_files,
)
from fti_assets.forget.outboxes import bring_to_lake, waiting_events
from fti_assets.forget.refusals import refuse_old_catalog, refuse_unwritable
from fti_assets.forget.report import Forgotten, TableReport
from fti_assets.forget.search import (
    NO_ROW,
    Search,
    builds_holding,
    forget_rejected_rows,
    matches_elsewhere,
    named_columns,
    online_keys_of,
    search_table,
    source_snapshots,
    tiles_holding,
)
from fti_assets.forget.sinks import forget_in_sinks
from fti_assets.forget.windows import load_windows, refuse_windows
from fti_assets.orchestration.declaration import declarations_of
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.appends import taken_from
from fti_assets.stores.lake.branches.branch import refuse_branch, refuse_branched
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.dropping import drop_tables
from fti_assets.stores.lake.upkeep.forgetting import expire_snapshots, take_out, unnamed_files_holding
from fti_assets.stores.lake.upkeep.occurrences import (
    Occurrences,
    RowTiles,
    columns_of,
    find,
    tables_with_files,
)
from fti_assets.stores.lake.upkeep.pins import NEWEST, pins
from fti_assets.training.datasets.dataset import SPLIT


def forget(
    definitions: dg.Definitions,
    group: str,
    key: Values,
    *,
    stores: Stores,
    expire: bool = False,
    dry_run: bool = False,
    log_seconds: float = 90.0,
    outbox: Path | None = None,
) -> Forgotten:
    """Take a key out of all versions of a group, of predictions and their sinks, of prediction logs, the online store and rejected rows.

    What the services of the group's stream have not flushed yet comes to the lake first; of its dead letters those go that name the key.

    What windows keep of its partitions is dropped, and made again by their next run. One commit a table; its message names the
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
            a minute. As long a service of the group's stream is waited for, until it has flushed.
        outbox: where services of streams keep what they have not flushed; ``outbox/`` under ``FTI_HOME`` by default.

    Raises:
        NotMaterializedError: there is no such group, or no offline store.
        DeclarationError: a column is no key of the group.
        DataError: a value is not of its column's type, in no table.
        DamagedError: with ``expire``, the lake's catalog has lost commits or is an old one: what it does not name may be the only
            copy of rows. Nothing was changed.
        StoreError: a table could not be written, or the bytes could not be overwritten while others read.
    """
    declarations, store = declarations_of(definitions), stores.offline_store()
    refuse_branch(
        store,
        "forget a key, which stays in those files",
        "Forget it in main, with FTI_ENV unset, and drop the environment",
    )
    if not dry_run:
        refuse_branched(store, "what is forgotten here would stay readable there, and nothing was changed")
    refuse_windows(declarations, group)
    folder = home() / "outbox" if outbox is None else outbox
    waiting = waiting_events(folder, group)
    if not store.exists():
        check_key(declarations, group, key, [])
        if waiting and not dry_run:  # the first flush makes the lake
            bring_to_lake(declarations, group, stores, folder, log_seconds)
    with existing_store(stores).connect() as lake:
        check_key(declarations, group, key, tables_with_files(lake))
        if not dry_run:
            bring_to_lake(declarations, group, stores, folder, log_seconds)
        tables_before = tables_with_files(lake)
        if expire:
            refuse_old_catalog(lake, declarations)
        folders = log_folders(declarations, group, key, stores.log_folder())
        # All is looked at before anything is changed: what cannot be read leaves no half of it done.
        with lake.one_snapshot():  # whose tables and types are read once
            searches = _searches(lake, carriers(declarations, group, key, tables_before))
            log_counts = line_counts(folders)
            namespaces = online_keys_of(lake, stores.online_store(), searches)
            for search in searches:
                forget_rejected_rows(lake, search, remove=False)
            elsewhere = matches_elsewhere(lake, declarations, group, key, tables_before)
            tiles = tiles_holding(lake, searches)
        builds_holding(stores.model_store(), searches)
        if not dry_run:
            refuse_unwritable(stores.online_store(), namespaces)
            # The files before their table: what is taken in meanwhile is then without the key, or found in the table.
            await_closed(folders, log_seconds)
            log_counts = take_out_of_files(lake, folders)
            searches = [search_table(lake, one.carrier) if one.carrier.kind == "log" else one for one in searches]
        holding = [search for search in searches if search.occurrences.rows or search.occurrences.snapshots]
        models = builds_holding(stores.model_store(), holding)
        made_from = {search.carrier.table: source_snapshots(lake, search) for search in holding}
        online_keys = online_keys_of(lake, stores.online_store(), searches)
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
        load_windows(lake, store_online, declarations, commits)
        rejects = {
            search.carrier.table.name: counts
            for search in searches
            if (counts := forget_rejected_rows(lake, search, remove=not dry_run)) != (0, 0)
        }
        holders_of = {one.carrier.table: (one.predicate, named_columns(one)) for one in searches}
        changes = {one.carrier.table: list(one.occurrences.rows) for one in searches if one.carrier.table in commits}
        sinks = forget_in_sinks(lake, declarations, group, key, holders_of, changes, write=not dry_run)
        # Looked for again: a run that began before may have written the key again meanwhile.
        with lake.one_snapshot():
            rest = [
                find(lake, one.carrier.table, one.predicate)
                if commits or one.carrier.kind == "log"
                else one.occurrences
                for one in searches
            ]
        rest_of_tiles = tiles if dry_run else tiles_holding(lake, searches)
        again = [] if dry_run else _written_again(searches, commits, rest, rest_of_tiles)
        holders = [*(match.snapshots for match in rest), *(match.snapshots for match in rest_of_tiles)]
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
        outboxes=waiting,
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
        without_lock=not store.may_write,
        written_again=again,
        reported_partitions=partitions_told,
    )


def _searches(lake: Lake, carriers: Sequence[Carrier]) -> list[Search]:
    """The entity's rows in each table, those of groups first.

    Raises:
        DataError: its key fits the columns of no table.
    """
    searches = [search_table(lake, carrier) for carrier in sorted(carriers, key=lambda one: one.kind != "group")]
    refusals = [error for search in searches for error in search.refusals]
    if refusals and all(
        search.predicate == NO_ROW for search in searches if search.carrier.kind not in ("log", "dead_letters")
    ):
        raise refusals[0]
    return searches


def _written_again(
    searches: Sequence[Search],
    commits: Mapping[TableName, Commit],
    rest: Sequence[Occurrences],
    rest_of_tiles: Sequence[RowTiles],
) -> list[str]:
    """The tables that hold the key after it was taken out of them."""
    logs = [search.carrier.table for search in searches if search.carrier.kind == "log"]
    tables = [match.table for match in rest if match.rows and match.table in (*commits, *logs)]
    return [table.full_name for table in (*tables, *(match.table for match in rest_of_tiles if match.current))]


def _take_out(
    lake: Lake, searches: Sequence[Search], group: str, key: Values, *, datasets: bool
) -> dict[TableName, Commit]:
    """Predictions and datasets first: they are found by the rows of their spine."""
    order = ("log", "predictions", *(["dataset"] if datasets else []), "group", "dead_letters")
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
                record=_recount if has_split else (lambda old, splits: taken_from(old)),
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


def _pinned_snapshots(lake: Lake, stores: Stores, snapshots: Sequence[int]) -> dict[int, tuple[str, ...]]:
    try:
        result = pins(lake, stores.model_store(), stores.online_store())
    except StoreError as unreadable:  # a damaged manifest keeps nobody from being forgotten
        return dict.fromkeys(snapshots[:1], (f"somebody, but {unreadable}",))
    lost = {snapshot: tuple(what for what in result.get(snapshot, ()) if what != NEWEST) for snapshot in snapshots}
    return {snapshot: whats for snapshot, whats in lost.items() if whats}
