"""The folder of a lake: its catalog, its files, the writers' lock, and how a catalog is made.

Embedded, it is a SQLite catalog in WAL mode and Parquet files under one folder. Every table is partitioned by
``_partition`` and has a ledger, written in the same transaction, that says which version of each partition is there, who
wrote it and from what.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from fti_assets.core.home import folder_of
from fti_assets.core.names import LEDGER
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DamagedError, StoreError, count_of
from fti_assets.stores.file_kinds import check_file
from fti_assets.stores.files import (
    files_under,
    guard_writes,
    make_folder,
    may_write,
    paths_in,
    readable,
    sync_file,
    sync_renamed,
)
from fti_assets.stores.lake.connection import MAKE, READ, ask_sqlite, lake_connection
from fti_assets.stores.lake.embedded.catalog_copy import copied_catalog
from fti_assets.stores.lake.embedded.overwriting import overwrite_file
from fti_assets.stores.lake.postgres.address import LakeAddress
from fti_assets.stores.locks import hold_lock
from fti_assets.stores.places import Place
from fti_assets.stores.temporary_folders import temporary_folder

_LOCK_TIMEOUT_S = 600.0


class LakeFolder:
    """A DuckLake under one folder.

    Args:
        root: the folder; made on the first write.
    """

    def __init__(self, root: str | Path) -> None:
        self.folder = folder_of(root, what="offline")

    @property
    def root(self) -> Path | LakeAddress:
        """Where the lake lies, as errors say it."""
        return self.folder

    @property
    def location(self) -> str:
        """Where the lake lies, for ``offline_store`` in another process; it may hold a password."""
        return str(self.folder)

    @property
    def identity(self) -> str:
        """The same text for the same lake, from whatever folder it is named."""
        return str(self.folder.resolve())

    @property
    def file(self) -> Path:
        """The SQLite file of the catalog."""
        return self.folder / "catalog.sqlite"

    @property
    def catalog(self) -> Path | LakeAddress:
        """The catalog, as errors say it."""
        return self.file

    @property
    def data(self) -> Place:
        """Where the Parquet files lie."""
        return self.folder / "data"

    @property
    def real_data(self) -> Place:
        """The same without symbolic links."""
        return Path(os.path.realpath(self.folder / "data"))

    @property
    def rejected(self) -> Place:
        """Where rows that failed validation are kept aside."""
        return self.folder / "rejected"

    @property
    def may_write(self) -> bool:
        """Whether this process may write to the lake."""
        return may_write(self.folder)

    @property
    def catalog_bytes(self) -> int:
        """How large the catalog is."""
        with readable(self.folder):
            return sum(file.stat().st_size for file in paths_in(self.folder, "catalog.sqlite*"))

    @property
    def own_files(self) -> tuple[str, ...]:
        """With what the names of the lake's own files beside its data begin."""
        return ("catalog.sqlite", "catalog.new", "lake.lock")

    def ask(
        self, connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[str | int] = ()
    ) -> list[tuple[str | None, ...]]:
        """``ask_catalog`` of an open connection to this lake."""
        return ask_sqlite(connection, query, parameters)

    def has_own_table(self, connection: duckdb.DuckDBPyConnection, name: str) -> bool:
        """Whether the catalog has a table beside those of DuckLake."""
        return bool(self.ask(connection, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1", [name]))

    @contextmanager
    def attached(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the lake, which is there, for a block."""
        with (
            self.readable_catalog() as (catalog, options),
            lake_connection(catalog, self.folder / "data", *options) as connection,
        ):
            yield connection

    def attach_beside(self, connection: duckdb.DuckDBPyConnection, alias: str) -> None:
        """Attach the lake, which is there, to a connection to another of its kind, to be read under an alias."""
        connection.execute(
            f"ATTACH {literal(f'ducklake:sqlite:{self.file}')} AS {quote(alias)} "
            f"(DATA_PATH {literal(str(self.data))}, OVERRIDE_DATA_PATH true, {READ})"
        )

    def trouble(self, error: Exception) -> str | None:
        """What an error says of a database or a bucket of the lake that cannot be used; a folder has neither."""
        return None

    def mark(self) -> dict[str, str]:
        """What a commit says of itself so that it is found again if its answer is lost; a folder loses none."""
        return {}

    def commit(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Commit the transaction of a connection.

        Raises:
            duckdb.Error: it is not committed; or, of a database elsewhere, its answer did not come.
        """
        connection.execute("COMMIT")

    def has_committed(self, before: int, text: str) -> bool:
        """Whether a commit was done whose answer did not come.

        Args:
            before: the snapshot that it followed.
            text: what else it says, with its ``mark``.

        Raises:
            StoreError: nobody can say now.
        """
        return False

    def overwrite_deleted(self) -> None:
        """Leave nothing in the catalog that was deleted from it, nor in one that was half made; the caller holds the writers' lock.

        Raises:
            StoreError: others read the catalog all the time.
        """
        self.delete_half_made()
        overwrite_file(self.file)

    def exists(self) -> bool:
        """Whether there is a lake.

        Raises:
            DamagedError: its files are there, and its catalog is gone or empty.
        """
        if self.has_catalog:
            return True
        if number := sum(1 for _ in files_under(self.folder / "data")):
            lost = "is empty" if self.file.exists() else "is not there"
            raise DamagedError(
                f"{self.file} {lost}, and {self.folder / 'data'} beside it holds {count_of(number, 'file')}: the offline store has lost "
                "its catalog. Nothing was changed. Put the catalog back from a copy (catalog.sqlite, with catalog.sqlite-wal if there is "
                f"one), or make a new one from the files: fti lake repair --lake {self.folder}"
            )
        return False

    @property
    def has_catalog(self) -> bool:
        """Whether there is a catalog that is not empty.

        Raises:
            DamagedError: a folder, or anything else that is no file, is in its place.
        """
        with readable(self.file):
            try:
                size = self.file.stat().st_size
            except FileNotFoundError:
                return False
            check_file(
                self.file,
                "move it away, and put the catalog back from a copy, or make a new one from the files: fti lake repair --lake "
                f"{self.folder}",
            )
            return size > 0

    @contextmanager
    def readable_catalog(self) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """The catalog and how it is attached: of a folder that cannot be written, a copy, since SQLite wants files beside it."""
        if may_write(self.folder):
            yield self.file, ()
            return
        with temporary_folder("fti_catalog_") as folder:
            yield copied_catalog(self.file, folder), (READ,)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the writers' lock: a SQLite catalog admits one writer at a time, thread or process."""
        with hold_lock(self.folder / "lake.lock", timeout=_LOCK_TIMEOUT_S):
            yield

    @contextmanager
    def lock_if_writable(self) -> Iterator[None]:
        """Keep this process's view free of half-made files: hold the writers' lock, unless the folder cannot be written."""
        if not may_write(self.folder):
            yield  # a lock cannot be made there
            return
        with self.lock():
            yield

    def create(self) -> None:
        """Make the catalog once, whole or not at all."""
        if self.exists():
            return
        with guard_writes(self.file):
            make_folder(self.folder / "data")
            with self.lock():
                # Asked again under the lock: another process may have made it meanwhile.
                if not self.exists():
                    self.put_catalog(self.new_catalog())

    def new_catalog(self) -> Path:
        """Make a catalog of no tables beside the one of the lake, in WAL mode, so that readers go on while someone commits.

        The caller holds the writers' lock, and puts it in its place.
        """
        half_made = self.delete_half_made()
        try:
            with lake_connection(half_made, self.folder / "data", MAKE) as connection:
                # DuckLake would keep small inserts in the catalog, where nothing but DuckLake can read them.
                connection.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
                connection.execute(f"CREATE SCHEMA lake.{LEDGER}")
                # The ledger is small and changes with each commit: inlined, it costs no Parquet file a commit.
                connection.execute(f"CALL lake.set_option('data_inlining_row_limit', 100000, schema => '{LEDGER}')")
            # Python's SQLite beside DuckDB's: no lake is open on this file, whose locks closing it would let go of.
            with closing(sqlite3.connect(half_made)) as journal:
                journal.execute("PRAGMA journal_mode = WAL")
        except (duckdb.Error, sqlite3.Error) as error:
            raise StoreError(
                f"{half_made} could not be written: {error}. No lake was made; make room, or the folder writable, and do it again"
            ) from error
        return half_made

    def delete_half_made(self) -> Path:
        """Delete the catalog that somebody was killed over; the caller holds the writers' lock. Where the next one is made."""
        half_made = self.folder / "catalog.new"
        for suffix in ("", "-wal", "-shm", "-journal"):
            with guard_writes(half_made):
                half_made.with_name(half_made.name + suffix).unlink(missing_ok=True)
        return half_made

    def put_catalog(self, catalog: Path) -> None:
        """Put a new catalog where there is none, or an empty one; the caller holds the writers' lock."""
        _take_over_journal(catalog)
        with guard_writes(self.file):
            for suffix in ("-wal", "-shm"):  # SQLite would play the journal of the one that is lost into the new one
                self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
            sync_file(catalog)
            os.replace(catalog, self.file)
            sync_renamed(self.file)


def _take_over_journal(file: Path) -> None:
    """Have a new catalog hold all that was committed to it: whoever closed it last may have found no room for that.

    Raises:
        StoreError: there is none still.
    """
    try:
        with closing(sqlite3.connect(file)) as catalog:  # no lake is open on it
            busy, *_ = catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("somebody else has it open")
    except sqlite3.Error as error:
        raise StoreError(
            f"{file} could not be written: {error}. No lake was made; make room, or the folder writable, and do it again"
        ) from error
