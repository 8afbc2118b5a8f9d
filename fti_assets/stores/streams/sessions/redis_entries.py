"""Entries of streams of Redis: their ids as sequences, and what they hold as events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fti_assets.errors import StoreError, list_some
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import EventStream

COUNTER_BITS = 20
"""Of a sequence for the counter of an id, behind its milliseconds."""
_MILLISECOND_BITS = 43


@dataclass(frozen=True)
class RedisKeys:
    """Which keys are read, and how.

    Args:
        stream: the declaration, for its address and for errors.
        names: the keys, by shard.
        field: the field of an entry that holds the event.
        group: the consumer group that is told what is kept.
    """

    stream: EventStream
    names: Sequence[str]
    field: str
    group: str | None

    def event(self, shard: int, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Event:
        """An entry as an event; one without the field has a problem in place of what it holds."""
        sequence = sequence_of(entry_id, self.stream)
        stored_at = (sequence >> COUNTER_BITS) * 1_000
        payload = fields.get(self.field.encode())
        if payload is not None:
            return Event(shard, sequence, stored_at, payload)
        texts = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
        problem = f"the entry has no field {self.field!r}: it has {list_some(sorted(texts))}"
        return Event(shard, sequence, stored_at, json.dumps(texts).encode(), problem)


def sequence_of(entry_id: bytes, stream: EventStream) -> int:
    """An entry's id as one whole number of 63 bits.

    Raises:
        StoreError: the id was not given by Redis, and does not fit.
    """
    milliseconds, _, counter = entry_id.partition(b"-")
    high, low = int(milliseconds), int(counter or 0)
    if high >> _MILLISECOND_BITS or low >> COUNTER_BITS:
        raise StoreError(
            f"{stream.place} has an entry {entry_id.decode()}, an id that Redis does not give: have producers leave ids to it (XADD key *)"
        )
    return high << COUNTER_BITS | low


def id_of(sequence: int) -> str:
    """The entry's id of a sequence.

    >>> id_of((1_700_000_000_000 << 20) + 3)
    '1700000000000-3'
    """
    return f"{sequence >> COUNTER_BITS}-{sequence & ((1 << COUNTER_BITS) - 1)}"
