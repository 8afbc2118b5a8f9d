"""Streams of Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.extras import named_extras
from fti_assets.errors import DeclarationError
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import EventStream, Subscription


@checked_arguments()
@dataclass(frozen=True, repr=False)
class RedisStream(EventStream):
    """A stream of Redis (7 and later), or several that are the shards of one.

    A row's available-at is the time in its entry's id, which Redis gives: producers must leave ids to it (``XADD key *``). What is trimmed
    before it is read is an error, so a stream must be kept longer than any stop of the service. Entries that someone takes out by
    ``XDEL`` are passed over.

    Args:
        name: the key.
        url: ``redis://user:password@host:6379/0``, ``rediss://...``, ``unix://...``, or ``dg.EnvVar`` of it.
        type: a ``msgspec.Struct`` or Pydantic model that an event's JSON is to fit; by default an object with the group's columns.
        shards: keys of streams over which the events are spread by key, each of which one instance reads. Their order is for ever, and more
            may be added at the end alone. By default the one key.
        field: the field of an entry that holds the event.
        consumer_group: the group whose position is set to what is kept, so that ``XINFO GROUPS`` shows it; by default none is.

    Raises:
        DeclarationError: a key stands twice, or the address is none of Redis.

    >>> RedisStream("payments", url="redis://ann:pw@broker/0").place
    'Redis stream payments at redis://ann:***@broker/0'
    """

    _: KW_ONLY
    shards: Sequence[str] = ()
    field: str = "data"
    consumer_group: str | None = None

    broker = "Redis stream"
    schemes = ("redis", "rediss", "unix")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shards", tuple(self.shards) or (self.name,))
        if len(set(self.shards)) < len(self.shards):
            raise DeclarationError(f"{self.words}: a key stands twice in shards={list(self.shards)}: name each once")

    async def shard_names(self) -> Sequence[str]:
        return self.shards

    async def subscribe(
        self, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str] | None = None
    ) -> Subscription:
        with named_extras(self.words, "streaming"):
            from fti_assets.stores.streams.sessions.redis import open_session
            from fti_assets.stores.streams.sessions.redis_entries import RedisKeys
        from fti_assets.stores.streams.sessions.resuming import Resuming

        self._check_shards(shards, self.shards)
        keys = RedisKeys(self, self.shards, self.field, self.consumer_group)
        return await Resuming(
            self, lambda held, known: open_session(keys, shards, held, known), after, identities
        ).start()

    async def read(
        self, since: datetime, until: datetime, shards: Sequence[int] | None = None
    ) -> AsyncIterator[Sequence[Event]]:
        with named_extras(self.words, "streaming"):
            from fti_assets.stores.streams.sessions.redis import replay
            from fti_assets.stores.streams.sessions.redis_entries import RedisKeys
        chosen = range(len(self.shards)) if shards is None else shards
        self._check_shards(chosen, self.shards)
        keys = RedisKeys(self, self.shards, self.field, self.consumer_group)
        for shard in chosen:
            async for events in replay(keys, shard, since, until):
                yield events
