"""The server's ASGI application: the Open Inference Protocol over REST, plain JSON, metrics and pages."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np

from fti_assets.errors import RequestError, excerpt
from fti_assets.inference.server.answering import Answering, Exchange, refusal
from fti_assets.inference.server.direct import DirectAnswers
from fti_assets.inference.server.endpoints.endpoint import Answer, Endpoint, Stages, check_rows
from fti_assets.inference.server.endpoints.repository import Repository
from fti_assets.inference.server.endpoints.served_predictor import ServedPredictor
from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.messages.plain import plain_answer, plain_requests
from fti_assets.inference.server.messages.response import Response
from fti_assets.inference.server.messages.rest import (
    BINARY_LENGTH,
    InferRequest,
    read_json,
    read_request,
    write_json,
    write_response,
)
from fti_assets.inference.server.metrics import CONTENT_TYPE
from fti_assets.inference.server.openapi import openapi
from fti_assets.inference.server.pages import config_of, metadata_of, page
from fti_assets.inference.server.reading import START_TIME, ClientGoneError, Receive, query_of, read_body, request_id
from fti_assets.inference.server.refusals import RefusedError
from fti_assets.inference.serving.answers.prediction import Prediction, tell_all
from fti_assets.inference.serving.log.work import Tally
from fti_assets.inference.serving.log.writer import LogWriter

Send = Callable[[Any], Awaitable[None]]


@dataclass(kw_only=True)
class HttpExchange(Exchange):
    """One request over HTTP."""

    parts: tuple[str, ...]
    query: dict[str, list[str]]
    receive: Receive


class ServingApp:
    """An ASGI application that answers for the models of a repository; mount it anywhere.

    Args:
        repository: the models.
        limits: what it takes at most.
        tokens: those of which a request must bear one, except for health; none for everybody.
        in_threads: whether each prediction is made in a thread, since the online store is a server that is waited for.
        log: makes the log of answers, given what is told of each that is logged or dropped; None for no log.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        limits: Limits,
        tokens: Sequence[str] = (),
        in_threads: bool = False,
        log: Callable[[Tally], LogWriter] | None = None,
    ) -> None:
        self.answering = Answering(repository, limits=limits, tokens=tokens, in_threads=in_threads)
        if log is not None:
            self.answering.log = log(self.answering.metrics.count_logged)
        self.repository = repository
        self.limits = limits
        self.answer_now = None if in_threads else DirectAnswers(self.answering, _refusal).answer
        """Answers one plain request where it is read; None if the store is waited for."""

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send, self.answering.log)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            raise RuntimeError(f"this application answers HTTP, not {scope['type']}")

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        path = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
        client = scope.get("client")
        exchange = HttpExchange(
            request_id=request_id(headers),
            method=scope["method"],
            path=scope["path"],
            client=client[0] if client else "",
            headers=headers,
            parts=tuple(path.split("/")) if path else (),
            start=scope.get(START_TIME) or time.perf_counter(),
            query=query_of(scope["query_string"]) if scope["query_string"] else {},
            receive=receive,
        )
        try:
            response = await self._respond(exchange)
        except ClientGoneError:
            return
        except Exception as error:
            response = _refusal(error, exchange)
        await _send(send, response, exchange)
        self.answering.note(exchange, response.status)

    async def _respond(self, exchange: HttpExchange) -> Response:
        path, method = exchange.parts, exchange.method
        if path[:2] == ("v2", "health"):
            return self._health(path, method)
        # Health comes before the token: a load balancer that asks for it has none.
        self.answering.check_token(exchange)
        match path:
            case ("v2", "models", name, "infer") | ("predict", name):
                _allow(method, "POST")
                return await self._count(exchange, name, None)
            case ("v2", "models", name, "versions", version, "infer"):
                _allow(method, "POST")
                return await self._count(exchange, name, version)
            case ("v2", "repository", *subpath):
                _allow(method, "POST")
                return await self._repository(exchange, tuple(subpath))
        _allow(method, "GET")
        return self._describe(path)

    def _health(self, path: tuple[str, ...], method: str) -> Response:
        _allow(method, "GET")
        match path[2:]:
            case ("live",):
                return Response(b'{"live":true}')
            case ("ready",):
                ready = self.answering.is_ready()
                return Response(write_json({"ready": ready}), 200 if ready else 400)
        raise _nowhere(path)

    def _describe(self, path: tuple[str, ...]) -> Response:
        repository = self.repository
        match path:
            case ("v2",):
                return Response(write_json(self.answering.metadata()))
            case ("v2", "models", "stats"):
                return Response(write_json(self.answering.statistics()))
            case ("v2", "models", name, *subpath):
                version = subpath[1] if subpath[:1] == ["versions"] and len(subpath) > 1 else None
                return self._model(path, name, version, subpath[2:] if version is not None else subpath)
            case ("metrics",):
                return Response(self.answering.metrics.text(), content_type=CONTENT_TYPE)
            case ("openapi.json",):
                return Response(write_json(openapi(repository, self.limits)))
            case ():
                return Response(page(repository), content_type=b"text/html; charset=utf-8")
        raise _nowhere(path)

    def _model(self, path: tuple[str, ...], name: str, version: str | None, subpath: list[str]) -> Response:
        if subpath == ["ready"]:
            ready = self.answering.is_ready(name, version)
            return Response(write_json({"name": name, "ready": ready}), 200 if ready else 400)
        endpoint = self.repository.get(name, version)
        match subpath:
            case []:
                return Response(write_json(metadata_of(endpoint)))
            case ["config"]:
                return Response(write_json(config_of(endpoint)))
            case ["stats"]:
                return Response(write_json(self.answering.statistics(name, version)))
        raise _nowhere(path)

    async def _repository(self, exchange: HttpExchange, subpath: tuple[str, ...]) -> Response:
        body = await read_body(exchange.headers, exchange.receive, self.limits)
        match subpath:
            case ("index",):
                body_fields = read_json(body) if body.strip() else {}
                ready = body_fields.get("ready", False) if isinstance(body_fields, dict) else None
                if not isinstance(ready, bool):
                    raise RequestError(f"the body is {excerpt(body_fields)}: {{}} or {{'ready': true}} is expected")
                return Response(write_json(self.repository.index(ready=ready)))
            case ("models", name, "load"):
                if body.strip() and read_json(body) not in ({}, {"parameters": {}}):
                    raise RequestError("a model is loaded as its store has it: the request may have no parameters")
                await self.answering.load(name)
                return Response(b"{}")
            case ("models", name, "unload"):
                self.repository.unload(name)
                return Response(b"{}")
        raise _nowhere(exchange.parts)

    async def _count(self, exchange: HttpExchange, name: str, version: str | None) -> Response:
        endpoint = self.answering.admit(exchange, name, version)
        try:
            body = await read_body(exchange.headers, exchange.receive, self.limits)
            exchange.read = time.perf_counter() - exchange.start
            return await (self._predict if exchange.parts[0] == "predict" else self._infer)(exchange, endpoint, body)
        finally:
            self.answering.release()

    async def _infer(self, exchange: HttpExchange, endpoint: Endpoint, body: bytes) -> Response:
        request: InferRequest

        def read() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            nonlocal request
            request, inputs = read_request(body, exchange.headers.get(BINARY_LENGTH))
            return inputs, request.parameters

        return await self.answering.infer(exchange, endpoint, read, lambda answer: _write(request, answer, endpoint))

    async def _predict(self, exchange: HttpExchange, endpoint: Endpoint, body: bytes) -> Response:
        if not isinstance(endpoint, ServedPredictor):
            raise RefusedError(
                404, f"{endpoint.name!r} takes tensors and no plain requests: POST /v2/models/{endpoint.name}/infer"
            )
        message = plain_requests(read_json(body), [field.name for field in endpoint.predictor.serving.fields])
        requests = message.requests
        check_rows(len(requests), self.limits.rows)
        if extras := [name for name in exchange.query if name != "at"]:
            raise RequestError(f"the query has {extras[0]!r:.80}: only at=TIME is expected")
        at = exchange.query.get("at", [None])[-1]
        if not requests:
            return Response(write_json({"predictions": [], "request_id": exchange.request_id}))

        def work() -> tuple[list[Prediction], Stages]:
            return endpoint.predict(requests, at, overrides=message.overrides, explain=message.explain)

        answer = self.answering.in_thread(work) if message.explain else self.answering.run(work, len(requests))
        predictions, stages = await answer
        if len(predictions) == 1:
            tell_all(predictions[0])
        self.answering.count(exchange, endpoint, predictions[0].build, len(predictions), stages, predictions, requests)
        if not message.is_list:
            return Response(write_json(plain_answer(predictions[0], exchange.request_id)))
        answers = [plain_answer(prediction) for prediction in predictions]
        return Response(write_json({"predictions": answers, "request_id": exchange.request_id}))


