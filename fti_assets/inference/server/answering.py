"""What both protocols share: room for one more request, tokens, one inference, and what is counted and logged of it."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version as version_of
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from fti_assets.core import clock
from fti_assets.errors import FtiError, PredictionError, RequestError, StoreError
from fti_assets.inference.server.endpoints.endpoint import Answer, Endpoint, Stages, TooManyRowsError, check_rows
from fti_assets.inference.server.endpoints.repository import Repository
from fti_assets.inference.server.endpoints.served_predictor import ServedPredictor
from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.metrics import Metrics
from fti_assets.inference.server.reading import check_token
from fti_assets.inference.server.refusals import RefusedError
from fti_assets.inference.server.service_level import ServiceLevel
from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.log.writer import LogWriter

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]
ACCESS = logging.getLogger("fti_assets.access")
_log = logging.getLogger("fti_assets.inference.server")
_INLINE_ROWS = 32
"""Up to so many rows of an embedded store are answered where they are read: a thread costs more than they do."""

_THREADS = 8

_encode = msgspec.json.Encoder().encode

Access = tuple[float, str, tuple[str, str, int, str, str, str], float, int]
"""What the log has of a request: when it was answered, in the system's own seconds since 1970, its id, what is the same for most
requests (method, path, status, model, build and client), the seconds that it took, and its rows. The collection of garbage does not look
at a plain tuple of plain values."""

T = TypeVar("T")


@dataclass(kw_only=True)
class Exchange:
    """One request on its way, and what became of it."""

    request_id: str
    method: str
    path: str
    client: str
    headers: Mapping[bytes, bytes]
    start: float = field(default_factory=time.perf_counter)
    model: str = ""
    build: str = ""
    rows: int = 0
    read: float = 0.0
    stages: Stages | None = None
    has_log: bool = False
    """Whether its model's answers are of the kind that is logged; a graph's own are not."""


class Refusal(NamedTuple):
    """What a client is told of an error: an HTTP status, which stands in metrics and log whatever the protocol, and a sentence."""

    status: int
    message: str
    retry_after: int | None = None


class Answering:
    """The models of a repository, answered for within limits.

    Args:
        repository: the models.
        limits: what is taken at most.
        tokens: those of which a request must bear one; none for everybody.
        in_threads: whether each prediction is made in a thread, since the online store is a server that is waited for.

    Requests are logged as ``fti_assets.access``, unless ``write_lines_to`` says where to.
    """

    def __init__(self, repository: Repository, *, limits: Limits, tokens: Sequence[str], in_threads: bool) -> None:
        self.repository = repository
        self.log: LogWriter | None = None
        self.limits = limits
        self.metrics = Metrics()
        self.is_draining = False
        self._tokens = [token.encode() for token in tokens]
        self._in_threads = in_threads
        self._levels: dict[str, ServiceLevel] = {}
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="fti-predict")
        self.active = 0
        self._write_line: Callable[[Access], object] | None = None

    def write_lines_to(self, write: Callable[[Access], object]) -> None:
        """Hand what the log has of each request to ``write``, and not to the logging of Python, which costs more than the line."""
        self._write_line = write

    def check_token(self, exchange: Exchange) -> None:
        """Let a request pass that bears a token, if one is asked for.

        Raises:
            RefusedError: it bears none.
        """
        if self._tokens:
            check_token(exchange.headers, self._tokens)

    def is_ready(self, name: str | None = None, version: str | None = None) -> bool:
        """Whether one model can answer, or all that the server was started with.

        Raises:
            RefusedError: the model is served in another version.
        """
        ready = not self.is_draining and self.repository.is_ready(name)
        if ready and name is not None:
            self.repository.get(name, version)
        return ready

    def metadata(self) -> dict[str, Any]:
        """What the server is."""
        return {"name": "fti_assets", "version": version_of("fti-assets"), "extensions": EXTENSIONS}

    def statistics(self, name: str | None = None, version: str | None = None) -> dict[str, Any]:
        """What one model was asked, or each that is loaded."""
        names = [entry["name"] for entry in self.repository.index(ready=True)] if name is None else [name]
        endpoints = [self.repository.get(one, version) for one in names]
        return {
            "model_stats": [self.repository.statistics[one.name].as_json(one.name, one.version) for one in endpoints]
        }

    def admit(self, exchange: Exchange, name: str, version: str | None) -> Endpoint:
        """What answers for a model, if there is room for one more request; ``release`` gives the room back.

        Raises:
            RefusedError: there is none, or no such model; nothing is to be released then.
        """
        return self.admit_to(exchange, name, self.repository.get(name, version))

    def admit_to(self, exchange: Exchange, name: str, endpoint: Endpoint) -> Endpoint:
        """``admit`` to what answers for a model by now."""
        exchange.model, exchange.has_log = name, isinstance(endpoint, ServedPredictor)
        if self.active >= self.limits.requests:
            raise RefusedError(
                503, f"the server answers {self.limits.requests} requests at once and takes no more now", retry_after=1
            )
        level = self._levels.get(name)
        if level is None:
            level = self._levels[name] = ServiceLevel(_THREADS)
        goal = endpoint.latency_goal
        if goal is not None:
            self.metrics.state_goal(name, goal)
            wait = time.perf_counter() - exchange.start
            if level.is_out_of_reach(goal, wait, self.active):
                raise RefusedError(
                    503,
                    f"the server cannot answer within the {goal * 1000:g} ms that are the goal of {name!r}: it has more "
                    "requests than it can answer",
                    retry_after=1,
                )
        self.active += 1
        self.metrics.note_in_flight(self.active)
        return endpoint

    def release(self) -> None:
        """A request that was admitted is answered, or given up."""
        self.active -= 1
        self.metrics.note_in_flight(self.active)

    async def infer(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        read: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]],
        write: Callable[[Answer], T],
    ) -> T:
        """One inference.

        Args:
            read: the inputs and parameters of the request.
            write: the response of what the model gave.
        """
        start = time.perf_counter()
        inputs, parameters = read()
        has_read = time.perf_counter()
        rows = max((array.shape[0] for array in inputs.values() if array.ndim), default=0)
        check_rows(rows, self.limits.rows)

        def work() -> Answer:
            return endpoint.infer(inputs, parameters, most_rows=self.limits.rows)

        answer = await self.run(work, rows)
        ran = time.perf_counter()
        response = write(answer)
        self.count(
            exchange,
            endpoint,
            str(answer.parameters["build"]),
            answer.rows,
            answer.stages,
            answer.predictions,
            answer.requests,
        )
        statistics = self.repository.statistics[endpoint.name]
        for pair, seconds in (
            (statistics.compute_input, has_read - start),
            (statistics.compute_infer, ran - has_read),
            (statistics.compute_output, time.perf_counter() - ran),
        ):
            pair[0] += 1
            pair[1] += int(seconds * 1e9)
        return response

    def count(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        build: str,
        rows: int,
        stages: Stages,
        predictions: Sequence[Prediction],
        requests: Sequence[Mapping[str, Any]],
    ) -> None:
        """Count and log the rows that a build answered, and note in the exchange what became of it."""
        exchange.build, exchange.rows, exchange.stages = build, rows, stages
        statistics = self.repository.statistics[endpoint.name]
        statistics.inferences += rows
        statistics.executions += 1
        self.metrics.count_rows(endpoint.name, build, rows, predictions)
        if self.log is not None and predictions:
            self.log.add(exchange.request_id, requests, predictions, latency=time.perf_counter() - exchange.start)
        if predictions and isinstance(endpoint, ServedPredictor):
            count = self.metrics.count_shadow
            endpoint.predictor.shadow(exchange.request_id, requests, predictions, self.log, count)

    async def load(self, name: str) -> None:
        """Load a model of the store, while others are answered.

        Raises:
            RefusedError: it cannot be loaded, which is the answer to whoever asked for it.
        """
        try:
            await self.in_thread(self.repository.load, name)
        except FtiError as error:
            raise RefusedError(400, f"model {name!r:.100} cannot be loaded: {error}") from error

    async def run(self, work: Callable[[], T], rows: int) -> T:
        """What ``work`` gives for so many rows, in a thread where that is worth it."""
        return await self.in_thread(work) if self._in_threads or rows > _INLINE_ROWS else work()

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """What ``work`` gives, while others are answered."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def note(self, exchange: Exchange, status: int) -> None:
        """Count a request and log it."""
        total = time.perf_counter() - exchange.start
        if exchange.model:
            if self.log is not None and exchange.has_log:
                self.log.count_request(exchange.model, status)
            self.metrics.count(exchange.model, status, read=exchange.read, stages=exchange.stages, total=total)
            if exchange.stages is not None:
                self._levels[exchange.model].observe(exchange.stages.lookup + exchange.stages.graph)
            if (statistics := self.repository.statistics.get(exchange.model)) is not None:
                pair = statistics.success if status == 200 else statistics.fail
                pair[0] += 1
                pair[1] += int(total * 1e9)
                statistics.last_ms = int(time.time() * 1000)
        if self._write_line is not None:
            self._write_line(_access(exchange, status, total))
        elif ACCESS.isEnabledFor(logging.INFO):
            ACCESS.info(access_line(_access(exchange, status, total)).decode())


