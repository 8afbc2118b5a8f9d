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
    """A NATS JetStream stream (2.9 and later), or several streams that are the shards of one.

    A row's available-at is the time at which JetStream stored its message. If JetStream drops messages before they are read, an
    error says what is gone. A stream must therefore keep its messages by limits (not until they are consumed), and longer than any
    stop of the service.

    Args:
        name: the stream, which holds only these events.
        url: ``nats://user:password@host:4222``, several hosts separated by commas, ``tls://...``, followed by ``?credentials=`` and
            the path of a ``.creds`` file, or ``dg.EnvVar`` of it.
        type: a ``msgspec.Struct`` or Pydantic model that an event's JSON must match; by default an object with the group's columns.
        shards: JetStream streams over which the events are distributed by key; one instance reads each. Their order must never
            change, and more may be added only at the end. By default the one stream.

    Raises:
        DeclarationError: a name is not a stream name, or the address is not a NATS address.

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
