"""Writing one namespace of the embedded online store: each change is one transaction on its file."""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

from fti_assets.core import clock
from fti_assets.core.logs import late_logger
from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores.files import readable, reason
from fti_assets.stores.online.about import About, DamagedNamespaceError, Schema, since_us, stored_schema
from fti_assets.stores.online.blob_cache import BlobCache
from fti_assets.stores.online.blobs import Blobs
from fti_assets.stores.online.checksums import is_whole
from fti_assets.stores.online.protocol import chunks, in_order, key_text
from fti_assets.stores.online.row_cache import Writes
from fti_assets.stores.online.sqlite.files import BESIDE, WAIT_SECONDS, connect_to_read, file_error, page_bytes
from fti_assets.stores.online.sqlite.open_file import OpenFile, set_up_writes

_log = late_logger(__name__)
_CHUNK = 500
_TABLES = """
    CREATE TABLE IF NOT EXISTS about (
        id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER NOT NULL, schema TEXT NOT NULL, answers_from INTEGER,
        snapshot INTEGER NOT NULL, keys INTEGER NOT NULL, origin TEXT NOT NULL, written_at TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, blob BLOB NOT NULL) WITHOUT ROWID;
"""
_PUT = (
    "INSERT INTO rows (key, blob) VALUES (?, ?) "
    "ON CONFLICT (key) DO UPDATE SET blob = excluded.blob WHERE blob IS NOT excluded.blob"
)


