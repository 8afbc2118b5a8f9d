"""NATS and Redis, the real ones, behave alike: a new event at once, each event once, from any position, over any cut."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fti_assets.errors import StoreError
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.nats import NatsStream
from fti_assets.stores.streams.redis import RedisStream
from tests.support.brokers import (
    NATS_PORT,
    REDIS_PORT,
    Nats,
    OwnServer,
    Proxy,
    Redis,
    all_of,
    nats_server,
    needs_nats,
    needs_redis,
    redis_server,
)


@dataclass(frozen=True)
class Broker:
    kind: Any
    server: Callable[..., AbstractAsyncContextManager[Any]]
    own: Callable[[Path], OwnServer]
    program: str
    scheme: str
    port: int
    path: str

    def url(self, port: int | None = None, user: str = "") -> str:
        return f"{self.scheme}://{user}127.0.0.1:{self.port if port is None else port}{self.path}"


NATS = Broker(NatsStream, nats_server, OwnServer.nats, "nats-server", "nats", NATS_PORT, "")
REDIS = Broker(RedisStream, redis_server, OwnServer.redis, "redis-server", "redis", REDIS_PORT, "/0")


@pytest.fixture(
    params=[pytest.param(NATS, marks=needs_nats, id="nats"), pytest.param(REDIS, marks=needs_redis, id="redis")]
)
def broker(request: pytest.FixtureRequest) -> Broker:
    one: Broker = request.param
    assert one.url() in (Nats.url, Redis.url)
    return one


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [str(number).encode() for number in range(start, start + count)]


def test_a_new_event_comes_at_once(broker: Broker) -> None:
    async def check() -> None:
        async with broker.server() as server:
            names = [await server.make(), await server.make()]
            subscription = await broker.kind("payments", url=broker.url(), shards=names).subscribe([0, 1], {})
            assert await subscription.fetch(10, 0.05) == []
            waiting = asyncio.ensure_future(subscription.fetch(10, 20))
            await asyncio.sleep(0.05)
            started = time.monotonic()
            await server.send(names[1], [b"x"])
            assert [(one.shard, one.payload) for one in await waiting] == [(1, b"x")]
            assert time.monotonic() - started < 5
            await subscription.close()

    run(check())


def test_reading_goes_on_after_any_position_of_several_shards(broker: Broker) -> None:
    async def check() -> None:
        async with broker.server() as server:
            names = [await server.make(), await server.make(), await server.make()]
            stream = broker.kind("payments", url=broker.url(), shards=names)
            assert await stream.shard_names() == tuple(names)
            for shard, name in enumerate(names):
                await server.send(name, numbered(40, 100 * shard))
            draw = random.Random(7)
            held: dict[int, int] = {}
            payloads: dict[int, list[bytes]] = {0: [], 2: []}
            for _ in range(8):  # a reader that is killed at some event, whose fetched ones beyond that are lost
                subscription = await stream.subscribe([0, 2], held)
                events = await subscription.fetch(draw.randint(1, 25), 2)
                for event in events[: draw.randint(0, len(events))]:
                    assert event.sequence > held.get(event.shard, 0)
                    held[event.shard] = event.sequence
                    payloads[event.shard].append(event.payload)
                await subscription.close()
            subscription = await stream.subscribe([0, 2], held)
            rest = 80 - sum(map(len, payloads.values()))
            assert sum((await subscription.lag()).values()) == rest
            for event in await all_of(subscription, rest):
                payloads[event.shard].append(event.payload)
            assert payloads == {0: numbered(40), 2: numbered(40, 200)}
            assert await subscription.lag() == {0: 0, 2: 0}
            await server.send(names[2], numbered(3))
            assert await subscription.lag() == {0: 0, 2: 3}
            await subscription.close()

    run(check())


def test_no_event_is_lost_or_doubled_over_connections_that_are_cut(broker: Broker) -> None:
    async def check() -> None:
        async with broker.server() as server, Proxy(broker.port) as proxy:
            name = await server.make()
            subscription = await broker.kind(name, url=broker.url(proxy.port)).subscribe([0], {})
            draw = random.Random(3)
            events: list[Event] = []
            sent = 0
            for _ in range(12):
                count = draw.randint(0, 300)
                await server.send(name, numbered(count, sent))
                sent += count
                events += await subscription.fetch(draw.randint(1, 200), 0.2)
                match draw.randint(0, 3):
                    case 0:
                        proxy.cut()
                    case 1:
                        await proxy.shut()
                        events += await subscription.fetch(50, 0.1)
                        events += await subscription.fetch(50, 0.1)
                        await proxy.open()
                    case 2:  # whoever asked has gone
                        with suppress(TimeoutError):
                            events += await asyncio.wait_for(subscription.fetch(1, 5), draw.choice([0.0, 0.0001]))
            events += await all_of(subscription, sent - len(events), within=30)
            assert [one.payload for one in events] == numbered(sent)
            assert subscription.trouble is None
            await subscription.close()

    run(check())


def test_while_the_broker_is_away_there_are_no_events_and_it_is_said(broker: Broker) -> None:
    async def check() -> None:
        async with broker.server() as server, Proxy(broker.port) as proxy:
            name = await server.make()
            subscription = await broker.kind(name, url=broker.url(proxy.port)).subscribe([0], {})
            await proxy.shut()
            assert await subscription.fetch(10, 0.3) == []
            assert "cannot be reached" in str(subscription.trouble)
            with pytest.raises(StoreError, match="cannot be reached"):
                await subscription.lag()
            await subscription.ack({0: 1})
            place = rf"{broker.kind.broker} {name} at {broker.scheme}://ann:\*\*\*@127.0.0.1:\d+{broker.path}"
            with pytest.raises(StoreError, match=f"{place} cannot be reached"):
                await broker.kind(name, url=broker.url(proxy.port, "ann:s3cret@")).subscribe([0], {})
            await subscription.close()

    run(check())


def test_a_server_that_is_killed_and_started_again_loses_nothing(broker: Broker, tmp_path: Path) -> None:
    if shutil.which(broker.program) is None:
        pytest.skip(f"no {broker.program} to start")

    async def check() -> None:
        with broker.own(tmp_path) as own:
            url = broker.url(own.port)
            async with broker.server(url) as server:
                await server.make("payments", kept=True)
                await server.send("payments", numbered(30))
            subscription = await broker.kind("payments", url=url).subscribe([0], {})
            events = await subscription.fetch(10, 2)
            own.kill()
            for _ in range(3):
                events += await subscription.fetch(10, 0.2)  # what had come before
            own.start()
            async with broker.server(url) as server:
                await server.send("payments", numbered(5, 30))
            events += await all_of(subscription, 35 - len(events), within=20)
            assert [one.payload for one in events] == numbered(35)
            await subscription.close()

    run(check())
