"""Services that share the shards of one stream: none takes back what another has put online and not yet flushed."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from fti_assets.core import clock
from fti_assets.errors import StoreError
from fti_assets.features.events.decoding import group_decoder
from fti_assets.features.online.load import load_online
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from fti_assets.streaming.flush import LostShardError
from fti_assets.streaming.flusher import Flusher
from fti_assets.streaming.micro_batch import MicroBatches
from fti_assets.streaming.outbox import open_outbox
from fti_assets.streaming.service import Settings, stream
from fti_assets.testing import MemoryStream
from tests.support.payments import DAY, MINUTE, payment, payments, spending

NOON = DAY + 720 * MINUTE


class World:
    """Two services with outboxes of their own, as on two machines, over one lake and one online store."""

    def __init__(self, folder: Path, events: MemoryStream) -> None:
        self.folder, self.events = folder, events
        self.group = payments(events, online=True)
        self.windows = spending(self.group, "paid")
        self.offline, self.online = OfflineStore(folder / "lake"), online_store(str(folder / "online"))
        self.log: dict[int, list[str]] = {1: [], 2: []}
        self.stops: dict[int, asyncio.Event] = {}

    def start(self, instance: int, *, flush_seconds: float = 60.0, until_caught_up: bool = False) -> asyncio.Task[None]:
        settings = Settings(
            instance=instance, instances=2, batch_seconds=0.0, flush_seconds=flush_seconds, until_caught_up=until_caught_up
        )  # fmt: skip
        self.stops[instance] = asyncio.Event()
        return asyncio.create_task(
            stream(
                [self.group], self.offline, self.online, self.folder / f"machine_{instance}", settings=settings,
                windows=[self.windows], stop=self.stops[instance], say=lambda what, **_: self.log[instance].append(what),
            )
        )  # fmt: skip

    def values(self, *cards: str) -> list[tuple | None]:
        """The newest amount of some cards, and how many payments of two hours each has."""
        newest = self.online.reader("payments_v1", columns=["amount"])
        window = self.online.reader("spending_v1", columns=["paid_2h"])
        answers = []
        for card in cards:
            one, count = newest.get((card,), at_us=NOON), window.get((card,), at_us=NOON)
            answers.append(None if one is None or count is None else (one.values[0], count.values[0]))
        return answers

    async def until(self, task: asyncio.Task[None], expected: list[tuple | None], *cards: str) -> None:
        end = asyncio.get_running_loop().time() + 60
        while self._values_or_none(cards) != expected:
            assert not task.done(), task
            assert asyncio.get_running_loop().time() < end, (self._values_or_none(cards), self.log)
            await asyncio.sleep(0.02)

    def _values_or_none(self, cards: tuple[str, ...]) -> list[tuple | None] | None:
        try:
            return self.values(*cards)
        except StoreError:  # nothing was loaded yet
            return None


def world_of(folder: Path, stream_class: type[MemoryStream] = MemoryStream) -> World:
    events = stream_class("payments", shards=2)
    for shard, card in enumerate("ab"):
        events.put(payment(card, amount=1.0), at=DAY + 700 * MINUTE, shard=shard)
    return World(folder, events)


def test_a_service_that_starts_leaves_what_another_has_not_flushed(tmp_path):
    async def run(world: World) -> None:
        first = world.start(1)
        await world.until(first, [(1.0, 1), None], "a", "b")
        world.events.put(payment("a", "2024-05-01T10:30:00Z", amount=2.0), at=DAY + 701 * MINUTE, shard=0)
        await world.until(first, [(2.0, 2), None], "a", "b")
        await world.start(2, until_caught_up=True)
        assert "flushed" not in world.log[1]
        assert world.values("a", "b") == [(2.0, 2), (1.0, 1)]
        world.stops[1].set()
        await first
        assert world.values("a", "b") == [(2.0, 2), (1.0, 1)]

    with clock.at("2024-05-01T12:00:00Z"):
        world = world_of(tmp_path)
        asyncio.run(run(world))
        whole = online_store(str(tmp_path / "whole"))
        with world.offline.connect() as lake:
            for target in (world.group, world.windows):
                load_online(lake, whole, target)
    world.online = whole
    assert world.values("a", "b") == [(2.0, 2), (1.0, 1)]


def test_where_the_broker_has_it_no_more_the_other_service_puts_it_there_again_with_its_next_flush(tmp_path):
    class Forgetful(MemoryStream):
        async def subscribe(self, shards, after, identities=None):
            if list(shards) == [0] and len(after) == 0 and world.log[2]:
                raise StoreError("events behind the position are gone")
            return await super().subscribe(shards, after, identities)

    async def run() -> None:
        first = world.start(1, flush_seconds=1.5)
        await world.until(first, [(1.0, 1)], "a")
        world.log[2].append("starts")
        await world.start(2, until_caught_up=True)
        assert world.values("b") == [(1.0, 1)]
        await world.until(first, [(1.0, 1), (1.0, 1)], "a", "b")
        world.stops[1].set()
        await first

    with clock.at("2024-05-01T12:00:00Z"):
        world = world_of(tmp_path, Forgetful)
        asyncio.run(run())


@pytest.mark.soak
@pytest.mark.parametrize("instance", [1, 2])
def test_an_instance_whose_namespace_another_has_loaded_alone_brings_its_own_rows_back(tmp_path, instance):
    """The online store is lost while both run: whoever comes first loads it whole, with what the other has taken by the broker."""

    async def run(world: World) -> None:
        tasks = [world.start(number, flush_seconds=0.3) for number in (1, 2)]
        await world.until(tasks[0], [(1.0, 1), (1.0, 1)], "a", "b")
        for name in ("payments_v1", "spending_v1"):
            world.online.drop(name)
        card = "ab"[instance - 1]
        world.events.put(payment(card, "2024-05-01T10:30:00Z", amount=5.0), at=DAY + 701 * MINUTE, shard=instance - 1)
        expected = [(5.0, 2) if one == card else (1.0, 1) for one in "ab"]
        await world.until(tasks[0], expected, "a", "b")
        for stop in world.stops.values():
            stop.set()
        await asyncio.gather(*tasks)
        assert world.values("a", "b") == expected

    with clock.at("2024-05-01T12:00:00Z"):
        asyncio.run(run(world_of(tmp_path)))


class Machine:
    """A service in steps, with an outbox of its own."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.open = world, ExitStack()
        self.flusher = Flusher(world.group, world.offline, world.online, [world.windows])
        self.open.callback(self.flusher.close)
        self.outbox = self.open.enter_context(open_outbox(world.folder / name / "outbox.sqlite", of="payments_v1"))
        self.flusher.start(self.outbox, [0])
        self.batches = MicroBatches(world.group, self.outbox, group_decoder(world.group))

    def turn(self) -> None:
        batch = self.batches.take(self.world.events.stored[0])
        if batch is not None and not self.flusher.online.write(batch.rows, batch.positions):
            self.flusher.load(self.outbox)

    def flush(self) -> None:
        self.flusher.flush(self.outbox, lambda flush: None)


