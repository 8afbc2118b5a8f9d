"""One message of a stream, as the broker stored it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One message as the broker stored it. (shard, sequence) names it, for ever.

    Args:
        shard: which part of the stream it is in: the position of that part in ``EventStream.shard_names()``.
        sequence: its place in the shard: a whole number of 63 bits that the broker gave, greater than all before it.
        stored_at: when the broker stored it, whole microseconds since 1970, UTC: the ``available_at`` of its row.
        payload: what the producer sent.
        problem: why there is nothing to decode, such as a message without a value; None for one that has a payload.
    """

    shard: int
    sequence: int
    stored_at: int
    payload: bytes
    problem: str | None = None
