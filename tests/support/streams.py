"""A stream in memory, with what a broker promises: an order in each shard, positions, and reading from any of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from fti_assets.core.times import microseconds
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import EventStream


@dataclass(frozen=True, repr=False)
class MemoryStream(EventStream):
    """Shards as lists of events."""

    url: str = "memory://here"
    shards: list[list[Event]] = field(default_factory=lambda: [[]])

    broker: ClassVar[str] = "memory stream"
    schemes: ClassVar[tuple[str, ...]] = ("memory",)

    def put(self, *contents: Any, at: int, shard: int = 0, step: int = 1) -> None:
        """Store events, the first at an instant in microseconds; what is no bytes is written as JSON."""
        events = self.shards[shard]
        for number, content in enumerate(contents):
            payload = content if isinstance(content, bytes) else json.dumps(content).encode()
            sequence = events[-1].sequence + 1 if events else 1
            events.append(Event(shard, sequence, at + number * step, payload))

    async def shard_names(self) -> Sequence[str]:
        return [f"shard {number}" for number in range(len(self.shards))]

    async def subscribe(
        self, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str] | None = None
    ) -> MemorySubscription:
        return MemorySubscription(self, list(shards), {shard: after.get(shard, -1) for shard in shards})

    async def read(
        self, since: datetime, until: datetime, shards: Sequence[int] | None = None
    ) -> AsyncIterator[Sequence[Event]]:
        start, end = microseconds(since), microseconds(until)
        for number, events in enumerate(self.shards):
            if shards is None or number in shards:
                yield [event for event in events if start <= event.stored_at < end]


class MemorySubscription:
    trouble = None

    def __init__(self, stream: MemoryStream, shards: list[int], after: dict[int, int]) -> None:
        self._stream, self._shards, self._after = stream, shards, after
        self.acks: dict[int, int] = {}
        self.identities = dict.fromkeys(shards, "memory")

    async def fetch(self, at_most: int, within: float) -> list[Event]:
        found = self._next(at_most)
        if not found and within:
            await asyncio.sleep(min(within, 0.01))
            found = self._next(at_most)
        return found

    def _next(self, at_most: int) -> list[Event]:
        found: list[Event] = []
        for shard in self._shards:
            behind = [event for event in self._stream.shards[shard] if event.sequence > self._after[shard]]
            found += behind[: at_most - len(found)]
            if behind and found and found[-1].shard == shard:
                self._after[shard] = found[-1].sequence
        return found

    async def ack(self, positions: Mapping[int, int]) -> None:
        self.acks |= positions

    async def lag(self) -> Mapping[int, int]:
        return {
            shard: sum(event.sequence > self._after[shard] for event in self._stream.shards[shard])
            for shard in self._shards
        }

    async def close(self) -> None:
        pass


@dataclass(frozen=True, repr=False)
class FileStream(MemoryStream):
    """Shards as files of lines, which other processes add to: what a broker keeps when everybody else is killed."""

    folder: Path = Path()

    def append(self, shard: int, event: Event) -> None:
        """Store one event."""
        line = json.dumps([event.sequence, event.stored_at, event.payload.decode("latin-1")]) + "\n"
        with open(self.folder / f"{shard}.jsonl", "a") as file:
            file.write(line)

    def look(self) -> None:
        """Take what the files have by now."""
        for number, shard in enumerate(self.shards):
            path = self.folder / f"{number}.jsonl"
            if not path.exists():
                continue
            with open(path) as file:
                lines = [line for line in file if line.endswith("\n")]
            for line in lines[len(shard) :]:
                sequence, stored_at, payload = json.loads(line)
                shard.append(Event(number, sequence, stored_at, payload.encode("latin-1")))

    async def subscribe(
        self, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str] | None = None
    ) -> MemorySubscription:
        self.look()
        return _FileSubscription(self, list(shards), {shard: after.get(shard, -1) for shard in shards})


class _FileSubscription(MemorySubscription):
    async def fetch(self, at_most: int, within: float) -> list[Event]:
        self._stream.look()  # type: ignore[attr-defined]
        return await super().fetch(at_most, within)
