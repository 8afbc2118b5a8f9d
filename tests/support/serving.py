"""A serving application that is asked without a socket, and one that listens, in a thread of the test."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from onnx import TensorProto, helper

from fti_assets.inference.server.limits import Limits
from fti_assets.inference.server.protocol import GuardedProtocol


@dataclass
class Answer:
    """What an application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: Any,
    method: str,
    path: str,
    body: Any = b"",
    headers: dict[str, str] | None = None,
    *,
    chunks: Sequence[bytes] | None = None,
    root_path: str = "",
    more: Mapping[str, Any] | None = None,
) -> Answer:
    """One request to an ASGI application; a body that is no bytes goes as JSON, ``more`` into the scope."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = [content] if chunks is None else list(chunks)
    path, _, query = path.partition("?")
    sent: list[Any] = []
    stated = {"content-length": str(len(content))} if chunks is None else {}
    scope = {
        "type": "http",
        "method": method,
        "path": root_path + path,
        "root_path": root_path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in (stated | (headers or {})).items()],
        "client": ("127.0.0.1", 1),
        **(more or {}),
    }
    messages = iter(
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    )

    async def receive() -> Any:
        try:
            return next(messages)
        except StopIteration:
            return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    if not sent:
        return Answer(0, {}, b"")
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))


@contextmanager
def listening(app: Any, limits: Limits | None = None) -> Iterator[str]:
    """The application on a free port of 127.0.0.1, as ``host:port``."""
    http: Any = type("Protocol", (GuardedProtocol,), {"limits": limits or app.limits})
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=http, ws="none", log_config=None, proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def sum_and_difference() -> bytes:
    """The graph of the protocol's example clients: two inputs of 16 whole numbers, their sum and their difference."""
    kind, shape = TensorProto.INT32, [1, 16]
    made = helper.make_graph(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        "simple",
        [helper.make_tensor_value_info(name, kind, shape) for name in ("INPUT0", "INPUT1")],
        [helper.make_tensor_value_info(name, kind, shape) for name in ("OUTPUT0", "OUTPUT1")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
