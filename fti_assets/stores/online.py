"""The embedded online store: SQLite in WAL mode, one file a namespace, one checked blob a key.

A namespace holds, for each key, every row that can win at an instant from ``answers_from`` on. Loading replaces all of
it in one transaction; readers keep reading, and see the old content or the new.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from fti_assets import clock
from fti_assets.errors import DataError, NotMaterializedError, StoreError, one_of
from fti_assets.stores.blobs import BlobFormat, Key, Version, Winner, key_encoder
from fti_assets.stores.columns import ColumnType
from fti_assets.stores.files import locked, make_folder
from fti_assets.stores.manifest import Column
from fti_assets.stores.online_reader import WAIT_SECONDS, NamespaceReader, broken, connect_to_read, read_meta
from fti_assets.times import microseconds, naive_utc

__all__ = ["Key", "NamespaceReader", "OnlineStore", "Version", "Winner"]

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_CHUNK = 5_000
_TABLES = """
    CREATE TABLE IF NOT EXISTS meta (
        id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER NOT NULL, schema TEXT NOT NULL,
        answers_from INTEGER, snapshot INTEGER NOT NULL, loaded_at TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, blob BLOB NOT NULL) WITHOUT ROWID;
    CREATE TEMP TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_PUT = (
    "INSERT INTO rows (key, blob) VALUES (?, ?) "
    "ON CONFLICT (key) DO UPDATE SET blob = excluded.blob WHERE blob IS NOT excluded.blob"
)


