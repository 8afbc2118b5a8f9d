"""What a service that is far behind its stream has kept and not put online yet.

A turn writes one value for each key that it touches. Far behind, where no value is fresh in any case, many turns are put online as one:
the keys that they share are written once, and the stream is caught up sooner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from fti_assets.core import clock
from fti_assets.core.times import microseconds
from fti_assets.stores.streams.event import Event
from fti_assets.streaming.micro_batch import MicroBatch

FAR_BEHIND_US = 1_000_000
"""A service whose newest event was stored longer ago than this is far behind, if it is also seen to catch up."""

_FASTER, _SHARE = 2, 0.2
"""Who goes through a stream so many times faster than it came, or has such a share of what a turn may have, catches up, or tries to."""
_REMEMBERED_SECONDS = 1.0
"""Turns of a few events lie between those: what has arrived at once differs."""
_ROWS, _BYTES = 100_000, 64 * 1024 * 1024
"""At most so many rows wait, and at most so many bytes of them."""


class Backlog:
    """The micro-batches that wait to be put online together.

    Args:
        batch_events: how many events a turn has at most.
        seconds: how long a row waits at most, and never longer than the service is behind.
    """

    def __init__(self, batch_events: int, seconds: float) -> None:
        self._batch_events, self._seconds = batch_events, seconds
        self._tables: list[pa.Table] = []
        self._rows = self._bytes = 0
        self._positions: dict[int, int] = {}
        self._begin = 0.0
        self._newest_us: int | None = None
        self._at = 0.0
        self._fast_at: float | None = None
        self._behind_us = 0

    def __len__(self) -> int:
        return len(self._tables)

    def add(self, batch: MicroBatch, events: Sequence[Event], at: float) -> None:
        """Let a micro-batch wait.

        Args:
            batch: what was made durable.
            events: those of its turn, one at least.
            at: now, in seconds of the loop's clock.
        """
        if not self._tables:
            self._begin = at
        self._tables.append(batch.rows)
        self._rows += batch.rows.num_rows
        self._bytes += batch.rows.nbytes
        self._positions.update(batch.positions)
        self._note_speed(events, at)

    def is_due(self, at: float) -> bool:
        """Whether what waits is to be put online after a turn with events: the service is not far behind, or it is enough.

        Args:
            at: now, in seconds of the loop's clock.
        """
        if self._behind_us <= FAR_BEHIND_US or self._rows >= _ROWS or self._bytes >= _BYTES:
            return True
        # A value becomes at most twice as old by waiting.
        return at - self._begin >= min(self._seconds, self._behind_us / 1e6)

    def take(self) -> tuple[pa.Table, Mapping[int, int]]:
        """What waits, as one: rows in the order in which they came, and how far each shard is kept with them. Nothing waits after it.

        Raises:
            ValueError: nothing waits.
        """
        if not self._tables:
            raise ValueError("no micro-batch waits to be put online")
        rows, positions = pa.concat_tables(self._tables), self._positions
        self.clear()
        return rows, positions

    def clear(self) -> None:
        """Let nothing wait: a load brings it all from the outbox."""
        self._tables, self._rows, self._bytes, self._positions = [], 0, 0, {}

    def _note_speed(self, events: Sequence[Event], at: float) -> None:
        """How far behind the service is. By the clocks alone it always is where the broker's is slow, and would then make all wait."""
        newest = max(event.stored_at for event in events)
        before, elapsed = self._newest_us, (at - self._at) * 1e6
        if len(events) >= _SHARE * self._batch_events or (before is not None and newest - before > _FASTER * elapsed):
            self._fast_at = at
        is_catching_up = self._fast_at is not None and at - self._fast_at <= _REMEMBERED_SECONDS
        self._behind_us = microseconds(clock.now()) - newest if is_catching_up else 0
        self._newest_us, self._at = newest, at
