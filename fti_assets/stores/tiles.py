"""The tables of tiles: which are kept of a source, and dropping them; windows make anew what they need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

import duckdb

from fti_assets.errors import StoreError, listed
from fti_assets.stores.catalog import tables_at_any_snapshot
from fti_assets.stores.lake import Lake
from fti_assets.stores.tables import TILES, TableName


def tiles_of(lake: Lake, source: TableName) -> list[TableName]:
    """The tables of tiles of a source, those included that only old snapshots have: its name, then a hash."""
    named = re.compile(rf"{re.escape(source.name)}_[0-9a-f]{{16}}")
    return [table for table in tables_at_any_snapshot(lake, TILES) if named.fullmatch(table.name)]


def drop_tiles(lake: Lake, tables: Sequence[TableName], *, message: str) -> None:
    """Drop tables of tiles with their ledgers, in one transaction; the caller holds the writers' lock.

    They are a cache, which runs make anew. Their files stay until the snapshots are expired that still read them.

    Raises:
        StoreError: the commit failed; the tables are still there.
    """
    if not tables:
        return
    execute = lake.connection.execute
    execute("BEGIN")
    try:
        for table in tables:
            execute(f"DROP TABLE IF EXISTS {table.sql}")
            execute(f"DROP TABLE IF EXISTS {table.ledger_sql}")
        execute("CALL lake.set_commit_message(?, ?)", ["fti_assets", message])
        execute("COMMIT")
    except BaseException as error:
        with suppress(duckdb.Error):
            execute("ROLLBACK")
        if isinstance(error, duckdb.Error):
            raise StoreError(
                f"{listed(tables)} could not be dropped from {lake.store.root}: {error}. Nothing was changed"
            ) from error
        raise
