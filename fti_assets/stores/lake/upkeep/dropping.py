"""Dropping tables of the lake with their ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import duckdb

from fti_assets.core.names import TableName
from fti_assets.errors import StoreError, list_some
from fti_assets.stores.lake.lake import Lake


def drop_tables(lake: Lake, tables: Sequence[TableName], *, message: str) -> None:
    """Drop tables with their ledgers, in one transaction; the caller holds the writers' lock.

    Their files stay until the snapshots are expired that still read them.

    Raises:
        StoreError: the commit failed; the tables are still there.
    """
    if not tables:
        return
    execute = lake.connection.execute
    # What a stream gave goes with what it was given to: its events are then read from the beginning.
    together = [*tables, *(table.dead_letters for table in tables if lake.has(table.dead_letters))]
    execute("BEGIN")
    try:
        for table in together:
            execute(f"DROP TABLE IF EXISTS {table.sql}")
            execute(f"DROP TABLE IF EXISTS {table.ledger_sql}")
            execute(f"DROP TABLE IF EXISTS {table.positions_sql}")
            execute(f"DROP TABLE IF EXISTS {table.contract.sql}")
        execute("CALL lake.set_commit_message(?, ?)", ["fti_assets", message])
        lake.store.commit(lake.connection)
    except BaseException as error:
        with suppress(duckdb.Error):
            execute("ROLLBACK")
        if isinstance(error, duckdb.Error):
            trouble = lake.store.trouble(error)
            # Where the answer of a database is lost, they may be dropped.
            what = (
                f"{error}. Nothing was changed"
                if trouble is None
                else f"{trouble}. Do it again then: all are there, or none"
            )
            raise StoreError(f"{list_some(tables)} could not be dropped from {lake.store.root}: {what}") from error
        raise
