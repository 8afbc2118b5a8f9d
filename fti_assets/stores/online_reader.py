"""Reading one namespace of the embedded online store."""

import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from fti_assets.errors import DamagedError, DataError, NotMaterializedError, PredictionError, StoreError, one_of
from fti_assets.stores.blobs import BlobFormat, Key, Winner, key_encoder
from fti_assets.stores.columns import ColumnType
from fti_assets.stores.manifest import Column
from fti_assets.times import from_microseconds

WAIT_SECONDS = 60.0
_CHUNK = 500
_ALWAYS = -(2**63)
_META = "SELECT generation, schema, answers_from, snapshot FROM meta"
_GET = "SELECT generation, (SELECT blob FROM rows WHERE key = ?) FROM meta"

Meta = tuple[int, str, int | None, int]
"""generation, schema, answers_from in microseconds, snapshot"""


class _Content:
    """What a reader knows of one generation of a namespace."""

    def __init__(self, meta: Meta, namespace: str, wanted: Sequence[str] | None) -> None:
        self.generation, self.schema, self.answers_from_us, self.snapshot = meta
        self.answerable_us = _ALWAYS if self.answers_from_us is None else self.answers_from_us
        schema = json.loads(self.schema)
        self.key_types: tuple[ColumnType, ...] = tuple(schema["keys"])
        columns = tuple(Column(name, kind) for name, kind in schema["columns"])
        positions = {column.name: position for position, column in enumerate(columns)}
        names = list(positions) if wanted is None else list(wanted)
        if absent := [name for name in names if name not in positions]:
            raise StoreError(
                f"online namespace {namespace!r} has no column {one_of(absent)}: it has {one_of(positions)}. "
                "Load it from the group version that has the column"
            )
        self.columns = tuple(columns[positions[name]] for name in names)
        self.encode = key_encoder(self.key_types, namespace)
        self.winner = BlobFormat(
            columns, event_time=schema["event_time"], wanted=[positions[name] for name in names]
        ).winner


class NamespaceReader:
    """Reads one namespace, from any thread, while others load it."""

    def __init__(self, path: Path, columns: Sequence[str] | None) -> None:
        self.namespace = path.stem
        self._path = path
        self._wanted = columns
        self._local = threading.local()
        self._content = self._read_content()
        _readers.add(self)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a winner's values, in order."""
        return self._content.columns

    @property
    def key_types(self) -> tuple[ColumnType, ...]:
        """The types of a key's parts."""
        return self._content.key_types

    @property
    def answers_from(self) -> datetime | None:
        """The earliest instant (naive UTC) that can be answered, None for any, as of the last read."""
        since = self._content.answers_from_us
        return None if since is None else from_microseconds(since)

    def get(self, key: Key, at_us: int) -> Winner | None:
        """The row that wins for a key at an instant, in microseconds since 1970; the caller applies the ttl.

        Raises:
            PredictionError: the instant is before ``answers_from``.
            DataError: the key is not of the namespace's types.
            DamagedError: the key's blob is not what was written.
        """
        content, encoded, blob = self._blob(key)
        if at_us < content.answerable_us:
            raise self._too_early(content, at_us)
        return None if blob is None else self._winner(content, key, encoded, blob, at_us)

    def get_many(self, keys: Sequence[Key], at_us: int) -> list[Winner | None]:
        """``get`` for ``n`` keys, all from one state of the namespace."""
        if not keys:
            return []
        winners: dict[Key, Winner | None] = {}
        execute = self._execute()
        execute("BEGIN")
        try:
            content, _, _ = self._blob(keys[0])
            if at_us < content.answerable_us:
                raise self._too_early(content, at_us)
            asked = {content.encode(key): key for key in keys}
            encoded = list(asked)
            for start in range(0, len(encoded), _CHUNK):
                chunk = encoded[start : start + _CHUNK]
                found = execute(f"SELECT key, blob FROM rows WHERE key IN ({', '.join('?' * len(chunk))})", chunk)
                for name, blob in found.fetchall():
                    winners[asked[name]] = self._winner(content, asked[name], name, blob, at_us)
        except sqlite3.Error as error:
            raise broken(self._path, error) from error
        finally:
            if self._local.connection.in_transaction:
                execute("ROLLBACK")
        return [winners.get(key) for key in keys]

    def holds(self, key: Key) -> bool:
        """Whether a key has any row, visible yet or not."""
        return self._blob(key)[2] is not None

    def _winner(self, content: _Content, key: Key, encoded: bytes, blob: bytes, at_us: int) -> Winner | None:
        try:
            return content.winner(encoded, blob, at_us)
        except Exception as error:
            raise DamagedError(
                f"the online namespace {self.namespace!r} is damaged at key {key!r}: {error} ({len(blob)} bytes in "
                f"{self._path}). Remove the file and load the group again"
            ) from error

    def _blob(self, key: Key) -> tuple[_Content, bytes, bytes | None]:
        content = self._content
        try:
            try:
                execute = self._local.execute
            except AttributeError:
                execute = self._execute()
            while True:
                try:
                    encoded = content.encode(key)
                except DataError:
                    stale, content = content, self._read_content()
                    if content.generation == stale.generation:
                        raise
                    self._content = content
                    continue
                generation, blob = execute(_GET, (encoded,)).fetchone()
                if generation == content.generation:
                    return content, encoded, blob
                content = self._content = self._read_content()
        except sqlite3.Error as error:
            raise broken(self._path, error) from error

    def _execute(self) -> Callable[..., sqlite3.Cursor]:
        local = self._local
        if not hasattr(local, "execute"):
            local.connection = connect_to_read(self._path)
            local.execute = local.connection.cursor().execute
        return local.execute  # type: ignore[no-any-return]

    def _read_content(self) -> _Content:
        self._execute()
        meta = read_meta(self._local.connection, self._path)
        if meta is None:
            raise NotMaterializedError(f"online namespace {self.namespace!r} in {self._path} is empty: load it again")
        return _Content(meta, self.namespace, self._wanted)

    def _too_early(self, content: _Content, at_us: int) -> PredictionError:
        return PredictionError(
            f"online namespace {self.namespace!r} answers from {from_microseconds(content.answerable_us).isoformat()} "
            f"on and cannot say what was known at {from_microseconds(at_us).isoformat()}: ask for a later instant, "
            "or load the group with a longer online_history"
        )


_readers: "weakref.WeakSet[NamespaceReader]" = weakref.WeakSet()
_left_to_the_parent: list[threading.local] = []


def _forget_connections() -> None:
    """A connection must be neither used nor closed in a forked child."""
    for reader in _readers:
        _left_to_the_parent.append(reader._local)
        reader._local = threading.local()


os.register_at_fork(after_in_child=_forget_connections)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a namespace's file read-only."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        return sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise broken(path, error) from error


def read_meta(connection: sqlite3.Connection, path: Path) -> Meta | None:
    """What a namespace says of itself, None if nothing was ever loaded."""
    try:
        found: Meta | None = connection.execute(_META).fetchone()
        return found
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return None
        raise broken(path, error) from error


def broken(path: Path, error: sqlite3.Error) -> StoreError:
    """Say what SQLite's error means for a namespace's file."""
    if isinstance(error, sqlite3.OperationalError):
        return StoreError(
            f"online namespace file {path} cannot be used: {error}. "
            "Its folder must be there, have room, and be writable (readers share SQLite's -wal and -shm files)"
        )
    return DamagedError(f"online namespace file {path} is damaged: {error}. Remove it and load the group again")
