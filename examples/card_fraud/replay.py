"""A day of the past told to a stream in a minute: each event brings with it when it was stored then.

A real bank writes ``fti.NatsStream(...)`` and needs nothing of this. JetStream stamps an event with the time of today, so that a day told
in a minute would have all of its payments within one; an event of a replay therefore has its own stamp behind its JSON.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import fti_assets as fti
from fti_assets.core.times import microseconds
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import Subscription

_STAMP = b"@"


def told(row: Mapping[str, Any], stored_at: datetime) -> bytes:
    """An event of a replay."""
    return json.dumps(row).encode() + _STAMP + str(microseconds(stored_at)).encode()


def as_told(event: Event) -> Event:
    """The event as it was stored in the day that is told."""
    payload, _, stamp = event.payload.rpartition(_STAMP)
    return replace(event, payload=payload, stored_at=int(stamp)) if stamp.isdigit() else event


@dataclass(frozen=True, repr=False)
class ReplayedStream(fti.NatsStream):
    """A stream of JetStream to which a day of the past is told."""

    async def subscribe(
        self, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str] | None = None
    ) -> Subscription:
        return _Replayed(await super().subscribe(shards, after, identities))

    async def read(
        self, since: datetime, until: datetime, shards: Sequence[int] | None = None
    ) -> AsyncIterator[Sequence[Event]]:
        start, end = microseconds(since), microseconds(until)
        tomorrow = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
        async for events in super().read(datetime(1970, 1, 1), tomorrow, shards):
            yield [one for one in map(as_told, events) if start <= one.stored_at < end]


class _Replayed:
    def __init__(self, live: Subscription) -> None:
        self._live = live

    async def fetch(self, at_most: int, within: float) -> list[Event]:
        return [as_told(event) for event in await self._live.fetch(at_most, within)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live, name)
