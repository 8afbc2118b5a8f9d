"""The offline store: one DuckLake. The only module that knows DuckLake.

Embedded, it is a SQLite catalog in WAL mode and Parquet files under one folder. Every table is partitioned by
``_partition`` and has a ledger, written in the same transaction, that says which version of each partition is there, who
wrote it and from what.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from urllib.parse import unquote

import duckdb

from fti_assets import clock
from fti_assets.errors import NotMaterializedError, SchemaChangedError, StoreError, listed
from fti_assets.stores.files import locked
from fti_assets.stores.lake_connection import lake_connection
from fti_assets.stores.sql import literal, quoted
from fti_assets.stores.tables import LEDGER, PARTITION, Commit, PartitionRecord, TableName

_HASH_VERSION = "1"
_LOCK_TIMEOUT_S = 600.0


class OfflineStore:
    """A DuckLake under one folder.

    Args:
        root: the folder; made on the first write.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.sqlite"

    @property
    def rejected(self) -> Path:
        """The folder where rows that failed validation are kept aside."""
        return self.root / "rejected"

    @contextmanager
    def connect(self) -> Iterator[Lake]:
        """Open a connection to the lake for a block; it takes about 0.3 s, so keep it for a step."""
        self._create()
        with lake_connection(self.catalog, self.root / "data") as connection:
            yield Lake(connection, self)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the writers' lock: a SQLite catalog admits one writer at a time, thread or process."""
        with locked(self.root / "lake.lock", timeout=_LOCK_TIMEOUT_S):
            yield

    def _create(self) -> None:
        """Make the catalog once, whole or not at all, in WAL mode, so that readers go on while someone commits."""
        if self.catalog.exists():
            return
        (self.root / "data").mkdir(parents=True, exist_ok=True)
        with self.lock():
            if self.catalog.exists():
                return
            half_made = self.root / "catalog.new"
            half_made.unlink(missing_ok=True)
            with lake_connection(half_made, self.root / "data") as connection:
                connection.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
                connection.execute(f"CREATE SCHEMA lake.{LEDGER}")
                connection.execute(f"CALL lake.set_option('data_inlining_row_limit', 100000, schema => '{LEDGER}')")
            journal = sqlite3.connect(half_made)
            try:
                journal.execute("PRAGMA journal_mode = WAL")
            finally:
                journal.close()
            os.replace(half_made, self.catalog)


