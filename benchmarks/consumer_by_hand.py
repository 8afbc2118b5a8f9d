"""What a team writes that takes events by hand, for ``streaming.py``: an outbox, an online store and a DuckLake, each with the position."""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import duckdb_extension_ducklake
import duckdb_extension_sqlite_scanner
import pyarrow
from msgspec.json import decode

from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import EventStream

BATCH, FLUSH_SECONDS = 5_000, 5.0
HOUR, MINUTE = 3_600_000_000, 60_000_000
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def fingerprint(connection: Any, table: str) -> Any:
    columns = "card, paid_at, stored_at, amount, terminal, is_online"
    return connection.execute(
        f"SELECT count(*), bit_xor(hash({columns})), sum(hash({columns}) % 1000003) FROM {table}"
    ).fetchone()


class ByHand:
    """The consumer by hand."""

    def __init__(self, folder: Path) -> None:
        self._waiting = sqlite3.connect(folder / "outbox.sqlite", isolation_level=None)
        self._online = sqlite3.connect(folder / "online.sqlite", isolation_level=None)
        self._waiting.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE rows (sequence INTEGER PRIMARY KEY, card, paid_at, stored_at, amount, terminal, is_online);"
            "CREATE TABLE dead (sequence INTEGER PRIMARY KEY, payload); CREATE TABLE position (shard PRIMARY KEY, sequence);"
        )
        self._online.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE newest (card PRIMARY KEY, paid_at, stored_at, amount, terminal, is_online) WITHOUT ROWID;"
            "CREATE TABLE payments (card, visible_at, sequence, amount, PRIMARY KEY (card, visible_at, sequence)) WITHOUT ROWID;"
            "CREATE TABLE position (shard PRIMARY KEY, sequence);"
        )
        self.lake = lake(folder)
        self.lake.execute(
            "CREATE TABLE lake.payments (card VARCHAR, paid_at TIMESTAMP, stored_at TIMESTAMP, amount DOUBLE, terminal BIGINT, "
            "is_online BOOLEAN, day VARCHAR); ALTER TABLE lake.payments SET PARTITIONED BY (day);"
            "CREATE TABLE lake.position (shard BIGINT, sequence BIGINT)"
        )
        self._position = 0

    async def run(
        self,
        events: EventStream,
        *,
        stop: asyncio.Event | None = None,
        pause: float = 0.0,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        """Take events until there are none, or until it is stopped, with a pause between two turns."""
        subscription = await events.subscribe([0], {})
        flushed_at = time.monotonic()
        while stop is None or not stop.is_set():
            begin = time.monotonic()
            batch = await subscription.fetch(BATCH, 0.25)
            if batch:
                self._take(batch)
                await subscription.ack({0: self._position})
            elif stop is None and not sum((await subscription.lag()).values()):
                break
            if time.monotonic() > flushed_at + flush_seconds:
                self._flush()
                flushed_at = time.monotonic()
            await asyncio.sleep(max(begin + pause - time.monotonic(), 0.0))
        self._flush()
        await subscription.close()

    def _take(self, batch: Sequence[Event]) -> None:
        rows, dead = [], []
        for event in batch:
            if event.sequence <= self._position:
                continue
            try:
                one = decode(event.payload)
                card, amount, terminal, is_online = one["card"], one["amount"], one["terminal"], one["is_online"]
                paid_at = (datetime.fromisoformat(one["paid_at"]) - EPOCH) // MICROSECOND
                is_right = (
                    type(card) is str and type(amount) is float and type(terminal) is int and type(is_online) is bool
                )
                if len(one) != 5 or not is_right or amount < 0 or paid_at > event.stored_at + 24 * HOUR:
                    raise ValueError
            except (ValueError, KeyError, TypeError):
                dead.append((event.sequence, event.payload))
                continue
            rows.append((event.sequence, card, paid_at, event.stored_at, amount, terminal, is_online))
        self._position = batch[-1].sequence
        position = (0, self._position)
        execute = self._waiting.execute
        execute("BEGIN")
        self._waiting.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._waiting.executemany("INSERT INTO dead VALUES (?, ?)", dead)
        execute("INSERT OR REPLACE INTO position VALUES (?, ?)", position)
        execute("COMMIT")
        execute = self._online.execute
        execute("BEGIN")
        self._online.executemany(
            "INSERT INTO newest VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (card) DO UPDATE SET paid_at = excluded.paid_at, "
            "stored_at = excluded.stored_at, amount = excluded.amount, terminal = excluded.terminal, is_online = excluded.is_online "
            "WHERE excluded.paid_at >= paid_at",
            [row[1:] for row in rows],
        )
        self._online.executemany(
            "INSERT INTO payments VALUES (?, ?, ?, ?)",
            [(card, max(paid, stored), number, amount) for number, card, paid, stored, amount, *_ in rows],
        )
        execute("INSERT OR REPLACE INTO position VALUES (?, ?)", position)
        execute("COMMIT")

    def _flush(self) -> None:
        rows = self._waiting.execute("SELECT * FROM rows").fetchall()
        if not rows:
            return
        numbers, cards, paid, stored, amounts, terminals, online = zip(*rows, strict=True)
        staged = pyarrow.table(
            {
                "card": cards, "paid_at": pyarrow.array(paid, pyarrow.timestamp("us")), "amount": amounts, "terminal": terminals,
                "stored_at": pyarrow.array(stored, pyarrow.timestamp("us")), "is_online": online,
            }
        )  # fmt: skip
        self.lake.register("staged", staged)
        self.lake.execute("BEGIN")
        self.lake.execute(
            "INSERT INTO lake.payments SELECT card, paid_at, stored_at, amount, terminal, is_online::BOOLEAN, "
            "strftime(paid_at, '%Y-%m-%d') FROM staged"
        )
        self.lake.execute("DELETE FROM lake.position")
        self.lake.execute("INSERT INTO lake.position VALUES (0, ?)", [numbers[-1]])
        self.lake.execute("COMMIT")
        self.lake.unregister("staged")
        self._waiting.execute("DELETE FROM rows WHERE sequence <= ?", (numbers[-1],))

    def answers(self, cards: Sequence[str], now: int) -> list[Any]:
        answers = []
        for card in cards:
            newest = self._online.execute("SELECT amount, terminal FROM newest WHERE card = ?", (card,)).fetchone()
            of_windows: list[Any] = []
            for begins in (now - 10 * MINUTE, (now - 24 * HOUR) // HOUR * HOUR):
                of_windows += self._online.execute(
                    "SELECT count(*), coalesce(sum(amount), 0), coalesce(max(amount), 0) FROM payments "
                    "WHERE card = ? AND visible_at > ? AND visible_at <= ?",
                    (card, begins, now),
                ).fetchone()
            answers.append([newest and list(newest), of_windows])
        return answers


def lake(folder: Path) -> Any:
    """A DuckLake by hand, of the kind that ours is."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET autoinstall_known_extensions = false; SET threads = 1")
    for package in (duckdb_extension_sqlite_scanner, duckdb_extension_ducklake):
        [file] = Path(package.__file__).parent.glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension")
        connection.execute(f"LOAD '{file}'")
    connection.execute(f"ATTACH 'ducklake:sqlite:{folder}/catalog.sqlite' AS lake (DATA_PATH '{folder}/data/')")
    return connection
