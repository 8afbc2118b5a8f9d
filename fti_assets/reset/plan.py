"""What a reset would drop, what rests on that, and what forbids it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import dagster as dg

from fti_assets.core.names import FEATURES, TableName
from fti_assets.describe import existing_store
from fti_assets.errors import NotMaterializedError, StoreError, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.forget.carriers import name_of
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.monitors.monitor import Monitor
from fti_assets.monitors.parity.parity import Parity
from fti_assets.orchestration.declaration import Declaration, TableDeclaration, declarations_of
from fti_assets.orchestration.resources import Stores
from fti_assets.reset.needs import Need, needs, rejected_builds
from fti_assets.stores.files import is_folder, paths_in
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tiles import tiles_of
from fti_assets.stores.online.store import OnlineStore


@dataclass(frozen=True)
class StoredTable:
    """What is stored of one version of a group, dataset or predictions: rows, tiles, online keys, rejected rows.

    Its asset is the one of that name if it is no longer declared. ``online_keys`` is None where it has no namespace.
    """

    table: TableName
    asset: dg.AssetKey
    in_lake: bool
    partitions: int
    rows: int
    tiles: tuple[TableName, ...]
    online_keys: int | None
    rejected_files: int

    @property
    def nothing(self) -> bool:
        """Whether nothing of it is stored."""
        return not (self.in_lake or self.tiles or self.online_keys is not None or self.rejected_files)


@dataclass(frozen=True)
class Plan:
    """What a reset of some names would do.

    ``drops`` is each version of which something is stored, ``dependents`` what else was made from it, in words, which stays,
    ``needs`` what forbids it, ``assets`` those whose records in Dagster go with it, ``root`` the offline store's folder.
    """

    names: tuple[str, ...]
    drops: tuple[StoredTable, ...]
    dependents: tuple[str, ...]
    needs: tuple[Need, ...]
    assets: tuple[dg.AssetKey, ...]
    root: str


def plan_reset(definitions: dg.Definitions, names: Sequence[str], *, stores: Stores) -> Plan:
    """Say what a reset would drop, and what forbids it; nothing is changed.

    Args:
        definitions: the system's.
        names: groups, datasets and predictions: a name for all of its versions, ``orders``, or one version, ``orders_v1``.
        stores: where they are stored.

    Raises:
        NotMaterializedError: there is nothing of that name, or no offline store.
        DamagedError: a manifest cannot be read, so nobody can say what it needs.
    """
    with existing_store(stores).connect() as lake:
        return plan_of(lake, declarations_of(definitions), names, stores)


def plan_of(lake: Lake, declarations: Sequence[Declaration], names: Sequence[str], stores: Stores) -> Plan:
    """The plan as the stores are now."""
    online = stores.online_store()
    tables = _tables(lake, declarations, names, online)
    assets = {one.table: one.key for one in declarations if isinstance(one, TableDeclaration) and one.is_stored}
    all_tables = [_stored_table(lake, table, assets.get(table, dg.AssetKey(table.name)), online) for table in tables]
    with_content = tuple(one for one in all_tables if not one.nothing)
    return Plan(
        names=tuple(names),
        drops=with_content,
        dependents=(*_dependents(lake, declarations, tables), *rejected_builds(stores.model_store(), tables)),
        needs=tuple(needs(lake, stores.model_store(), tables)),
        assets=tuple(one.asset for one in all_tables),
        root=str(lake.store.root),
    )


def _tables(
    lake: Lake, declarations: Sequence[Declaration], names: Sequence[str], online: OnlineStore
) -> list[TableName]:
    """The tables of the names: those that are there, that are declared, or of which something else is left."""
    declared_tables = [one.table for one in declarations if isinstance(one, TableDeclaration) and one.is_stored]
    tables = dict.fromkeys([*lake.tables(), *declared_tables])
    names_of_tables = {table.name for table in tables}
    tables |= {TableName(FEATURES, name): None for name in _left_over(lake, online) if name not in names_of_tables}
    outside = {one.name for one in declarations if isinstance(one, FeatureGroup) and one.source is not None}
    elsewhere = {one.table: one for one in declarations if isinstance(one, FeatureGroup) and not one.is_owned}
    results: dict[TableName, None] = {}
    for name in names:
        matching = [table for table in tables if name in (table.name, name_of(table))]
        if not matching and name in outside:
            raise StoreError(f"{name!r} is kept by another system: nothing of it is stored here that could be reset")
        if not matching:
            resettable = sorted({name_of(table) for table in tables})
            raise NotMaterializedError(
                f"there is no group, dataset or predictions {name!r}: it can be {one_of(resettable)}, or one version such as "
                f"{one_of(sorted(table.name for table in tables)[:1])}"
            )
        if others := [table for table in matching if table in elsewhere]:
            raise StoreError(
                f"{one_of(table.name for table in others)} is owned by another code location, whose rows are not reset from here: reset it "
                "with the definitions that make it"
            )
        results |= dict.fromkeys(matching)
    return list(results)


def _left_over(lake: Lake, online: OnlineStore) -> Iterator[str]:
    """The names of which only an online namespace or rejected rows are left, of a reset that was killed."""
    with suppress(StoreError):  # a damaged file of another group; this one's is asked for by its own name
        yield from online.namespaces()
    yield from (folder.name for folder in paths_in(lake.store.rejected) if is_folder(folder))


def _stored_table(lake: Lake, table: TableName, asset: dg.AssetKey, online: OnlineStore) -> StoredTable:
    ledger = lake.ledger(table)
    tiles, about = set(lake.tiles()), online.about(table.name)
    rejected_files = len(paths_in(lake.store.rejected / table.name))
    return StoredTable(
        table=table,
        asset=asset,
        in_lake=lake.has(table),
        partitions=len(ledger),
        rows=sum(record.rows for record in ledger.values()),
        tiles=tuple(one for one in tiles_of(lake, table) if one in tiles) if table.schema == FEATURES else (),
        online_keys=None if about is None else about.keys,
        rejected_files=rejected_files,
    )


def _dependents(lake: Lake, declarations: Sequence[Declaration], tables: Sequence[TableName]) -> Iterator[str]:
    """Groups and predictions that are stored, and were made from what is dropped."""
    stay = set(lake.tables()).difference(tables)
    for one in declarations:
        if isinstance(one, FeatureGroup) and one.is_stored and one.table in stay:
            of = [source.table_name for source in one.upstream if source.table in tables]
            if of:
                yield f"{one.table_name} was computed from {one_of(of)}: its rows stay; run it again after that"
        if isinstance(one, Monitor) and one.table in stay and one.answers.table in tables:
            yield f"{one.table.name} measured answers of {one.answers.table_name}: its figures stay"
        if isinstance(one, Parity) and one.table in stay and one.of.table in tables:
            yield f"{one.table.name} compared requests of {one.of.table_name}: what it says of them stays"
        if isinstance(one, BatchPredictions) and one.table in stay:
            of = [source.table_name for source in [one.spine, *one.feature_groups] if source.table in tables]
            if of:
                yield f"{one.table.name} answers for rows of {one_of(of)}: its stored answers stay"
