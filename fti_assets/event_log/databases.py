"""SQLite databases that stay open in a process: a bounded number, each the file that lies on disk now."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import NullPool, QueuePool


@dataclass(frozen=True)
class _Database:
    engine: Engine
    file: tuple[int, int] | None


class OpenDatabases:
    """One pooled connection a file; beyond ``limit`` the one that was used least recently is closed.

    It takes no lock: its owner lets one thread at a time ask for an engine and use it.

    Args:
        limit: how many stay open. Each takes three file descriptors.
        timeout_s: how long a transaction waits for another process's.
    """

    def __init__(self, limit: int, timeout_s: float) -> None:
        self._limit, self._timeout_s = limit, timeout_s
        self._databases: OrderedDict[str, _Database] = OrderedDict()

    def engine(self, path: str, prepare: Callable[[], None]) -> Engine:
        """The engine of the file at ``path``; ``prepare`` makes the database, if need be, before it is opened."""
        database = self._databases.get(path)
        if database is not None:
            # A file that was deleted or replaced: what is written to the old one would be lost, what is read from it is no longer so.
            if database.file == _identity(path):
                self._databases.move_to_end(path)
                return database.engine
            self.close(path)
        prepare()
        engine = _pool(path, self._timeout_s)
        self._databases[path] = _Database(engine, _identity(path))
        # Each run has a database of its own, and each open one takes file descriptors.
        while len(self._databases) > self._limit:
            self.close(next(iter(self._databases)))
        return engine

    def close(self, path: str) -> None:
        """Close one, if it is open."""
        database = self._databases.pop(path, None)
        if database is not None:
            database.engine.dispose()

    def close_all(self) -> None:
        """Close each; the next that is asked for is opened again."""
        for path in list(self._databases):
            self.close(path)


def is_stamped(path: str, timeout_s: float) -> bool:
    """Whether a database holds all its tables: Alembic's note of their version is written last."""
    if not os.path.exists(path):
        return False
    with closing(sqlite3.connect(path, timeout=timeout_s)) as connection:
        row = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        return row is not None and connection.execute("SELECT 1 FROM alembic_version").fetchone() is not None


class NewDatabases:
    """Databases with tables and no rows, as copies of the first that was made: each run has one, and making its twenty tables and
    indexes anew takes longer than a short step."""

    def __init__(self) -> None:
        self._content: bytes | None = None

    def make(self, path: str, prepare: Callable[[Engine], None], timeout_s: float) -> None:
        """Make a database where there is none.

        Args:
            path: where; of a file that is there, be it another process's half of one, ``prepare`` makes what is missing.
            prepare: makes the tables by an engine.
            timeout_s: how long a transaction waits for another process's.
        """
        if self._content is not None and not os.path.exists(path):
            self._copy_to(path)
        if not is_stamped(path, timeout_s):
            engine = engine_of_new(path, timeout_s)
            prepare(engine)
            engine.dispose()
        if self._content is None:
            self._content = _content_of(path)

    def _copy_to(self, path: str) -> None:
        """A whole file or none, on disk before it has its name: what SQLite writes beside it rests on it."""
        descriptor, name = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new_")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._content or b"")
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            with suppress(FileExistsError):  # another process has made it meanwhile
                os.link(name, path)
        finally:
            os.unlink(name)


def _content_of(path: str) -> bytes | None:
    """The bytes of a database that nobody has written a row to; None if there are some, or part of it lies elsewhere."""
    with closing(sqlite3.connect(path)) as connection:
        if connection.execute("SELECT 1 FROM event_logs").fetchone() is not None:
            return None
        return connection.serialize()


def engine_of_new(path: str, timeout_s: float) -> Engine:
    """An engine that makes a database: in WAL mode from the start, where not each of its twenty tables and indexes is synced."""
    engine = create_engine(URL.create("sqlite", database=path), poolclass=NullPool, connect_args={"timeout": timeout_s})
    event.listen(engine, "connect", _write_ahead)
    event.listen(engine, "connect", _sync_at_checkpoints)
    return engine


@contextmanager
def on_disk(connection: Any) -> Iterator[None]:
    """Within, a commit of a connection of ``sqlite3`` waits until it is on disk, with all that was committed before."""
    ((usual,),) = connection.execute("PRAGMA synchronous").fetchall()
    connection.execute("PRAGMA synchronous = FULL").close()
    try:
        yield
    finally:
        connection.execute(f"PRAGMA synchronous = {usual:d}").close()


class _Connection(sqlite3.Connection):
    """A connection that can end what is still read from it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()

    def cursor(self, *arguments: Any, **options: Any) -> sqlite3.Cursor:  # type: ignore[override]
        cursor: sqlite3.Cursor = super().cursor(*arguments, **options)
        self._cursors.add(cursor)
        return cursor

    def end_reads(self) -> None:
        for cursor in list(self._cursors):
            cursor.close()
        self._cursors.clear()


def _pool(path: str, timeout_s: float) -> Engine:
    # Threads take turns with the connection, under the owner's lock, so SQLite's own check of threads would only refuse them.
    engine = create_engine(
        URL.create("sqlite", database=path),
        poolclass=QueuePool,
        pool_size=1,  # SQLite has one writer, and a second reader would cost three more file descriptors
        connect_args={"timeout": timeout_s, "check_same_thread": False, "factory": _Connection},
    )
    event.listen(engine, "connect", _sync_at_checkpoints)
    event.listen(engine, "checkin", _end_reads)
    return engine


def _write_ahead(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL").close()


def _sync_at_checkpoints(connection: sqlite3.Connection, _: Any) -> None:
    """In WAL mode that is safe; in another a power cut could damage the file, so there SQLite's own setting stays."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal":
        connection.execute("PRAGMA synchronous = NORMAL").close()


def _end_reads(connection: _Connection | None, _: Any) -> None:
    """A result that was read in part would hold the connection at an old snapshot, where no write is possible either."""
    if connection is not None:
        connection.end_reads()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        result = os.stat(path)
    except FileNotFoundError:
        return None
    return result.st_dev, result.st_ino
