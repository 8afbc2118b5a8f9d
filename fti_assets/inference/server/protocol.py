"""uvicorn's HTTP protocol with its open doors shut: headers without end, connections that say nothing, too many of them."""

import asyncio
import math
import time
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.reading import START_TIME

_REFUSAL = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b"


class GuardedProtocol(HttpToolsProtocol):
    """A connection that must send its headers in time and in a bounded size.

    httptools buffers headers of any size and uvicorn waits for them for ever; its own limit on connections lets a client that keeps
    them open turn everybody else away.
    """

    limits = Limits()
    """Those of this process."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        self._header_bytes = self._unparsed = 0
        self._is_reading_headers = True
        self._deadline: asyncio.TimerHandle | None = None
        self._unsent = math.inf
        if len(self.connections) > self.limits.connections:
            self._refuse(b"503 Service Unavailable", b"the server has too many open connections", b"retry-after: 1\r\n")
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_none()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if (
            self._is_reading_headers
        ):  # a header that does not end is told to nobody; a body that came with them counts for one reading
            self._unparsed += len(data)
        super().data_received(data)
        if self._is_reading_headers:
            self._check_size(self._unparsed)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_reading_headers = True
        self._header_bytes = 0

    def on_headers_complete(self) -> None:
        self._is_reading_headers = False
        self._header_bytes = self._unparsed = 0
        self._expect_none()
        if not self.transport.is_closing():
            cast("dict[str, Any]", self.scope)[START_TIME] = time.perf_counter()
            super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._is_reading_headers = True
            self._expect_headers()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.transport.is_closing():
            super().on_message_complete()

    def _count(self, size: int) -> None:
        """Count what one reading of the socket brought, which may be more than is allowed, and its end."""
        self._header_bytes += size
        self._check_size(self._header_bytes)

    def _check_size(self, size: int) -> None:
        if size > self.limits.header_bytes:
            self._refuse(b"431 Request Header Fields Too Large", b"the request line and headers are too long")

    def _expect_headers(self, unsent: float = math.inf) -> None:
        """Wait for the next request; of the answer before, which nobody may have taken yet, so many bytes are left, if that is known."""
        self._expect_none()
        self._unsent = unsent
        self._deadline = self.loop.call_later(self.limits.header_seconds, self._give_up)

    def _expect_none(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

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

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pending:
            data = b"".join(self._pending)
            self._pending = []
            self._transport.write(data)
