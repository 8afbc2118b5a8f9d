"""Streams of NATS JetStream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.extras import named_extras
from fti_assets.errors import DeclarationError
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import EventStream, Subscription

_NAME = re.compile(r"[^\s.*>/\\]+")


@checked_arguments()
@dataclass(frozen=True, repr=False)
class NatsStream(EventStream):
    """A stream of NATS JetStream (2.9 and later), or several that are the shards of one.

    A row's available-at is when JetStream stored its message. What JetStream drops before it is read is an error that says what is
    gone, so a stream must keep its messages by limits (not until they are taken), and longer than any stop of the service.

    Args:
        name: the stream, which holds nothing but these events.
        url: ``nats://user:password@host:4222``, several hosts separated by commas, ``tls://...``, ``?credentials=`` and the path
            of a ``.creds`` file behind them, or ``dg.EnvVar`` of it.
        type: a ``msgspec.Struct`` or Pydantic model that an event's JSON is to fit; by default an object with the group's columns.
        shards: JetStream streams over which the events are spread by key, each of which one instance reads. Their order is for ever, and
            more may be added at the end alone. By default the one stream.

    Raises:
        DeclarationError: a name is none of a stream, or the address none of NATS.

    >>> NatsStream("payments", url="nats://ann:pw@broker:4222").place
    'NATS stream payments at nats://ann:***@broker:4222'
    """

    _: KW_ONLY
    shards: Sequence[str] = ()

    broker = "NATS stream"
    schemes = ("nats", "tls")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shards", tuple(self.shards) or (self.name,))
        for name in self.shards:
            if _NAME.fullmatch(name) is None:
                raise DeclarationError(
                    f"{self.words}: {name!r} is no name of a stream of JetStream, which has no spaces and none of . * > / \\ in it"
                )
        if len(set(self.shards)) < len(self.shards):
            raise DeclarationError(f"{self.words}: a stream stands twice in shards={list(self.shards)}: name each once")

    async def shard_names(self) -> Sequence[str]:
        return self.shards

    async def subscribe(
        self, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str] | None = None
    ) -> Subscription:
        with named_extras(self.words, "streaming"):
            from fti_assets.stores.streams.sessions.nats import open_session
        from fti_assets.stores.streams.sessions.resuming import Resuming

        self._check_shards(shards, self.shards)
        return await Resuming(
            self, lambda held, known: open_session(self, self.shards, shards, held, known), after, identities
        ).start()

    async def read(
        self, since: datetime, until: datetime, shards: Sequence[int] | None = None
    ) -> AsyncIterator[Sequence[Event]]:
        with named_extras(self.words, "streaming"):
            from fti_assets.stores.streams.sessions.nats import replay
        chosen = range(len(self.shards)) if shards is None else shards
        self._check_shards(chosen, self.shards)
        for shard in chosen:
            async for events in replay(self, self.shards, shard, since, until):
                yield events
