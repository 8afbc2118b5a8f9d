"""Reading streams of Redis: ranges that begin with the last entry that is held, so that what was trimmed between shows."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fti_assets.core.addresses import scrub
from fti_assets.core.times import microseconds
from fti_assets.errors import StoreError
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.sessions.redis_entries import COUNTER_BITS, RedisKeys, id_of, sequence_of
from fti_assets.stores.streams.sessions.resuming import Away, Session, lost, lost_of_time, made_anew, unreachable

_SOCKET_SECONDS = 15
_BLOCK_SECONDS = 5.0
_BATCH = 1_000
_PAGE = 10_000
_FOR_A_WHILE = ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY")


async def open_session(
    keys: RedisKeys, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str]
) -> RedisSession:
    """Connect, and look whether each shard can be read after its position.

    Args:
        keys: what is read.
        shards: which of them.
        after: by shard, the last sequence that is held.
        identities: by shard, a position and how many entries had been added up to it.

    Raises:
        Away: the server cannot be reached.
        StoreError: a shard cannot be read from its position.
    """
    session = RedisSession(keys)
    try:
        for shard in shards:
            await session.begin(shard, after.get(shard, 0), identities.get(shard, ""))
    except BaseException:
        await session.close()
        raise
    return session


async def replay(keys: RedisKeys, shard: int, since: datetime, until: datetime) -> AsyncGenerator[list[Event], None]:
    """The events of a shard that were stored in ``[since, until)``.

    Raises:
        StoreError: some of them are gone, or the server cannot be reached.
    """
    start, end = -(-microseconds(since) // 1_000), -(-microseconds(until) // 1_000)  # ids are of milliseconds
    session = RedisSession(keys)
    try:
        about = await session.about(shard)
        if about.gone and about.first_at >= start and about.last_at >= start:
            raise lost_of_time(keys.stream, keys.names[shard], since, about.first_at * 1_000 if about.length else None)
        position, stop = max((start << COUNTER_BITS) - 1, 0), min((end << COUNTER_BITS) - 1, about.last)
        first = True
        while position < stop:
            entries, _ = await session.range(shard, id_of(position + first), id_of(stop), _BATCH + 1)
            events = [keys.event(shard, *entry) for entry in entries]
            if not first and (not events or events[0].sequence != position):
                raise lost_of_time(keys.stream, keys.names[shard], since, events[0].stored_at if events else None)
            fresh = events if first else events[1:]
            if fresh:
                yield fresh
            if len(events) <= _BATCH:
                break
            position, first = events[-1].sequence, False
    except Away as error:
        raise unreachable(keys.stream, error) from None
    finally:
        await session.close()


@dataclass(frozen=True)
class _About:
    """What Redis says of a stream: how many entries it has and ever had, the last sequence it gave, the times of its ends in ms."""

    length: int
    added: int
    last: int
    first_at: int
    last_at: int

    @property
    def gone(self) -> int:
        return self.added - self.length


class RedisSession(Session):
    """A client with a position in each shard.

    Beside each position stands how many entries were added up to it, where that is known: what a stream has added since, less what
    it has, is what was taken out before it was read.
    """

    def __init__(self, keys: RedisKeys) -> None:
        self._keys = keys
        self._stream = keys.stream
        self._positions: dict[int, int] = {}
        self._counts: dict[int, int] = {}
        self._next = 0
        try:
            self._client: Any = Redis.from_url(
                keys.stream.address(),
                socket_timeout=_SOCKET_SECONDS,
                socket_connect_timeout=5,
                retry=Retry(NoBackoff(), 0),
            )
        except (ValueError, TypeError, RedisError) as error:
            raise StoreError(
                f"{keys.stream.place} is no address of a Redis server: {scrub(str(error), keys.stream.secrets)}"
            ) from None  # which may repeat a part of it

    @property
    def identities(self) -> Mapping[int, str]:
        return {
            shard: f"{position}:{self._counts[shard]}"
            for shard, position in self._positions.items()
            if shard in self._counts
        }

    async def begin(self, shard: int, last_held: int, identity: str) -> None:
        """Read a shard after a position.

        Raises:
            StoreError: it cannot be read from there.
        """
        about = await self.about(shard)
        name = self._keys.names[shard]
        if about.last < last_held:
            ends = f"ends at {id_of(about.last)}, and was read up to {id_of(last_held)}"
            raise made_anew(self._stream, name, f"{ends}, or has lost its latest entries with its server,")
        position, _, count = identity.partition(":")
        if last_held and position == str(last_held):
            self._counts[shard] = int(count)
        self._positions[shard] = last_held
        await self._read(shard, 1)  # which sees what is gone

    async def about(self, shard: int) -> _About:
        """What Redis says of a shard's key.

        Raises:
            StoreError: it is not there, or no stream.
        """
        with self._errors():
            kind = await self._client.type(self._keys.names[shard])
        if kind != b"stream":
            what = "no key" if kind == b"none" else f"no stream, but a {kind.decode()},"
            raise StoreError(
                f"{self._stream.place} has {what} {self._keys.names[shard]!r}: make it by adding an entry (XADD), or without one by XGROUP "
                "CREATE ... MKSTREAM"
            )
        with self._errors(self._keys.names[shard]):
            return self._about(await self._client.xinfo_stream(self._keys.names[shard]))

    async def range(self, shard: int, start: str, end: str, count: int) -> tuple[list[Any], _About]:
        """Entries, and what Redis says of the stream at the same moment."""
        name = self._keys.names[shard]
        with self._errors(name):
            both = self._client.pipeline(transaction=True)
            both.xrange(name, start, end, count)
            both.xinfo_stream(name)
            entries, about = await both.execute()
        return entries, self._about(about)

    async def fetch(self, at_most: int, within: float) -> list[Event]:
        deadline = time.monotonic() + within
        while True:
            events: list[Event] = []
            shards = list(self._positions)
            for offset in range(len(shards)):
                shard = shards[(self._next + offset) % len(shards)]
                if len(events) < at_most:
                    events += await self._read(shard, at_most - len(events), keep=True)
            self._next += 1
            left = deadline - time.monotonic()
            if events or left <= 0:
                return events
            with self._errors():
                await self._client.xread(
                    {self._keys.names[shard]: id_of(position) for shard, position in self._positions.items()},
                    count=1,
                    block=max(int(min(left, _BLOCK_SECONDS) * 1_000), 1),  # 0 is for ever
                )

    async def ack(self, positions: Mapping[int, int]) -> None:
        if self._keys.group is None:
            return
        for shard, position in positions.items():
            name = self._keys.names[shard]
            try:
                await self._client.xgroup_setid(name, self._keys.group, id_of(position))
            except ResponseError:  # there is no such group yet
                await self._client.xgroup_create(name, self._keys.group, id_of(position))

    async def lag(self) -> Mapping[int, int]:
        result = {}
        for shard, position in self._positions.items():
            if shard in self._counts:
                result[shard] = max((await self.about(shard)).added - self._counts[shard], 0)
            else:
                result[shard] = await self._count_after(shard, position)
        return result

    async def close(self) -> None:
        with suppress(Exception):
            await self._client.aclose()

    async def _read(self, shard: int, at_most: int, *, keep: bool = False) -> list[Event]:
        """The next entries of a shard; with ``keep`` its position moves to the last of them.

        Raises:
            StoreError: entries after the position are gone.
        """
        position = self._positions[shard]
        entries, about = await self.range(shard, id_of(position), "+", at_most + 1)
        is_there = bool(entries) and sequence_of(entries[0][0], self._stream) == position
        if position and not is_there:
            await self._explain(shard, position, about)
        if not position:  # what was taken out before the first is read was never held
            self._counts[shard] = about.gone
        fresh = [self._keys.event(shard, *entry) for entry in entries[1 if is_there else 0 :][:at_most]]
        if keep and fresh:
            self._positions[shard] = fresh[-1].sequence
            if shard in self._counts:
                self._counts[shard] += len(fresh)
        if self._positions[shard] == about.last:
            self._counts[shard] = about.added
        return fresh

    async def _explain(self, shard: int, position: int, about: _About) -> None:
        """Go on if the last entry that is held is gone, and none after it.

        Raises:
            StoreError: others are gone too, or may be.
        """
        name = self._keys.names[shard]
        if about.last < position:
            raise made_anew(self._stream, name, f"ends at {id_of(about.last)}, and was read up to {id_of(position)}")
        if about.last == position:
            return
        entries, about = await self.range(shard, "-", "+", 1)
        first = sequence_of(entries[0][0], self._stream) if entries else about.last + 1
        if first <= position:  # trimming has not come so far: someone took out this one
            return
        gone = about.added - self._counts[shard] - about.length if shard in self._counts else None
        if gone is not None and gone < 0:
            raise made_anew(self._stream, name, "has had fewer entries than were read")
        if gone != 0:
            raise lost(
                self._stream, name, f"the first after {id_of(position)}", f"the last before {id_of(first)}", gone
            )

    async def _count_after(self, shard: int, position: int) -> int:
        count, at = 0, position
        while True:
            entries, _ = await self.range(shard, id_of(at + 1), "+", _PAGE)
            count += len(entries)
            if len(entries) < _PAGE:
                return count
            at = sequence_of(entries[-1][0], self._stream)

    def _about(self, info: Mapping[str, Any]) -> _About:
        if "entries-added" not in info:
            raise StoreError(
                f"{self._stream.place} is of a server that does not count what it took out of a stream: it takes Redis 7 or later"
            )
        last = sequence_of(info["last-generated-id"], self._stream)
        first = info["first-entry"]
        first_at = sequence_of(first[0], self._stream) if first else last + (1 << COUNTER_BITS)
        length = int(info["length"])
        return _About(length, int(info["entries-added"]), last, first_at >> COUNTER_BITS, last >> COUNTER_BITS)

    @contextmanager
    def _errors(self, name: str = "") -> Iterator[None]:
        """Turn an error of the client into one of ours; ``name`` is the key that is asked for."""
        try:
            yield
        except (TimeoutError, RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise Away(str(error) or type(error).__name__) from None
        except ResponseError as error:
            text = scrub(str(error), self._stream.secrets)
            if text.startswith(_FOR_A_WHILE):
                raise Away(text) from None
            if "no such key" in text:
                raise made_anew(self._stream, name, "is gone") from None
            raise StoreError(f"{self._stream.place} cannot be read: {text}") from None