@pytest.fixture
def replaced(tmp_path):
    """A machine that took an event and hung, and another that runs as the same instance since."""
    with clock.at("2024-05-01T12:00:00Z"):
        world = world_of(tmp_path)
        with ExitStack() as stack:
            hung = Machine(world, "hung")
            stack.callback(hung.open.close)
            hung.turn()
            heir = Machine(world, "heir")
            stack.callback(heir.open.close)
            world.events.put(payment("a", "2024-05-01T10:30:00Z", amount=2.0), at=DAY + 701 * MINUTE)
            heir.turn()
            assert world.values("a") == [(2.0, 2)]
            yield world, hung, heir


def test_a_service_that_hung_and_was_replaced_flushes_nothing_when_it_comes_back(replaced):
    world, hung, heir = replaced
    heir.flush()
    with world.offline.connect() as lake:
        snapshot = lake.snapshot()
    with pytest.raises(
        LostShardError, match="another service has flushed events .* in shards '0', which are this one's: it hung"
    ):
        hung.flush()
    with world.offline.connect() as lake:
        assert lake.snapshot() == snapshot
    heir.turn()
    heir.flush()
    assert world.values("a") == [(2.0, 2)]


def test_a_service_that_hung_and_was_replaced_puts_nothing_online_when_it_comes_back(replaced):
    world, hung, heir = replaced
    world.events.put(payment("a", "2024-05-01T10:40:00Z", amount=3.0), at=DAY + 702 * MINUTE)
    heir.turn()
    late = world.events.stored[0].pop()  # the one that hung has not read that far
    with pytest.raises(LostShardError, match="another service has put online events"):
        hung.turn()
    world.events.stored[0].append(late)
    assert world.values("a") == [(3.0, 3)]
    heir.flush()
    assert world.values("a") == [(3.0, 3)]


def test_a_service_that_is_replaced_ends_and_says_why(tmp_path):
    async def run(world: World) -> None:
        task = world.start(1, flush_seconds=0.1)
        await world.until(task, [(1.0, 1)], "a")
        while (
            "flushed" not in world.log[1]
        ):  # else the heir, that starts at the lake's position, may take what it flushes
            assert not task.done(), task
            await asyncio.sleep(0.02)
        heir = Machine(world, "heir")
        world.events.put(payment("a", "2024-05-01T10:30:00Z", amount=2.0), at=DAY + 701 * MINUTE)
        heir.turn()
        heir.flush()
        heir.open.close()
        world.events.put(payment("a", "2024-05-01T10:40:00Z", amount=3.0), at=DAY + 702 * MINUTE)
        with pytest.raises(LostShardError):
            await asyncio.wait_for(task, 60)

    class Slow(MemoryStream):
        """So that the other is ahead."""

        async def subscribe(self, shards, after, identities=None):
            subscription = await super().subscribe(shards, after, identities)
            fetch = subscription.fetch

            async def later(at_most, within):
                await asyncio.sleep(0.3)
                return await fetch(at_most, within)

            subscription.fetch = later
            return subscription

    with clock.at("2024-05-01T12:00:00Z"):
        asyncio.run(run(world_of(tmp_path, Slow)))
