"""An open lake, read: its tables, their rows at a snapshot, and the ledger of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

import duckdb

from fti_assets.core.names import PARTITION, TILES, WHOLE, PartitionRecord, TableName, in_partitions
from fti_assets.core.sql import quote
from fti_assets.core.types import ColumnType, type_of_sql
from fti_assets.errors import NotMaterializedError, StoreError, list_some
from fti_assets.stores.lake.files.current_files import (
    CHECKSUMS,
    refuse_damaged_files,
    refuse_damaged_or_missing,
)
from fti_assets.stores.lake.files.durable import sync_new_files
from fti_assets.stores.lake.one_snapshot import OneSnapshot, stored_types

if TYPE_CHECKING:
    from fti_assets.stores.lake.folder import LakeFolder
    from fti_assets.stores.sources.source import ExternalSource

CLOCK = "clock"
"""What a commit says beside its message if the clock was set: the instant that it then was, as ISO text."""


class LakeReader:
    """What can be asked of an open lake. ``Lake`` writes, too."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, store: LakeFolder) -> None:
        self.connection = connection
        self._store = store
        self._outside: dict[TableName, duckdb.DuckDBPyRelation] = {}
        self._sources: dict[TableName, ExternalSource] = {}
        self._instead: dict[TableName, duckdb.DuckDBPyRelation] = {}
        # What the transaction reads, and what was read last: of the same number both are one.
        self._read: OneSnapshot | None = None
        self._looked_at: set[tuple[TableName, int, frozenset[str] | None]] = set()
        self._last: OneSnapshot | None = None
        # Others that were read in the transaction, for which they cannot go.
        self._others: dict[int, OneSnapshot] = {}
        self._has_checksums = False
        self._contracts: dict[TableName, str] = {}

    @property
    def store(self) -> LakeFolder:
        return self._store

    def on(self, connection: duckdb.DuckDBPyConnection) -> Self:
        """The same lake by another connection to it."""
        same = type(self)(connection, self._store)
        same._has_checksums = self._has_checksums
        return same

    def has_checksums(self) -> bool:
        """Whether the catalog has a table of checksums, which one of earlier code gets with its next commit."""
        if not self._has_checksums:
            self._has_checksums = self._store.has_own_table(self.connection, CHECKSUMS)
        return self._has_checksums

    @contextmanager
    def one_snapshot(self) -> Iterator[None]:
        """Read several things as of one snapshot, whose catalog is read once instead of for each of them.

        Within such a block it does nothing. A failed question ends the transaction of the block.
        """
        if self._read is not None:
            yield
            return
        try:
            self._begin()
            yield
            self._read = None
            self.connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def begin_again(self) -> None:
        """Within ``one_snapshot``, after a failed question: go on with the newest snapshot, without what the block has made."""
        if self._read is not None:
            self._roll_back()
            self._begin()

    def _begin(self) -> None:
        """Begin a transaction, which reads the newest snapshot."""
        self.connection.execute("BEGIN")
        self._others.clear()
        # Before anything is asked of DuckLake's own catalog: what is read there is never older than the snapshot.
        self._read = self._last = self._one_snapshot(self._newest())

    def about_to_alter(self) -> None:
        """Within a transaction that changes tables: from here on it has others than the snapshot that it began with."""
        self._read = None

    def _one_snapshot(self, number: int) -> OneSnapshot:
        last = self._last
        if last is not None and last.number == number:
            return last
        if self._read is None:
            return OneSnapshot(self.connection, self._store, number)
        if number not in self._others:
            self._others[number] = OneSnapshot(self.connection, self._store, number)
        return self._others[number]

    def snapshot(self) -> int:
        """The number of the newest snapshot; within ``one_snapshot`` that of the block."""
        return self._newest() if self._read is None else self._read.number

    def _newest(self) -> int:
        # Not of SQLite, which would be faster: in a transaction DuckLake might then read a newer one than SQLite goes on reading.
        # Not lake.current_snapshot(): to look up any name of the lake, DuckLake reads its whole schema, which takes seven times as long.
        return int(str(self._one("SELECT id FROM ducklake_current_snapshot('lake')")[0]))

    def snapshot_at(self, snapshot: int) -> str | None:
        """When a snapshot was made, as text, which tells it from one of the same number in another lake; None if it is gone."""
        rows = self.connection.execute(
            "SELECT snapshot_time::VARCHAR FROM lake.snapshots() WHERE snapshot_id = ?", [snapshot]
        ).fetchall()
        return str(rows[0][0]) if rows else None

    def tables(self) -> list[TableName]:
        """Every table of features, datasets and predictions, by name."""
        return [table for table in self._stored_tables() if table.schema != TILES]

    def tiles(self) -> list[TableName]:
        """Every table of tiles, by name."""
        return [table for table in self._stored_tables() if table.schema == TILES]

    def _stored_tables(self) -> list[TableName]:
        return (self._read or self._one_snapshot(self._newest())).tables()

    def has(self, table: TableName) -> bool:
        return table in self._stored_tables()

    def types(self, table: TableName) -> dict[str, str]:
        """Column names and DuckDB types of a stored table, in its order, without ``_partition``; empty if there is none."""
        if table in self._outside:
            rows = self._outside[table]
            return dict(zip(rows.columns, map(str, rows.types), strict=True))
        return stored_types(self.connection, table) if self._read is None else self._read.types(table)

    def column_types(self, table: TableName) -> dict[str, ColumnType | None]:
        """The columns of a stored table and their column types, None for one that no feature can have.

        Raises:
            NotMaterializedError: there is no such table.
        """
        types = self.types(table)
        if not types:
            self.require(table)
        return {name: type_of_sql(kind) for name, kind in types.items()}

    def read_outside(self, table: TableName, rows: duckdb.DuckDBPyRelation, source: ExternalSource) -> None:
        """Give these rows, of this connection, for a table that another system keeps; it has no snapshots and no ledger."""
        self._outside[table], self._sources[table] = rows, source

    @contextmanager
    def instead(self, table: TableName, rows: duckdb.DuckDBPyRelation) -> Iterator[None]:
        """Within the block, give these rows, of this connection, for those of a table, whatever partition or snapshot is asked for."""
        self._instead[table] = rows
        try:
            yield
        finally:
            del self._instead[table]

    def is_in_files(self, table: TableName) -> bool:
        """Whether the rows that are given for a table are those of the lake's own files."""
        return table not in self._outside and table not in self._instead

    def outside_sources(self) -> list[ExternalSource]:
        """Where the tables lie that other systems keep."""
        return list(self._sources.values())

    def require(self, table: TableName, *, snapshot: int | None = None) -> None:
        """Refuse a table that is neither there now nor was at a snapshot.

        Raises:
            NotMaterializedError: there is no such table.
        """
        at = self.snapshot() if snapshot is None else snapshot
        if not (table in self._outside or table in self._one_snapshot(at).tables() or self.has(table)):
            names = [other.full_name for other in self.tables() if other.schema == table.schema]
            raise NotMaterializedError(
                f"{table.full_name} is not in the offline store at {self._store.root}, which has {list_some(names)}: materialize it first"
            )

    def rows(self, table: TableName, *, snapshot: int | None = None, partitions: Sequence[str] | None = None,
             with_partition: bool = False) -> duckdb.DuckDBPyRelation:  # fmt: skip
        """The rows of a table as of a snapshot (the newest by default), lazily, optionally of some partitions only.

        Raises:
            NotMaterializedError: there is no such table.
            DamagedError: a file of these partitions has other bytes than were written, or something that is no file is in its place.
        """
        if table in self._instead:
            return self._instead[table]
        if table in self._outside:
            if partitions is not None and set(partitions) != {WHOLE}:
                raise NotMaterializedError(
                    f"{table.full_name} is kept by another system and has no partition {list_some(partitions)}"
                )
            return self._outside[table]
        at = self.snapshot() if snapshot is None else snapshot
        self.require(table, snapshot=at)
        self._refuse_damaged(table, partitions, at)
        columns = "*" if with_partition else f"* EXCLUDE ({PARTITION})"
        where = "" if partitions is None else f" WHERE {in_partitions(partitions)}"
        try:
            return self.connection.sql(f"SELECT {columns} FROM {table.sql}{_at(snapshot)}{where}")
        except duckdb.Error as error:
            raise self._unreadable(table, snapshot, error) from error

    def _refuse_damaged(self, table: TableName, partitions: Sequence[str] | None, snapshot: int) -> None:
        looked_at = (table, snapshot, None if partitions is None else frozenset(partitions))
        if looked_at not in self._looked_at:  # a step asks for the rows of a table several times
            refuse_damaged_files(self, table, partitions, snapshot=snapshot)
            self._looked_at.add(looked_at)

    def look_at_files(self, table: TableName, partitions: Sequence[str] | None, *, snapshot: int, whole: bool) -> None:
        """Look at the files of some partitions, or of all, which ``rows`` of the same then does not do again.

        Args:
            table: a table.
            partitions: some of its partitions; None for all.
            snapshot: the snapshot that is read.
            whole: whether all rows are about to be read, so that all bytes are compared.

        Raises:
            DamagedError: one is gone, or has other bytes than were written.
        """
        refuse_damaged_or_missing(self, table, partitions, snapshot=snapshot, whole=whole)
        self._looked_at.add((table, snapshot, None if partitions is None else frozenset(partitions)))

    def ledger(
        self, table: TableName, *, snapshot: int | None = None, partitions: Sequence[str] | None = None
    ) -> dict[str, PartitionRecord]:
        """What is stored of each partition of a table, optionally of some only; empty if there is no such table."""
        read = self._one_snapshot(self.snapshot() if snapshot is None else snapshot)
        try:
            records = read.ledger(table)
        except duckdb.Error as error:
            raise self._unreadable(table, snapshot, error) from error
        if records is None:
            return self._ledger_by_ducklake(table, snapshot, partitions)
        if partitions is None:
            return records
        keys = set(partitions)
        return {key: record for key, record in records.items() if key in keys}

    def _ledger_by_ducklake(
        self, table: TableName, snapshot: int | None, partitions: Sequence[str] | None
    ) -> dict[str, PartitionRecord]:
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

    def stream_positions(self, table: TableName) -> dict[int, int]:
        """How far a table has come in its stream: of each shard the last event whose row it has; empty before the first."""
        return {shard: sequence for shard, (sequence, _) in self.stream_places(table).items()}

    def stream_places(self, table: TableName) -> dict[int, tuple[int, str]]:
        """The same, with what tells a shard's stream from another of its name."""
        positions = self._one_snapshot(self.snapshot()).positions(table)
        if positions is not None:
            return positions
        try:
            rows = self.connection.execute(
                f'SELECT shard, "sequence", "identity" FROM {table.positions_sql}'
            ).fetchall()
        except duckdb.CatalogException:
            return {}
        return {int(shard): (int(sequence), str(identity)) for shard, sequence, identity in rows}

    def contract(self, table: TableName, *, snapshot: int | None = None) -> str:
        """What its owner says of a table, as JSON; empty if it says nothing."""
        text = self._one_snapshot(self.snapshot() if snapshot is None else snapshot).contract(table)
        if text is not None:
            return text
        try:
            rows = self.connection.execute(f"SELECT contract FROM {table.contract.sql}{_at(snapshot)}").fetchall()
        except duckdb.CatalogException:
            return ""
        return str(rows[0][0]) if rows else ""

    def ledger_snapshots(self, table: TableName) -> dict[str, int]:
        """The snapshot in which each partition of a table was last written."""
        try:
            rows = self.connection.execute(f"SELECT partition, snapshot_id FROM {table.ledger_sql}").fetchall()
        except duckdb.CatalogException:
            return {}
        return {partition: int(snapshot) for partition, snapshot in rows}

    def _unreadable(self, table: TableName, snapshot: int | None, error: duckdb.Error) -> StoreError:
        newest = self.snapshot()
        if snapshot is None or (0 <= snapshot <= newest and "No snapshot found" not in str(error)):
            return StoreError(
                f"{table.full_name} cannot be read at snapshot {newest if snapshot is None else snapshot}: {error}"
            )
        missing = f"the offline store at {self._store.root} has no snapshot {snapshot}"
        if snapshot > newest:
            return NotMaterializedError(f"{missing}: its newest is {newest}")
        return NotMaterializedError(
            f"{missing} any more: it was expired, by upkeep or because a key in it was forgotten. Materialize what rests on it "
            f"again, or read the newest, {newest}"
        )

    def _roll_back(self) -> None:
        """End the transaction; an error here would hide the cause, which is about to be raised."""
        self._read = None
        with suppress(duckdb.Error):
            self.connection.execute("ROLLBACK")

    def staged_types(self, staging: str) -> dict[str, str]:
        """Column names and DuckDB types of a temporary table, without ``_partition``."""
        columns = self.connection.execute(f"DESCRIBE {quote(staging)}").fetchall()
        return {name: kind for name, kind, *_ in columns if name != PARTITION}

    def sync_new_files(self, table: TableName, partitions: Sequence[str]) -> None:
        """Make the new Parquet files durable before the catalog names them; DuckLake itself never does."""
        if partitions:
            sync_new_files(self._store.data, table, partitions)

    def _one(self, sql: str) -> tuple[object, ...]:
        # All of a result, here and wherever one row is asked for: one that is not read to its end keeps SQLite's transaction open, so
        # that the catalog's journal cannot be emptied.
        [row] = self.connection.execute(sql).fetchall()
        return tuple(row)


def _at(snapshot: int | None) -> str:
    return "" if snapshot is None else f" AT (VERSION => {int(snapshot)})"
