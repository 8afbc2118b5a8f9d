"""The Open Inference Protocol over gRPC, beside an application that answers it over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio

from fti_assets.errors import DeclarationError, RequestError
from fti_assets.inference.server.answering import Answering, Exchange, refusal
from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.messages.protobuf import SERVICE, message, message_of, read_infer, write_infer
from fti_assets.inference.server.pages import config_of, metadata_of
from fti_assets.inference.server.reading import request_id
from fti_assets.inference.server.refusals import RefusedError

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.FAILED_PRECONDITION,
    503: grpc.StatusCode.UNAVAILABLE,
}
_LONGEST_MESSAGE = 2_000
"""Of an error, in characters: it travels in a header, of which clients take 8 KiB at most."""


async def start(answering: Answering, host: str, port: int) -> tuple[Any, int]:
    """A ``grpc.aio`` server that listens, and its port; other processes may listen on the same port.

    Raises:
        DeclarationError: the address cannot be listened on.
    """
    limits = answering.limits
    options = [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.absolute_max_metadata_size", limits.header_bytes),
        ("grpc.max_concurrent_streams", limits.requests),
        ("grpc.max_allowed_incoming_connections", int(limits.connections)),
        ("grpc.server_handshake_timeout_ms", _milliseconds(limits.header_seconds)),
        ("grpc.max_connection_idle_ms", _milliseconds(limits.header_seconds)),
        # A client that has stopped reads no answer, and its connection would stay for ever: it answers no ping either.
        ("grpc.keepalive_time_ms", _milliseconds(limits.body_seconds)),
        ("grpc.keepalive_timeout_ms", _milliseconds(limits.header_seconds)),
        # A message's length is measured before it is unpacked, so that a small one may become any size: none may be packed.
        ("grpc.compression_enabled_algorithms_bitset", 1),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((_handlers(answering),))
    try:
        bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError:
        raise DeclarationError(f"{host}:{port} cannot be listened on: name another --grpc-port") from None
    await server.start()
    return server, bound


def _handlers(answering: Answering) -> Any:
    service = _Service(answering)
    methods = {}
    for method in SERVICE.methods:
        request, response = message(method.input_type.name), message(method.output_type.name)
        # The same bytes as a call of one message. gRPC waits for that before it asks a handler, and for ever; a stream is waited for here.
        methods[method.name] = grpc.stream_unary_rpc_method_handler(
            _handler(answering, method.name, getattr(service, method.name)),
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )
    return grpc.method_handlers_generic_handler(SERVICE.full_name, methods)


def _handler(
    answering: Answering, name: str, answer: Callable[[Any, Exchange], Awaitable[Any]]
) -> Callable[[Any, Any], Awaitable[Any]]:
    """Answer a call as HTTP requests are: with a token, an id, a line in the log and a place in the metrics."""
    needs_token = name not in ("ServerLive", "ServerReady")

    async def handle(requests: AsyncIterator[Any], context: Any) -> Any:
        headers = {
            key.encode(): value if isinstance(value, bytes) else value.encode()
            for key, value in context.invocation_metadata() or ()
        }
        exchange = Exchange(
            request_id=request_id(headers),
            method="gRPC",
            path=f"/{SERVICE.full_name}/{name}",
            client=_host(context.peer()),
            headers=headers,
        )
        context.set_trailing_metadata((("x-request-id", exchange.request_id),))
        try:
            if needs_token:
                answering.check_token(exchange)
            request = await _only(requests, answering.limits)
            exchange.start = time.perf_counter()
            response = await answer(request, exchange)
        except Exception as error:
            status, message, _ = refusal(error, exchange.request_id)
            answering.note(exchange, status)
            await context.abort(_CODES.get(status, grpc.StatusCode.INTERNAL), message[:_LONGEST_MESSAGE])
        answering.note(exchange, 200)
        return response

    return handle


async def _only(requests: AsyncIterator[Any], limits: Limits) -> Any:
    """The message of a call.

    Raises:
        RefusedError: it does not come in time, or the client sends none.
    """
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await anext(requests)
    except TimeoutError:
        raise RefusedError(408, f"the message did not come to its end within {limits.body_seconds:g} s") from None
    except StopAsyncIteration:
        raise RefusedError(400, "the call has no message: one is expected") from None


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


class _Service:
    """The calls of the protocol, each under its own name."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._repository = answering.repository

    async def ServerLive(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        return message("ServerLiveResponse")(live=True)

    async def ServerReady(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        return message("ServerReadyResponse")(ready=self._answering.is_ready())

    async def ServerMetadata(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        return message_of("ServerMetadataResponse", self._answering.metadata())

    async def ModelReady(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        return message("ModelReadyResponse")(ready=self._answering.is_ready(request.name, request.version))

    async def ModelMetadata(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        return message_of("ModelMetadataResponse", metadata_of(self._repository.get(request.name, request.version)))

    async def ModelConfig(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        config = config_of(self._repository.get(request.name, request.version))
        return message_of("ModelConfigResponse", {"config": config})

    async def ModelStatistics(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        statistics = self._answering.statistics(request.name or None, request.version or None)
        return message_of("ModelStatisticsResponse", statistics)

    async def ModelInfer(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        endpoint = self._answering.admit(exchange, request.model_name, request.model_version)
        try:
            exchange.read = time.perf_counter() - exchange.start
            return await self._answering.infer(
                exchange,
                endpoint,
                lambda: read_infer(request),
                lambda answer: write_infer(request, answer, endpoint),
            )
        finally:
            self._answering.release()

    async def RepositoryIndex(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        return message_of("RepositoryIndexResponse", {"models": self._repository.index(ready=request.ready)})

    async def RepositoryModelLoad(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        if request.parameters:
            raise RequestError("a model is loaded as its store has it: the request may have no parameters")
        await self._answering.load(request.model_name)
        return message("RepositoryModelLoadResponse")()

    async def RepositoryModelUnload(self, request: Any, exchange: Exchange) -> Any:  # noqa: N802
        self._repository.unload(request.model_name)
        return message("RepositoryModelUnloadResponse")()


def _host(peer: str) -> str:
    """The address of a peer such as ``ipv4:127.0.0.1:5000``, without its port."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
