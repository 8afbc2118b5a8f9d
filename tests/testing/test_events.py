"""Events that a test sends to a broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DeclarationError
from fti_assets.stores.streams.assignment import partition_for
from tests.support.brokers import (
    Kafka,
    Nats,
    Redis,
    all_of,
    kafka_threads,
    nats_server,
    needs_nats,
    needs_redis,
    redis_server,
    unique,
)


@pytest.fixture(params=[pytest.param("nats", marks=needs_nats), pytest.param("redis", marks=needs_redis), "kafka"])
def stream(request: pytest.FixtureRequest) -> Iterator[Any]:
    names = [unique() for _ in range(4)]
    if request.param == "kafka":
        pytest.importorskip("confluent_kafka")
        with Kafka() as cluster:
            yield fti.KafkaStream(names[0], url=cluster.url)
        assert kafka_threads() == []
        return
    kind: Any = fti.NatsStream if request.param == "nats" else fti.RedisStream
    yield kind("payments", url=Nats.url if request.param == "nats" else Redis.url, shards=names)

    async def remove() -> None:
        if request.param == "redis":
            async with redis_server() as server:
                await server.client.delete(*names)
            return
        async with nats_server() as server:
            for name in names:
                await server.jetstream.delete_stream(name)

    asyncio.run(remove())


def test_events_are_sent_to_the_shards_of_their_keys(stream: Any) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    events = [{"card": f"c{number}", "amount": number, "at": at} for number in range(40)]
    assert testing.publish(stream, events, key="card") == 40
    assert testing.publish(stream, [b"as it is", b"\xff"]) == 2

    async def read() -> list[Any]:
        subscription = await stream.subscribe(range(4), {})
        result = await all_of(subscription, 42)
        await subscription.close()
        return result

    received = asyncio.run(read())
    for shard in range(4):
        expected = [
            {"card": one["card"], "amount": one["amount"], "at": "2026-01-02T00:00:00Z"}
            for one in events
            if partition_for(str(one["card"]), 4) == shard
        ]
        payloads = [one.payload for one in received if one.shard == shard]
        assert [json.loads(one) for one in payloads if one.startswith(b"{")] == expected
        assert [one for one in payloads if not one.startswith(b"{")] == ([b"as it is", b"\xff"] if shard == 0 else [])


def test_what_is_no_event_is_refused() -> None:
    stream = fti.NatsStream("payments", url="nats://127.0.0.1:1")
    with pytest.raises(DeclarationError, match="an event is 'text': give a dict, or bytes as they are"):
        testing.publish(stream, ["text"])
    with pytest.raises(DeclarationError, match="give a dict with 'card', by which it goes to a shard"):
        testing.publish(stream, [{"amount": 1}], key="card")
