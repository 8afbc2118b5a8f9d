"""Inference requests to another server of the Open Inference Protocol, with binary tensors, over connections that stay open."""

import http.client
import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from fti_assets.core.addresses import show_address
from fti_assets.errors import RequestError, StoreError, excerpt
from fti_assets.inference.server.messages.rest import BINARY_LENGTH
from fti_assets.inference.server.messages.tensors import datatype_of, from_bytes, from_json, to_bytes

TOKEN = "FTI_GRAPH_TOKEN"
"""The variable with the token that the graph server asks for."""

_MOST_BYTES = 256 * 2**20
_CONNECTION_ERRORS = (http.client.HTTPException, ConnectionError)


class _ConnectionCloser:
    """A connection that is closed when nobody has it any more, such as a thread that ends."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.process = os.getpid()

    def __del__(self) -> None:
        self.connection.close()


class GraphServer:
    """Another server, asked for graphs, from any thread.

    Args:
        url: such as ``http://triton:8000``.
        seconds: how long an answer may take.

    Raises:
        StoreError: the URL is none of HTTP.
    """

    def __init__(self, url: str, *, seconds: float = 10.0) -> None:
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in ("http", "https") or parts.query or parts.username:
            raise StoreError(
                f"the graph server {show_address(url)} has no address: write http://host:port, and a token into {TOKEN}"
            )
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path, self._seconds = host, port, parts.path.rstrip("/"), seconds
        self._url = url.strip()
        self._local = threading.local()

    def __str__(self) -> str:
        return show_address(self._url)

    def infer(self, model: str, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Some outputs of a model for its inputs.

        Raises:
            StoreError: the server does not answer, refuses, or answers something else.
        """
        body, length = _request(feeds, outputs)
        status, headers, answer = self._post(f"{self._path}/v2/models/{model}/infer", body, length)
        if status != 200:
            raise StoreError(
                f"the graph server {self} answered for {model!r} with status {status}: {_error_text(answer)}"
            )
        try:
            return _outputs(answer, headers.get(BINARY_LENGTH.decode()), outputs)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RequestError) as error:
            raise StoreError(
                f"the graph server {self} answered for {model!r} what is no inference, {type(error).__name__}: {error!s:.200}"
            ) from error

    def _post(self, path: str, body: bytes, length: int) -> tuple[int, Any, bytes]:
        """What the server answers; once more on a new connection, if it has closed the one of before meanwhile."""
        headers = {BINARY_LENGTH.decode(): str(length), "Content-Type": "application/octet-stream"}
        if token := os.environ.get(TOKEN):
            headers["Authorization"] = f"Bearer {token}"
        for is_last in (False, True):
            closer = getattr(self._local, "kept", None)
            if closer is None or closer.process != os.getpid():  # a forked child has connections of its own
                closer = self._local.kept = _ConnectionCloser(self._kind(self._host, self._port, timeout=self._seconds))
                is_last = True
            try:
                closer.connection.request("POST", path, body, headers)
                response = closer.connection.getresponse()
                content = response.read(_MOST_BYTES + 1)
                if len(content) > _MOST_BYTES:
                    raise StoreError(f"the graph server {self} answered more than {_MOST_BYTES} bytes")
                return response.status, response.headers, content
            except BaseException as error:
                self._local.kept = None  # an answer may still be on its way
                if not isinstance(error, OSError | http.client.HTTPException):
                    raise
                if is_last or not isinstance(error, _CONNECTION_ERRORS):
                    problem = str(error) or type(error).__name__
                    raise StoreError(f"the graph server {self} does not answer: {problem:.200}") from error
        raise AssertionError


def _request(feeds: Mapping[str, np.ndarray], outputs: Sequence[str]) -> tuple[bytes, int]:
    """A body, and how long its JSON is."""
    blobs = [to_bytes(array) for array in feeds.values()]
    inputs = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": datatype_of(array),
            "parameters": {"binary_data_size": len(blob)},
        }
        for (name, array), blob in zip(feeds.items(), blobs, strict=True)
    ]
    listed_outputs = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    head = json.dumps({"inputs": inputs, "outputs": listed_outputs}).encode()
    return b"".join([head, *blobs]), len(head)


def _outputs(body: bytes, length: str | None, names: Sequence[str]) -> list[np.ndarray]:
    view = memoryview(body)
    place = len(body) if length is None else int(length)
    arrays: dict[str, np.ndarray] = {}
    for tensor in json.loads(body[:place])["outputs"]:
        name, datatype, shape = tensor["name"], tensor["datatype"], tensor["shape"]
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            arrays[name] = from_json(name, datatype, shape, tensor["data"])
        else:
            arrays[name] = from_bytes(name, datatype, shape, view[place : place + size])
            place += size
    return [arrays[name] for name in names]


def _error_text(body: bytes) -> str:
    try:
        return excerpt(json.loads(body)["error"], 300)
    except (ValueError, KeyError, TypeError, RecursionError):
        return excerpt(body.decode(errors="replace"), 300)