class SqliteWriter:
    """A namespace's file under its writers' lock."""

    def __init__(self, path: Path, about: About | None, file: OpenFile | None = None) -> None:
        self._path, self._file = path, file
        self.about = about

    def load(self, schema: Schema, blobs: Blobs, *, answers_from: datetime | None, snapshot: int, origin: str) -> int:
        if self.about is None:
            self.drop()  # what is there nevertheless is damaged
        with self._transaction(page_bytes(schema)) as connection:
            keys = _replace(connection, self._path, in_order(self._path.stem, blobs))
            self._state(connection, schema, since_us(answers_from), snapshot, keys, origin)
        self._begin_anew()
        return keys

    def apply(
        self, blobs: Blobs, removals: Iterable[bytes], *, answers_from: datetime | None, snapshot: int, origin: str
    ) -> int:
        about = self._load()
        keys = about.keys
        cache = BlobCache() if self._file is None else self._file.cache
        changes: dict[bytes, bytes | None] = {}
        with self._transaction() as connection:
            for chunk in chunks(in_order(self._path.stem, blobs), _CHUNK):
                new, others = cache.count_new(key for key, _ in chunk)
                keys += new + len(others) - (_count(connection, others) if others else 0)
                connection.executemany(_PUT, chunk)
                if self._file is not None:
                    changes.update(chunk)
            for key in removals:
                keys -= _remove(connection, [key])
                changes[key] = None
            self._state(connection, about.schema, since_us(answers_from), snapshot, keys, origin)
        if self._file is not None:
            cache.put(changes)
            self._file.move_on(self._load())
        return keys

    def _begin_anew(self) -> None:
        """Of what was written all at once the open file has nothing in its cache."""
        if self._file is not None:
            self._file.forget()
            self._file.move_on(self._load())

    def blobs(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        if self._file is None:
            return self._read_blobs(keys)
        result, others = self._file.cache.split(keys)
        if others:
            more = self._read_blobs(others)
            self._file.cache.put({key: more.get(key) for key in others})
            result |= more
        return result

    def _read_blobs(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        result: dict[bytes, bytes] = {}
        try:
            with (
                nullcontext(self._file.connection) if self._file else closing(connect_to_read(self._path)) as connection
            ):
                for start in range(0, len(keys), _CHUNK):
                    chunk = keys[start : start + _CHUNK]
                    places = ", ".join("?" * len(chunk))
                    result |= dict(connection.execute(f"SELECT key, blob FROM rows WHERE key IN ({places})", chunk))
        except sqlite3.Error as error:
            raise file_error(self._path, error) from error
        return result

    def count_keys(self) -> int:
        try:
            with closing(connect_to_read(self._path)) as connection:
                return int(connection.execute("SELECT count(*) FROM rows").fetchone()[0])
        except sqlite3.Error as error:
            raise file_error(self._path, error) from error

    def delete(self, keys: Iterable[bytes]) -> int:
        about = self._load()
        with self._transaction() as connection:
            count = _remove(connection, keys)
            left = about.keys - count
            self._state(connection, about.schema, about.answers_from_us, about.snapshot, left, about.origin)
        self._begin_anew()
        self._forget_bytes()
        return count

    def _forget_bytes(self) -> None:
        """Leave nothing of deleted rows in free pages and in the log."""
        try:
            with closing(sqlite3.connect(self._path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
                connection.execute("VACUUM")
                busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error as error:
            raise file_error(self._path, error) from error
        if busy:
            raise StoreError(
                f"the keys are deleted from {self._path}, but others read it all the time, so that their bytes are still in its "
                "journal: stop the readers and delete the keys again"
            )

    def drop(self) -> None:
        """Empty the file for those who have it open, then remove it, its log first: SQLite would replay a stale one."""
        with readable(self._path):
            if not self._path.exists():
                return
        self._file = None  # what is open is the file that goes
        try:
            with self._transaction() as connection:
                connection.execute("DELETE FROM rows")
                connection.execute("DELETE FROM about")
            with closing(sqlite3.connect(self._path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (DamagedError, sqlite3.DatabaseError) as error:
            _log.warning("%s is removed as it is: %s", self._path, error)
        try:
            for suffix in (*BESIDE, ""):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{error.filename or self._path} cannot be removed: {reason(error)}. The namespace is empty by now; make its folder "
                "writable and drop or load it again"
            ) from error
        self.about = None

    def _load(self) -> About:
        if self.about is None:
            raise StoreError(f"online namespace {self._path.stem!r} was never loaded: load it whole first")
        return self.about

    @contextmanager
    def _transaction(self, page: int = 4096) -> Iterator[sqlite3.Connection]:
        try:
            with nullcontext(self._file.connection) if self._file else self._opened(page) as connection:
                # A writer from the start: a transaction that begins with a read can be refused at its first write.
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                    Writes.count += 1  # those who keep rows in this process look anew
                except BaseException:
                    if self._file is not None:  # it may be written after all
                        self._file.forget()
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise file_error(self._path, error) from error

    @contextmanager
    def _opened(self, page: int) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {page}")  # of a new file
            set_up_writes(connection)
            connection.executescript(_TABLES)
            yield connection

    def _state(
        self, connection: sqlite3.Connection, schema: Schema, since: int | None, snapshot: int, keys: int, origin: str
    ) -> None:
        generation = int.from_bytes(os.urandom(8)) >> 2  # that of a file made again must not be that of the one before
        about = About(schema, since, snapshot, keys, origin, generation)
        text = stored_schema(about, self._path.stem)
        connection.execute("DELETE FROM about")
        connection.execute(
            "INSERT INTO about VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
            (generation, text, since, snapshot, keys, origin, clock.now().isoformat()),
        )
        self.about = about


def _replace(connection: sqlite3.Connection, path: Path, blobs: Blobs) -> int:
    """Make the rows these blobs, without writing those again that are there already; how many there are."""
    # Into an empty table keys come in order and are appended; there is nothing to compare them with.
    if connection.execute("SELECT 1 FROM rows LIMIT 1").fetchone() is None:
        return connection.executemany("INSERT INTO rows VALUES (?, ?)", blobs).rowcount
    # Rows that are the same stay: a reload that changes little writes little, and readers keep their pages.
    removals: list[tuple[bytes]] = []
    with (
        closing(connect_to_read(path)) as before,
        closing(before.execute("SELECT key, blob FROM rows ORDER BY key")) as old,  # an open one keeps the file read
    ):
        merge = _Merge(_whole(old, path), blobs, removals)
        connection.executemany(_PUT, merge)
    connection.executemany("DELETE FROM rows WHERE key = ?", removals)
    return merge.keys


def _whole(rows: Iterable[tuple[bytes, bytes]], path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The rows that are there, in the order of their keys.

    Raises:
        DamagedNamespaceError: one is not what was written, or out of order: comparing with it would remove the wrong keys.
    """
    last = b""
    for key, blob in rows:
        if not is_whole(key, blob) or key < last:
            raise DamagedNamespaceError(
                f"online namespace file {path} is damaged at key {key_text(key)}: it is written again"
            )
        last = key
        yield key, blob


class _Merge:
    """Two orders of keys walked side by side: gives what is new or changed, notes what is gone and counts what there is."""

    def __init__(self, old: Iterator[tuple[bytes, bytes]], new: Blobs, removals: list[tuple[bytes]]) -> None:
        self._old, self._new, self._gone = old, new, removals
        self.keys = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        pair_before = next(self._old, None)
        for pair in self._new:
            self.keys += 1
            while pair_before is not None and pair_before[0] < pair[0]:
                self._gone.append((pair_before[0],))
                pair_before = next(self._old, None)
            if pair_before != pair:
                yield pair
            if pair_before is not None and pair_before[0] == pair[0]:
                pair_before = next(self._old, None)
        while pair_before is not None:
            self._gone.append((pair_before[0],))
            pair_before = next(self._old, None)


def _count(connection: sqlite3.Connection, keys: Sequence[bytes]) -> int:
    result = connection.execute(f"SELECT count(*) FROM rows WHERE key IN ({', '.join('?' * len(keys))})", keys)
    return int(result.fetchone()[0])


def _remove(connection: sqlite3.Connection, keys: Iterable[bytes]) -> int:
    return max(connection.executemany("DELETE FROM rows WHERE key = ?", ((key,) for key in keys)).rowcount, 0)
