"""The online store of main or of an environment, loaded from its lake."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import dagster as dg

from fti_assets.core.names import TableName
from fti_assets.environments.opening import open_environment
from fti_assets.errors import StoreError
from fti_assets.features.online.load import load_online
from fti_assets.orchestration.declaration import TableDeclaration, declarations_of, walk
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake


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
    loaded = {}
    for declaration in _served(definitions, tables):
        try:
            loaded[declaration.table_name] = load_online(lake, stores.online_store(), declaration)  # type: ignore[arg-type]
        except StoreError as error:
            raise StoreError(
                f"{declaration.table_name} is in the lake, but not in the online store {stores.online_store()}: {error}"
            ) from error
    return loaded


def _served(definitions: dg.Definitions, tables: Collection[TableName]) -> Iterator[TableDeclaration]:
    for one in walk(declarations_of(definitions)):
        if isinstance(one, TableDeclaration) and one.is_owned and getattr(one, "online", False) and one.table in tables:
            yield one
