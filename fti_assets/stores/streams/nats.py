"""Streams of NATS JetStream."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import DeclarationError
from fti_assets.stores.streams.broker_stream import Opener, ShardedStream
from fti_assets.stores.streams.event import Event

_NAME = re.compile(r"[^\s.*>/\\]+")


@checked_arguments()
@dataclass(frozen=True, repr=False)
class NatsStream(ShardedStream):
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

    broker = "NATS stream"
    schemes = ("nats", "tls")
    shard_word = "stream"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.shards:
            if _NAME.fullmatch(name) is None:
                raise DeclarationError(
                    f"{self.words}: {name!r} is no name of a stream of JetStream, which has no spaces and none of . * > / \\ in it"
                )

    def _opener(self, shards: Sequence[int]) -> Opener:
        from fti_assets.stores.streams.sessions.nats import open_session

        return partial(open_session, self, self.shards, shards)

    def _replay(self) -> Callable[[int, datetime, datetime], AsyncGenerator[Sequence[Event], None]]:
        from fti_assets.stores.streams.sessions.nats import replay

        return partial(replay, self, self.shards)