def _write(request: InferRequest, answer: Answer, endpoint: Endpoint) -> Response:
    body, length = write_response(
        request, answer.outputs, model=endpoint.name, version=answer.version, parameters=answer.parameters
    )
    if length is None:
        return Response(body)
    return Response(body, content_type=b"application/octet-stream", headers=((BINARY_LENGTH, str(length).encode()),))


def _allow(method: str, allowed_method: str) -> None:
    if method != allowed_method:
        raise RefusedError(405, f"{method:.20} is not allowed here: {allowed_method} is expected")


def _nowhere(path: Sequence[str]) -> RefusedError:
    return RefusedError(
        404, f"there is nothing at /{'/'.join(map(unquote, path)):.200}: /openapi.json lists what there is"
    )


def _refusal(error: Exception, exchange: Exchange) -> Response:
    """What a client is told of an error; with the headers that go with it."""
    status, message, retry_after = refusal(error, exchange.request_id)
    headers: list[tuple[bytes, bytes]] = []
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 405:
        headers.append((b"allow", message.rpartition(": ")[2].split()[0].encode()))
    body = write_json({"error": message, "request_id": exchange.request_id})
    # What is left of a body that is not read would be taken for the next request, or come for ever.
    is_left = exchange.method == "POST" and status in (401, 404, 405, 408, 413, 503)
    return Response(body, status, headers=tuple(headers), close=is_left)


async def _send(send: Send, response: Response, exchange: HttpExchange) -> None:
    headers = response.all_headers(exchange.request_id)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def _live(receive: Receive, send: Send, log: LogWriter | None) -> None:
    while True:
        message = await receive()
        if log is not None and message["type"] == "lifespan.shutdown":
            log.close()  # nothing more is answered
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
