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

FAR_BEHIND_US = 10_000_000
"""A service whose newest event was stored longer ago than this is far behind, if the broker gives it as many as it takes."""

_ROWS = 100_000
"""At most so many rows wait: some 20 MB."""


class Backlog:
    """The micro-batches that wait to be put online together.

    Args:
        batch_events: how many events a turn has at most.
        seconds: how long a row waits at most.
    """

    def __init__(self, batch_events: int, seconds: float) -> None:
        self._batch_events, self._seconds = batch_events, seconds
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._positions: dict[int, int] = {}
        self._begin: float | None = None

    def __len__(self) -> int:
        return len(self._tables)

    def add(self, batch: MicroBatch, at: float) -> None:
        """Let a micro-batch wait, from a time in seconds of the loop's clock."""
        self._tables.append(batch.rows)
        self._rows += batch.rows.num_rows
        self._positions.update(batch.positions)
        self._begin = at if self._begin is None else self._begin

    def is_due(self, events: Sequence[Event], at: float) -> bool:
        """Whether what waits is to be put online now: after the last turn's events the service is not far behind, or it is enough.

        Args:
            events: those of the last turn, in order.
            at: now, in seconds of the loop's clock.
        """
        if self._begin is None:
            return False
        if len(events) < self._batch_events or self._rows >= _ROWS or at - self._begin >= self._seconds:
            return True
        return max(event.stored_at for event in events) > microseconds(clock.now()) - FAR_BEHIND_US

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
        self._tables, self._rows, self._positions, self._begin = [], 0, {}, None
