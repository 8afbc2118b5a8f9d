"""A service that is far behind puts many turns online as one, and what is stored and answered is the same."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pyarrow
import pytest

from fti_assets.core import clock
from fti_assets.core.times import from_microseconds, microseconds
from fti_assets.errors import StoreError
from fti_assets.features.events.decoding import group_decoder
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from fti_assets.stores.streams.event import Event
from fti_assets.streaming import backlog
from fti_assets.streaming.flusher import Flusher
from fti_assets.streaming.micro_batch import MicroBatch, MicroBatches
from fti_assets.streaming.online import OnlineRows
from fti_assets.streaming.outbox import open_outbox
from fti_assets.streaming.service import Settings, stream
from fti_assets.testing import MemoryStream
from tests.support.payments import DAY, MINUTE, payment, payments, spending

EVENTS = 60
LAST = DAY + (600 + EVENTS - 1) * MINUTE
CARDS = "abc"


@pytest.fixture
def writes(monkeypatch):
    """How many rows each write of the payments' namespace has had."""
    sizes: list[int] = []
    write = OnlineRows.write

    def counted(self, rows, positions):
        if self._target.name == "payments":
            sizes.append(rows.num_rows)
        return write(self, rows, positions)

    monkeypatch.setattr(OnlineRows, "write", counted)
    return sizes


def answers(folder, *, minutes_after: float, batch: int = 4, flush_seconds: float = 60.0, **overrides):
    """What is stored and answered after a service has caught up so long after the last event was stored."""
    draw = random.Random(3)
    events = MemoryStream("payments", shards=2)
    for number in range(EVENTS):
        at = from_microseconds(DAY + (590 + number - draw.randint(0, 30)) * MINUTE)
        content = payment(draw.choice(CARDS), f"{at.isoformat()}Z", amount=float(number))
        events.put(b"no JSON" if number % 13 == 5 else content, at=DAY + (600 + number) * MINUTE, shard=number % 2)
    group = payments(events, online=True)
    windows = spending(group)
    offline, online = OfflineStore(folder / "lake"), online_store(str(folder / "online"))
    settings = Settings(batch_seconds=0.0, batch_events=batch, flush_seconds=flush_seconds, until_caught_up=True)
    with clock.at(from_microseconds(LAST) + timedelta(minutes=minutes_after)):
        asyncio.run(
            stream([group], offline, online, folder / "outbox", settings=settings, windows=[windows], **overrides)
        )
    with offline.connect() as lake:
        rows = lake.rows(group.table).order("ALL").fetchall()
    readers = [online.reader(name) for name in ("payments_v1", "spending_v1")]
    moments = range(LAST, LAST + 60 * MINUTE, MINUTE)
    return rows, {(c, at, i): one.get((c,), at_us=at) for c in CARDS for at in moments for i, one in enumerate(readers)}


def test_far_behind_many_turns_are_put_online_as_one(tmp_path, writes):
    late = answers(tmp_path / "late", minutes_after=60)
    assert max(writes) > 4
    assert len(writes) < 5
    writes.clear()
    assert answers(tmp_path / "one turn", minutes_after=60, batch=1_000) == late
    assert len(writes) == 1


def test_close_to_the_present_each_turn_is_put_online(tmp_path, monkeypatch, writes):
    monkeypatch.setattr(backlog, "FAR_BEHIND_US", 10_000 * MINUTE)
    near = answers(tmp_path / "near", minutes_after=60)
    assert max(writes) <= 4
    assert len(writes) >= EVENTS / 4
    monkeypatch.undo()
    assert answers(tmp_path / "late", minutes_after=60) == near


@pytest.mark.parametrize(("bound", "most"), [("_ROWS", 13), ("_BYTES", 16), ("seconds", 4)])
def test_what_waits_is_put_online_once_it_is_enough(bound, most, tmp_path, monkeypatch, writes):
    if bound != "seconds":
        monkeypatch.setattr(backlog, bound, 10 if bound == "_ROWS" else 700)
    whole = answers(tmp_path / bound, minutes_after=60, flush_seconds=0.0 if bound == "seconds" else 60.0)
    assert len(writes) > 1
    assert max(writes) <= most
    monkeypatch.undo()
    assert answers(tmp_path / "late", minutes_after=60) == whole


