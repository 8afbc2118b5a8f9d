"""Services that share the shards of one stream: none takes back what another has put online and not yet flushed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fti_assets.core import clock
from fti_assets.errors import StoreError
from fti_assets.features.online.load import load_online
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from fti_assets.streaming.service import Settings, stream
from fti_assets.testing import MemoryStream
from tests.support.payments import DAY, MINUTE, payment, payments, spending

NOON = DAY + 720 * MINUTE


class World:
    """Two services with outboxes of their own, as on two machines, over one lake and one online store."""

    def __init__(self, folder: Path, events: MemoryStream) -> None:
        self.folder, self.events = folder, events
        self.group = payments(events, online=True)
        self.windows = spending(self.group)
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
