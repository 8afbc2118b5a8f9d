"""An event that a group cannot take, and why."""

from __future__ import annotations

from dataclasses import dataclass

PAYLOAD_BYTES = 64 * 1024
"""Of a payload that is kept at most: enough to see what it was."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that is not in the table.

    Args:
        shard: which part of the stream it came in.
        sequence: its place there.
        stored_at: when the broker stored it, microseconds since 1970, UTC.
        reason: why it was not taken, in words.
        payload: its first bytes, ``PAYLOAD_BYTES`` at most.
        payload_bytes: how many bytes it had.
    """

    shard: int
    sequence: int
    stored_at: int
    reason: str
    payload: bytes
    payload_bytes: int


def dead_letter(shard: int, sequence: int, stored_at: int, reason: str, payload: bytes) -> DeadLetter:
    """A dead letter of a whole payload."""
    return DeadLetter(shard, sequence, stored_at, reason[:1_000], payload[:PAYLOAD_BYTES], len(payload))