def test_what_was_flushed_before_it_came_online_leaves_nothing_to_load_again(tmp_path):
    events = MemoryStream("payments")
    for number in range(8):
        events.put(payment("a", amount=float(number)), at=DAY + (600 + number) * MINUTE)
    group = payments(events, online=True)
    offline, online = OfflineStore(tmp_path / "lake"), online_store(str(tmp_path / "online"))
    flusher = Flusher(group, offline, online)
    with clock.at(from_microseconds(LAST)), open_outbox(tmp_path / "outbox.sqlite", of="payments_v1") as outbox:
        flusher.start(outbox, [0])
        batch = MicroBatches(group, outbox, group_decoder(group)).take(events.stored[0])
        flusher.flush(outbox, lambda flush: None)
        with offline.connect() as lake:
            snapshot = lake.snapshot()
        assert online.about("payments_v1").snapshot < snapshot
        assert flusher.online.write(batch.rows, batch.positions)
        flusher.flush(outbox, lambda flush: None)
        flusher.close()
    assert online.about("payments_v1").snapshot == snapshot


def test_an_online_store_that_is_away_in_a_backlog_gets_all_of_it_later(tmp_path, monkeypatch):
    write, calls = OnlineRows.write, []

    def failing(self, rows, positions):
        calls.append(rows.num_rows)
        if len(calls) < 3:
            raise StoreError("the store is away")
        return write(self, rows, positions)

    monkeypatch.setattr(OnlineRows, "write", failing)
    monkeypatch.setattr(backlog, "_ROWS", 20)
    said: list[str] = []
    disturbed = answers(tmp_path / "away", minutes_after=60, say=lambda what, **_: said.append(what))
    assert "online_failed" in said
    monkeypatch.undo()
    assert answers(tmp_path / "there", minutes_after=60) == disturbed


def test_a_service_that_is_stopped_in_a_backlog_puts_it_online_first(tmp_path):
    class Stopping(MemoryStream):
        """Stops the service with its sixth turn."""

        async def subscribe(self, shards, after, identities=None):
            subscription = await super().subscribe(shards, after, identities)
            fetch, turns = subscription.fetch, []

            async def counted(at_most, within):
                turns.append(at_most)
                if len(turns) == 6:
                    stop.set()
                return await fetch(at_most, within)

            subscription.fetch = counted
            return subscription

    stop = asyncio.Event()
    events = Stopping("payments")
    for number in range(EVENTS):
        events.put(payment("a", amount=float(number)), at=DAY + (600 + number) * MINUTE)
    group = payments(events, online=True)
    online = online_store(str(tmp_path / "online"))
    settings = Settings(batch_seconds=0.0, batch_events=4, flush_seconds=60.0)
    with clock.at(from_microseconds(LAST) + timedelta(hours=1)):
        asyncio.run(
            stream([group], OfflineStore(tmp_path / "lake"), online, tmp_path / "outbox", settings=settings, stop=stop)
        )
    winner = online.reader("payments_v1", columns=["amount"]).get(("a",), at_us=LAST)
    assert winner is not None
    assert winner.values in [(19.0,), (23.0,)]


def turns(waiting: backlog.Backlog, sizes: list[int], *, every: float, behind: float, speed: float = 1.0) -> list[bool]:
    """Whether what waits is due after each of some turns: so many seconds apart, of events stored so long ago and so much faster."""
    due = []
    for number, size in enumerate(sizes):
        at, start = 100 + number * every, microseconds(clock.now())
        stored = start - int(1e6 * (behind - number * every * (speed - 1)))
        rows = pyarrow.table({"n": list(range(size))})
        waiting.add(MicroBatch(rows, [], {0: number}), [Event(0, number, stored, b"")] * size, at)
        due.append(waiting.is_due(at))
        if due[-1]:
            waiting.clear()
    return due


def test_a_broker_whose_clock_is_slow_makes_nothing_wait():
    with clock.at("2024-05-01T12:00:00Z"):
        assert all(turns(backlog.Backlog(5_000, 10.0), [50] * 60, every=0.05, behind=70.0))
        assert not any(turns(backlog.Backlog(5_000, 10.0), [50] * 60, every=0.05, behind=70.0, speed=3.0)[1:])


def test_rows_wait_no_longer_than_the_service_is_behind():
    with clock.at("2024-05-01T12:00:00Z"):
        due = turns(backlog.Backlog(5_000, 10.0), [1_000, 20, 1_200] * 20, every=0.1, behind=2.0)
    assert [number for number, is_due in enumerate(due) if is_due] == [20, 41]
