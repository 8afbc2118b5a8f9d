"""Reading topics of Kafka: partitions that are assigned, not subscribed to, each from an offset of ours."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from fti_assets.core.addresses import scrub
from fti_assets.core.times import microseconds
from fti_assets.errors import StoreError, list_some
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.sessions.kafka_client import session_options, text_of
from fti_assets.stores.streams.sessions.resuming import (
    CLOCK_STEP,
    Away,
    Session,
    lost,
    lost_of_time,
    made_anew,
    unreachable,
)
from fti_assets.stores.streams.stream import EventStream

_log = logging.getLogger(__name__)
T = TypeVar("T")

_ANSWER_SECONDS = 5.0
_POLL_SECONDS = 0.5
_COUNT_SECONDS = 60.0
_BATCH = 1_000
_UNKNOWN_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)


async def partitions_of(stream: EventStream) -> int:
    """How many partitions a topic has.

    Raises:
        StoreError: the broker cannot be reached, or has no such topic.
    """
    session = KafkaSession(stream, None)
    try:
        return await session.partitions()
    except Away as error:
        raise unreachable(stream, error) from None
    finally:
        await session.close()


async def open_session(
    stream: EventStream,
    group: str | None,
    shards: Sequence[int],
    after: Mapping[int, int],
    identities: Mapping[int, str],
) -> KafkaSession:
    """Connect, and read each partition after its position.

    Args:
        stream: what is read, for its address and for errors.
        group: the consumer group that is told what is kept.
        shards: the partitions.
        after: by partition, the last sequence that is held.
        identities: by partition, a sequence and when its message was stored.

    Raises:
        Away: the broker cannot be reached.
        StoreError: a partition cannot be read from its position.
    """
    session = KafkaSession(stream, group)
    try:
        starts = {shard: await session.start(shard, after.get(shard), identities.get(shard, "")) for shard in shards}
        await session.assign(starts)
    except BaseException:
        await session.close()
        raise
    return session


async def replay(
    stream: EventStream, shard: int, since: datetime, until: datetime
) -> AsyncGenerator[list[Event], None]:
    """The events of a partition that were stored in ``[since, until)``.

    Raises:
        StoreError: some of them are gone, or the broker cannot be reached.
    """
    start, end = microseconds(since), microseconds(until)
    session = KafkaSession(stream, None)
    try:
        low, high = await session.ends(shard)
        offset = await session.offset_of_time(shard, start, low, high)
        if offset == low > 0:
            first = await session.stored_at(shard, low) if low < high else None
            if first is None or first > start:
                raise lost_of_time(stream, str(shard), since, first)
        await session.assign({shard: offset})
        while session.next_offset(shard) < high:
            events = await session.fetch(_BATCH, 1.0)
            chosen = [one for one in events if start <= one.stored_at < end and one.sequence <= high]
            if chosen:
                yield chosen
            is_past = bool(events) and events[-1].stored_at >= end + microseconds(CLOCK_STEP)
            if is_past and not session.has_producers_times:  # which are in no order
                break
    except Away as error:
        raise unreachable(stream, error) from None
    finally:
        await session.close()


class KafkaSession(Session):
    """A consumer in a thread of its own, since its calls wait.

    Args:
        stream: whose address it is, for errors.
        group: the consumer group that is told what is kept.
    """

    def __init__(self, stream: EventStream, group: str | None) -> None:
        self._stream = stream
        self._group = group
        self._identities: dict[int, str] = {}
        self._next: dict[int, int] = {}
        self._problem: str | None = None
        self._count = 0
        self._counted_at = 0.0
        self.has_producers_times = False
        try:
            self._consumer = Consumer(session_options(stream.address(), group, self._note), logger=_log)
        except (KafkaException, ValueError, TypeError) as error:
            raise StoreError(
                f"{stream.place} cannot be read with the options of its address: {scrub(text_of(error), stream.secrets)}"
            ) from None  # which may repeat one
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fti_kafka")

    @property
    def identities(self) -> Mapping[int, str]:
        return dict(self._identities)

    async def partitions(self) -> int:
        """How many partitions the topic has.

        Raises:
            Away: the broker does not answer.
            StoreError: there is no such topic.
        """
        name = self._stream.name
        topic = (await self._run(lambda: self._consumer.list_topics(name, _ANSWER_SECONDS))).topics.get(name)
        if topic is None or topic.error is not None or not topic.partitions:
            code = None if topic is None or topic.error is None else topic.error.code()
            if code is not None and code not in _UNKNOWN_TOPIC:
                raise Away(topic.error.str())
            others = (await self._run(lambda: self._consumer.list_topics(timeout=_ANSWER_SECONDS))).topics
            raise StoreError(
                f"{self._stream.place} is not there: Kafka has the topics {list_some(sorted(others))}. Make it, as in `kafka-topics "
                f"--create --topic {name}`, or write the name of one that is there"
            )
        return len(topic.partitions)

    async def ends(self, shard: int) -> tuple[int, int]:
        """The first offset that is kept of a partition, and the next that it gives."""
        place = TopicPartition(self._stream.name, shard)
        low, high = await self._run(lambda: self._consumer.get_watermark_offsets(place, _ANSWER_SECONDS, cached=False))
        return low, high

    async def start(self, shard: int, position: int | None, identity: str) -> int:
        """The offset from which a partition is to be read.

        Raises:
            StoreError: what is after the position is gone, or the topic is another one.
        """
        low, high = await self.ends(shard)
        if position is None:
            return low
        if high < position:
            raise made_anew(self._stream, str(shard), f"ends at {high}, and was read up to {position}")
        if low > position:
            raise lost(self._stream, str(shard), str(position + 1), str(low), low - position)
        sequence, _, stored_at = identity.partition("@")
        if stored_at and low < int(sequence) <= high:
            stored_event = await self.stored_at(shard, int(sequence) - 1)
            if stored_event != int(stored_at):
                raise made_anew(self._stream, str(shard), f"has another message at {sequence} than was read")
            self._identities[shard] = identity
        return position

    async def assign(self, starts: Mapping[int, int]) -> None:
        """Read partitions from their offsets on."""
        self._next = dict(starts)
        self._count, self._counted_at = await self.partitions(), time.monotonic()
        places = [TopicPartition(self._stream.name, shard, offset) for shard, offset in starts.items()]
        await self._run(lambda: self._consumer.assign(places))

    async def stored_at(self, shard: int, offset: int) -> int | None:
        """When the first message at an offset or after it was stored, microseconds; None if there is none.

        Raises:
            Away: the broker does not answer.
        """
        await self._run(lambda: self._consumer.assign([TopicPartition(self._stream.name, shard, offset)]))
        message = await self._run(lambda: self._consumer.poll(_ANSWER_SECONDS))
        await self._run(self._consumer.unassign)
        error = None if message is None else message.error()
        if message is not None and error is None:
            return self._event(message).stored_at
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            return None
        raise Away(f"message {offset} of partition {shard} does not come")

    async def offset_of_time(self, shard: int, start: int, low: int, high: int) -> int:
        """The first offset whose message was stored at an instant or after it.

        Args:
            shard: the partition.
            start: the instant, microseconds.
            low: the first offset that is kept.
            high: the next that the partition gives.
        """
        partition = TopicPartition(self._stream.name, shard, -(-start // 1_000))
        (place,) = await self._run(lambda: self._consumer.offsets_for_times([partition], _ANSWER_SECONDS))
        if place.offset >= 0:
            return max(place.offset, low)
        # Nothing so late; but a broker without an index of times says so, too. At the end may be markers of transactions.
        for back in (1, 10, 1_000):
            stored_at = await self.stored_at(shard, max(high - back, low)) if low < high else None
            if stored_at is not None:
                return low if stored_at >= start else high
        return high

    def next_offset(self, shard: int) -> int:
        return self._next[shard]

    async def fetch(self, at_most: int, within: float) -> list[Event]:
        deadline = time.monotonic() + within
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            messages = await self._run(lambda: self._poll(at_most, min(left, _POLL_SECONDS)))  # noqa: B023 - it is awaited
            events = [event for message in messages if (event := self._taken(message)) is not None]
            if events or time.monotonic() >= deadline:
                await self._check_count()
                return events
            if self._problem is not None:
                raise Away(self._problem)

    async def ack(self, positions: Mapping[int, int]) -> None:
        if self._group is not None:
            places = [TopicPartition(self._stream.name, shard, sequence) for shard, sequence in positions.items()]
            await self._run(lambda: self._consumer.commit(offsets=places, asynchronous=True))

    async def lag(self) -> Mapping[int, int]:
        return {shard: max((await self.ends(shard))[1] - offset, 0) for shard, offset in self._next.items()}

    async def close(self) -> None:
        with suppress(KafkaException, RuntimeError):  # a broker that is away, or a session that is closed already
            closing = self._thread.submit(self._consumer.close)
            self._thread.shutdown(wait=False)
            # Whoever is cancelled here waits no longer; the client is closed all the same, and not by whatever collects garbage.
            await asyncio.shield(asyncio.wrap_future(closing))

    def _note(self, problem: str) -> None:
        self._problem = problem

    def _poll(self, at_most: int, within: float) -> list[Any]:
        first = self._consumer.poll(within)
        if first is None:
            return []
        # A consume that waits would wait for as many as it may take.
        return [first, *(self._consumer.consume(at_most - 1, 0.0) if at_most > 1 else [])]

    def _taken(self, message: Any) -> Event | None:
        """A message as the next event of its partition; None of one that has come before."""
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            self._next[message.partition()] = max(self._next[message.partition()], message.offset())
            return None
        if error is not None:
            raise Away(error.str())
        event = self._event(message)
        if event.sequence <= self._next[event.shard]:
            return None
        self._next[event.shard] = event.sequence
        self._identities[event.shard] = f"{event.sequence}@{event.stored_at}"
        return event

    def _event(self, message: Any) -> Event:
        kind, stored_at = message.timestamp()
        if kind == TIMESTAMP_NOT_AVAILABLE:
            raise StoreError(
                f"{self._stream.place} has messages without a time, so nobody knows when one could first be used: have the topic's "
                "message.timestamp.type be LogAppendTime"
            )
        if kind != TIMESTAMP_LOG_APPEND_TIME and not self.has_producers_times:
            self.has_producers_times = True
            _log.warning(
                "%s has the times of its producers' clocks, which are taken for when messages were stored: have the topic's "
                "message.timestamp.type be LogAppendTime",
                self._stream.place,
            )
        payload = message.value()
        problem = "the message has no value (a tombstone)" if payload is None else None
        return Event(message.partition(), message.offset() + 1, stored_at * 1_000, payload or b"", problem)

    async def _check_count(self) -> None:
        """Raise a StoreError once the topic has more partitions than it had: nobody would read them."""
        if time.monotonic() - self._counted_at < _COUNT_SECONDS:
            return
        count, self._counted_at = await self.partitions(), time.monotonic()
        if count > self._count:
            raise StoreError(
                f"{self._stream.place} has {count} partitions by now, and had {self._count}: start all that reads it again, so that each "
                "is read. Keys may be in other partitions than before"
            )

    async def _run(self, call: Callable[[], T]) -> T:
        """Call the client in its thread.

        Raises:
            Away: it fails, or the session was closed meanwhile, as one is that another takes the place of.
        """
        try:
            result = asyncio.get_running_loop().run_in_executor(self._thread, call)
        except RuntimeError:  # the thread takes nothing any more
            raise Away("this session with it was closed") from None
        try:
            return await result
        except KafkaException as error:
            raise Away(text_of(error)) from None
