"""What forgetting is refused for before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from fti_assets.core.names import TableName
from fti_assets.forget.events import home_instance
from fti_assets.orchestration.declaration import Declaration, TableDeclaration
from fti_assets.orchestration.upkeep.recorded import compared_tables, recorded_tables, refuse_lost
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.unnamed_files import refuse_only_copies, refuse_to_delete_most, unnamed_tables
from fti_assets.stores.online.store import OnlineStore


def refuse_old_catalog(lake: Lake, declarations: Sequence[Declaration]) -> None:
    """Refuse to delete what the catalog does not name where it seems to be an old one."""
    known_tables: frozenset[TableName] = frozenset()
    with lake.store.lock_if_writable():
        # Without Dagster a killed writer's first run of a partition looks like a lost one, and it may hold the key: it goes.
        comparable_tables = frozenset(unnamed_tables(lake))
    with home_instance() as instance:
        if instance is not None:
            tables = {one.key: one.table for one in declarations if isinstance(one, TableDeclaration) and one.is_stored}
            refuse_lost(lake, instance, tables)
            with lake.store.lock_if_writable():
                comparable_tables = compared_tables(lake, instance)
                known_tables = recorded_tables(lake, instance, comparable_tables)
    with lake.store.lock_if_writable():
        refuse_to_delete_most(lake, older_than=timedelta(0), tables_recorded=known_tables)
        refuse_only_copies(lake, tables_compared=comparable_tables)


def refuse_unwritable(online: OnlineStore, namespaces: Iterable[str]) -> None:
    """Refuse namespaces that cannot be written.

    Raises:
        StoreError: one cannot be.
    """
    for name in namespaces:
        with online.writing(name):
            pass
