"""Streams of Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from fti_assets.core.arguments import checked_arguments
from fti_assets.stores.streams.broker_stream import Opener, ShardedStream
from fti_assets.stores.streams.event import Event

if TYPE_CHECKING:
    from fti_assets.stores.streams.sessions.redis_entries import RedisKeys


@checked_arguments()
@dataclass(frozen=True, repr=False)
class RedisStream(ShardedStream):
    """A Redis stream (7 and later), or several streams that are the shards of one.

    A row's available-at is the time in its entry's id. Producers must let Redis assign ids (``XADD key *``). If entries are trimmed
    before they are read, an error says so. A stream must therefore keep its entries longer than any stop of the service. Entries
    that someone removes with ``XDEL`` are skipped.

    Args:
        name: the key.
        url: ``redis://user:password@host:6379/0``, ``rediss://...``, ``unix://...``, or ``dg.EnvVar`` of it.
        type: a ``msgspec.Struct`` or Pydantic model that an event's JSON must match; by default an object with the group's columns.
        shards: keys of streams over which the events are distributed by key; one instance reads each. Their order must never
            change, and more may be added only at the end. By default the one key.
        field: the field of an entry that holds the event.
        consumer_group: the group whose position is set to that of stored events, so that ``XINFO GROUPS`` shows it; by default none
            is.

    Raises:
        DeclarationError: a key is given twice, or the address is not a Redis address.

    >>> RedisStream("payments", url="redis://ann:pw@broker/0").place
    'Redis stream payments at redis://ann:***@broker/0'
    """

    _: KW_ONLY
    field: str = "data"
    consumer_group: str | None = None

    broker = "Redis stream"
    schemes = ("redis", "rediss", "unix")
    shard_word = "key"

    def _opener(self, shards: Sequence[int]) -> Opener:
        from fti_assets.stores.streams.sessions.redis import open_session

        return partial(open_session, self._keys(), shards)

    def _replay(self) -> Callable[[int, datetime, datetime], AsyncGenerator[Sequence[Event], None]]:
        from fti_assets.stores.streams.sessions.redis import replay

        return partial(replay, self._keys())

    def _keys(self) -> RedisKeys:
        from fti_assets.stores.streams.sessions.redis_entries import RedisKeys

        return RedisKeys(self, self.shards, self.field, self.consumer_group)
