"""A bucket of an object store that speaks S3 on 127.0.0.1, which the AWS_ variables name; it can be made to refuse."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

KEY, SECRET = "key", "s3cret"
_SKEW = timedelta(minutes=15)


class BucketServer:
    """A server in this process, for this process and others.

    ``refuses`` is asked of each request, with its method and path, and gives a code of S3 to refuse it with; ``clock`` is how far its
    clock is ahead. Keys and the times of requests are checked as S3 checks them; signatures are not.
    """

    def __init__(self) -> None:
        server_module = pytest.importorskip("moto.server")
        backends = pytest.importorskip("moto.backends")
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Handler(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log(self, *_: Any, **__: Any) -> None: ...

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        backends.get_backend("s3").reset()  # they are of the process
        self._app = server_module.DomainDispatcherApplication(server_module.create_backend_app)
        self._one_write = threading.Lock()  # moto looks at a condition and then writes
        self.refuses: Callable[[str, str], str | None] = lambda method, path: None
        self.clock = timedelta(0)
        self.requests: list[tuple[str, str]] = []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def client(self) -> Any:
        boto3 = pytest.importorskip("boto3")
        return boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
        )

    def keys(self, bucket: str) -> list[str]:
        """The names of all objects in a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, path))
        code = self._problem(environ) or self.refuses(method, path)
        if code is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>refused by the test</Message></Error>".encode()
            start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [] if method == "HEAD" else [body]
        if method in ("PUT", "POST", "DELETE"):
            with self._one_write:
                return self._app(environ, start)
        return self._app(environ, start)

    def _problem(self, environ: dict[str, Any]) -> str | None:
        key = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        if key is None:
            return "AccessDenied"
        if key[1] != KEY:
            return "InvalidAccessKeyId"
        at = datetime.strptime(environ["HTTP_X_AMZ_DATE"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return "RequestTimeTooSkewed" if abs(datetime.now(UTC) + self.clock - at) > _SKEW else None


@contextmanager
def bucket_server(*names: str) -> Iterator[BucketServer]:
    """A server that holds some empty buckets."""
    server = BucketServer()
    try:
        client = server.client()
        for name in names:
            client.create_bucket(Bucket=name)
        yield server
    finally:
        server.close()


@contextmanager
def bucket_named(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of boto3 of the store that holds the bucket."""
    with bucket_server(name) as server:
        for variable, value in server.environment.items():
            monkeypatch.setenv(variable, value)
        yield server.client()
