"""uvicorn's HTTP protocol with its open doors shut: headers without end, connections that say nothing, too many of them."""

import asyncio
import math
import time
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from fti_assets.inference.server.direct import PATH
from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.messages.response import Response
from fti_assets.inference.server.reading import START_TIME

_REFUSAL = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b"


class GuardedProtocol(HttpToolsProtocol):
    """A connection that must send its headers in time and in a bounded size.

    httptools buffers headers of any size and uvicorn waits for them for ever; its own limit on connections lets a client that keeps
    them open turn everybody else away.

    A request that came whole, and that the application answers without waiting, never becomes a task.
    """

    limits = Limits()
    """Those of this process."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        self._header_bytes = self._unparsed = 0
        self._is_reading_headers = True
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = math.inf
        self._answer_now = getattr(self.app, "answer_now", None)
        self._is_first = True
        self._whole: list[bytes] | None = None
        if len(self.connections) > self.limits.connections:
            self._refuse(b"503 Service Unavailable", b"the server has too many open connections", b"retry-after: 1\r\n")
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_none()
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if (
            self._is_reading_headers
        ):  # a header that does not end is told to nobody; a body that came with them counts for one reading
            self._unparsed += len(data)
        # Of several requests that came at once the others wait for their turn, or one client would hold up all.
        self._is_first = True
        super().data_received(data)
        if self.transport.is_closing():
            self._whole = None
        if self._whole is not None:
            self._go_usual_way()
        if self._is_reading_headers:
            self._check_size(self._unparsed)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        # What uvicorn does, and the count, without a call for each.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self.limits.header_bytes:
            self._check_size(self._header_bytes)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_reading_headers = True
        self._header_bytes = 0

    def on_headers_complete(self) -> None:
        self._is_reading_headers = False
        self._header_bytes = self._unparsed = 0
        self._expect_none()
        if self.transport.is_closing():
            return
        cast("dict[str, Any]", self.scope)[START_TIME] = time.perf_counter()
        if self._answer_now is not None and self.url.startswith(PATH) and self._is_plain():
            self._whole = []
        else:
            super().on_headers_complete()
        self._is_first = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._is_reading_headers = True
            self._expect_headers()

    def on_body(self, body: bytes) -> None:
        if self._whole is not None:
            self._whole.append(body)
        elif not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.transport.is_closing():
            return
        if self._whole is not None:
            body = self._whole[0] if len(self._whole) == 1 else b"".join(self._whole)
            start = cast("dict[str, Any]", self.scope)[START_TIME]
            client = self.client[0] if self.client else ""
            answer = self._answer_now(self.url, self.headers, body, client, start)  # type: ignore[misc]
            if answer is not None:
                self._whole = None
                self._write(*answer)
                return
            self._go_usual_way()
        super().on_message_complete()

    def _is_plain(self) -> bool:
        """Whether the request is one that may be answered once it is whole: nothing is before it, and nothing else is asked."""
        return (
            self._is_first
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self.expect_100_continue
            and not self.root_path
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
        )

    def _go_usual_way(self) -> None:
        """Hand the request, of which so much has come, to the application."""
        pieces, self._whole = self._whole or [], None
        super().on_headers_complete()
        for piece in pieces:
            super().on_body(piece)

    def _write(self, response: Response, request_id: str) -> None:
        """Send a response as uvicorn does."""
        headers = b"".join([b"%b: %b\r\n" % one for one in self.server_state.default_headers])
        head = response.head(STATUS_LINE[response.status], headers, request_id)
        cast("_JoinedWrites", self.transport).write_now(head + response.body)
        self.server_state.total_requests += 1
        if response.close:
            self.transport.close()
        else:
            self._is_reading_headers = True
            self._expect_headers()

    def _count(self, size: int) -> None:
        """Count what one reading of the socket brought, which may be more than is allowed, and its end."""
        self._header_bytes += size
        self._check_size(self._header_bytes)

    def _check_size(self, size: int) -> None:
        if size > self.limits.header_bytes:
            self._refuse(b"431 Request Header Fields Too Large", b"the request line and headers are too long")

    def _expect_headers(self, unsent: float = math.inf) -> None:
        """Wait for the next request; of the answer before, which nobody may have taken yet, so many bytes are left, if that is known."""
        self._unsent = unsent
        self._deadline = self.loop.time() + self.limits.header_seconds
        if self._timer is None:
            self._timer = self.loop.call_later(self.limits.header_seconds, self._look_at_deadline)

    def _expect_none(self) -> None:
        # The timer goes on: to cancel one and make another costs more than all that a request changes here.
        self._deadline = math.inf

    def _look_at_deadline(self) -> None:
        self._timer = None
        seconds = self._deadline - self.loop.time()
        if seconds <= 0:
            self._give_up()
        elif seconds < math.inf:
            self._timer = self.loop.call_later(seconds, self._look_at_deadline)

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0:
            self.transport.close()
        elif unsent < self._unsent:  # the client takes its answer, slowly
            self._expect_headers(unsent)
        else:  # closing would wait for a client that takes nothing
            self.transport.abort()

    def _refuse(self, status: bytes, message: bytes, headers: bytes = b"") -> None:
        if not self.transport.is_closing():
            body = b'{"error":"' + message + b'"}'
            self.transport.write(_REFUSAL % (status, len(body), headers, body))
            self.transport.close()


class _JoinedWrites:
    """A transport that sends what is written in one turn of the event loop together.

    uvicorn writes the headers and the body of a response apart. Each is a call of the system that wakes the client, which costs more
    than the answer of a small model.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pending: list[bytes] = []
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def write_now(self, data: bytes) -> None:
        """Send all of a response, behind what was written before."""
        if self._pending:
            self._pending.append(data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pending:
            data = b"".join(self._pending)
            self._pending = []
            self._transport.write(data)
