"""A subscription that outlives its connection: whatever cuts it, the next one goes on after the last event that was given out."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from fti_assets.core.addresses import scrub
from fti_assets.core.times import from_microseconds
from fti_assets.errors import StoreError
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import EventStream

_log = logging.getLogger(__name__)
CLOCK_STEP = timedelta(minutes=10)
"""How far a broker's clock may have been set back: a replay looks so much earlier and later, and leaves out what is not of its time."""
_FIRST_TRIES = 3
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 5.0


class Away(Exception):
    """The broker cannot be reached, or has forgotten this reader: a new connection may do."""


class Session(ABC):
    """One connection to a broker, which gives the events after some positions until it breaks."""

    @property
    @abstractmethod
    def identities(self) -> Mapping[int, str]:
        """By shard, what tells its stream from another of its name."""

    @abstractmethod
    async def fetch(self, at_most: int, within: float) -> list[Event]:
        """As a subscription's.

        Raises:
            Away: the connection is of no more use.
            StoreError: no other connection would do either.
        """

    @abstractmethod
    async def ack(self, positions: Mapping[int, int]) -> None:
        """Tell the broker what is kept."""

    @abstractmethod
    async def lag(self) -> Mapping[int, int]:
        """As a subscription's.

        Raises:
            Away: the broker cannot be asked.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of the broker; the session may be broken."""


Opening = Callable[[Mapping[int, int], Mapping[int, str]], Awaitable[Session]]


class Resuming:
    """A subscription over one session after the other.

    Args:
        stream: what is read, for errors.
        opening: opens a session after some positions, of streams of some identities.
        after: by shard, the last sequence that is held already.
        identities: by shard, what its stream said of itself by then.
    """

    def __init__(
        self, stream: EventStream, opening: Opening, after: Mapping[int, int], identities: Mapping[int, str] | None
    ) -> None:
        self._stream = stream
        self._open = opening
        self._after = dict(after)
        self._identities = dict(identities or {})
        self._session: Session | None = None
        self._wait = _FIRST_WAIT
        self._next_try = 0.0
        self._trouble: str | None = None
        self._is_closed = False

    async def start(self) -> Resuming:
        """Open the first session.

        Raises:
            StoreError: the broker cannot be reached, or a shard cannot be read from its position.
        """
        for attempt in range(_FIRST_TRIES):
            try:
                self._session = await self._open(dict(self._after), dict(self._identities))
                break
            except Away as error:
                if attempt == _FIRST_TRIES - 1:
                    raise unreachable(self._stream, error) from None  # which may repeat the address
            await asyncio.sleep(_FIRST_WAIT)
        assert self._session is not None
        self._identities |= self._session.identities
        return self

    @property
    def identities(self) -> Mapping[int, str]:
        return dict(self._identities)

    @property
    def trouble(self) -> str | None:
        return self._trouble

    async def fetch(self, at_most: int, within: float) -> list[Event]:
        if self._is_closed:
            raise StoreError(f"the subscription to {self._stream.place} is closed: subscribe again")
        deadline = time.monotonic() + within
        while True:
            left = deadline - time.monotonic()
            if self._session is None and not await self._opened(left):
                return []
            session = self._session
            assert session is not None
            try:
                events = await session.fetch(at_most, max(deadline - time.monotonic(), 0.0))
            except Away as error:
                await self._let_go(error)
                continue
            except (
                BaseException
            ):  # events may be on their way to a caller who has gone: the next session brings them again
                self._session = None
                await self._close(session)
                raise
            for event in events:
                self._after[event.shard] = event.sequence
            self._identities |= session.identities
            return events

    async def ack(self, positions: Mapping[int, int]) -> None:
        if self._session is not None:
            with suppress(Exception):  # the broker's own bookkeeping alone
                await self._session.ack(positions)

    async def lag(self) -> Mapping[int, int]:
        if self._session is None:
            raise StoreError(self._trouble or f"{self._stream.place} is not connected")
        try:
            return await self._session.lag()
        except Away as error:
            raise unreachable(self._stream, error) from None

    async def close(self) -> None:
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await self._close(session)

    async def _opened(self, left: float) -> bool:
        """Whether there is a new session; tried once, when its time has come."""
        pause = self._next_try - time.monotonic()
        if pause > 0:
            await asyncio.sleep(max(min(pause, left), 0.0))
            if pause > left:
                return False
        try:
            self._session = await self._open(dict(self._after), dict(self._identities))
        except Away as error:
            self._note(error)
            return False
        self._identities |= self._session.identities
        _log.info("%s is read again after position %s", self._stream.place, self._after)
        self._trouble, self._wait = None, _FIRST_WAIT
        return True

    async def _let_go(self, error: Away) -> None:
        session, self._session = self._session, None
        self._note(error)
        if session is not None:
            await self._close(session)

    def _note(self, error: Away) -> None:
        text = str(unreachable(self._stream, error))
        if self._trouble is None:
            _log.warning("%s; it is tried again until it is there", text)
        self._trouble = text
        self._next_try = time.monotonic() + self._wait
        self._wait = min(self._wait * 2, _LONGEST_WAIT)

    async def _close(self, session: Session) -> None:
        with suppress(Exception):
            await asyncio.shield(session.close())


def unreachable(stream: EventStream, error: Away) -> StoreError:
    """A broker that cannot be reached, or not now. Not to be chained: a client may repeat the address."""
    why = scrub(str(error), stream.secrets) or "the connection is lost"
    return StoreError(
        f"{stream.place} cannot be reached: {why}. Check that the broker runs, is reached from here, and lets this user read"
    )


def lost(stream: EventStream, shard: str, first: str, last: str, count: int | None = None) -> StoreError:
    """Events that the broker has dropped before they were read.

    Args:
        stream: what is read.
        shard: the shard's name.
        first: the first that may be gone, as the broker writes it.
        last: the last.
        count: how many they are, if that is known.
    """
    number = "" if count is None else f" {count}"
    return StoreError(
        f"{stream.place} has dropped{number} events of {shard!r} that were not read: {first} to {last}. Load what they held into the group "
        "from where the producers keep it, then start again from the first event that is left; and have the broker keep events longer than "
        "any stop of the service"
    )


def lost_of_time(stream: EventStream, shard: str, since: datetime, first_at: int | None) -> StoreError:
    """Events of a time that the broker no longer has whole.

    Args:
        stream: what is read.
        shard: the shard's name.
        since: from when on it is read, naive UTC.
        first_at: when the first event that is left was stored, microseconds; None if none is.
    """
    left = (
        "none is left"
        if first_at is None
        else f"the first that is left is of {from_microseconds(first_at).isoformat()}"
    )
    return StoreError(
        f"{stream.place} has dropped events of {shard!r}, and {left}: those since {since.isoformat()} are not all there. Read a time that "
        "the broker still has, or take what it held from where the producers keep it"
    )


def made_anew(stream: EventStream, shard: str, what: str) -> StoreError:
    """A stream that is not the one whose positions are held.

    Args:
        stream: what is read.
        shard: the shard's name.
        what: how that shows.
    """
    return StoreError(
        f"{stream.place} was deleted and made again: {shard!r} {what}. Its positions are those of another stream, so nothing is "
        "read: put the old one back, or start again from its first event"
    )
