"""The server's ASGI application: the Open Inference Protocol over REST, plain JSON, metrics and pages."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import Any
from urllib.parse import parse_qs, unquote

from fti_assets.core import clock
from fti_assets.errors import FtiError, PredictionError, RequestError, StoreError, excerpt
from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.messages import (
    BINARY_LENGTH,
    InferRequest,
    read_json,
    read_request,
    write_json,
    write_response,
)
from fti_assets.inference.server.metrics import CONTENT_TYPE, Metrics
from fti_assets.inference.server.pages import config_of, metadata_of, openapi, page
from fti_assets.inference.server.reading import ClientGoneError, Receive, check_token, read_body, request_id
from fti_assets.inference.server.refusals import RefusedError
from fti_assets.inference.server.repository import Repository
from fti_assets.inference.server.served import Answer, Served, ServedPredictor, Stages, TooManyRowsError, check_rows
from fti_assets.inference.serving.served_build import Prediction

Send = Callable[[Any], Awaitable[None]]

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]
ACCESS = logging.getLogger("fti_assets.access")
_log = logging.getLogger(__name__)
_JSON = b"application/json"
_INLINE_ROWS = 32
"""Up to so many rows of an embedded store are answered where they are read: a thread costs more than they do."""


@dataclass
class Exchange:
    """One request on its way, and what became of it."""

    request_id: str
    method: str
    path: tuple[str, ...]
    query: dict[str, list[str]]
    headers: Mapping[bytes, bytes]
    receive: Receive
    start: float
    model: str = ""
    build: str = ""
    rows: int = 0
    read: float = 0.0
    stages: Stages | None = None


@dataclass
class Response:
    """What the client is answered."""

    body: bytes
    status: int = 200
    content_type: bytes = _JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close: bool = False


class ServingApp:
    """An ASGI application that answers for the models of a repository; mount it anywhere.

    Args:
        repository: the models.
        limits: what it takes at most.
        tokens: those of which a request must bear one, except for health; none for everybody.
        in_threads: whether each prediction is made in a thread, since the online store is a server that is waited for.
    """

    def __init__(
        self, repository: Repository, *, limits: Limits, tokens: Sequence[str] = (), in_threads: bool = False
    ) -> None:
        self.repository = repository
        self.is_draining = False
        self.limits = limits
        self._tokens = [token.encode() for token in tokens]
        self._in_threads = in_threads
        self._metrics = Metrics()
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="fti-predict")
        self._active = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            raise RuntimeError(f"this application answers HTTP, not {scope['type']}")

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        path = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
        exchange = Exchange(
            request_id(headers),
            scope["method"],
            tuple(path.split("/")) if path else (),
            parse_qs(scope["query_string"].decode("latin-1")) if scope["query_string"] else {},
            headers,
            receive,
            time.perf_counter(),
        )
        try:
            response = await self._respond(exchange)
        except ClientGoneError:
            return
        except Exception as error:
            response = _refusal(error, exchange)
        await _send(send, response, exchange)
        self._note(exchange, response, scope)

    async def _respond(self, exchange: Exchange) -> Response:
        path, method = exchange.path, exchange.method
        if path[:2] == ("v2", "health"):
            return self._health(path, method)
        if self._tokens:
            check_token(exchange.headers, self._tokens)
        match path:
            case ("v2", "models", name, "infer") | ("predict", name):
                _allow(method, "POST")
                return await self._counted(exchange, name, None)
            case ("v2", "models", name, "versions", version, "infer"):
                _allow(method, "POST")
                return await self._counted(exchange, name, version)
            case ("v2", "repository", *rest):
                _allow(method, "POST")
                return await self._repository(exchange, tuple(rest))
        _allow(method, "GET")
        return self._described(path)

    def _health(self, path: tuple[str, ...], method: str) -> Response:
        _allow(method, "GET")
        match path[2:]:
            case ("live",):
                return Response(b'{"live":true}')
            case ("ready",):
                ready = not self.is_draining and self.repository.is_ready()
                return Response(write_json({"ready": ready}), 200 if ready else 400)
        raise _nowhere(path)

    def _described(self, path: tuple[str, ...]) -> Response:
        repository = self.repository
        match path:
            case ("v2",):
                return Response(
                    write_json({"name": "fti_assets", "version": version_of("fti-assets"), "extensions": EXTENSIONS})
                )
            case ("v2", "models", "stats"):
                models = [self._stats(repository.get(name["name"])) for name in repository.index(ready=True)]
                return Response(write_json({"model_stats": models}))
            case ("v2", "models", name, *rest):
                version = rest[1] if rest[:1] == ["versions"] and len(rest) > 1 else None
                return self._model(path, name, version, rest[2:] if version is not None else rest)
            case ("metrics",):
                return Response(self._metrics.text(), content_type=CONTENT_TYPE)
            case ("openapi.json",):
                return Response(write_json(openapi(repository, self.limits)))
            case ():
                return Response(page(repository), content_type=b"text/html; charset=utf-8")
        raise _nowhere(path)

    def _model(self, path: tuple[str, ...], name: str, version: str | None, rest: list[str]) -> Response:
        if rest == ["ready"]:
            ready = not self.is_draining and self.repository.is_ready(name)
            if ready:
                self.repository.get(name, version)
            return Response(write_json({"name": name, "ready": ready}), 200 if ready else 400)
        served = self.repository.get(name, version)
        match rest:
            case []:
                return Response(write_json(metadata_of(served)))
            case ["config"]:
                return Response(write_json(config_of(served)))
            case ["stats"]:
                return Response(write_json({"model_stats": [self._stats(served)]}))
        raise _nowhere(path)

    def _stats(self, served: Served) -> dict[str, Any]:
        return self.repository.statistics[served.name].as_json(served.name, served.version)

    async def _repository(self, exchange: Exchange, rest: tuple[str, ...]) -> Response:
        body = await read_body(exchange.headers, exchange.receive, self.limits)
        match rest:
            case ("index",):
                asked = read_json(body) if body.strip() else {}
                ready = asked.get("ready", False) if isinstance(asked, dict) else None
                if not isinstance(ready, bool):
                    raise RequestError(f"the body is {excerpt(asked)}: {{}} or {{'ready': true}} is expected")
                return Response(write_json(self.repository.index(ready=ready)))
            case ("models", name, "load"):
                if body.strip() and read_json(body) not in ({}, {"parameters": {}}):
                    raise RequestError("a model is loaded as its store has it: the request may have no parameters")
                await self._in_thread(self.repository.load, name)
                return Response(b"{}")
            case ("models", name, "unload"):
                self.repository.unload(name)
                return Response(b"{}")
        raise _nowhere(exchange.path)

    async def _counted(self, exchange: Exchange, name: str, version: str | None) -> Response:
        """Answer for a model, if there is room for one more request."""
        if self._active >= self.limits.requests:
            raise RefusedError(
                503, f"the server answers {self.limits.requests} requests at once and takes no more now", retry_after=1
            )
        served = self.repository.get(name, version)
        exchange.model = name
        self._active += 1
        try:
            body = await read_body(exchange.headers, exchange.receive, self.limits)
            exchange.read = time.perf_counter() - exchange.start
            return await (self._predict if exchange.path[0] == "predict" else self._infer)(exchange, served, body)
        finally:
            self._active -= 1

    async def _infer(self, exchange: Exchange, served: Served, body: bytes) -> Response:
        start = time.perf_counter()
        request, inputs = read_request(body, exchange.headers.get(BINARY_LENGTH))
        read = time.perf_counter()
        rows = max((array.shape[0] for array in inputs.values() if array.ndim), default=0)
        check_rows(rows, self.limits.rows)

        def infer() -> Answer:
            return served.infer(inputs, request.parameters, most_rows=self.limits.rows)

        answer = await self._made(infer, rows)
        ran = time.perf_counter()
        response = _written(request, answer, served)
        exchange.build, exchange.rows, exchange.stages = str(answer.parameters["build"]), answer.rows, answer.stages
        statistics = self.repository.statistics[served.name]
        statistics.inferences += answer.rows
        statistics.executions += 1
        for pair, seconds in (
            (statistics.compute_input, read - start),
            (statistics.compute_infer, ran - read),
            (statistics.compute_output, time.perf_counter() - ran),
        ):
            pair[0] += 1
            pair[1] += int(seconds * 1e9)
        self._metrics.count_rows(served.name, exchange.build, answer.rows, answer.predictions)
        return response

    async def _predict(self, exchange: Exchange, served: Served, body: bytes) -> Response:
        if not isinstance(served, ServedPredictor):
            raise RefusedError(
                404, f"{served.name!r} takes tensors and no plain requests: POST /v2/models/{served.name}/infer"
            )
        asked = read_json(body)
        requests = asked if isinstance(asked, list) else [asked]
        check_rows(len(requests), self.limits.rows)
        if extras := [name for name in exchange.query if name != "at"]:
            raise RequestError(f"the query has {extras[0]!r:.80}: only at=TIME is expected")
        at = exchange.query.get("at", [None])[-1]
        if not requests:
            return Response(write_json({"predictions": [], "request_id": exchange.request_id}))
        predictions, stages = await self._made(lambda: served.predict(requests, at), len(requests))
        exchange.build, exchange.rows, exchange.stages = predictions[0].build, len(predictions), stages
        self._metrics.count_rows(served.name, exchange.build, len(predictions), predictions)
        self.repository.statistics[served.name].inferences += len(predictions)
        self.repository.statistics[served.name].executions += 1
        answers = [_plain(prediction) for prediction in predictions]
        if isinstance(asked, list):
            return Response(write_json({"predictions": answers, "request_id": exchange.request_id}))
        return Response(write_json(answers[0] | {"request_id": exchange.request_id}))

    async def _made(self, work: Callable[[], Any], rows: int) -> Any:
        return await self._in_thread(work) if self._in_threads or rows > _INLINE_ROWS else work()

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _note(self, exchange: Exchange, response: Response, scope: Any) -> None:
        """Count a request and log it."""
        total = time.perf_counter() - exchange.start
        if exchange.model:
            self._metrics.count(
                exchange.model, response.status, read=exchange.read, stages=exchange.stages, total=total
            )
            if (statistics := self.repository.statistics.get(exchange.model)) is not None:
                pair = statistics.success if response.status == 200 else statistics.fail
                pair[0] += 1
                pair[1] += int(total * 1e9)
                statistics.last_ms = int(time.time() * 1000)
        if ACCESS.isEnabledFor(logging.INFO):
            client = scope.get("client")
            ACCESS.info(
                json.dumps(
                    {
                        "at": clock.now().isoformat(timespec="milliseconds") + "Z",
                        "request_id": exchange.request_id,
                        "method": exchange.method,
                        "path": scope["path"][:500],
                        "status": response.status,
                        "ms": round(total * 1000, 3),
                        "model": exchange.model,
                        "build": exchange.build,
                        "rows": exchange.rows,
                        "client": client[0] if client else "",
                    }
                )
            )


def _written(request: InferRequest, answer: Answer, served: Served) -> Response:
    body, length = write_response(
        request, answer.outputs, model=served.name, version=served.version, parameters=answer.parameters
    )
    if length is None:
        return Response(body)
    return Response(body, content_type=b"application/octet-stream", headers=((BINARY_LENGTH, str(length).encode()),))


def _plain(prediction: Prediction) -> dict[str, Any]:
    return {
        "value": prediction.value,
        "model": prediction.model,
        "build": prediction.build,
        "arm": "champion",
        "at": prediction.at,
        "features": prediction.features,
        "ages": prediction.ages,
        "missing": prediction.missing,
        "unknown": prediction.unknown,
        "out_of_schema": prediction.out_of_schema,
    }


def _allow(method: str, expected: str) -> None:
    if method != expected:
        raise RefusedError(405, f"{method:.20} is not allowed here: {expected} is expected")


def _nowhere(path: Sequence[str]) -> RefusedError:
    return RefusedError(
        404, f"there is nothing at /{'/'.join(map(unquote, path)):.200}: /openapi.json lists what there is"
    )


def _refusal(error: Exception, exchange: Exchange) -> Response:
    """What a client is told of an error; what is nobody's mistake is logged."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    status, message = 500, f"the server failed; its log says how under request id {exchange.request_id}"
    if isinstance(error, RefusedError):
        status, message = error.status, str(error)
        if error.retry_after is not None:
            headers = ((b"retry-after", str(error.retry_after).encode()),)
        if status == 401:
            headers = ((b"www-authenticate", b"Bearer"),)
        if status == 405:
            headers = ((b"allow", message.rpartition(": ")[2].split()[0].encode()),)
    elif isinstance(error, TooManyRowsError):
        status, message = 413, str(error)
    elif isinstance(error, RequestError):
        status, message = 400, str(error)
    elif isinstance(error, StoreError):
        status, message, headers = 503, str(error), ((b"retry-after", b"1"),)
        _log.warning("request %s cannot be answered: %s", exchange.request_id, error)
    elif isinstance(error, PredictionError):
        status, message = 422, str(error)
    elif isinstance(error, FtiError):
        status, message = 500, str(error)
        _log.error("request %s failed: %s", exchange.request_id, error)
    else:
        _log.error("request %s failed", exchange.request_id, exc_info=error)
    body = write_json({"error": message.encode(errors="replace").decode(), "request_id": exchange.request_id})
    # What is left of a body that is not read would be taken for the next request, or come for ever.
    return Response(
        body, status, headers=headers, close=exchange.method == "POST" and status in (401, 404, 405, 408, 413, 503)
    )


async def _send(send: Send, response: Response, exchange: Exchange) -> None:
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", str(len(response.body)).encode()),
        (b"x-request-id", exchange.request_id.encode()),
        *response.headers,
    ]
    if response.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
