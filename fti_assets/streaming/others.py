"""The events that other services of a stream have put online and not yet flushed, read from the broker once more.

A load makes keys anew from the lake and the outbox of the service that loads. What others hold in outboxes of their own, on other machines,
it would take back; the broker has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from fti_assets.errors import StoreError
from fti_assets.features.events.decoding import group_decoder
from fti_assets.features.events.reading import EventReader
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.online.origin import Positions
from fti_assets.stores.streams.event import Event
from fti_assets.streaming.taken import identities

_PATIENCE_SECONDS = 10.0
_AT_ONCE = 5_000


class EventsOfOthers:
    """Reads the shards that other services take.

    Args:
        group: a group with a stream.
    """

    def __init__(self, group: FeatureGroup) -> None:
        self._group = group
        self._reader: EventReader | None = None

    def rows(self, after: Positions, up_to: Positions, streams: Mapping[int, str]) -> pa.Table:
        """The rows of the events behind one position, up to another.

        Args:
            after: where to begin; of a shard that is not in it, at the beginning.
            up_to: of each shard that is read, the last event.
            streams: of each shard what tells its stream from another of its name.

        Raises:
            StoreError: the broker is away, or no longer has them all.
        """
        # A loop of its own: this is asked for in a thread, whose caller may have one.
        with ThreadPoolExecutor(1) as thread:
            events = thread.submit(asyncio.run, self._events(after, up_to, streams)).result()
        if self._reader is None:
            self._reader = EventReader(self._group, group_decoder(self._group))
        rows = self._reader.read(events).rows
        first = dict[tuple[object, ...], int]()
        for place, identity in enumerate(identities(self._group, rows)):
            first.setdefault(identity, place)  # the other service has taken the first, too
        return rows.take(pa.array(first.values(), pa.int64()))

    async def _events(self, after: Positions, up_to: Positions, streams: Mapping[int, str]) -> Sequence[Event]:
        stream, shards = self._group.stream, sorted(up_to)
        assert stream is not None
        begin = {shard: after[shard] for shard in shards if shard in after}
        subscription = await stream.subscribe(shards, begin, {s: streams[s] for s in begin if streams.get(s)})
        events: list[Event] = []
        reached = dict(begin)
        until = time.monotonic() + _PATIENCE_SECONDS
        try:
            while any(reached.get(shard, -1) < end for shard, end in up_to.items()):
                more = await subscription.fetch(_AT_ONCE, 0.25)
                reached |= {event.shard: event.sequence for event in more}
                events += [event for event in more if event.sequence <= up_to[event.shard]]
                if time.monotonic() > until and not more:
                    raise StoreError(
                        f"{stream.place} has not given the events of other services within {_PATIENCE_SECONDS:g} s"
                        f"{f': {subscription.trouble}' if subscription.trouble else ''}"
                    )
        finally:
            await subscription.close()
        return events
