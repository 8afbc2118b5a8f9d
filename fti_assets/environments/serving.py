"""The online store of main or of an environment, loaded from its lake."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import dagster as dg
import duckdb

from fti_assets.core.names import PartitionRecord, TableName
from fti_assets.environments.opening import open_environment
from fti_assets.errors import StoreError
from fti_assets.features.online.load import load_online
from fti_assets.orchestration.declaration import TableDeclaration, declarations_of, walk
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.online.store import OnlineStore


def load(definitions: dg.Definitions, stores: Stores, name: str) -> dict[str, int]:
    """Load the online store of an environment from its lake, so that apps there are answered from what main had, and from its own rows.

    Args:
        definitions: the system's; all of its groups and predictions with ``online=True`` that are stored are loaded.
        stores: those of main.
        name: the environment's.

    Returns:
        How many keys each namespace has.

    Raises:
        NotMaterializedError: there is none of that name.
        DamagedError: main was reset since.
        StoreError: the online store takes nothing.
    """
    with open_environment(stores, name) as env:
        return load_tables(definitions, env.own, env.own_stores, env.own.tables())


def load_tables(
    definitions: dg.Definitions, lake: Lake, stores: Stores, tables: Collection[TableName]
) -> dict[str, int]:
    """Bring the namespaces of some tables, and of windows over them, to the lake's newest snapshot; how many keys each has.

    Raises:
        StoreError: the online store takes nothing.
    """
    counts = {}
    for declaration in _served(definitions, tables):
        try:
            counts[declaration.table_name] = load_online(lake, stores.online_store(), declaration)  # type: ignore[arg-type]
        except StoreError as error:
            raise StoreError(
                f"{declaration.table_name} is in the lake, but not in the online store {stores.online_store()}: {error}"
            ) from error
    return counts


def load_stale(
    definitions: dg.Definitions, lake: Lake, stores: Stores, tables: Collection[TableName]
) -> dict[str, int]:
    """Bring those namespaces of some tables that lack rows of the lake to its newest snapshot; how many keys each has.

    Raises:
        StoreError: the online store takes nothing.
    """
    online = stores.online_store()
    stale = {one.table for one in _served(definitions, tables) if _is_stale(lake, online, one)}
    return load_tables(definitions, lake, stores, stale)


def _is_stale(lake: Lake, online: OnlineStore, declaration: TableDeclaration) -> bool:
    """Whether a namespace is not of the rows that the lake has; it is if nobody can say."""
    try:
        about = online.about(declaration.table_name)
        before = None if about is None else lake.ledger(declaration.table, snapshot=about.snapshot)
    except (StoreError, duckdb.Error):  # it is damaged, or its snapshot has expired
        return True
    return before is None or _versions(before) != _versions(lake.ledger(declaration.table))


def _versions(ledger: Mapping[str, PartitionRecord]) -> dict[str, str]:
    return {key: record.data_version for key, record in ledger.items()}


def _served(definitions: dg.Definitions, tables: Collection[TableName]) -> Iterator[TableDeclaration]:
    for one in walk(declarations_of(definitions)):
        if isinstance(one, TableDeclaration) and one.is_owned and getattr(one, "online", False) and one.table in tables:
            yield one
