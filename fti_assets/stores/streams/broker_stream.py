"""What the streams of real brokers share: they are read by sessions, and some have the shards that they declare."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, ClassVar

from fti_assets.core.extras import named_extras
from fti_assets.errors import DeclarationError
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import EventStream, Subscription

Opener = Callable[[Mapping[int, int], Mapping[int, str]], Awaitable[Any]]
"""Opens a session behind the sequences that are held, of streams whose identities are known."""


@dataclass(frozen=True, repr=False)
class BrokerStream(EventStream):
    """A stream that the broker's own client reads, which is imported when it is needed."""

    async def subscribe(
        self, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str] | None = None
    ) -> Subscription:
        from fti_assets.stores.streams.sessions.resuming import Resuming

        with named_extras(self.words, "streaming"):
            opener = self._opener(shards)
        self._check_shards(shards, await self.shard_names())
        return await Resuming(self, opener, after, identities).start()

    async def read(
        self, since: datetime, until: datetime, shards: Sequence[int] | None = None
    ) -> AsyncIterator[Sequence[Event]]:
        names = await self.shard_names()
        chosen = range(len(names)) if shards is None else shards
        with named_extras(self.words, "streaming"):
            replay = self._replay()
        self._check_shards(chosen, names)
        for shard in chosen:
            # Whoever reads no further leaves no connection to garbage collection.
            async with aclosing(replay(shard, since, until)) as batches:
                async for events in batches:
                    yield events

    @abstractmethod
    def _opener(self, shards: Sequence[int]) -> Opener:
        """What opens sessions of some shards."""

    @abstractmethod
    def _replay(self) -> Callable[[int, datetime, datetime], AsyncGenerator[Sequence[Event], None]]:
        """What reads the events of a shard that were stored between two instants."""


@dataclass(frozen=True, repr=False)
class ShardedStream(BrokerStream):
    """A stream of one or more parts that the declaration names, in an order that is for ever."""

    _: KW_ONLY
    shards: Sequence[str] = ()

    shard_word: ClassVar[str]
    """What the broker calls a shard."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shards", tuple(self.shards) or (self.name,))
        if len(set(self.shards)) < len(self.shards):
            raise DeclarationError(
                f"{self.words}: a {self.shard_word} stands twice in shards={list(self.shards)}: name each once"
            )

    async def shard_names(self) -> Sequence[str]:
        return self.shards
