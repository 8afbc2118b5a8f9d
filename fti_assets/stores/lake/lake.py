"""An open lake: its tables, the ledger of each, and the transactions that change both."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import duckdb

from fti_assets.core import clock
from fti_assets.core.names import LEDGER, PARTITION, TILES, WHOLE, Commit, PartitionRecord, TableName
from fti_assets.core.sql import literal, quoted
from fti_assets.errors import NotMaterializedError, StoreError, listed
from fti_assets.stores.files import sync_file, sync_folder
from fti_assets.stores.lake.catalog import put_columns
from fti_assets.stores.lake.content_hash import content_sums, data_version
from fti_assets.stores.lake.damage import give_up, unreadable_files
from fti_assets.stores.lake.earlier_types import unchanged
from fti_assets.stores.lake.table_schema import fit, refuse_other_schema, settle

if TYPE_CHECKING:
    from fti_assets.stores.lake.store import OfflineStore

_SYNCS_AT_ONCE = 16


class Lake:
    """An open connection to the offline store. Make one with ``OfflineStore.connect``."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, store: OfflineStore) -> None:
        self.connection = connection
        self._store = store
        self._outside: dict[TableName, duckdb.DuckDBPyRelation] = {}

    @property
    def store(self) -> OfflineStore:
        return self._store

    def on(self, connection: duckdb.DuckDBPyConnection) -> Lake:
        """The same lake by another connection to it."""
        return Lake(connection, self._store)

    @contextmanager
    def one_snapshot(self) -> Iterator[None]:
        """Read several things as of one snapshot, whose catalog is read once instead of for each of them."""
        self.connection.execute("BEGIN")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def snapshot(self) -> int:
        """The number of the newest snapshot."""
        return int(str(self._one("SELECT id FROM lake.current_snapshot()")[0]))

    def snapshot_at(self, snapshot: int) -> str | None:
        """When a snapshot was made, as text, which tells it from one of the same number in another lake; None if it is gone."""
        found = self.connection.execute(
            "SELECT snapshot_time::VARCHAR FROM lake.snapshots() WHERE snapshot_id = ?", [snapshot]
        ).fetchone()
        return None if found is None else str(found[0])

    def tables(self) -> list[TableName]:
        """Every table of features, datasets and predictions, by name."""
        return [table for table in self._stored() if table.schema != TILES]

    def tiles(self) -> list[TableName]:
        """Every table of tiles, by name."""
        return [table for table in self._stored() if table.schema == TILES]

    def _stored(self) -> list[TableName]:
        found = self.connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name <> ? "
            "ORDER BY ALL",
            [LEDGER],
        ).fetchall()
        return [TableName(schema, name) for schema, name in found]

    def has(self, table: TableName) -> bool:
        return table in self._stored()

    def types(self, table: TableName) -> dict[str, str]:
        """Column names and DuckDB types of a stored table, in its order, without ``_partition``; empty if there is none."""
        if table in self._outside:
            rows = self._outside[table]
            return dict(zip(rows.columns, map(str, rows.types), strict=True))
        found = self.connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = 'lake' AND schema_name = ? "
            "AND table_name = ? AND column_name <> ? ORDER BY column_index",
            [table.schema, table.name, PARTITION],
        ).fetchall()
        return dict(found)

    def read_outside(self, table: TableName, rows: duckdb.DuckDBPyRelation) -> None:
        """Give these rows, of this connection, for a table that another system keeps; it has no snapshots and no ledger."""
        self._outside[table] = rows

    def rows(self, table: TableName, *, snapshot: int | None = None, partitions: Sequence[str] | None = None,
             with_partition: bool = False) -> duckdb.DuckDBPyRelation:  # fmt: skip
        """The rows of a table as of a snapshot (the newest by default), lazily, optionally of some partitions only.

        Raises:
            NotMaterializedError: there is no such table.
        """
        if table in self._outside:
            if partitions is not None and set(partitions) != {WHOLE}:
                raise NotMaterializedError(
                    f"{table} is kept by another system and has no partition {listed(partitions)}"
                )
            return self._outside[table]
        if not self.has(table):
            names = [str(other) for other in self.tables() if other.schema == table.schema]
            raise NotMaterializedError(
                f"{table} is not in the offline store at {self._store.root}, which has {listed(names)}: materialize it first"
            )
        columns = "*" if with_partition else f"* EXCLUDE ({PARTITION})"
        where = ""
        if partitions is not None:
            where = f" WHERE {PARTITION} IN ({', '.join(literal(partition) for partition in partitions) or 'NULL'})"
        try:
            return self.connection.sql(f"SELECT {columns} FROM {table.sql}{_at(snapshot)}{where}")
        except duckdb.Error as error:
            raise self._unreadable(table, snapshot, error) from error

    def ledger(
        self, table: TableName, *, snapshot: int | None = None, partitions: Sequence[str] | None = None
    ) -> dict[str, PartitionRecord]:
        """What is stored of each partition of a table, optionally of some only; empty if there is no such table."""
        where = "" if partitions is None else " WHERE partition IN (SELECT unnest(?))"
        try:
            records = self.connection.execute(
                "SELECT partition, data_version, rows, committed_at, run_at, run_id, record "
                f"FROM {table.ledger_sql}{_at(snapshot)}{where} ORDER BY partition",
                [] if partitions is None else [list(partitions)],
            ).fetchall()
        except duckdb.CatalogException:  # not made, or made after that snapshot
            return {}
        except duckdb.Error as error:
            raise self._unreadable(table, snapshot, error) from error
        return {record[0]: PartitionRecord(*record) for record in records}

    def ledger_snapshots(self, table: TableName) -> dict[str, int]:
        """The snapshot in which each partition of a table was last written."""
        try:
            found = self.connection.execute(f"SELECT partition, snapshot_id FROM {table.ledger_sql}").fetchall()
        except duckdb.CatalogException:
            return {}
        return {partition: int(snapshot) for partition, snapshot in found}

    def _unreadable(self, table: TableName, snapshot: int | None, error: duckdb.Error) -> StoreError:
        newest = self.snapshot()
        if snapshot is None or (0 <= snapshot <= newest and "No snapshot found" not in str(error)):
            return StoreError(f"{table} cannot be read at snapshot {newest if snapshot is None else snapshot}: {error}")
        there = f"the offline store at {self._store.root} has no snapshot {snapshot}"
        if snapshot > newest:
            return NotMaterializedError(f"{there}: its newest is {newest}")
        return NotMaterializedError(
            f"{there} any more: it was expired, by upkeep or because a key in it was forgotten. Materialize what rests on it "
            f"again, or read the newest, {newest}"
        )

    def replace(
        self,
        table: TableName,
        staged: str,
        partitions: Sequence[str],
        *,
        asset: str,
        run_id: str = "",
        records: Mapping[str, str] | None = None,
        check: Callable[[], None] | None = None,
        addable: Collection[str] = (),
    ) -> Commit:
        """Replace whole partitions by the rows of a staged table, in one transaction, all or nothing.

        Args:
            table: the table; made if it is not there.
            staged: a temporary table of this connection whose ``_partition`` holds one of ``partitions`` in each row.
            partitions: the partitions that are replaced, those without rows included.
            asset: the Dagster asset, for the commit's message.
            run_id: the Dagster run, for the ledger and the commit.
            records: the writer's own JSON for each partition.
            check: run first under the writers' lock; what it raises leaves everything as it was.
            addable: columns that the stored table gets if it lacks them: the partitions that are not replaced have nulls
                there, and keep their data versions.

        Raises:
            SchemaChangedError: the stored table has other columns or types.
            StoreError: the commit failed; the old rows are still there.
        """
        contents = self.contents(staged, partitions)
        now = clock.now()
        with self._store.lock():
            with self.one_snapshot():
                if check is not None:
                    check()
                old = self.ledger(table, partitions=partitions)
                if settle(self, table, staged):
                    contents = self.contents(staged, partitions)
                refuse_other_schema(self, table, staged, addable)
                other = [key for key in old if (old[key].rows, old[key].data_version) != contents[key][::-1]]
                earlier = unchanged(
                    self, table, staged, old, [key for key in other if old[key].rows == contents[key][1]]
                )
            types = self.staged_types(staged)
            same = [key for key in old if key not in other]
            lost = self._lost(table, types, {key: old[key] for key in same})
            for key, its in earlier.items():
                if not self._lost(table, its.types, {key: old[key]}, its.selected):
                    same, contents[key] = [*same, key], (old[key].data_version, old[key].rows)
            changed = tuple(key for key in partitions if key not in same or key in lost)
            written = tuple(
                PartitionRecord(
                    partition=key,
                    data_version=contents[key][0],
                    rows=contents[key][1],
                    committed_at=old[key].committed_at if key in same else now,
                    run_at=now,
                    run_id=run_id,
                    record=(records or {}).get(key, "{}"),
                )
                for key in partitions
            )
            said = {"asset": asset, "run_id": run_id}
            return self.write(table, staged, changed, written, old=old, message=f"materialize {asset}", extra=said)

    def write(
        self,
        table: TableName,
        staged: str,
        changed: Sequence[str],
        written: Sequence[PartitionRecord],
        *,
        old: Collection[str],
        message: str,
        extra: Mapping[str, object],
    ) -> Commit:
        """Replace the rows of the changed partitions, and the ledger's records of the written ones, in one transaction.

        The caller holds the writers' lock and read the ledger under it.

        Args:
            table: the table; made if it is not there.
            staged: a temporary table of this connection with the new rows and their ``_partition``.
            changed: the partitions whose rows are replaced.
            written: the ledger's new records.
            old: the partitions among them that the ledger has; the others have no rows to delete.
            message: the commit's message.
            extra: what else the commit says.

        Raises:
            StoreError: the commit failed; the old rows are still there.
        """
        replaced = [key for key in changed if key in old]
        try:
            self._write(table, staged, changed, written, old=old, message=message, extra=extra)
        except StoreError:
            damaged = unreadable_files(self, table, replaced) if replaced else []
            if not damaged:
                raise
            give_up(self, table, damaged)
            self._write(table, staged, changed, written, old=old, message=message, extra=extra)
        return Commit(self.snapshot(), tuple(written), tuple(changed))

    def _write(
        self,
        table: TableName,
        staged: str,
        changed: Sequence[str],
        written: Sequence[PartitionRecord],
        *,
        old: Collection[str],
        message: str,
        extra: Mapping[str, object],
    ) -> None:
        with self.transaction(table, written, old=old, folders=changed, message=message, extra=extra):
            execute = self.connection.execute
            places = fit(self, table, staged)
            if replaced := ", ".join(literal(key) for key in changed if key in old):
                execute(f"DELETE FROM {table.sql} WHERE {PARTITION} IN ({replaced})")
            if keys := ", ".join(literal(key) for key in changed):
                execute(f"INSERT INTO {table.sql} BY NAME SELECT * FROM {quoted(staged)} WHERE {PARTITION} IN ({keys})")
        put_columns(self, table, places)

    def _lost(
        self, table: TableName, types: Mapping[str, str], records: Mapping[str, PartitionRecord], selected: str = "*"
    ) -> set[str]:
        """The partitions whose files do not hold what was written, so that the same rows have to be written again."""
        holding = [key for key, record in records.items() if record.rows]
        if not holding:
            return set()
        keys = ", ".join(map(literal, holding))
        rows = f"SELECT {selected} FROM {table.sql} WHERE {PARTITION} IN ({keys})"
        asked = f"SELECT {PARTITION}, {content_sums(types)} FROM ({rows}) GROUP BY 1"
        try:
            found = {
                key: data_version(types, tuple(map(int, sums)))
                for key, *sums in self.connection.execute(asked).fetchall()
            }
        except duckdb.Error:
            damaged = {file.partition for file in unreadable_files(self, table, holding)}
            if not damaged:
                raise
            return damaged | self._lost(
                table, types, {key: records[key] for key in holding if key not in damaged}, selected
            )
        return {key for key in holding if found.get(key) != records[key].data_version}

    @contextmanager
    def transaction(
        self,
        table: TableName,
        written: Sequence[PartitionRecord],
        *,
        old: Collection[str],
        folders: Sequence[str],
        message: str,
        extra: Mapping[str, object],
    ) -> Iterator[None]:
        """Change a table's rows and its ledger in one transaction; the caller holds the writers' lock.

        Args:
            table: the table that the block changes.
            written: the ledger's new records.
            old: the partitions among them that the ledger has.
            folders: the partitions whose files are new.
            message: the commit's message.
            extra: what else the commit says.

        Raises:
            StoreError: the commit failed; the old rows are still there.
        """
        execute = self.connection.execute
        try:
            execute("BEGIN")
            yield
            if replaced := [record.partition for record in written if record.partition in old]:
                execute(f"DELETE FROM {table.ledger_sql} WHERE partition IN (SELECT unnest(?))", [replaced])
            execute(
                f"INSERT INTO {table.ledger_sql} SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6), "
                "unnest($7)",
                [list(field) for field in zip(*(astuple(record) for record in written), strict=True)],
            )
            execute(
                "CALL lake.set_commit_message(?, ?, extra_info => ?)",
                ["fti_assets", message, json.dumps(extra)],
            )
            self.sync_new_files(table, folders)
            execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, duckdb.Error | OSError):
                raise StoreError(
                    f"{table} could not be written to {self._store.root}: {error}. Its old rows are still there; "
                    "mend the cause and try again"
                ) from error
            raise

    def _roll_back(self) -> None:
        """End the transaction; an error here would hide the cause, which is about to be raised."""
        with suppress(duckdb.Error):
            self.connection.execute("ROLLBACK")

    def staged_types(self, staged: str) -> dict[str, str]:
        """Column names and DuckDB types of a temporary table, without ``_partition``."""
        described = self.connection.execute(f"DESCRIBE {quoted(staged)}").fetchall()
        return {name: kind for name, kind, *_ in described if name != PARTITION}

    def contents(self, staged: str, partitions: Sequence[str]) -> dict[str, tuple[str, int]]:
        """The data version and row count of each partition: a content hash that does not depend on the rows' order."""
        types = self.staged_types(staged)
        hashes = self.connection.execute(
            f"SELECT {PARTITION}, {content_sums(types)} FROM {quoted(staged)} GROUP BY 1"
        ).fetchall()
        found = {partition: tuple(map(int, sums)) for partition, *sums in hashes}
        contents = {}
        for partition in partitions:
            sums = found.get(partition, (0, 0, 0))
            contents[partition] = (data_version(types, sums), sums[0])
        return contents

    def sync_new_files(self, table: TableName, partitions: Sequence[str]) -> None:
        """Make the new Parquet files durable before the catalog names them; DuckLake itself never does."""
        if not partitions:
            return
        data = self._store.root / "data"
        folder = data / table.schema / table.name
        for deletions in folder.glob("*-delete.parquet"):  # of row-level changes, beside the partitions' folders
            sync_file(deletions)
        named = [folder / f"{PARTITION}={quote(partition, safe='')}" for partition in partitions]  # ':' is written %3A
        with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:  # the disk joins what waits for it at the same time
            list(pool.map(_sync_files_of, filter(Path.is_dir, named)))
        for parent in filter(Path.is_dir, (folder, data / table.schema, data)):
            sync_folder(parent)

    def _one(self, sql: str) -> tuple[object, ...]:
        row: tuple[object, ...] | None = self.connection.execute(sql).fetchone()
        assert row is not None
        return row


def _at(snapshot: int | None) -> str:
    return "" if snapshot is None else f" AT (VERSION => {int(snapshot)})"


def _sync_files_of(folder: Path) -> None:
    for file in folder.iterdir():
        sync_file(file)
    sync_folder(folder)
