"""A bucket of an object store that speaks S3 on 127.0.0.1, which the AWS_ variables name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def bucket_named(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of boto3 of the store that holds the bucket."""
    boto3 = pytest.importorskip("boto3")
    server_module = pytest.importorskip("moto.server")
    moto_backends = pytest.importorskip("moto.backends")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for variable, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(variable, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    moto_backends.get_backend("s3").reset()  # they are of the process
    client.create_bucket(Bucket=name)
    yield client
    server.stop()
