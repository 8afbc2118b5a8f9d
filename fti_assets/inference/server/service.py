"""Running the server: one process or several workers on one port of each protocol, until a signal ends it."""

import asyncio
import atexit
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from fti_assets.errors import DeclarationError
from fti_assets.inference.server.limits import Limits
from fti_assets.stores.temporary_folders import temporary_folder

SETTINGS = "FTI_SERVE_SETTINGS"
"""The variable through which the workers are told what to serve; it holds no token."""
_LINE_SECONDS = 0.2
TOKENS = "FTI_SERVE_TOKENS"
"""The variable that holds the tokens, with commas between them."""

_REFUSALS = {name: name for name in ("unknown_keys", "unknown_categories", "out_of_schema")} | {"missing": "on_missing"}


@dataclass(frozen=True)
class Settings:
    """What to serve, and how.

    Args:
        names: the models.
        models: the model store's folder.
        online: the online store.
        host: the address to listen on.
        port: the port; 0 for a free one.
        grpc_port: that of gRPC, which is not spoken without one; 0 for a free one.
        workers: how many processes answer.
        drain_seconds: between the signal that ends the server and its last accepted connection; meanwhile it says that it is not
            ready, so that balancers send no more.
        stop_seconds: how long requests under way may still take then.
        limits: what each worker takes at most.
        log: the folder of a prediction log; None for none.
        redact: request fields and features that are never written to it in clear.
        providers: the execution providers that the graphs run on; None for those of the environment.
        graph_server: the URL of another server that runs the graphs; None to run them here.
        refuse: what else is refused of a request: "unknown_keys", "unknown_categories", "out_of_schema" or "missing".
    """

    names: tuple[str, ...]
    models: str | None = None
    online: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = None
    workers: int = 1
    drain_seconds: float = 0.0
    stop_seconds: float = 30.0
    limits: Limits = field(default_factory=Limits)
    log: str | None = None
    redact: tuple[str, ...] = ()
    providers: str | None = None
    graph_server: str | None = None
    refuse: tuple[str, ...] = ()


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        NoChampionError, NotMaterializedError, DamagedError, PredictionError: a model cannot be served.
        DeclarationError: the address cannot be listened on.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("fti_assets", "fti_assets.access"):
        logging.getLogger(name).setLevel(logging.INFO)
    if settings.grpc_port is not None:
        settings = replace(settings, grpc_port=_free(settings.host, settings.grpc_port))
    # uvicorn starts its workers as new processes, which are told nothing but what the environment says.
    os.environ[SETTINGS] = json.dumps(asdict(settings))
    if settings.workers == 1:
        uvicorn.Server(http_config(settings, _Worker(_serving_app(settings), settings))).run()
        return
    _serving_app(settings).repository.close()  # what cannot be served is said here, not by each worker again and again
    with temporary_folder("fti_metrics_") as folder:
        from fti_assets.inference.server.metrics import FOLDER

        os.environ[FOLDER] = str(folder)
        config = http_config(settings, "fti_assets.inference.server.service:worker")
        config.factory = True
        try:
            bound = config.bind_socket()
        except SystemExit:
            raise DeclarationError(
                f"{settings.host}:{settings.port} cannot be listened on: name another --port"
            ) from None
        Multiprocess(config, sockets=[bound]).run()


def worker() -> Any:
    """The application of one worker, from what the environment says."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    settings_json = json.loads(os.environ[SETTINGS])
    limits = Limits(**settings_json.pop("limits"))
    tuples = {name: tuple(settings_json[name]) for name in ("names", "redact", "refuse")}
    settings = Settings(**settings_json | tuples | {"limits": limits})
    return _Worker(_serving_app(settings), settings)


def _serving_app(settings: Settings) -> Any:
    from fti_assets.inference.server import serving_app
    from fti_assets.inference.server.answering import access_line
    from fti_assets.inference.server.protocol import GuardedProtocol

    GuardedProtocol.limits = settings.limits  # a class made for them could not be handed to the workers
    tokens = [token for token in os.environ.get(TOKENS, "").split(",") if token]
    app = serving_app(
        *settings.names,
        models=settings.models,
        online=settings.online,
        tokens=tokens,
        limits=settings.limits,
        log=settings.log,
        redact=settings.redact,
        providers=settings.providers,
        graph_server=settings.graph_server,
        **{_REFUSALS[name]: "error" for name in settings.refuse},  # type: ignore[arg-type]
    )
    app.answering.write_lines_to(Lines(sys.stderr.fileno(), access_line).write)
    return app


class Lines:
    """Lines of a log on their way into a file, made and written together a fifth of a second later.

    A write each costs as much as its line. A line that is made amid a request costs four times as much as one after another, whose code
    the processor's caches hold. What is left is written when the process ends, by whatever but SIGKILL.

    Args:
        file: a descriptor.
        line_of: makes a line, without its end, of what was taken.
    """

    def __init__(self, file: int, line_of: Callable[[Any], bytes]) -> None:
        self._file = file
        self._line_of = line_of
        self._events: list[Any] = []
        self._timer: asyncio.TimerHandle | None = None
        atexit.register(self.flush)

    def write(self, event: Any) -> None:
        """Take what becomes a line, in the event loop."""
        self._events.append(event)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LINE_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what there is."""
        self._timer = None
        events, self._events = self._events, []
        lines = b"".join([self._line_of(event) + b"\n" for event in events])
        while lines:  # a pipe takes a part of it at a time
            try:
                lines = lines[os.write(self._file, lines) :]
            except OSError:  # nobody reads the log any more, or its disk is full: requests are answered all the same
                return


def http_config(settings: Settings, app: Any) -> uvicorn.Config:
    """How uvicorn runs an application under the settings: one process of it."""
    from fti_assets.inference.server.protocol import GuardedProtocol

    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        workers=settings.workers,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(max(1, settings.limits.header_seconds)),
        timeout_graceful_shutdown=int(settings.stop_seconds),
    )


def _free(host: str, port: int) -> int:
    """The port, if nobody listens on it; gRPC's own servers share theirs, with strangers too.

    Raises:
        DeclarationError: somebody does, or the address is none.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            return int(trial.getsockname()[1])
    except OSError:
        raise DeclarationError(f"{host}:{port} cannot be listened on: name another --grpc-port") from None


class _Worker:
    """An application with gRPC beside it, which says it is not ready for a while before uvicorn stops listening.

    uvicorn sets its signal handlers before an application starts, so that this one can stand before them.
    """

    def __init__(self, app: Any, settings: Settings) -> None:
        self._app = app
        self.answer_now = app.answer_now
        self._seconds = settings.drain_seconds
        self._settings = settings

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" and self._seconds and threading.current_thread() is threading.main_thread():
            self._stand_before(signal.getsignal(signal.SIGTERM))
        if scope["type"] == "lifespan" and self._settings.grpc_port is not None:
            receive = await self._beside(receive)
        await self._app(scope, receive, send)

    async def _beside(self, receive: Any) -> Any:
        """Speak gRPC from now on, until what is received says that the application ends."""
        from fti_assets.inference.server.rpc import start

        server, _ = await start(self._app.answering, self._settings.host, self._settings.grpc_port or 0)

        async def receive_next() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await server.stop(self._settings.stop_seconds)
            return message

        return receive_next

    def _stand_before(self, handler: Any) -> None:
        def drain(sig: int, frame: Any) -> None:
            if self._app.answering.is_draining:
                handler(sig, frame)
                return
            self._app.answering.is_draining = True
            threading.Timer(self._seconds, handler, (sig, frame)).start()

        if callable(handler):
            signal.signal(signal.SIGTERM, drain)
