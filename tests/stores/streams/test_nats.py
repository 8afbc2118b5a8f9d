"""NATS JetStream, the real one: each message once, from any position, over any cut; what is gone is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fti_assets.core.times import from_microseconds
from fti_assets.errors import StoreError
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.nats import NatsStream
from tests.support.brokers import NATS_PORT, Nats, Proxy, all_of, nats_server, needs_nats, sequences, unique

pytestmark = needs_nats


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [str(number).encode() for number in range(start, start + count)]


def test_events_are_those_that_were_sent_with_their_stored_times() -> None:
    async def check() -> None:
        async with nats_server() as server:
            name = await server.make()
            before = time.time_ns() // 1_000
            await server.send(name, numbered(250))
            after = time.time_ns() // 1_000
            subscription = await NatsStream(name, url=Nats.url).subscribe([0], {})
            events = await all_of(subscription, 250)
            assert [one.payload for one in events] == numbered(250)
            assert sequences(events) == list(range(1, 251))
            assert {one.shard for one in events} == {0}
            assert all(before - 1_000_000 <= one.stored_at <= after + 1_000_000 for one in events)
            assert [one.stored_at for one in events] == sorted(one.stored_at for one in events)
            assert await subscription.fetch(10, 0.05) == []
            await subscription.ack({0: 250})
            await subscription.close()
            with pytest.raises(StoreError, match="is closed: subscribe again"):
                await subscription.fetch(1, 0)

    run(check())


def test_what_the_broker_dropped_before_it_was_read_is_named() -> None:
    async def check() -> None:
        async with nats_server() as server:
            name = await server.make(max_msgs=30)
            await server.send(name, numbered(50))
            stream = NatsStream(name, url=Nats.url)
            with pytest.raises(StoreError, match=f"has dropped 10 events of '{name}' that were not read: 11 to 20"):
                await stream.subscribe([0], {0: 10})
            subscription = await stream.subscribe([0], {0: 20})  # the next one is there
            assert sequences(await all_of(subscription, 30)) == list(range(21, 51))
            await subscription.close()
            subscription = await stream.subscribe([0], {})  # from the first that is there
            assert sequences(await all_of(subscription, 30)) == list(range(21, 51))
            await subscription.close()

    run(check())


def test_what_is_dropped_under_a_slow_reader_is_named() -> None:
    async def check() -> None:
        async with nats_server() as server, Proxy(NATS_PORT) as proxy:
            name = await server.make(max_msgs=10)
            await server.send(name, numbered(5))
            subscription = await NatsStream(name, url=f"nats://127.0.0.1:{proxy.port}").subscribe([0], {})
            assert len(await all_of(subscription, 5)) == 5
            await proxy.shut()
            await server.send(name, numbered(50))
            await proxy.open()
            with pytest.raises(StoreError, match="has dropped 40 events of .* 6 to 45"):
                await all_of(subscription, 50)
            await subscription.close()

    run(check())


def test_messages_that_someone_deleted_are_passed_over() -> None:
    async def check() -> None:
        async with nats_server() as server:
            name = await server.make()
            await server.send(name, numbered(20))
            for sequence in (3, 4, 20):
                await server.jetstream.delete_msg(name, sequence)
            subscription = await NatsStream(name, url=Nats.url).subscribe([0], {})
            assert sequences(await all_of(subscription, 17)) == [1, 2, *range(5, 20)]
            await subscription.close()

    run(check())


def test_a_stream_that_was_made_anew_is_refused() -> None:
    async def check() -> None:
        async with nats_server() as server:
            name = await server.make()
            stream = NatsStream(name, url=Nats.url)
            await server.send(name, numbered(5))
            subscription = await stream.subscribe([0], {})
            identities = subscription.identities
            await all_of(subscription, 5)
            await server.jetstream.delete_stream(name)
            await server.make(name)
            await server.send(name, numbered(3))
            with pytest.raises(StoreError, match=f"was deleted and made again: '{name}'"):
                await all_of(subscription, 3)
            with pytest.raises(StoreError, match="ends at 3, and was read up to 5"):
                await stream.subscribe([0], {0: 5})
            await server.send(name, numbered(10))  # as many as there were, so that only its identity tells
            with pytest.raises(StoreError, match="was deleted and made again"):
                await stream.subscribe([0], {0: 5}, identities)
            await subscription.close()

    run(check())


def test_a_replay_has_the_events_of_its_time_alone() -> None:
    async def check() -> None:
        async with nats_server() as server:
            name = await server.make()
            stream = NatsStream(name, url=Nats.url)
            await server.send(name, numbered(300))
            subscription = await stream.subscribe([0], {})
            events = await all_of(subscription, 300)
            await subscription.close()

            async def read(since: int, until: int) -> list[Event]:
                batches = stream.read(from_microseconds(since), from_microseconds(until))
                return [one async for batch in batches for one in batch]

            first, middle, last = events[0].stored_at, events[150].stored_at, events[-1].stored_at
            assert await read(first, last + 1) == events
            assert await read(middle, last) == [one for one in events if middle <= one.stored_at < last]
            assert await read(0, first) == []
            assert await read(last + 1, last + 10**12) == []
            empty = await server.make()
            stream = NatsStream(empty, url=Nats.url)
            assert await read(0, last) == []

    run(check())


def test_a_replay_of_a_time_that_the_broker_no_longer_has_is_refused() -> None:
    async def check() -> None:
        async with nats_server() as server:
            name = await server.make(max_msgs=10)
            stream = NatsStream(name, url=Nats.url)
            await server.send(name, numbered(20))
            now = datetime.now(UTC).replace(tzinfo=None)
            with pytest.raises(StoreError, match="has dropped events of .* those since .* are not all there"):
                async for _ in stream.read(now - timedelta(hours=1), now + timedelta(hours=1)):
                    pass
            await server.jetstream.purge_stream(name)
            with pytest.raises(StoreError, match="none is left"):
                async for _ in stream.read(now - timedelta(hours=1), now + timedelta(hours=1)):
                    pass

    run(check())


def test_streams_that_cannot_be_read_twice_and_absent_ones_are_refused() -> None:
    async def check() -> None:
        async with nats_server() as server:
            queue = await server.make(retention="workqueue")
            with pytest.raises(StoreError, match="by 'workqueue'.* have it keep them by limits"):
                await NatsStream(queue, url=Nats.url).subscribe([0], {})
            few = await server.make(max_msgs_per_subject=1)
            with pytest.raises(StoreError, match="only the last 1 of each subject"):
                await NatsStream(few, url=Nats.url).subscribe([0], {})
            absent = unique()
            with pytest.raises(StoreError, match=f"has no stream '{absent}': JetStream there has '"):
                await NatsStream(absent, url=Nats.url).subscribe([0], {})
            with pytest.raises(StoreError, match="has no shard 1: its shards are 0 to 0"):
                await NatsStream(queue, url=Nats.url).subscribe([1], {})

    run(check())
