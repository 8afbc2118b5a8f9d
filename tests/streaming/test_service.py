"""A service takes a stream: rows online at once, in the lake with its flushes, each event once whatever ends it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fti_assets.core import clock
from fti_assets.core.times import from_microseconds, microseconds
from fti_assets.errors import StoreError
from fti_assets.features.events.decoding import group_decoder
from fti_assets.features.online.load import load_online
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.dropping import drop_tables
from fti_assets.stores.online.store import online_store
from fti_assets.streaming import service
from fti_assets.streaming.flush import LostPositionError, flush
from fti_assets.streaming.micro_batch import MicroBatches
from fti_assets.streaming.online import OnlineRows
from fti_assets.streaming.outbox import Outbox, open_outbox
from fti_assets.streaming.service import Settings, outbox_path, stream
from fti_assets.testing import MemoryStream
from fti_assets.testing.memory_stream import MemorySubscription
from tests.support.payments import DAY, MINUTE, payment, payments, spending

NOON = DAY + 720 * MINUTE


@pytest.fixture
def world(tmp_path: Path):
    return World(tmp_path)


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offline, self.online = OfflineStore(folder / "lake"), online_store(str(folder / "online"))
        self.events: list[tuple[str, dict]] = []

    def run(self, *groups, at: str = "2024-05-01T12:00:00Z", windows=(), **settings) -> None:
        settings = {"until_caught_up": True, "flush_seconds": 60.0, "batch_seconds": 0.0, **settings}
        with clock.at(at):
            asyncio.run(
                stream(
                    groups,
                    self.offline,
                    self.online,
                    self.folder / "outbox",
                    settings=Settings(**settings),
                    windows=windows,
                    say=lambda what, **facts: self.events.append((what, facts)),
                )
            )

    def rows(self, group):
        with self.offline.connect() as lake:
            return lake.rows(group.table).order("ALL").fetchall()

    def value(self, group, *key, at_us: int = NOON):
        reader = self.online.reader(group.table_name, columns=["amount"])
        winner = reader.get(key, at_us=at_us)
        return None if winner is None else winner.values[0]


def test_events_are_rows_of_the_lake_and_the_newest_of_each_key_is_online(world):
    events = MemoryStream("payments")
    group = payments(events, online=True)
    events.put(
        payment("a", "2024-05-01T10:00:00Z", amount=1.0),
        payment("b", "2024-05-01T10:00:00Z", amount=2.0),
        payment("a", "2024-05-01T11:00:00Z", amount=3.0),
        payment("a", "2024-05-01T09:00:00Z", amount=4.0),  # late: a newer event of its key was visible before
        at=DAY + 660 * MINUTE,
    )
    world.run(group)
    assert len(world.rows(group)) == 4
    assert (world.value(group, "a"), world.value(group, "b"), world.value(group, "c")) == (3.0, 2.0, None)
    # As of an instant before the broker had it, the value is that of then.
    assert world.value(group, "a", at_us=DAY + 660 * MINUTE) == 1.0
    assert [what for what, _ in world.events] == ["started", "flushed", "stopped"]


def test_a_service_goes_on_where_it_was(world):
    events = MemoryStream("payments")
    group = payments(events, online=True)
    events.put(payment("a", amount=1.0), at=DAY + 660 * MINUTE)
    world.run(group)
    events.put(payment("a", "2024-05-01T10:30:00Z", amount=2.0), payment("b"), at=DAY + 661 * MINUTE)
    world.run(group)
    assert [row[3] for row in world.rows(group)] == [1.0, 2.0, 1.5]
    assert world.value(group, "a") == 2.0


def test_an_online_store_as_of_an_earlier_turn_is_brought_up_by_the_next_start(world):
    """As a power cut may leave it, or a backup: a turn does not wait until what it puts online is on disk."""
    events = MemoryStream("payments")
    group = payments(events, online=True)
    windows = spending(group, "paid")
    events.put(payment("a", amount=1.0), at=DAY + 660 * MINUTE)
    world.run(group, windows=[windows])
    shutil.copytree(world.folder / "online", world.folder / "earlier")
    events.put(payment("a", "2024-05-01T10:30:00Z", amount=2.0), payment("b"), at=DAY + 661 * MINUTE)
    world.run(group, windows=[windows])
    shutil.rmtree(world.folder / "online")
    shutil.copytree(world.folder / "earlier", world.folder / "online")
    world.run(group, windows=[windows])
    assert (world.value(group, "a"), world.value(group, "b")) == (2.0, 1.5)
    reader = world.online.reader("spending_v1", columns=["paid_2h"])
    assert reader.get(("a",), at_us=NOON).values == (2,)


def test_flushes_go_on_while_a_broker_always_has_more(world):
    class Busy(MemoryStream):
        async def subscribe(self, shards, after, identities=None):
            return BusySubscription(self, {shard: after.get(shard, -1) for shard in shards})

    class BusySubscription(MemorySubscription):
        async def fetch(self, at_most, within):
            number = len(events.events)
            if number < 500 and all(what != "flushed" for what, _ in world.events):
                events.put(payment(f"c{number}"), at=DAY + 660 * MINUTE + number)
            return await super().fetch(at_most, within)

    events = Busy("payments")
    world.run(payments(events), flush_seconds=0.01, batch_events=1)
    assert len(events.events) < 500


def test_an_event_from_tomorrow_answers_from_tomorrow_on(world):
    events = MemoryStream("payments")
    group = payments(events, online=True)
    events.put(payment("a", amount=1.0), payment("a", "2024-05-02T06:00:00Z", amount=9.0), at=DAY + 660 * MINUTE)
    world.run(group)
    assert world.value(group, "a") == 1.0
    assert world.value(group, "a", at_us=microseconds(datetime(2024, 5, 2, 6))) == 9.0


@pytest.mark.soak
def test_two_instances_share_the_shards_and_one_table(world):
    events = MemoryStream("payments", shards=2)
    group = payments(events, online=True)
    events.put(payment("a", amount=1.0), at=DAY + 660 * MINUTE, shard=0)
    events.put(payment("b", amount=2.0), at=DAY + 660 * MINUTE, shard=1)
    world.run(group, instance=1, instances=2)
    assert len(world.rows(group)) == 1
    world.run(group, instance=2, instances=2)
    events.put(payment("a", "2024-05-01T10:30:00Z", amount=3.0), at=DAY + 662 * MINUTE, shard=0)
    world.run(group, instance=1, instances=2)
    assert len(world.rows(group)) == 3
    assert (world.value(group, "a"), world.value(group, "b")) == (3.0, 2.0)


def test_online_values_are_those_that_a_load_of_the_lake_writes(world):
    """Of the group and of windows over it, whatever order events come in, and at which clock they were taken."""
    events = MemoryStream("payments")
    group = payments(events, online=True, online_history="2h")
    windows = spending(group)
    minute = timedelta(minutes=1)
    begin = datetime(2024, 5, 1, 6)
    for number in range(60):
        event_at = begin + minute * ((number * 37) % 60)
        events.put(
            payment("abc"[number % 3], event_at.isoformat(), amount=0.1 * number, terminal=number % 5),
            at=microseconds(begin + minute * number * 5),
        )
    taken = list(events.stored[0])
    for cut in (7, 33, 60):
        events.stored[0][:] = taken[:cut]
        now = from_microseconds(taken[cut - 1].stored_at)
        world.run(group, at=f"{now.isoformat()}Z", windows=[windows], batch_events=3)
        other = online_store(str(world.folder / f"whole_{cut}"))
        for target in (group, windows):
            with clock.at(now), world.offline.connect() as lake:
                load_online(lake, other, target)
            reader, whole = (one.reader(target.table_name) for one in (world.online, other))
            values = 0
            for key in "abcd":
                for ago in range(0, 61, 6):
                    at_us = microseconds(now - minute * ago)
                    result = reader.get((key,), at_us=at_us)
                    assert result == whole.get((key,), at_us=at_us)
                    values += result is not None
            assert values > 5


@pytest.mark.soak
def test_windows_over_two_shards_are_kept_by_two_services(world):
    events = MemoryStream("payments", shards=2)
    group = payments(events, online=True)
    windows = spending(group, "spent", "paid")
    for shard, card in enumerate("ab"):
        events.put(payment(card, amount=1.0), at=DAY + 715 * MINUTE, shard=shard)
    for instance in (1, 2, 1):
        world.run(group, windows=[windows], instance=instance, instances=2)
    events.put(payment("a", "2024-05-01T10:30:00Z", amount=2.5), at=DAY + 716 * MINUTE)
    world.run(group, windows=[windows], instance=1, instances=2)
    reader = world.online.reader("spending_v1", columns=["spent_10min", "paid_2h"])
    assert reader.get(("a",), at_us=NOON).values == (3.5, 2)
    assert reader.get(("b",), at_us=NOON).values == (1.0, 1)


def test_a_group_that_is_reset_is_read_from_the_beginning(world):
    events = MemoryStream("payments")
    group = payments(events, online=True)
    events.put(payment("a", amount=1.0), b"no JSON", at=DAY + 660 * MINUTE)
    world.run(group)
    with world.offline.connect() as lake, lake.store.lock():
        drop_tables(lake, [group.table], message="reset")
        assert lake.tables() == []
    world.online.drop(group.table_name)
    events.put(payment("b", amount=2.0), at=DAY + 661 * MINUTE)
    world.run(group)
    assert [row[3] for row in world.rows(group)] == [1.0, 2.0]
    assert (world.value(group, "a"), world.value(group, "b")) == (1.0, 2.0)


def test_a_service_whose_table_is_reset_meanwhile_ends_and_says_why(world):
    events = MemoryStream("payments")
    group = payments(events)
    events.put(payment("a", amount=1.0), at=DAY + 660 * MINUTE)
    world.run(group)
    with (
        world.offline.connect() as lake,
        open_outbox(outbox_path(world.folder / "outbox", group, Settings()), of="payments_v1") as outbox,
    ):
        batches = MicroBatches(group, outbox, group_decoder(group))
        events.put(payment("b"), at=DAY + 661 * MINUTE)
        assert batches.take(events.stored[0]).positions == {0: 2}
        with lake.store.lock():
            drop_tables(lake, [group.table], message="reset")
        with pytest.raises(LostPositionError, match="it was reset, or put back to an earlier state"):
            flush(lake, group, outbox.batches())


@contextmanager
def failing(owner: type, name: str, *, times: int) -> Iterator[None]:
    """The first calls of a method fail as a store does that is away."""
    original, calls = getattr(owner, name), [0]

    def fails(*arguments, **keywords):
        calls[0] += 1
        if calls[0] <= times:
            raise StoreError("it is away")
        return original(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "_BACK_OFF_SECONDS", (0.01,))
        patch.setattr(owner, name, fails)
        yield


@pytest.mark.parametrize(
    ("owner", "name", "said"),
    [
        (Outbox, "append", "outbox_failed"),
        (OnlineRows, "write", "online_failed"),
        (Lake, "put_records", "flush_failed"),
    ],
)
def test_a_store_that_is_away_is_waited_for(world, owner, name, said):
    events = MemoryStream("payments")
    group = payments(events, online=True)
    windows = spending(group, "spent", "paid")
    for number in range(8):
        events.put(
            payment("ab"[number % 2], f"2024-05-01T11:{number:02}:00Z", amount=1.0), at=DAY + (690 + number) * MINUTE
        )
    with failing(owner, name, times=2):
        for _ in range(3):  # the last flush of a service is not tried again, and what it holds stays in its outbox
            with suppress(StoreError):
                world.run(group, windows=[windows], batch_events=3, flush_seconds=0.01)
    assert said in [what for what, _ in world.events] or said == "flush_failed"
    assert len(world.rows(group)) == 8
    reader = world.online.reader("spending_v1", columns=["paid_2h"])
    assert [reader.get((card,), at_us=NOON).values for card in "ab"] == [(4,), (4,)]
