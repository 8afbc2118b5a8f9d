"""What the owner of a table says of it to whoever uses it from elsewhere: one text a table, in a table beside its ledger."""

from __future__ import annotations

from contextlib import suppress

import duckdb

from fti_assets.core.names import TableName
from fti_assets.errors import StoreError
from fti_assets.stores.lake.reader import LakeReader


def put_contract(lake: LakeReader, table: TableName, contract: str) -> None:
    """Within a transaction: write what the owner of a table says of it, if it said something else before."""
    before = lake.contract(table)
    if contract == before:
        return
    execute = lake.connection.execute
    if not before:
        lake.about_to_alter()
        execute(f"CREATE TABLE IF NOT EXISTS {table.contract.sql} (contract VARCHAR)")
    execute(f"DELETE FROM {table.contract.sql}")
    execute(f"INSERT INTO {table.contract.sql} VALUES (?)", [contract])


def publish_contract(lake: LakeReader, table: TableName, contract: str) -> None:
    """Write what the owner says of something that has no rows of its own in the lake, in a transaction of its own.

    Raises:
        StoreError: the commit failed; nothing has changed.
    """
    if contract == lake.contract(table):
        return
    with lake.store.lock():
        try:
            with lake.one_snapshot():
                put_contract(lake, table, contract)
                lake.connection.execute(
                    "CALL lake.set_commit_message(?, ?)", ["fti_assets", f"contract of {table.full_name}"]
                )
        except duckdb.Error as error:
            with suppress(duckdb.Error):
                lake.connection.execute("ROLLBACK")
            raise StoreError(
                f"what {table.full_name} promises could not be written to {lake.store.root}: {error}. Nothing has changed"
            ) from error
