"""A stream that processes share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fti_assets.stores.streams.event import Event
from fti_assets.testing.memory_stream import MemoryStream, MemorySubscription


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
        for number, shard in enumerate(self.stored):
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
        return _FileSubscription(self, {shard: after.get(shard, -1) for shard in shards})


class _FileSubscription(MemorySubscription):
    async def fetch(self, at_most: int, within: float) -> list[Event]:
        self._stream.look()  # type: ignore[attr-defined]
        return await super().fetch(at_most, within)