def _access(exchange: Exchange, status: int, seconds: float) -> Access:
    about = (exchange.method, exchange.path[:500], status, exchange.model, exchange.build, exchange.client)
    return time.time(), exchange.request_id, about, seconds, exchange.rows


def access_line(access: Access) -> bytes:
    """A request as the log has it, without the line's end."""
    answered_at, request_id, about, seconds, rows = access
    # The id is visible ASCII, but for what JSON escapes it may be as it is.
    own_id = request_id if request_id.isalnum() else _encode(request_id).decode()[1:-1]
    at = clock.of_wall(answered_at).isoformat(timespec="milliseconds")
    return b'{"at":"%bZ","request_id":"%b",%b,"ms":%.3f,"rows":%d}' % (
        at.encode(),
        own_id.encode(),
        _about(*about),
        seconds * 1000,
        rows,
    )


@lru_cache(1_000)
def _about(method: str, path: str, status: int, model: str, build: str, client: str) -> bytes:
    """What is the same in the lines of most requests, as the inside of a JSON object."""
    fields = {"method": method, "path": path, "status": status, "model": model, "build": build, "client": client}
    return _encode(fields)[1:-1]


def refusal(error: Exception, request_id: str) -> Refusal:
    """What a client is told of an error; what is nobody's mistake is logged."""
    if isinstance(error, RefusedError):
        return Refusal(error.status, _utf8(error), error.retry_after)
    if isinstance(error, TooManyRowsError):
        return Refusal(413, _utf8(error))
    if isinstance(error, RequestError):
        return Refusal(400, _utf8(error))
    if isinstance(error, StoreError):
        _log.warning("request %s cannot be answered: %s", request_id, error)
        return Refusal(503, _utf8(error), 1)
    if isinstance(error, PredictionError):
        return Refusal(422, _utf8(error))
    if isinstance(error, FtiError):
        _log.error("request %s failed: %s", request_id, error)
        return Refusal(500, _utf8(error))
    # An unforeseen error may name paths and values: the client gets the request's id, the log the rest.
    _log.error("request %s failed", request_id, exc_info=error)
    return Refusal(500, f"the server failed; its log says how under request id {request_id}")


def _utf8(error: Exception) -> str:
    return str(error).encode(errors="replace").decode()
