"""What a service has taken from its stream and not yet flushed to the lake: one SQLite file, durable before anything else is told.

One row a micro-batch: its rows as an Arrow stream, in the order in which they came. The position stands beside them and changes in
the same transaction, so what is behind it is here or in the lake, and nothing is here twice.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from fti_assets.errors import DamagedError, StoreError
from fti_assets.features.events.dead_letter import DeadLetter
from fti_assets.features.events.reading import SEQUENCE, SHARD
from fti_assets.stores.files import guard_writes, make_folder
from fti_assets.stores.locks import hold_lock

_FORMAT = 1
_WAIT_SECONDS = 30.0
_TABLES = """
    CREATE TABLE IF NOT EXISTS about (format INTEGER NOT NULL, of TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS batches (
        number INTEGER PRIMARY KEY AUTOINCREMENT, rows INTEGER NOT NULL, content BLOB NOT NULL, identities TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS dead_letters (
        number INTEGER NOT NULL, shard INTEGER NOT NULL, sequence INTEGER NOT NULL, stored_at INTEGER NOT NULL, reason TEXT NOT NULL,
        payload BLOB NOT NULL, payload_bytes INTEGER NOT NULL, PRIMARY KEY (shard, sequence)
    );
    CREATE TABLE IF NOT EXISTS positions (
        shard INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, flushed INTEGER, identity TEXT
    );
"""


class OutboxInUseError(StoreError):
    """A service has the outbox open."""


@dataclass(frozen=True)
class Position:
    """How far a shard is kept.

    Args:
        sequence: of the last event that is kept.
        flushed: of the last event that the lake had when batches were let go last: the outbox holds what is behind it. None if it holds
            the shard from the beginning.
        identity: what tells the shard's stream from another of its name.
    """

    sequence: int
    flushed: int | None
    identity: str | None = None


@dataclass(frozen=True)
class Batches:
    """Some micro-batches in a row.

    Args:
        last: the number of the last of them.
        rows: their rows.
        dead_letters: the events of them that are no rows.
        identities: of each shard what told its stream from another of its name when the last of them was taken.
        flushed: where the lake must stand at least, by shard: what is before is not here.
    """

    last: int
    rows: pa.Table | None
    dead_letters: list[DeadLetter]
    identities: Mapping[int, str] = field(default_factory=dict)
    flushed: Mapping[int, int] = field(default_factory=dict)

    def positions(self) -> dict[int, int]:
        """How far they reach, by shard."""
        newest: dict[int, int] = {letter.shard: letter.sequence for letter in self.dead_letters}
        if self.rows is not None:
            ends = self.rows.group_by(SHARD).aggregate([(SEQUENCE, "max")])
            for shard, sequence in zip(
                ends.column(SHARD).to_pylist(), ends.column(f"{SEQUENCE}_max").to_pylist(), strict=True
            ):
                newest[shard] = max(sequence, newest.get(shard, sequence))
        return newest


class Outbox:
    """An open outbox. Make one with ``open_outbox``."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def positions(self) -> dict[int, Position]:
        """How far each shard is kept."""
        with self._errors():
            rows = self._connection.execute("SELECT shard, sequence, flushed, identity FROM positions").fetchall()
        return {shard: Position(*rest) for shard, *rest in rows}

    def append(self, rows: pa.Table, dead_letters: Sequence[DeadLetter], positions: Mapping[int, Position]) -> int:
        """Keep a micro-batch with the positions behind it, in one transaction that has reached the disk; its number.

        Raises:
            StoreError: the disk did not take it; nothing was kept.
        """
        with self._transaction() as execute:
            identities = {shard: at.identity for shard, at in positions.items() if at.identity}
            number = execute(
                "INSERT INTO batches (rows, content, identities) VALUES (?, ?, ?)",
                (rows.num_rows, _packed(rows), json.dumps(identities)),
            ).lastrowid
            for letter in dead_letters:
                execute(
                    "INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        number,
                        letter.shard,
                        letter.sequence,
                        letter.stored_at,
                        letter.reason,
                        letter.payload,
                        letter.payload_bytes,
                    ),
                )
            _put(execute, positions)
        return int(number)

    def batches(self, after: int = 0, *, at_most_rows: int = 1 << 62) -> Batches | None:
        """The micro-batches behind a number, as many as have so many rows together, one at least; None if there are none.

        Raises:
            DamagedError: one is not what was written.
        """
        tables: list[pa.Table] = []
        identities: dict[int, str] = {}
        last, count = after, 0
        with self._errors():
            for number, rows, content, of_shards in self._connection.execute(
                "SELECT number, rows, content, identities FROM batches WHERE number > ? ORDER BY number", (after,)
            ):
                if last > after and count + rows > at_most_rows:
                    break
                last, count = number, count + rows
                identities |= {int(shard): identity for shard, identity in json.loads(of_shards).items()}
                if rows:
                    tables.append(_unpacked(content, self.path))
            letters = self._connection.execute(
                "SELECT shard, sequence, stored_at, reason, payload, payload_bytes FROM dead_letters WHERE number > ? AND number <= ? "
                "ORDER BY shard, sequence",
                (after, last),
            ).fetchall()
        if last == after:
            return None
        table = pa.concat_tables(tables, promote_options="default").combine_chunks() if tables else None
        flushed = {shard: at.flushed for shard, at in self.positions().items() if at.flushed is not None}
        return Batches(last, table, [DeadLetter(*letter) for letter in letters], identities, flushed)

    def newest(self) -> int:
        """The number of the newest micro-batch, 0 if there is none."""
        return self._number("SELECT coalesce(max(number), 0) FROM batches")

    def oldest(self) -> float:
        """The number of the oldest micro-batch, infinite if there is none."""
        return self._number("SELECT coalesce(min(number), 0) FROM batches") or math.inf

    def discard(self, up_to: int, flushed: Mapping[int, int]) -> None:
        """Let go of the micro-batches up to a number, which the lake has; it stands at these sequences."""
        with self._transaction() as execute:
            execute("DELETE FROM batches WHERE number <= ?", (up_to,))
            execute("DELETE FROM dead_letters WHERE number <= ?", (up_to,))
            for shard, sequence in flushed.items():
                execute("UPDATE positions SET flushed = ? WHERE shard = ?", (sequence, shard))

    def begin_at(self, positions: Mapping[int, Position]) -> None:
        """Let go of everything, and stand at these positions."""
        with self._transaction() as execute:
            for table in ("batches", "dead_letters", "positions"):
                execute(f"DELETE FROM {table}")
            _put(execute, positions)

    def count(self) -> int:
        """How many rows wait to be flushed."""
        return self._number("SELECT coalesce(sum(rows), 0) FROM batches")

    def count_events(self) -> int:
        """How many events wait to be flushed, as rows or as dead letters."""
        return self.count() + self._number("SELECT count(*) FROM dead_letters")

    def overwrite(self) -> bool:
        """Leave no bytes of what was let go in the file and beside it; False if somebody reads them now."""
        return not self._number("PRAGMA wal_checkpoint(TRUNCATE)")

    def _number(self, sql: str) -> int:
        with self._errors():
            return int(self._connection.execute(sql).fetchone()[0])

    def beside(self) -> AbstractContextManager[Outbox]:
        """The same outbox by a connection of its own, for another thread."""
        return opened_beside(self.path)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise _of(error, self.path) from error


@contextmanager
def open_outbox(path: Path, *, of: str) -> Iterator[Outbox]:
    """Open the outbox of a service for a block, alone; it is made if it is not there.

    Args:
        path: its file.
        of: whose it is, which must be the same each time.

    Raises:
        StoreError: another service has it open, or it is another's, or cannot be written.
        DamagedError: the file is no outbox.
    """
    with guard_writes(path.parent):
        make_folder(path.parent)
    try:
        lock = hold_lock(path.with_name(f".{path.stem}.lock"), 0.0)
        lock.__enter__()
    except StoreError as error:
        raise OutboxInUseError(
            f"another fti stream has {path} open: one service takes the shards of an instance. Stop it, or start this one as another "
            "instance, --instance 1/2"
        ) from error
    try:
        with opened_beside(path) as outbox:
            execute = outbox._connection.execute
            about = execute("SELECT format, of FROM about").fetchall()
            if not about:
                execute("INSERT INTO about VALUES (?, ?)", (_FORMAT, of))
            elif about != [(_FORMAT, of)]:
                raise StoreError(
                    f"{path} is the outbox of {about[0][1]} in layout {about[0][0]}, not of {of} in layout {_FORMAT}: flush it with the "
                    "release that wrote it, or move it away; its events are read from the broker again"
                )
            yield outbox
    finally:
        lock.__exit__(None, None, None)


@contextmanager
def opened_beside(path: Path) -> Iterator[Outbox]:
    """An outbox that is there, beside whoever has it open.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        connection = _connect(path)
    except sqlite3.DatabaseError as error:
        raise _of(error, path) from error
    with closing(connection):
        yield Outbox(path, connection)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # What is told to the broker as kept must survive a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA secure_delete = ON")
        connection.executescript(_TABLES)
    except BaseException:
        connection.close()
        raise
    return connection


def _put(execute: Any, positions: Mapping[int, Position]) -> None:
    for shard, position in positions.items():
        execute(
            "INSERT INTO positions VALUES (?, ?, ?, ?) ON CONFLICT (shard) DO UPDATE SET sequence = excluded.sequence, "
            "identity = excluded.identity",
            (shard, position.sequence, position.flushed, position.identity),
        )


def _packed(rows: pa.Table) -> bytes:
    if not rows.num_rows:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _unpacked(content: bytes, path: Path) -> pa.Table:
    try:
        return pa.ipc.open_stream(content).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise DamagedError(
            f"the outbox {path} is damaged: a micro-batch is not what was written ({error}). Move it away: its events are read from the "
            "broker again"
        ) from error


def _of(error: sqlite3.Error, path: Path) -> StoreError:
    text = str(error)
    if "malformed" in text or "not a database" in text:
        return DamagedError(
            f"the outbox {path} is damaged: {text}. Move it away: its events are read from the broker again"
        )
    return StoreError(f"the outbox {path} cannot be used: {text}. Make room on the disk, or let this user write there")
