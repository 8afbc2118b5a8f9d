"""Credentials for ``s3://`` addresses, from the environment alone."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import duckdb

from fti_assets.core.addresses import scrubbed
from fti_assets.core.sql import literal
from fti_assets.errors import StoreError
from fti_assets.stores.duckdb.extensions import load_extension

_NAME = "__fti_s3"


def read_s3(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection read ``s3://`` addresses, with what the usual ``AWS_`` variables say.

    ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_REGION`` or ``AWS_DEFAULT_REGION``, and
    ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` for a store that is not Amazon's. Without a key the access is anonymous.

    Raises:
        StoreError: DuckDB refuses what they say.
    """
    load_extension(connection, "httpfs")
    endpoint = _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    url = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    options = {
        "KEY_ID": _first("AWS_ACCESS_KEY_ID"),
        "SECRET": _first("AWS_SECRET_ACCESS_KEY"),
        "SESSION_TOKEN": _first("AWS_SESSION_TOKEN"),
        "REGION": _first("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
        "ENDPOINT": url.netloc,
        # A store that is not Amazon's has no host name for each bucket.
        "URL_STYLE": "path" if endpoint else "",
        "USE_SSL": "false" if url.scheme == "http" else "",
    }
    settings = ", ".join(f"{name} {literal(value)}" for name, value in options.items() if value)
    try:
        connection.execute(f"CREATE OR REPLACE TEMPORARY SECRET {_NAME} (TYPE s3, {settings})")
    except duckdb.Error as error:
        secrets = (options["SECRET"], options["SESSION_TOKEN"], options["KEY_ID"])
        raise StoreError(
            f"the AWS_ environment variables are no credentials: {scrubbed(str(error), secrets)}"
        ) from None  # DuckDB repeats the statement


def _first(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
