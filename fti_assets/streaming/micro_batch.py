"""One turn of a service: events become durable rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from fti_assets.features.events.dead_letter import DeadLetter, dead_letter
from fti_assets.features.events.reading import SEQUENCE, SHARD, EventReader
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.streams.decoding import Decode
from fti_assets.stores.streams.event import Event
from fti_assets.streaming.flush import clash_reason
from fti_assets.streaming.outbox import Outbox, Position
from fti_assets.streaming.taken import identities

_RECENT_US = 60_000_000
"""How far back rows are remembered by their keys and times: two events of one are stored at one instant."""


@dataclass(frozen=True)
class MicroBatch:
    """What one turn has made durable.

    Args:
        rows: its rows, with the events that they are of.
        dead_letters: its events that are no rows.
        positions: how far each shard of the service is kept with it.
    """

    rows: pa.Table
    dead_letters: Sequence[DeadLetter]
    positions: Mapping[int, int]


class MicroBatches:
    """Takes the events of one group into its outbox, each once.

    Args:
        group: a group with a stream.
        outbox: where they are kept.
        decode: what an event says.
    """

    def __init__(self, group: FeatureGroup, outbox: Outbox, decode: Decode) -> None:
        self._group, self._outbox = group, outbox
        self._reader = EventReader(group, decode)
        self._positions = outbox.positions()
        self._recent: dict[tuple[object, ...], int] = {}
        waiting = outbox.batches()
        if waiting is not None and waiting.rows is not None:
            self._remember(waiting.rows)

    def take(self, events: Sequence[Event], streams: Mapping[int, str] | None = None) -> MicroBatch | None:
        """Keep what is new of some events, durably; None if nothing is.

        Args:
            events: in order of sequence within each shard; what was kept before is passed over.
            streams: of each shard what tells its stream from another of its name.

        Raises:
            StoreError: the outbox cannot be written; nothing was kept.
        """
        new, ends = list[Event](), {shard: at.sequence for shard, at in self._positions.items()}
        for event in events:
            if event.sequence > ends.get(event.shard, -1):
                ends[event.shard] = event.sequence
                new.append(event)
        positions = dict(self._positions)
        for shard in {event.shard for event in new}:
            before = positions.get(shard) or Position(ends[shard], None)
            # What tells a stream from another may be its last event, so it goes along with the position.
            identity = (streams or {}).get(shard, before.identity)
            positions[shard] = replace(before, sequence=ends[shard], identity=identity)
        if not new:
            return None
        intake = self._reader.read(new)
        rows, clashes = self._without_clashes(intake.rows)
        by_name = {(event.shard, event.sequence): event for event in new}
        letters = [
            *intake.dead_letters,
            *(
                dead_letter(shard, sequence, event.stored_at, clash_reason(self._group), event.payload)
                for shard, sequence in clashes
                for event in [by_name[shard, sequence]]
            ),
        ]
        self._outbox.append(
            rows, letters, {shard: at for shard, at in positions.items() if at != self._positions.get(shard)}
        )
        self._positions = positions
        self._remember(rows)
        return MicroBatch(rows, letters, {shard: at.sequence for shard, at in positions.items()})

    def _without_clashes(self, rows: pa.Table) -> tuple[pa.Table, list[tuple[int, int]]]:
        """The rows without those whose keys and times a row before them has, and the events of these."""
        earlier: set[tuple[object, ...]] = set()
        kept: list[int] = []
        clashes: list[int] = []
        for place, identity in enumerate(identities(self._group, rows)):
            (clashes if identity in earlier or identity in self._recent else kept).append(place)
            earlier.add(identity)
        if not clashes:
            return rows, []
        events = rows.select([SHARD, SEQUENCE]).take(pa.array(clashes)).to_pydict()
        return rows.take(pa.array(kept, pa.int64())), list(zip(events[SHARD], events[SEQUENCE], strict=True))

    def _remember(self, rows: pa.Table) -> None:
        """Note the rows of the last minute, and forget older ones."""
        if not rows.num_rows:
            return
        available = rows.column(str(self._group.available_at)).cast(pa.int64())
        since = pc.max(available).as_py() - _RECENT_US
        for identity, at in zip(identities(self._group, rows), available.to_pylist(), strict=True):
            if at >= since:
                self._recent[identity] = at
        while self._recent:
            identity, at = next(iter(self._recent.items()))  # in the order in which they came
            if at >= since:
                break
            del self._recent[identity]
