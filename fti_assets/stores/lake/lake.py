"""An open lake: its tables, the ledger of each, and the transactions that change both."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass

import duckdb

from fti_assets.core import clock
from fti_assets.core.names import Commit, PartitionRecord, TableName, in_partitions
from fti_assets.core.sql import quote
from fti_assets.errors import StoreError, list_some
from fti_assets.stores.lake.catalog import put_columns
from fti_assets.stores.lake.files.current_files import damaged_files, rows_in_files
from fti_assets.stores.lake.files.damage import give_up, unreadable_files, with_other_rows
from fti_assets.stores.lake.files.lost_partitions import lost_partitions
from fti_assets.stores.lake.files.recorded_checksums import record_checksums
from fti_assets.stores.lake.files.strange_files import refuse_strange_files
from fti_assets.stores.lake.one_snapshot import OneSnapshot
from fti_assets.stores.lake.reader import CLOCK, LakeReader
from fti_assets.stores.lake.tables.contracts import put_contract
from fti_assets.stores.lake.tables.earlier_types import unchanged_partitions
from fti_assets.stores.lake.tables.schema import fit, refuse_other_schema, settle
from fti_assets.stores.lake.tables.staged_contents import contents_of, keep_earlier_hashes
from fti_assets.stores.lake.work import with_work


class _OtherRowsError(StoreError):
    """The files of some partitions do not hold as many rows of them as were committed."""


@dataclass(frozen=True)
class TableWrite:
    """What a transaction writes of a table beside its rows: the ledger's new records, which of their partitions it has, and those whose
    files are new."""

    table: TableName
    records: Sequence[PartitionRecord]
    old: Collection[str]
    folders: Sequence[str]


class Lake(LakeReader):
    """An open connection to the offline store. Make one with ``OfflineStore.connect``."""

    def state_contract(self, table: TableName, contract: str) -> None:
        """Say of a table, with its next commit by this connection, what its users elsewhere may rely on."""
        self._contracts[table] = contract

    def replace(
        self,
        table: TableName,
        staging: str,
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
            staging: a temporary table of this connection whose ``_partition`` holds one of ``partitions`` in each row.
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
        contents = contents_of(self, staging, partitions)
        now = clock.now()
        # Two transactions that make the same new partition would both commit, so the lock comes before BEGIN.
        with self._store.lock():
            with self.one_snapshot():
                if check is not None:
                    # Under the lock, so that what it looks at stays as it is until the commit.
                    check()
                old = self.ledger(table, partitions=partitions)
                if settle(self, table, staging):
                    contents = contents_of(self, staging, partitions)
                keep_earlier_hashes(self, staging, contents, old)
                refuse_other_schema(self, table, staging, addable)
                other = [key for key in old if (old[key].rows, old[key].data_version) != contents[key][::-1]]
                # A column may have got its type after these rows were hashed; then they are compared in the types of
                # their files.
                earlier = unchanged_partitions(
                    self, table, staging, old, [key for key in other if old[key].rows == contents[key][1]]
                )
            types = self.staged_types(staging)
            same = [key for key in old if key not in other]
            lost = lost_partitions(self, table, types, {key: old[key] for key in same})
            for key, its in earlier.items():
                if not lost_partitions(self, table, its.types, {key: old[key]}, its.selection):
                    same, contents[key] = [*same, key], (old[key].data_version, old[key].rows)
            changes = tuple(key for key in partitions if key not in same or key in lost)
            new_records = tuple(
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
            message = {"asset": asset, "run_id": run_id}
            return self.write(
                table, staging, changes, new_records, old=old, message=f"materialize {asset}", extra=message
            )

    def write(
        self,
        table: TableName,
        staging: str,
        changes: Sequence[str],
        records: Sequence[PartitionRecord],
        *,
        old: Mapping[str, PartitionRecord],
        message: str,
        extra: Mapping[str, object],
    ) -> Commit:
        """Replace the rows of the changed partitions, and the ledger's records of the written ones, in one transaction.

        The caller holds the writers' lock and read the ledger under it.

        Args:
            table: the table; made if it is not there.
            staging: a temporary table of this connection with the new rows and their ``_partition``.
            changes: the partitions whose rows are replaced.
            records: the ledger's new records.
            old: the ledger's records of those among them that it has; the others have no rows to delete.
            message: the commit's message.
            extra: what else the commit says.

        Raises:
            DamagedError: the catalog does not know the table, and another one's files of it are there.
            StoreError: the commit failed; the old rows are still there.
        """
        if not old:
            refuse_strange_files(self, table)
        # Only files of replaced partitions may be given up: nothing is lost, since their rows are about to be written.
        replacements = [key for key in changes if key in old]
        damage = {file.partition for file in damaged_files(self, table, replacements)} if replacements else set()
        until = self.snapshot() if damage else None
        while True:
            try:
                self._write(
                    table, staging, changes, records, replacements, damage, old=old, message=message, extra=extra
                )
                break
            except _OtherRowsError:
                more = set(with_other_rows(self, table, {key: old[key] for key in replacements}))
                if more <= damage:
                    raise
            except StoreError:
                more = (
                    {file.partition for file in unreadable_files(self, table, replacements)} if replacements else set()
                )
                if more <= damage:
                    raise
            # A partition is given up whole: with some of its files it would be neither the old rows nor the new.
            damage, until = damage | more, self.snapshot()
        if until is not None:
            give_up(self, table, sorted(damage), until=until)
            self._last = None  # its snapshot still names the damaged files
        return self.last_commit(table, records, changes)

    def last_commit(self, table: TableName, records: Sequence[PartitionRecord], changes: Sequence[str]) -> Commit:
        """What the last ``transaction`` wrote; the caller holds the writers' lock since before it."""
        snapshot = self._last or self._one_snapshot(self.snapshot())
        return Commit(snapshot.number, tuple(records), tuple(changes), snapshot.types(table))

    def _write(
        self,
        table: TableName,
        staging: str,
        changes: Sequence[str],
        records: Sequence[PartitionRecord],
        replacements: Sequence[str],
        damage: Collection[str] = (),
        *,
        old: Mapping[str, PartitionRecord],
        message: str,
        extra: Mapping[str, object],
    ) -> None:
        """Write the changed partitions, without the old rows of the replaced ones, but beside those of the damaged ones."""
        with self.transaction(table, records, old=old, folders=changes, message=message, extra=extra):
            execute = self.connection.execute
            fit(self, table, staging, damage)
            # Deleting a whole partition drops its files; with any other condition DuckLake would write files of
            # deletions.
            if readable := [key for key in replacements if key not in damage]:
                [(count,)] = execute(f"DELETE FROM {table.sql} WHERE {in_partitions(readable)}").fetchall()
                total = sum(old[key].rows for key in readable)
                # A file that says of its rows that they are another partition's would keep them for good. All are gone, too, where
                # someone added rows to the partition's files.
                if count != total and count != rows_in_files(self, table, readable):
                    raise _OtherRowsError(
                        f"{table.full_name} {list_some(readable)} holds {count} rows where {total} were committed; nothing was changed"
                    )
            if changes:
                execute(
                    f"INSERT INTO {table.sql} BY NAME SELECT * FROM {quote(staging)} WHERE {in_partitions(changes)}"
                )

    @contextmanager
    def transaction(
        self,
        table: TableName,
        records: Sequence[PartitionRecord],
        *,
        old: Collection[str],
        folders: Sequence[str],
        message: str,
        extra: Mapping[str, object],
    ) -> Iterator[None]:
        """Change a table's rows and its ledger in one transaction; the caller holds the writers' lock.

        Args:
            table: the table that the block changes.
            records: the ledger's new records.
            old: the partitions among them that the ledger has.
            folders: the partitions whose files are new.
            message: the commit's message.
            extra: what else the commit says.

        Raises:
            StoreError: the commit failed; the old rows are still there.
        """
        with self.transaction_over([TableWrite(table, records, old, folders)], message=message, extra=extra):
            yield

    @contextmanager
    def transaction_over(
        self, writes: Sequence[TableWrite], *, message: str, extra: Mapping[str, object]
    ) -> Iterator[None]:
        """Change the rows of several tables and their ledgers in one transaction; the caller holds the writers' lock.

        Args:
            writes: the tables that the block changes, and what their ledgers get.
            message: the commit's message.
            extra: what else the commit says.

        Raises:
            StoreError: the commit failed; the old rows are still there.
        """
        execute, before, text = self.connection.execute, 0, ""
        try:
            self._begin()
            before = self.snapshot()
            yield
            for write in writes:
                self.put_records(write.table, write.records, write.old)
                if write.table in self._contracts:
                    put_contract(self, write.table, self._contracts[write.table])
            # DuckLake stamps a snapshot with the system's clock, which is not the one of a replay.
            at = {CLOCK: clock.now().isoformat()} if clock.is_set() else {}
            text = json.dumps({**extra, **at, **self._store.mark()})
            execute("CALL lake.set_commit_message(?, ?, extra_info => ?)", ["fti_assets", message, text])
            # Before COMMIT: a snapshot that survives a power cut must not name a file that did not.
            for write in writes:
                self.sync_new_files(write.table, write.folders)
            types = {write.table: self.types(write.table) for write in writes}
            self._read = None
            self._store.commit(self.connection)
        except BaseException as error:
            self._roll_back()
            if not isinstance(error, duckdb.Error | OSError):
                raise
            names = ", ".join(write.table.full_name for write in writes)
            if not self._is_committed(before, text, names, error):
                raise StoreError(
                    f"{names} could not be written to {self._store.root}: {self._store.trouble(error) or error}. Its old rows "
                    "are still there; mend the cause and try again"
                ) from error
        self._last = None
        record_checksums(self, after=before)
        with suppress(duckdb.Error):  # the rows are committed; the next commit, or upkeep, does it
            put = put_columns(self)
            number = self._newest_committed()
            if number > before:
                self._last = OneSnapshot(self.connection, self._store, number, {} if put else types)

    def _is_committed(self, before: int, text: str, names: str, error: Exception) -> bool:
        """Whether a commit that failed was done nevertheless, since only its answer did not come.

        Raises:
            StoreError: nobody can say.
        """
        try:
            return bool(text) and self._store.has_committed(before, text)
        except StoreError as unknown:
            raise StoreError(
                f"{names} could not be written to {self._store.root}: {self._store.trouble(error) or error}; {unknown}"
            ) from error

    def put_records(self, table: TableName, records: Sequence[PartitionRecord], old: Collection[str]) -> None:
        """Within a transaction: write records of a table's ledger, which has some of their partitions already."""
        execute = self.connection.execute
        if replacements := [record.partition for record in records if record.partition in old]:
            execute(f"DELETE FROM {table.ledger_sql} WHERE partition IN (SELECT unnest(?))", [replacements])
        if records:
            records = with_work(records)
            execute(
                f"INSERT INTO {table.ledger_sql} SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6), "
                "unnest($7)",
                [list(field) for field in zip(*(astuple(record) for record in records), strict=True)],
            )

    def _newest_committed(self) -> int:
        """The number of the snapshot that this connection has made last, 0 before the first."""
        return int(str(self._one("SELECT coalesce(max(id), 0) FROM ducklake_last_committed_snapshot('lake')")[0]))
