"""Events for a stream, as a producer would send them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.extras import named_extras
from fti_assets.errors import DeclarationError, StoreError, excerpt
from fti_assets.stores.streams.assignment import partition_for
from fti_assets.stores.streams.kafka import KafkaStream
from fti_assets.stores.streams.nats import NatsStream
from fti_assets.stores.streams.redis import RedisStream
from fti_assets.stores.streams.stream import EventStream
from fti_assets.testing.memory_stream import MemoryStream

_WAIT_SECONDS = 30


@checked_arguments()
def publish(stream: EventStream, events: Iterable[Any], *, key: str | None = None) -> int:
    """Send events to a stream, and wait until the broker has stored them. One that is not there is made, by Kafka if it is set to.

    Args:
        stream: ``fti.NatsStream``, ``fti.KafkaStream``, ``fti.RedisStream`` or ``testing.MemoryStream``.
        events: dicts, which are sent as JSON with times in ISO, or bytes, which are sent as they are.
        key: the field whose values spread the events over the shards, all of a value in one; by default all go to the first.

    Returns:
        How many were sent.

    Raises:
        DeclarationError: an event is neither a dict nor bytes, or has no ``key``.
        StoreError: Kafka has not stored all.
        MissingExtraError: the broker's client is not installed.

    >>> publish(fti.NatsStream("payments", url="nats://127.0.0.1:4222"), [{"card": "c1", "amount": 3}])  # doctest: +SKIP
    1
    """
    with named_extras("testing.publish", "streaming"):
        from msgspec.json import encode
    sent: list[tuple[str | None, bytes]] = []
    for event in events:
        if isinstance(event, bytes) and key is None:
            sent.append((None, event))
        elif isinstance(event, Mapping) and (key is None or key in event):
            sent.append((None if key is None else str(event[key]), encode(event)))
        else:
            what = (
                "a dict, or bytes as they are" if key is None else f"a dict with {key!r}, by which it goes to a shard"
            )
            raise DeclarationError(f"testing.publish: an event is {excerpt(event)}: give {what}")
    with named_extras("testing.publish", "streaming"):
        if isinstance(stream, MemoryStream):
            for of_key, payload in sent:
                stream.put(payload, shard=_shard(of_key, stream.shards))
        elif isinstance(stream, KafkaStream):
            _to_kafka(stream, sent)
        elif isinstance(stream, RedisStream):
            _to_redis(stream, sent)
        elif isinstance(stream, NatsStream):
            with ThreadPoolExecutor(1) as other:  # where no loop runs
                other.submit(asyncio.run, _to_nats(stream, sent)).result()
        else:
            raise DeclarationError(f"testing.publish: {stream.place} is of no broker that it knows")
    return len(sent)


_Sent = Sequence[tuple[str | None, bytes]]


def _shard(key: str | None, shards: int) -> int:
    return 0 if key is None else partition_for(key, shards)


async def _to_nats(stream: NatsStream, sent: _Sent) -> None:
    import nats
    from nats.js.errors import NotFoundError

    from fti_assets.stores.streams.sessions.jetstream import servers_of

    servers, options = servers_of(stream.address())
    client = await nats.connect(servers, connect_timeout=_WAIT_SECONDS, **options)
    try:
        jetstream = client.jetstream()
        subjects = []
        for name in stream.shards:
            try:
                info = await jetstream.stream_info(name)
            except NotFoundError:
                info = await jetstream.add_stream(name=name, subjects=[name])
            subject = (info.config.subjects or [name])[0]
            subjects.append(subject.replace("*", "events").replace(">", "events"))
        stored = []
        for key, payload in sent:
            stored.append(await jetstream.publish_async(subjects[_shard(key, len(subjects))], payload))
        await asyncio.gather(*stored)
    finally:
        await client.close()


def _to_redis(stream: RedisStream, sent: _Sent) -> None:
    import redis

    with redis.Redis.from_url(stream.address()) as client:
        for name in stream.shards:
            if not client.exists(name):  # an empty one is made with a group
                client.xgroup_create(name, "made", mkstream=True)
                client.xgroup_destroy(name, "made")
        commands = client.pipeline(transaction=False)
        for key, payload in sent:
            commands.xadd(stream.shards[_shard(key, len(stream.shards))], {stream.field: payload})
        commands.execute()


def _to_kafka(stream: KafkaStream, sent: _Sent) -> None:
    from confluent_kafka import Producer

    from fti_assets.stores.streams.sessions.kafka_client import options_of

    failures: list[str] = []

    def note(error: Any, message: Any) -> None:
        if error is not None:
            failures.append(error.str())

    producer = Producer(options_of(stream.address()) | {"log_level": 2})
    try:
        partitions = len(producer.list_topics(stream.name, _WAIT_SECONDS).topics[stream.name].partitions) or 1
        for key, payload in sent:
            producer.produce(stream.name, payload, key=key, partition=_shard(key, partitions), on_delivery=note)
            producer.poll(0)
        if producer.flush(_WAIT_SECONDS) or failures:
            raise StoreError(f"testing.publish: {stream.place} has not stored all: {(failures or ['no answer'])[0]}")
    finally:
        producer.purge()  # a close waits for what is still to be sent
        producer.close()