class OnlineStore:
    """A folder of namespaces, ``<root>/<namespace>.sqlite``.

    >>> store = OnlineStore("online/")  # doctest: +SKIP
    >>> reader = store.reader("weather_v1", columns=["temp"])  # doctest: +SKIP
    >>> reader.get(("JFK",), at_us=1_370_000_000_000_000)  # doctest: +SKIP
    Winner(event_us=1369998000000000, visible_us=1369999800000000, values=(71.6,))
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def namespaces(self) -> tuple[str, ...]:
        """The namespaces that have been loaded."""
        names = sorted(path.stem for path in self.root.glob("*.sqlite"))
        return tuple(name for name in names if _NAME.fullmatch(name) and self.snapshot(name) is not None)

    def snapshot(self, namespace: str) -> int | None:
        """The lake snapshot that a namespace was loaded from, None if it never was."""
        path = self._file(namespace)
        if not path.is_file():
            return None
        with closing(connect_to_read(path)) as connection:
            meta = read_meta(connection, path)
        return None if meta is None else int(meta[3])

    def load(
        self,
        namespace: str,
        *,
        key_types: tuple[ColumnType, ...],
        columns: tuple[Column, ...],
        rows: Iterable[tuple[Key, Sequence[Version]]],
        answers_from: datetime | None,
        snapshot: int,
        event_time: bool,
    ) -> None:
        """Replace the whole content of a namespace in one transaction; unchanged blobs are not written again.

        Args:
            key_types: text, integer or boolean for each part of a key.
            columns: the columns of a version's values, in order; timestamps are int64 microseconds since 1970.
            rows: each key once, with its versions by rising visible time, no event time before the last one's; a lookup
                has one version a key.
            answers_from: the earliest instant (naive UTC) that can be answered, None for any.
            snapshot: the lake snapshot that the rows come from.
            event_time: False for a lookup, whose versions have no times.

        Raises:
            DataError: a key comes twice or is of another type, or versions are out of order; nothing was changed.
            StoreError: the file cannot be written.
        """
        path = self._file(namespace)
        make_folder(path.parent)
        encode = key_encoder(key_types, namespace)
        blob_format = BlobFormat(columns, event_time=event_time)
        schema = json.dumps(
            {
                "keys": list(key_types),
                "columns": [[column.name, column.type] for column in columns],
                "event_time": event_time,
            }
        )
        try:
            with (
                locked(path.with_name(f".{namespace}.lock"), WAIT_SECONDS),
                closing(sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)) as connection,
            ):
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA journal_size_limit = 67108864")
                connection.executescript(_TABLES)
                connection.execute("BEGIN IMMEDIATE")
                try:
                    for chunk in _chunks(_packed(namespace, rows, encode, blob_format)):
                        _put(connection, namespace, chunk)
                    connection.execute("DELETE FROM rows WHERE key NOT IN (SELECT key FROM seen)")
                    generation = connection.execute("SELECT coalesce(max(generation), 0) + 1 FROM meta").fetchone()[0]
                    since = None if answers_from is None else microseconds(naive_utc(answers_from))
                    connection.execute(
                        "INSERT OR REPLACE INTO meta VALUES (1, ?, ?, ?, ?, ?)",
                        (generation, schema, since, snapshot, clock.now().isoformat()),
                    )
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise broken(path, error) from error

    def delete(self, namespace: str, keys: Iterable[Key]) -> int:
        """Delete keys for good, so that their bytes are not in the file any more, and say how many were there.

        Raises:
            NotMaterializedError: the namespace was never loaded.
            DataError: a key is of another type.
            StoreError: the file cannot be written, or others read it all the time; then the keys answer no more, but their
                bytes may still be there.
        """
        path = self._file(namespace)
        if not path.is_file() or self.snapshot(namespace) is None:
            raise self._not_loaded(namespace)
        try:
            with (
                locked(path.with_name(f".{namespace}.lock"), WAIT_SECONDS),
                closing(sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)) as connection,
            ):
                meta = read_meta(connection, path)
                assert meta is not None
                encode = key_encoder(tuple(json.loads(meta[1])["keys"]), namespace)
                encoded = [(encode(key),) for key in keys]
                connection.execute("PRAGMA secure_delete = ON")
                deleted = connection.executemany("DELETE FROM rows WHERE key = ?", encoded).rowcount
                connection.execute("UPDATE meta SET generation = generation + 1")
                connection.execute("VACUUM")  # what a blob held before its last change lies in free pages
                busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error as error:
            raise broken(path, error) from error
        if busy:
            raise StoreError(
                f"the keys are deleted from {path}, but others read it all the time, so that their bytes are still in its "
                "journal: stop the readers and delete the keys again"
            )
        return max(deleted, 0)

    def reader(self, namespace: str, *, columns: Sequence[str] | None = None) -> NamespaceReader:
        """Open a namespace for reading.

        Args:
            columns: the columns to return, in order; all by default.

        Raises:
            NotMaterializedError: it was never loaded.
            StoreError: it has no such column.
        """
        path = self._file(namespace)
        if not path.is_file() or self.snapshot(namespace) is None:
            raise self._not_loaded(namespace)
        return NamespaceReader(path, columns)

    def _not_loaded(self, namespace: str) -> NotMaterializedError:
        return NotMaterializedError(
            f"no online namespace {namespace!r} in {self.root}/: it has {one_of(self.namespaces())}. "
            "Materialize the feature group with online=True, or copy its namespace here"
        )

    def _file(self, namespace: str) -> Path:
        if not isinstance(namespace, str) or not _NAME.fullmatch(namespace):
            raise StoreError(f"{namespace!r} is not the name of a namespace: names are [a-z_][a-z0-9_]*")
        return self.root / f"{namespace}.sqlite"


def _packed(
    namespace: str,
    rows: Iterable[tuple[Key, Sequence[Version]]],
    encode: Callable[[Key], bytes],
    blob_format: BlobFormat,
) -> Iterator[tuple[Key, bytes, bytes]]:
    for key, versions in rows:
        encoded = encode(key)
        try:
            yield key, encoded, blob_format.pack(encoded, versions)
        except DataError as error:
            raise DataError(f"key {key!r} of online namespace {namespace!r}: {error}") from error


def _chunks(rows: Iterator[tuple[Key, bytes, bytes]]) -> Iterator[list[tuple[Key, bytes, bytes]]]:
    chunk: list[tuple[Key, bytes, bytes]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    yield chunk


def _put(connection: sqlite3.Connection, namespace: str, chunk: list[tuple[Key, bytes, bytes]]) -> None:
    for key, encoded, _ in chunk:
        try:
            connection.execute("INSERT INTO seen VALUES (?)", (encoded,))
        except sqlite3.IntegrityError as error:
            raise DataError(
                f"key {key!r} of online namespace {namespace!r} comes twice: give all its versions at once"
            ) from error
    connection.executemany(_PUT, ((encoded, blob) for _, encoded, blob in chunk))
