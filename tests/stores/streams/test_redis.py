"""Redis Streams, the real ones: each entry once, from any position, over any cut; what is gone is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fti_assets.core.times import from_microseconds
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.redis import RedisStream
from tests.support.brokers import (
    Redis,
    all_of,
    needs_redis,
    redis_server,
    sequences,
    unique,
)

pytestmark = needs_redis


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [str(number).encode() for number in range(start, start + count)]


def test_events_are_those_that_were_sent_with_their_stored_times() -> None:
    async def check() -> None:
        async with redis_server() as server:
            key = await server.make()
            before = time.time_ns() // 1_000
            await server.send(key, numbered(250))
            after = time.time_ns() // 1_000
            subscription = await RedisStream(key, url=Redis.url, consumer_group="kept").subscribe([0], {})
            assert await subscription.lag() == {0: 250}
            events = await all_of(subscription, 250)
            assert [one.payload for one in events] == numbered(250)
            assert sequences(events) == sorted(set(sequences(events)))
            assert all(before - 2_000 <= one.stored_at <= after + 2_000 for one in events)
            assert {one.stored_at for one in events} == {(one.sequence >> 20) * 1_000 for one in events}
            assert await subscription.fetch(10, 0.05) == []
            assert await subscription.lag() == {0: 0}
            await server.send(key, numbered(2))
            assert await subscription.lag() == {0: 2}
            await subscription.ack({0: events[9].sequence})
            await subscription.ack({0: events[99].sequence})
            (group,) = await server.client.xinfo_groups(key)
            assert group["last-delivered-id"] == b"%d-%d" % (events[99].sequence >> 20, events[99].sequence & 0xFFFFF)
            await subscription.close()

    run(check())


def test_what_was_trimmed_before_it_was_read_is_an_error() -> None:
    async def check() -> None:
        async with redis_server() as server:
            key = await server.make()
            stream = RedisStream(key, url=Redis.url)
            await server.send(key, numbered(50))
            subscription = await stream.subscribe([0], {})
            events = await all_of(subscription, 50)
            held, known = {0: events[9].sequence}, {0: f"{events[9].sequence}:10"}
            await subscription.close()
            await server.client.xtrim(key, maxlen=30, approximate=False)
            with pytest.raises(StoreError, match="has dropped 10 events of .* that were not read: the first after"):
                await stream.subscribe([0], held, known)
            with pytest.raises(StoreError, match="has dropped events of"):  # how many, nobody has kept
                await stream.subscribe([0], held)
            subscription = await stream.subscribe([0], {0: events[19].sequence}, {0: f"{events[19].sequence}:20"})
            assert await all_of(subscription, 30) == events[20:]  # just what was read is gone
            await subscription.close()
            subscription = await stream.subscribe([0], {0: events[24].sequence})
            assert await all_of(subscription, 25) == events[25:]
            await subscription.close()
            subscription = await stream.subscribe([0], {})
            assert await all_of(subscription, 30) == events[20:]
            await subscription.close()

    run(check())


def test_a_quiet_stream_may_be_trimmed_to_nothing_once_it_is_read() -> None:
    async def check() -> None:
        async with redis_server() as server:
            key = await server.make()
            stream = RedisStream(key, url=Redis.url)
            await server.send(key, numbered(5))
            subscription = await stream.subscribe([0], {})
            (*_, last) = await all_of(subscription, 5)
            known = subscription.identities
            await server.client.xtrim(key, maxlen=0, approximate=False)
            assert await subscription.fetch(5, 0.05) == []
            await server.send(key, [b"x"])
            assert [one.payload for one in await all_of(subscription, 1)] == [b"x"]
            await subscription.close()
            subscription = await stream.subscribe([0], {0: last.sequence}, known)
            assert [one.payload for one in await all_of(subscription, 1)] == [b"x"]
            await server.send(key, numbered(3))
            await server.client.xtrim(key, maxlen=1, approximate=False)
            with pytest.raises(StoreError, match="has dropped 2 events"):
                await all_of(subscription, 3)
            await subscription.close()

    run(check())


def test_entries_that_someone_took_out_are_passed_over() -> None:
    async def check() -> None:
        async with redis_server() as server:
            key = await server.make()
            await server.send(key, numbered(20))
            subscription = await RedisStream(key, url=Redis.url).subscribe([0], {})
            events = await subscription.fetch(5, 1)
            entries = await server.client.xrange(key)
            await server.client.xdel(key, entries[4][0], entries[7][0])  # the last that is held, and one that is not
            rest = await all_of(subscription, 14)
            assert [one.payload for one in events + rest] == [one for one in numbered(20) if one != b"7"]
            await subscription.close()

    run(check())


def test_a_stream_that_was_deleted_or_made_anew_is_refused() -> None:
    async def check() -> None:
        async with redis_server() as server:
            key = await server.make()
            stream = RedisStream(key, url=Redis.url)
            await server.send(key, numbered(5))
            subscription = await stream.subscribe([0], {})
            events = await all_of(subscription, 5)
            known = subscription.identities
            await server.client.delete(key)
            with pytest.raises(StoreError, match="was deleted and made again: '.*' is gone"):
                await subscription.fetch(1, 0.2)
            await subscription.close()
            await server.make(key)
            with pytest.raises(StoreError, match="ends at 0-0, and was read up to"):
                await stream.subscribe([0], {0: events[-1].sequence}, known)
            await server.send(key, numbered(2))
            with pytest.raises(StoreError, match="made again: .* has had fewer entries than were read"):
                await stream.subscribe([0], {0: events[-1].sequence}, known)
            with pytest.raises(StoreError, match="has dropped events of"):
                await stream.subscribe([0], {0: events[-1].sequence})

    run(check())


def test_a_replay_has_the_events_of_its_time_alone() -> None:
    async def check() -> None:
        async with redis_server() as server:
            key = await server.make()
            stream = RedisStream(key, url=Redis.url)
            for part in range(5):
                await server.send(key, numbered(600, 600 * part))
                await asyncio.sleep(0.003)
            subscription = await stream.subscribe([0], {})
            events = await all_of(subscription, 3_000, at_most=1_000)
            await subscription.close()

            async def read(since: int, until: int) -> list[Event]:
                batches = stream.read(from_microseconds(since), from_microseconds(until))
                return [one async for batch in batches for one in batch]

            first, middle, last = events[0].stored_at, events[1_500].stored_at, events[-1].stored_at
            assert await read(first, last + 1) == events
            for since, until in ((middle, last), (middle + 1, last + 1), (first + 1, middle), (middle, middle + 1)):
                assert await read(since, until) == [one for one in events if since <= one.stored_at < until]
            assert await read(0, first) == []
            assert await read(last + 1, last + 10**12) == []
            await server.client.xtrim(key, maxlen=10, approximate=False)
            with pytest.raises(StoreError, match="those since .* are not all there"):
                await read(first, last)
            await server.client.xtrim(key, maxlen=0, approximate=False)
            with pytest.raises(StoreError, match="none is left"):
                await read(first, last)
            assert await read(last + 1_000, last + 10**12) == []

    run(check())


def test_absent_keys_other_kinds_and_odd_entries_are_told() -> None:
    async def check() -> None:
        async with redis_server() as server:
            key = await server.make()
            absent = unique()
            with pytest.raises(StoreError, match=f"has no key '{absent}': make it by adding an entry"):
                await RedisStream(absent, url=Redis.url).subscribe([0], {})
            text = unique()
            server._keys.append(text)
            await server.client.set(text, "x")
            with pytest.raises(StoreError, match="has no stream, but a string, "):
                await RedisStream(text, url=Redis.url).subscribe([0], {})
            await server.send(key, [b"1"], field="body")
            subscription = await RedisStream(key, url=Redis.url).subscribe([0], {})
            (event,) = await all_of(subscription, 1)
            assert event.problem == "the entry has no field 'data': it has 'body'"
            assert event.payload == b'{"body": "1"}'
            await server.client.xadd(key, {"data": b"x"}, id="99999999999999-0")
            with pytest.raises(StoreError, match="an id that Redis does not give"):
                await subscription.fetch(1, 1)
            await subscription.close()
            with pytest.raises(DeclarationError, match="a key stands twice"):
                RedisStream("a", url=Redis.url, shards=["a", "b", "a"])

    run(check())


def test_a_day_without_events_is_empty() -> None:
    async def check() -> None:
        async with redis_server() as server:
            key = await server.make()
            now = datetime.now(UTC).replace(tzinfo=None)
            batches = RedisStream(key, url=Redis.url).read(now - timedelta(days=1), now)
            assert [one async for batch in batches for one in batch] == []

    run(check())


def test_a_password_that_is_refused_is_not_shown() -> None:
    async def check() -> None:
        with pytest.raises(StoreError) as raised:
            await RedisStream("payments", url="redis://ann:s3cret@127.0.0.1:6379/0").subscribe([0], {})
        assert "s3cret" not in str(raised.value)

    run(check())
