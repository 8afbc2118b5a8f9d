"""A stream in memory, with what a broker promises: an order in each shard, positions, and reading from any of them."""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import date, datetime
from typing import Any, ClassVar

from fti_assets.core import clock
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.times import instant, microseconds
from fti_assets.errors import DeclarationError, excerpt
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import EventStream, Subscription


@checked_arguments()
@dataclass(frozen=True, repr=False)
class MemoryStream(EventStream):
    """A stream of events in memory: ``stream=`` of a group, for tests without a broker.

    Args:
        name: what it is called.
        type: a ``msgspec.Struct`` or Pydantic model that an event's JSON is to fit; by default an object with the group's columns.
        shards: over how many shards events are spread.

    >>> stream = MemoryStream("payments")
    >>> stream.put({"card": "a", "amount": 2.5}, b"no JSON", at="2025-03-01T12:00:00Z")
    >>> [event.payload for event in stream.events]
    [b'{"card": "a", "amount": 2.5}', b'no JSON']
    """

    _: KW_ONLY
    url: str = field(default="memory://here", repr=False)
    shards: int = 1
    stored: tuple[list[Event], ...] = field(init=False, compare=False)
    """The events of each shard, in order."""

    broker: ClassVar[str] = "memory stream"
    schemes: ClassVar[tuple[str, ...]] = ("memory",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.shards, bool) or not isinstance(self.shards, int) or self.shards < 1:
            raise DeclarationError(
                f"{self.words}: shards is {excerpt(self.shards)}: write how many there are, from 1 on"
            )
        object.__setattr__(self, "stored", tuple([] for _ in range(self.shards)))

    @property
    def events(self) -> list[Event]:
        """All events, shard by shard."""
        return [event for shard in self.stored for event in shard]

    def put(self, *events: Any, at: str | datetime | int | None = None, shard: int = 0, step: int = 1) -> None:
        """Store events in a shard.

        Args:
            events: what is written as JSON, with times in ISO; bytes are stored as they are.
            at: when the first is stored, in microseconds since 1970, as a datetime or ISO text (naive for UTC); now by default. It is the
                ``available_at`` of its row.
            shard: which.
            step: how many microseconds later each of the others is.

        Raises:
            DeclarationError: an event holds what JSON has not.
        """
        if at is None or not isinstance(at, int):
            at = microseconds(clock.now() if at is None else instant(at))
        stored = self.stored[shard]
        for number, event in enumerate(events):
            payload = event if isinstance(event, bytes) else json.dumps(event, default=_in_iso).encode()
            stored.append(Event(shard, stored[-1].sequence + 1 if stored else 1, at + number * step, payload))

    async def shard_names(self) -> Sequence[str]:
        return [f"shard {number}" for number in range(self.shards)]

    async def subscribe(
        self, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str] | None = None
    ) -> Subscription:
        self._check_shards(shards, await self.shard_names())
        return MemorySubscription(self, {shard: after.get(shard, -1) for shard in shards})

    async def read(
        self, since: datetime, until: datetime, shards: Sequence[int] | None = None
    ) -> AsyncIterator[Sequence[Event]]:
        start, end = microseconds(since), microseconds(until)
        for number in range(self.shards) if shards is None else shards:
            yield [event for event in self.stored[number] if start <= event.stored_at < end]


class MemorySubscription:
    """Reads a stream in memory.

    Args:
        stream: the stream.
        after: of each shard that is read the last sequence that is held.
    """

    trouble = None

    def __init__(self, stream: MemoryStream, after: dict[int, int]) -> None:
        self._stream, self._after = stream, after
        self.acks: dict[int, int] = {}
        self.identities = dict.fromkeys(after, "memory")

    async def fetch(self, at_most: int, within: float) -> list[Event]:
        events = self._next(at_most)
        if not events and within:
            await asyncio.sleep(min(within, 0.01))
            events = self._next(at_most)
        return events

    def _next(self, at_most: int) -> list[Event]:
        events: list[Event] = []
        for shard, after in self._after.items():
            stored = self._stream.stored[shard]
            start = bisect_right(stored, after, key=_sequence)
            new = stored[start : start + at_most - len(events)]
            events += new
            if new:
                self._after[shard] = new[-1].sequence
        return events

    async def ack(self, positions: Mapping[int, int]) -> None:
        self.acks |= positions

    async def lag(self) -> Mapping[int, int]:
        stored = self._stream.stored
        return {
            shard: len(stored[shard]) - bisect_right(stored[shard], after, key=_sequence)
            for shard, after in self._after.items()
        }

    async def close(self) -> None: ...


def _sequence(event: Event) -> int:
    return event.sequence


def _in_iso(value: Any) -> Any:
    if isinstance(value, date):  # a datetime is one
        return value.isoformat()
    raise DeclarationError(
        f"an event has {excerpt(value)}, which is nothing of JSON: give text, numbers, booleans, times, lists or dicts"
    )
