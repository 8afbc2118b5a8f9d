"""Reading a request under the server's limits: its headers, and its body as it comes."""

import asyncio
import hmac
import itertools
import os
import re
import secrets
import types
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs

from fti_assets.errors import excerpt
from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.refusals import RefusedError

Receive = Callable[[], Awaitable[Any]]

START_TIME = "fti_assets.started"
"""Where a request's scope says when its headers had been read, in seconds of ``time.perf_counter``; another server's says nothing."""

T = TypeVar("T")

_MARKS = frozenset("%+&")
"""What stands for something else in a query."""
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class ClientGoneError(Exception):
    """The client closed its connection before its request was whole."""


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The id that the client gave with ``X-Request-Id``, of up to 128 visible ASCII characters, else one of our own."""
    request_id = headers.get(b"x-request-id")
    if request_id is not None and _REQUEST_ID.fullmatch(request_id):
        return request_id.decode()
    return f"{_ids.prefix}{next(_ids.numbers):016x}"


class _Ids:
    """Ids of this process: a number behind one random part, which is cheaper than a random id for each request."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.prefix = secrets.token_hex(8)
        self.numbers = itertools.count(secrets.randbits(32))


_ids = _Ids()
os.register_at_fork(after_in_child=_ids.begin)


def query_of(text: bytes) -> dict[str, list[str]]:
    """What a query says, as ``parse_qs`` reads it; one plain ``name=value`` at a tenth of its cost."""
    name, _, value = text.decode("latin-1").partition("=")
    if value and name.isidentifier() and _MARKS.isdisjoint(value):
        return {name: [value]}
    return parse_qs(text.decode("latin-1"))


def check_token(headers: Mapping[bytes, bytes], tokens: Sequence[bytes]) -> None:
    """Let a request pass that bears one of the tokens; all are compared, each in constant time.

    Raises:
        RefusedError: it bears none of them.
    """
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    # A list, not any(): stopping at the first match would tell by its time which token it was.
    matches = [hmac.compare_digest(token.strip(), one) for one in tokens]
    if scheme.lower() != b"bearer" or not any(matches):
        raise RefusedError(401, "the request bears no valid token: send Authorization: Bearer TOKEN")


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limits: Limits) -> bytes:
    """The whole body.

    Raises:
        RefusedError: it is too large, comes too slowly, or is compressed in a way that is not known.
        ClientGoneError: it does not come to its end.
    """
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > limits.body_bytes:
        raise _too_large(limits)
    reading = _receive(receive, limits)
    try:
        # Most bodies have come with their headers: a reading that does not wait needs no timer, which costs as much as all the rest of it.
        pending = reading.send(None)
    except StopIteration as end:
        body: bytes = end.value
    else:
        try:
            async with asyncio.timeout(limits.body_seconds):
                body = await _resume(reading, pending)
        except TimeoutError:
            raise RefusedError(408, f"the body did not come to its end within {limits.body_seconds:g} s") from None
    encoding = headers.get(b"content-encoding", b"identity").lower()
    return body if encoding == b"identity" else _unpack(body, encoding, limits)


@types.coroutine
def _resume(coroutine: Coroutine[Any, Any, T], pending: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that was begun by hand and waits for something."""
    try:
        while True:
            try:
                value = yield pending
            except BaseException as error:
                pending = coroutine.throw(error)
            else:
                pending = coroutine.send(value)
    except StopIteration as end:
        return cast(T, end.value)


async def _receive(receive: Receive, limits: Limits) -> bytes:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limits.body_bytes:
            raise _too_large(limits)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _unpack(body: bytes, encoding: bytes, limits: Limits) -> bytes:
    if encoding not in (b"gzip", b"deflate"):
        raise RefusedError(
            415, f"the body's encoding is {excerpt(encoding.decode('latin-1'))}: gzip, deflate or none is expected"
        )
    unpacking = zlib.decompressobj(wbits=47)  # either of the two by its first bytes
    try:
        content = unpacking.decompress(body, limits.body_bytes + 1)
    except zlib.error as error:
        raise RefusedError(400, f"the body is no {encoding.decode()}: {error}") from error
    if len(content) > limits.body_bytes:  # a small body may unpack to any size
        raise _too_large(limits)
    if not unpacking.eof:
        raise RefusedError(400, f"the body is {encoding.decode()} that ends too early")
    return content


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"the body is larger than {limits.body_bytes} bytes")
