"""Kafka, over the mock cluster of its own client library: each message once, from any offset; what is gone is said."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("confluent_kafka")

from confluent_kafka import KafkaException

from fti_assets import testing
from fti_assets.core.times import from_microseconds
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.stores.streams.assignment import partition_for
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.kafka import KafkaStream
from fti_assets.stores.streams.sessions.kafka import KafkaSession
from tests.support.brokers import Kafka, Proxy, all_of, kafka_threads, sequences, unique


@pytest.fixture(scope="module")
def kafka() -> Iterator[Kafka]:
    with Kafka() as cluster:
        yield cluster
    assert kafka_threads() == []


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [str(number).encode() for number in range(start, start + count)]


async def threads_since(before: list[str]) -> list[str]:
    """The clients' threads that stay beyond those of before; the kernel lists one for a moment after it has ended."""
    deadline = time.monotonic() + 10
    while True:
        new = sorted((Counter(kafka_threads()) - Counter(before)).elements())
        if not new or time.monotonic() > deadline:
            return new
        await asyncio.sleep(0.02)


def test_events_are_those_that_were_sent_with_their_times(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        topic = unique()
        before = time.time_ns() // 1_000_000
        kafka.send(topic, [*numbered(250), None])
        after = time.time_ns() // 1_000_000
        stream = KafkaStream(topic, url=kafka.url, consumer_group="kept")
        assert await stream.shard_names() == ["0", "1", "2", "3"]
        subscription = await stream.subscribe([0], {})
        assert await subscription.lag() == {0: 251}
        events = await all_of(subscription, 251)
        assert [one.payload for one in events] == [*numbered(250), b""]
        assert events[-1].problem == "the message has no value (a tombstone)"
        assert sequences(events) == list(range(1, 252))
        assert all(before * 1_000 <= one.stored_at <= after * 1_000 for one in events)
        assert await subscription.fetch(10, 0.05) == []
        assert await subscription.lag() == {0: 0}
        await subscription.ack({0: 251})
        await subscription.close()
        assert [one for one in caplog.messages if "times of its producers' clocks" in one]

    run(check())


def test_no_thread_of_a_client_is_alive_once_what_used_it_is_closed_failed_or_cancelled(kafka: Kafka) -> None:
    async def check() -> None:
        topic, before = unique(), kafka_threads()
        kafka.send(topic, numbered(2))
        stream = KafkaStream(topic, url=kafka.url)
        subscription = await stream.subscribe([0], {})
        assert len(await all_of(subscription, 2)) == 2
        assert len(kafka_threads()) > len(before)
        await subscription.close()
        await subscription.close()
        assert await threads_since(before) == []

        with pytest.raises(StoreError, match="made again"):
            await stream.subscribe([0], {0: 9})
        assert await threads_since(before) == []

        replay: Any = stream.read(from_microseconds(0), from_microseconds(2**51), [0])
        first = [one.payload for one in await anext(replay)]  # how many come at once is the broker's
        assert first
        assert first == numbered(2)[: len(first)]
        await replay.aclose()
        assert testing.publish(stream, [b"2"]) == 1
        assert await threads_since(before) == []

        subscription = await stream.subscribe([0], {0: 3})
        reading = asyncio.ensure_future(subscription.fetch(1, 60))
        await asyncio.sleep(0.02)
        for _ in range(2):  # the second in the middle of its close
            reading.cancel()
            await asyncio.sleep(0.02)
        assert await threads_since(before) == []

    gc.disable()  # which would close what was forgotten
    try:
        run(check())
    finally:
        gc.enable()


def test_what_is_asked_of_a_closed_session_is_refused_by_name(kafka: Kafka) -> None:
    """As a flush does that asks how far behind the service is, while a session takes the place of one that broke."""

    async def check() -> None:
        topic = unique()
        kafka.send(topic, numbered(2))
        subscription: Any = await KafkaStream(topic, url=kafka.url).subscribe([0], {})
        assert await subscription.lag() == {0: 2}
        await subscription._session.close()
        with pytest.raises(StoreError, match="this session with it was closed"):
            await subscription.lag()
        await subscription.close()

    run(check())


def test_reading_goes_on_after_any_position_of_several_partitions(kafka: Kafka) -> None:
    async def check() -> None:
        topic = unique()
        stream = KafkaStream(topic, url=kafka.url)
        for shard in range(3):
            kafka.send(topic, numbered(40, 100 * shard), partition=shard)
        draw = random.Random(7)
        held: dict[int, int] = {}
        known: dict[int, str] = {}
        payloads: dict[int, list[bytes]] = {0: [], 2: []}
        for _ in range(6):
            subscription = await stream.subscribe([0, 2], held, known)
            events = await subscription.fetch(draw.randint(1, 25), 3)
            for event in events[: draw.randint(0, len(events))]:
                held[event.shard] = event.sequence
                known[event.shard] = f"{event.sequence}@{event.stored_at}"
                payloads[event.shard].append(event.payload)
            await subscription.close()
        subscription = await stream.subscribe([0, 2], held, known)
        for event in await all_of(subscription, 80 - sum(held.values())):
            payloads[event.shard].append(event.payload)
        assert payloads == {0: numbered(40), 2: numbered(40, 200)}
        await subscription.close()

    run(check())


def test_no_event_is_lost_or_doubled_over_connections_that_are_cut(kafka: Kafka) -> None:
    async def check() -> None:
        async with Proxy(kafka.port, says_where=True) as proxy:
            topic = unique()
            kafka.send(topic, [])
            stream = KafkaStream(topic, url=f"kafka://127.0.0.1:{proxy.port}")
            kafka.send(topic, numbered(10))
            subscription = await stream.subscribe([0], {})
            draw = random.Random(3)
            events: list[Event] = []
            sent = 10
            for turn in range(8):
                count = draw.randint(0, 300)
                kafka.send(topic, numbered(count, sent))
                sent += count
                events += await subscription.fetch(draw.randint(1, 200), 0.2)
                match turn % 4:
                    case 0:
                        proxy.cut()
                    case 1:
                        await proxy.shut()
                        events += await subscription.fetch(50, 0.1)
                        await proxy.open()
                    case 2:
                        with suppress(TimeoutError):
                            events += await asyncio.wait_for(subscription.fetch(1, 5), draw.choice([0.0, 0.0001]))
            events += await all_of(subscription, sent - len(events), within=30)
            assert [one.payload for one in events] == numbered(sent)
            await subscription.close()

    run(check())


def test_what_the_broker_dropped_before_it_was_read_is_named(kafka: Kafka) -> None:
    async def check() -> None:
        topic = unique()
        kafka.send(topic, [b"x" * 100_000] * 80)  # the mock cluster keeps 5 MB
        stream = KafkaStream(topic, url=kafka.url)
        subscription = await stream.subscribe([0], {})
        events = await all_of(subscription, 40)
        await subscription.close()
        first = events[0].sequence
        assert first > 2
        with pytest.raises(
            StoreError, match=f"has dropped {first - 2} events of '0' that were not read: 2 to {first - 1}"
        ):
            await stream.subscribe([0], {0: 1})
        subscription = await stream.subscribe([0], {0: first - 1})
        assert (await all_of(subscription, 40))[:5] == events[:5]
        await subscription.close()
        with pytest.raises(StoreError, match="those since .* are not all there"):
            async for _ in stream.read(from_microseconds(0), from_microseconds(events[-1].stored_at)):
                pass

    run(check())


def test_what_is_dropped_under_a_slow_reader_is_named(kafka: Kafka) -> None:
    async def check() -> None:
        async with Proxy(kafka.port, says_where=True) as proxy:
            topic = unique()
            kafka.send(topic, numbered(3))
            subscription = await KafkaStream(topic, url=f"kafka://127.0.0.1:{proxy.port}").subscribe([0], {})
            assert len(await all_of(subscription, 3)) == 3
            await proxy.shut()
            kafka.send(topic, [b"x" * 100_000] * 80)
            await proxy.open()
            with pytest.raises(StoreError, match="has dropped [0-9]+ events of '0' .* 4 to "):
                await all_of(subscription, 80, within=30)
            await subscription.close()

    run(check())


def test_a_topic_that_was_made_anew_is_refused(kafka: Kafka) -> None:
    async def check() -> None:
        topic = unique()
        kafka.send(topic, numbered(5), at_ms=1_700_000_000_000)
        subscription = await KafkaStream(topic, url=kafka.url).subscribe([0], {})
        events = await all_of(subscription, 5)
        assert events[0].stored_at == 1_700_000_000_000_000
        known = subscription.identities
        await subscription.close()
        with Kafka() as other:  # where the topic's offsets begin again
            stream = KafkaStream(topic, url=other.url)
            other.send(topic, numbered(3))
            with pytest.raises(StoreError, match="made again: '0' ends at 3, and was read up to 5"):
                await stream.subscribe([0], {0: 5}, known)
            other.send(topic, numbered(9))
            with pytest.raises(StoreError, match="made again: '0' has another message at 5 than was read"):
                await stream.subscribe([0], {0: 5}, known)

    run(check())


def test_a_replay_has_the_events_of_its_time_alone(kafka: Kafka) -> None:
    async def check() -> None:
        topic = unique()
        start = 1_700_000_000_000
        draw = random.Random(5)
        times = [start + draw.randint(0, 5_000) for _ in range(60)]  # producers' clocks: in no order
        for number, at in enumerate(times):
            kafka.send(topic, numbered(1, number), at_ms=at)
        stream = KafkaStream(topic, url=kafka.url)

        async def read(since: int, until: int) -> list[bytes]:
            batches = stream.read(from_microseconds(since * 1_000), from_microseconds(until * 1_000), [0])
            return [one.payload async for batch in batches for one in batch]

        for since, until in (
            (start, start + 6_000),
            (start + 1_000, start + 3_000),
            (0, start),
            (start + 9_000, start + 9_999),
        ):
            expected = [str(number).encode() for number, at in enumerate(times) if since <= at < until]
            assert await read(since, until) == expected

    run(check())


def test_absent_topics_wrong_options_and_a_broker_that_is_away_are_told(kafka: Kafka) -> None:
    async def check() -> None:
        with pytest.raises(
            StoreError, match="Kafka topic t at kafka://ann:[*]{3}@127.0.0.1:1 cannot be reached"
        ) as raised:
            await KafkaStream("t", url="kafka://ann:s3cret@127.0.0.1:1?security.protocol=SASL_PLAINTEXT").subscribe(
                [0], {}
            )
        assert "s3cret" not in str(raised.value)
        with pytest.raises(
            StoreError, match="cannot be read with the options of its address: No such configuration property"
        ) as raised:
            await KafkaStream("t", url=f"{kafka.url}?no.such.option=s3cret").subscribe([0], {})
        assert "s3cret" not in str(raised.value)
        kafka.send("some_topic", [b"x"])
        with pytest.raises(StoreError, match="has no shard 4: its shards are 0 to 3"):
            await KafkaStream("some_topic", url=kafka.url).subscribe([4], {})
        with pytest.raises(DeclarationError, match="is no name of a topic"):
            KafkaStream("a b", url=kafka.url)

    run(check())


def test_a_key_is_in_the_partition_where_librdkafka_puts_it(kafka: Kafka) -> None:
    async def check() -> None:
        topic = unique()
        keys = [f"card {number}" for number in range(40)]
        for key in keys:
            kafka.send(topic, [key.encode()], key=key)
        subscription = await KafkaStream(topic, url=kafka.url).subscribe(range(4), {})
        events = await all_of(subscription, 40)
        assert {one.payload.decode(): one.shard for one in events} == {key: partition_for(key, 4) for key in keys}
        await subscription.close()

    run(check())


def test_markers_of_transactions_are_no_lag_and_what_was_taken_back_is_no_event(kafka: Kafka) -> None:
    async def check() -> None:
        topic = unique()
        kafka.send(topic, numbered(2), at_ms=1_700_000_000_000)
        with kafka.transaction() as send:
            send(topic, b"kept")
        stream = KafkaStream(topic, url=kafka.url)
        subscription = await stream.subscribe([0], {})
        assert [one.payload for one in await all_of(subscription, 3)] == [b"0", b"1", b"kept"]
        assert await subscription.fetch(5, 0.6) == []
        assert await subscription.lag() == {0: 0}
        await subscription.close()
        batches = stream.read(from_microseconds(0), from_microseconds(2**51), [0])
        assert [one.payload async for batch in batches for one in batch] == [b"0", b"1", b"kept"]

    run(check())


def test_a_session_ends_though_its_broker_refuses_the_close() -> None:
    class Refusing:
        def close(self) -> None:
            raise KafkaException("broker is away")

    session = object.__new__(KafkaSession)
    session._thread, session._consumer = ThreadPoolExecutor(1), Refusing()
    asyncio.run(session.close())
    asyncio.run(session.close())
