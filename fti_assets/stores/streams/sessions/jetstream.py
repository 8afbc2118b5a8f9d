"""A connection to JetStream: what it is asked, and what it says of a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import nats.errors
from nats.aio.client import Client

from fti_assets.core.times import microseconds
from fti_assets.errors import StoreError, list_some
from fti_assets.stores.streams.sessions.resuming import Away
from fti_assets.stores.streams.stream import EventStream

_API = "$JS.API"
_NOT_FOUND = 404
_ANSWER_SECONDS = 5


@dataclass(frozen=True)
class StreamState:
    """What JetStream says of a stream.

    Args:
        created: when it was made, as JetStream writes it.
        first: the first sequence that is kept; of an empty stream, the next that it gives.
        last: the last sequence that it has given, 0 for none.
        messages: how many are kept.
        first_at: when the first that is kept was stored, microseconds; None without one.
        last_at: when the last was stored that it has given, microseconds; None without one.
    """

    created: str
    first: int
    last: int
    messages: int
    first_at: int | None
    last_at: int | None


def servers_of(address: str) -> tuple[list[str], dict[str, Any]]:
    """The servers of an address, each with its login, and the client's options.

    >>> servers_of("nats://ann:pw@a:4222,b:4222?credentials=/etc/app.creds")
    (['nats://ann:pw@a:4222', 'nats://ann:pw@b:4222'], {'user_credentials': '/etc/app.creds'})
    """
    scheme, _, rest = address.partition("://")
    rest, _, query = rest.partition("?")
    login, mark, hosts = rest.rpartition("@")
    credentials = dict(parse_qsl(query)).get("credentials")
    options = {} if credentials is None else {"user_credentials": credentials}
    return [f"{scheme}://{login}{mark}{host}" for host in hosts.rstrip("/").split(",")], options


class JetStream:
    """A connection that is not mended: whoever needs another makes one.

    Args:
        stream: whose address it is, for errors.
    """

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._client = Client()
        self._lost = asyncio.Event()

    async def connect(self, on_news: Callable[[], None]) -> None:
        """Connect to one of the address's hosts.

        Args:
            on_news: called when the connection is lost.

        Raises:
            Away: none can be reached, or lets this user in.
        """
        servers, options = servers_of(self._stream.address())
        problems: list[Exception] = []

        async def note(error: Exception) -> None:
            problems.append(error)
            on_news()

        async def note_end() -> None:
            self._lost.set()
            on_news()

        try:
            await self._client.connect(
                servers,
                **options,
                name="fti_assets",
                allow_reconnect=False,  # a consumer of before is gone as often as not: a new session begins again
                max_reconnect_attempts=1,  # of each host, in this one attempt
                reconnect_time_wait=0,
                connect_timeout=_ANSWER_SECONDS,
                ping_interval=10,
                max_outstanding_pings=2,
                error_cb=note,
                closed_cb=note_end,
                disconnected_cb=note_end,
            )
        except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
            await self.close()
            raise _away(problems[-1] if problems else error) from None

    async def ask(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """JetStream's answer, which may be an ``error``.

        Raises:
            Away: there is none.
        """
        request = asyncio.ensure_future(
            self._client.request(f"{_API}.{what}", json.dumps(body).encode(), timeout=_ANSWER_SECONDS)
        )
        lost = asyncio.ensure_future(self._lost.wait())  # on which the client itself would go on waiting
        try:
            await asyncio.wait([request, lost], return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                raise Away("the connection is lost")
            return dict(json.loads(request.result().data))
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise _away(error) from None
        finally:
            request.cancel()
            lost.cancel()

    async def told(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """JetStream's answer, which is no error.

        Raises:
            Away: it is one, or there is none.
        """
        answer = await self.ask(what, body)
        if "error" in answer:
            raise Away(f"JetStream says: {answer['error'].get('description', 'no')}")
        return answer

    async def state(self, name: str) -> StreamState:
        """What is said of a stream.

        Raises:
            Away: the server does not answer.
            StoreError: there is no such stream, or it does not keep what is not yet read.
        """
        answer = await self._info(name, {})
        state, config = answer["state"], answer["config"]
        kept, of_subject = config.get("retention", "limits"), config.get("max_msgs_per_subject", -1)
        if kept != "limits" or of_subject > 0:
            how = f"by {kept!r}" if kept != "limits" else f"only the last {of_subject} of each subject"
            raise StoreError(
                f"{self._stream.place}: JetStream keeps messages of {name!r} {how}, so that some are gone before they are read, or read "
                "again at night: have it keep them by limits of age or size alone"
            )
        first_at = _time(state.get("first_ts")) if state["messages"] else None
        last_at = _time(state.get("last_ts"))
        return StreamState(
            answer["created"], state["first_seq"], state["last_seq"], state["messages"], first_at, last_at
        )

    async def deleted(self, name: str) -> set[int]:
        """The sequences between the first and the last that someone has deleted."""
        answer = await self._info(name, {"deleted_details": True})
        return set(answer["state"].get("deleted") or ())

    async def listen(self, on_message: Callable[[Any], Awaitable[None]]) -> str:
        """A subject of our own, to which answers can be sent."""
        inbox = self._client.new_inbox()
        try:
            await self._client.subscribe(inbox, cb=on_message)
        except (nats.errors.Error, OSError) as error:
            raise _away(error) from None
        return inbox

    async def send(self, what: str, body: Mapping[str, Any], reply: str = "") -> None:
        """Ask something whose answers come to a subject of our own.

        Raises:
            Away: the connection is lost.
        """
        try:
            await self._client.publish(f"{_API}.{what}", json.dumps(body).encode(), reply=reply)
        except (nats.errors.Error, OSError) as error:
            raise _away(error) from None

    def check(self) -> None:
        """Raise Away if the connection is lost."""
        if not self._client.is_connected:
            raise Away(str(self._client.last_error or "the connection is closed"))

    @property
    def is_connected(self) -> bool:
        return bool(self._client.is_connected)

    async def close(self) -> None:
        with suppress(Exception):
            await self._client.close()

    async def _info(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self.ask(f"STREAM.INFO.{name}", body)
        if "error" not in answer:
            return answer
        if answer["error"].get("code") != _NOT_FOUND:
            raise Away(f"JetStream says: {answer['error'].get('description', 'no')}")
        names = (await self.ask("STREAM.NAMES", {})).get("streams") or []
        raise StoreError(
            f"{self._stream.place} has no stream {name!r}: JetStream there has {list_some(sorted(names))}. Make it, as in "
            f"`nats stream add {name}`, or write the name of one that is there"
        )


def _away(error: Exception) -> Away:
    return Away(str(error) or type(error).__name__)


def _time(text: str | None) -> int | None:
    """Microseconds of JetStream's text of an instant, which has up to nine digits behind the point."""
    if not text or text.startswith("0001"):
        return None
    instant, _, rest = text.rstrip("Z").partition(".")
    return microseconds(datetime.fromisoformat(instant)) + int(f"{rest:0<6}"[:6] or 0)