class Lake:
    """An open connection to the offline store. Make one with ``OfflineStore.connect``."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, store: OfflineStore) -> None:
        self.connection = connection
        self._store = store

    @property
    def store(self) -> OfflineStore:
        return self._store

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
        found = self.connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name <> ? "
            "ORDER BY ALL",
            [LEDGER],
        ).fetchall()
        return [TableName(schema, name) for schema, name in found]

    def has(self, table: TableName) -> bool:
        return table in self.tables()

    def types(self, table: TableName) -> dict[str, str]:
        """Column names and DuckDB types of a stored table, in its order, without ``_partition``; empty if there is none."""
        found = self.connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = 'lake' AND schema_name = ? "
            "AND table_name = ? AND column_name <> ? ORDER BY column_index",
            [table.schema, table.name, PARTITION],
        ).fetchall()
        return dict(found)

    def rows(self, table: TableName, *, snapshot: int | None = None, partitions: Sequence[str] | None = None,
             with_partition: bool = False) -> duckdb.DuckDBPyRelation:  # fmt: skip
        """The rows of a table as of a snapshot (the newest by default), lazily, optionally of some partitions only.

        Raises:
            NotMaterializedError: there is no such table.
        """
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
            if snapshot is None or 0 <= snapshot <= self.snapshot():
                raise StoreError(f"{table} cannot be read at snapshot {snapshot}: {error}") from error
            raise NotMaterializedError(
                f"the offline store at {self._store.root} has no snapshot {snapshot}: its newest is {self.snapshot()}"
            ) from error

    def ledger(self, table: TableName, *, snapshot: int | None = None) -> dict[str, PartitionRecord]:
        """What is stored of each partition of a table; empty if there is no such table."""
        if not self.has(table):
            return {}
        records = self.connection.execute(
            "SELECT partition, data_version, rows, committed_at, run_at, run_id, record "
            f"FROM {table.ledger_sql}{_at(snapshot)} ORDER BY partition"
        ).fetchall()
        return {record[0]: PartitionRecord(*record) for record in records}

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

        Raises:
            SchemaChangedError: the stored table has other columns or types.
            StoreError: the commit failed; the old rows are still there.
        """
        types = self.staged_types(staged)
        contents = self._contents(staged, types, partitions)
        now = clock.now()
        with self._store.lock():
            if check is not None:
                check()
            old = self.ledger(table)
            if any(record.rows for record in old.values()):
                self._refuse_other_schema(table, types)
            changed = tuple(key for key in partitions if key not in old or old[key].data_version != contents[key][0])
            written = tuple(
                PartitionRecord(
                    partition=key,
                    data_version=contents[key][0],
                    rows=contents[key][1],
                    committed_at=now if key in changed else old[key].committed_at,
                    run_at=now,
                    run_id=run_id,
                    record=(records or {}).get(key, "{}"),
                )
                for key in partitions
            )
            self._commit(table, staged, changed, written, asset=asset, run_id=run_id)
            return Commit(self.snapshot(), written, changed)

    def _commit(
        self,
        table: TableName,
        staged: str,
        changed: tuple[str, ...],
        written: tuple[PartitionRecord, ...],
        *,
        asset: str,
        run_id: str,
    ) -> None:
        execute = self.connection.execute
        execute("BEGIN")
        try:
            if self.has(table) and self.types(table) != self.staged_types(staged):  # an empty one, or it was refused
                execute(f"DROP TABLE {table.sql}")
            if not self.has(table):
                self._create_table(table, staged)
            if changed:
                keys = ", ".join(literal(key) for key in changed)
                execute(f"DELETE FROM {table.sql} WHERE {PARTITION} IN ({keys})")
                execute(f"INSERT INTO {table.sql} BY NAME SELECT * FROM {quoted(staged)} WHERE {PARTITION} IN ({keys})")
            execute(
                f"DELETE FROM {table.ledger_sql} WHERE partition IN (SELECT unnest(?))",
                [[r.partition for r in written]],
            )
            execute(
                f"INSERT INTO {table.ledger_sql} SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6), "
                "unnest($7)",
                [list(field) for field in zip(*(astuple(record) for record in written), strict=True)],
            )
            execute(
                "CALL lake.set_commit_message(?, ?, extra_info => ?)",
                ["fti_assets", f"materialize {asset}", json.dumps({"asset": asset, "run_id": run_id})],
            )
            self._fsync_new_files(table, changed)
            execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, duckdb.Error | OSError):
                raise StoreError(
                    f"{table} could not be written to {self._store.root}: {error}. Its old rows are still there; "
                    "mend the cause and materialize again"
                ) from error
            raise

    def _roll_back(self) -> None:
        """End the transaction; an error here would hide the cause, which is about to be raised."""
        with suppress(duckdb.Error):
            self.connection.execute("ROLLBACK")

    def _create_table(self, table: TableName, staged: str) -> None:
        execute = self.connection.execute
        execute(f"CREATE SCHEMA IF NOT EXISTS {quoted('lake', table.schema)}")
        execute(f"CREATE TABLE {table.sql} AS SELECT * FROM {quoted(staged)} LIMIT 0")
        execute(f"ALTER TABLE {table.sql} SET PARTITIONED BY ({PARTITION})")
        execute(
            f"CREATE TABLE IF NOT EXISTS {table.ledger_sql} (partition VARCHAR, data_version VARCHAR, rows BIGINT, committed_at TIMESTAMP, "
            "run_at TIMESTAMP, run_id VARCHAR, record VARCHAR)"
        )

    def staged_types(self, staged: str) -> dict[str, str]:
        """Column names and DuckDB types of a temporary table, without ``_partition``."""
        described = self.connection.execute(f"DESCRIBE {quoted(staged)}").fetchall()
        return {name: kind for name, kind, *_ in described if name != PARTITION}

    def _refuse_other_schema(self, table: TableName, types: Mapping[str, str]) -> None:
        stored = self.types(table)
        if not stored or stored == dict(types):
            return
        changes = [f"{name} {kind} is new" for name, kind in types.items() if name not in stored]
        changes += [f"{name} {kind} is gone" for name, kind in stored.items() if name not in types]
        changes += [
            f"{name} was {stored[name]} and is now {kind}"
            for name, kind in types.items()
            if name in stored and stored[name] != kind
        ]
        if changes:
            raise SchemaChangedError(
                f"{table} is stored with another schema: {'; '.join(changes)}. Nothing was stored. Raise the version, so "
                "that the new schema gets a table of its own, or give the columns back their old types"
            )

    def _contents(self, staged: str, types: Mapping[str, str], partitions: Sequence[str]) -> dict[str, tuple[str, int]]:
        """The data version and row count of each partition: a content hash that does not depend on the rows' order."""
        columns = sorted(types)
        row = ", ".join(quoted(column) for column in columns)
        hashes = self.connection.execute(
            f"SELECT {PARTITION}, count(*), sum(hash({row})), sum(hash(hash({row}), 1)) FROM {quoted(staged)} GROUP BY 1"
        ).fetchall()
        found = {partition: sums for partition, *sums in hashes}
        schema = [[column, types[column]] for column in columns]
        contents = {}
        for partition in partitions:
            count, first, second = found.get(partition, (0, 0, 0))
            digest = hashlib.sha256(json.dumps([schema, int(count), int(first), int(second)]).encode()).hexdigest()
            contents[partition] = (f"{_HASH_VERSION}.{digest[:24]}", int(count))
        return contents

    def _fsync_new_files(self, table: TableName, partitions: Sequence[str]) -> None:
        """Make the new Parquet files durable before the catalog names them; DuckLake itself never does."""
        if not partitions:
            return
        data = self._store.root / "data"
        folder = data / table.schema / table.name
        written = {f"{PARTITION}={partition}" for partition in partitions}
        for child in folder.iterdir() if folder.is_dir() else ():
            if unquote(child.name) in written:  # DuckDB writes ':' and its like as %3A
                _fsync_tree(child)
        for parent in (folder, data / table.schema, data):
            _fsync(parent)

    def _one(self, sql: str) -> tuple[object, ...]:
        row: tuple[object, ...] | None = self.connection.execute(sql).fetchone()
        assert row is not None
        return row


def _at(snapshot: int | None) -> str:
    return "" if snapshot is None else f" AT (VERSION => {int(snapshot)})"


def _fsync_tree(folder: Path) -> None:
    if folder.is_dir():
        for file in folder.iterdir():
            _fsync(file)
        _fsync(folder)


def _fsync(path: Path) -> None:
    if path.exists():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
