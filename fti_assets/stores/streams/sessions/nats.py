"""Reading streams of JetStream: pull consumers that live as long as their connection, each after a sequence of ours."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from fti_assets.core.times import microseconds
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.sessions.jetstream import JetStream
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
_NANOSECONDS = 1_000_000_000
_REQUEST_SECONDS = 30
_HEARTBEAT_SECONDS = 5
_BATCH = 1_000
_BATCH_BYTES = 64 * 1024 * 1024  # the greatest message that a NATS server takes
_FORGOTTEN_SECONDS = 300


async def open_session(
    stream: EventStream,
    names: Sequence[str],
    shards: Sequence[int],
    after: Mapping[int, int],
    identities: Mapping[int, str],
) -> NatsSession:
    """Connect, and read each shard after its position.

    Args:
        stream: what is read, for its address and for errors.
        names: the streams of JetStream, by shard.
        shards: which of them.
        after: by shard, the last sequence that is held.
        identities: by shard, when its stream was made, as it was known.

    Raises:
        Away: the server cannot be reached.
        StoreError: a shard cannot be read from its position.
    """
    session = NatsSession(stream)
    try:
        await session.connect()
        for shard in shards:
            name, position, identity = names[shard], after.get(shard), identities.get(shard)
            state = await session.server.state(name)
            if identity is not None and identity != state.created:
                raise made_anew(stream, name, f"is of {state.created}, and was of {identity}")
            if position is not None and state.last < position:
                raise made_anew(stream, name, f"ends at {state.last}, and was read up to {position}")
            if position is not None and state.first > position + 1:
                raise lost(stream, name, str(position + 1), str(state.first - 1), state.first - 1 - position)
            start = max(state.first, 1) if position is None else position + 1
            where = {"deliver_policy": "by_start_sequence", "opt_start_seq": start}
            await session.pull(shard, name, state.created, where, start)
    except BaseException:
        await session.close()
        raise
    return session


async def replay(
    stream: EventStream, names: Sequence[str], shard: int, since: datetime, until: datetime
) -> AsyncGenerator[list[Event], None]:
    """The events of a shard that were stored in ``[since, until)``.

    Raises:
        StoreError: some of them are gone, or the server cannot be reached.
    """
    start, end = microseconds(since), microseconds(until)
    name = names[shard]
    session = NatsSession(stream)
    try:
        await session.connect()
        state = await session.server.state(name)
        target = state.last
        where = {"deliver_policy": "by_start_time", "opt_start_time": f"{(since - CLOCK_STEP).isoformat()}Z"}
        pull = await session.pull(shard, name, state.created, where, None)
        # Asked once the consumer is there: what is kept now was kept when it began.
        state = await session.server.state(name)
        if state.first > 1 and (state.last_at or 0) >= start and (state.first_at is None or state.first_at > start):
            raise lost_of_time(stream, name, since, state.first_at)
        while pull.remaining:
            events = await session.fetch(_BATCH, 1.0)
            chosen = [one for one in events if start <= one.stored_at < end and one.sequence <= target]
            if chosen:
                yield chosen
            if events and (events[-1].sequence >= target or events[-1].stored_at >= end + microseconds(CLOCK_STEP)):
                break
            if not events:
                await session.count_rest(pull)
    except Away as error:
        raise unreachable(stream, error) from None
    finally:
        await session.close()


class _Pull:
    """One shard's consumer: what was asked for, and what has come."""

    def __init__(self, shard: int, name: str, consumer: str, expected: int | None, remaining: int) -> None:
        self.shard, self.name, self.consumer, self.inbox = shard, name, consumer, ""
        self.expected = expected
        self.remaining = remaining
        self.arrived: deque[tuple[int, int, bytes, int]] = deque()
        self.requested = 0
        self.heard_at = time.monotonic()
        self.problem: str | None = None

    def take(self, message: Any) -> None:
        """Note a message of the stream, or what JetStream says of the request."""
        self.heard_at = time.monotonic()
        parts = message.reply.split(".")
        if len(parts) >= 9 and parts[1] == "ACK":
            sequence, _, stored_at, pending = parts[5:9] if len(parts) == 9 else parts[7:11]
            self.arrived.append((int(sequence), int(stored_at) // 1_000, message.data, int(pending)))
            self.requested -= 1
            return
        headers = message.headers or {}
        status = headers.get("Status", "")
        words = " ".join(str(value) for key, value in headers.items() if str(key) == "Description")
        if status == "100":  # a heartbeat
            return
        self.requested = 0
        if status not in ("404", "408") and "MaxBytes" not in words:
            self.problem = f"JetStream says {status} {words or 'no more'}"


class NatsSession(Session):
    """A connection with a consumer for each shard."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self.server = JetStream(stream)
        self._news = asyncio.Event()
        self._pulls: list[_Pull] = []
        self._identities: dict[int, str] = {}
        self._next = 0

    async def connect(self) -> None:
        """Connect; nothing is read yet.

        Raises:
            Away: the server cannot be reached.
        """
        await self.server.connect(self._news.set)

    @property
    def identities(self) -> Mapping[int, str]:
        return self._identities

    async def pull(self, shard: int, name: str, identity: str, start: Mapping[str, Any], expected: int | None) -> _Pull:
        """Make a consumer of a stream, from where it is to start.

        Raises:
            Away: the server refuses, or does not answer.
        """
        config = {
            **start,
            "ack_policy": "none",  # positions are ours
            "replay_policy": "instant",
            "inactive_threshold": _FORGOTTEN_SECONDS * _NANOSECONDS,
            "mem_storage": True,
            "description": "fti_assets",
        }
        answer = await self.server.told(f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": config})
        pull = _Pull(shard, name, answer["name"], expected, answer["num_pending"])

        async def take(message: Any) -> None:
            pull.take(message)
            self._news.set()

        pull.inbox = await self.server.listen(take)
        self._pulls.append(pull)
        self._identities[shard] = identity
        return pull

    async def fetch(self, at_most: int, within: float) -> list[Event]:
        deadline = time.monotonic() + within
        while True:
            self._news.clear()
            for pull in self._pulls:
                if pull.requested <= 0 and len(pull.arrived) < at_most:
                    await self._request(pull, max(at_most, _BATCH))
            events = await self._taken(at_most)
            left = deadline - time.monotonic()
            if events or left <= 0:
                return events
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(left, 1.0))
            self._check()

    async def count_rest(self, pull: _Pull) -> None:
        """Note how much of a shard is left, where nothing has come for a while.

        Raises:
            Away: the server does not answer.
        """
        answer = await self.server.told(f"CONSUMER.INFO.{pull.name}.{pull.consumer}", {})
        pull.remaining = answer["num_pending"] + len(pull.arrived)

    async def ack(self, positions: Mapping[int, int]) -> None:
        """Nothing: JetStream shows what a consumer without acknowledgements was given."""

    async def lag(self) -> Mapping[int, int]:
        result = {}
        for pull in self._pulls:
            state = await self.server.state(pull.name)
            result[pull.shard] = (
                max(state.last - max((pull.expected or 1), state.first) + 1, 0) if state.messages else 0
            )
        return result

    async def close(self) -> None:
        if self.server.is_connected:
            for pull in self._pulls:
                with suppress(Away):
                    await self.server.send(f"CONSUMER.DELETE.{pull.name}.{pull.consumer}", {})
        await self.server.close()

    async def _taken(self, at_most: int) -> list[Event]:
        """What has come, of each shard in turn, up to a gap."""
        events: list[Event] = []
        for _ in range(len(self._pulls)):
            pull = self._pulls[self._next % len(self._pulls)]
            while pull.arrived and len(events) < at_most:
                sequence, stored_at, payload, pending = pull.arrived[0]
                if sequence != pull.expected and pull.expected is not None:
                    if events:
                        return events
                    await self._explain(pull, sequence)
                pull.arrived.popleft()
                pull.expected, pull.remaining = sequence + 1, pending
                events.append(Event(pull.shard, sequence, stored_at, payload))
            if len(events) >= at_most:
                break
            self._next += 1
        return events

    async def _explain(self, pull: _Pull, sequence: int) -> None:
        """Pass over a gap if someone deleted just those messages.

        Raises:
            StoreError: the stream has dropped them.
            Away: they were lost on the way, or came before.
        """
        expected = pull.expected or 1
        state = await self.server.state(pull.name)
        if expected < state.first or sequence < expected:
            if sequence < expected:
                raise Away(f"{sequence} came after {expected - 1}")
            last = min(state.first, sequence) - 1
            raise lost(self._stream, pull.name, str(expected), str(last), last - expected + 1)
        deleted = await self.server.deleted(pull.name)
        if any(one not in deleted for one in range(expected, sequence)):
            raise Away(f"{expected} to {sequence - 1} did not arrive")
        _log.warning(
            "%s: someone has deleted %d messages of %r that were not read, %d to %d; reading goes on after them",
            self._stream.place, sequence - expected, pull.name, expected, sequence - 1,
        )  # fmt: skip
        pull.expected = sequence

    async def _request(self, pull: _Pull, batch: int) -> None:
        body = {
            "batch": batch,
            "max_bytes": _BATCH_BYTES,
            "expires": _REQUEST_SECONDS * _NANOSECONDS,
            "idle_heartbeat": _HEARTBEAT_SECONDS * _NANOSECONDS,
        }
        pull.requested, pull.heard_at = batch, time.monotonic()
        await self.server.send(f"CONSUMER.MSG.NEXT.{pull.name}.{pull.consumer}", body, pull.inbox)

    def _check(self) -> None:
        """Raise Away if the connection or a consumer is gone."""
        self.server.check()
        for pull in self._pulls:
            if pull.problem is not None:
                raise Away(pull.problem)
            if pull.requested > 0 and time.monotonic() - pull.heard_at > 3 * _HEARTBEAT_SECONDS:
                raise Away(f"nothing was heard of {pull.name!r} for {3 * _HEARTBEAT_SECONDS} s")
