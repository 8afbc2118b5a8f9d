"""Credentials for ``s3://`` addresses, from the environment alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import duckdb

from fti_assets.core.addresses import scrub
from fti_assets.core.sql import literal
from fti_assets.errors import StoreError
from fti_assets.stores.duckdb.extensions import load_extension

_NAME = "__fti_s3"


@dataclass(frozen=True, kw_only=True)
class S3Access:
    """How an object store is reached; empty texts for what the environment does not say."""

    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    session_token: str = field(repr=False)
    region: str
    endpoint: str
    """Of a store that is not Amazon's: host and port."""
    scheme: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may repeat."""
        return tuple(filter(None, (self.secret, self.session_token, self.key_id)))


def s3_access() -> S3Access:
    """What the usual ``AWS_`` variables say."""
    endpoint = _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    url = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    return S3Access(
        key_id=_first("AWS_ACCESS_KEY_ID"),
        secret=_first("AWS_SECRET_ACCESS_KEY"),
        session_token=_first("AWS_SESSION_TOKEN"),
        region=_first("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
        endpoint=url.netloc,
        scheme=url.scheme,
    )


def read_s3(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection read ``s3://`` addresses, with what the usual ``AWS_`` variables say.

    ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_REGION`` or ``AWS_DEFAULT_REGION``, and
    ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` for a store that is not Amazon's. Without a key the access is anonymous.

    Raises:
        StoreError: DuckDB refuses what they say.
    """
    load_extension(connection, "httpfs")
    access = s3_access()
    options = {
        "KEY_ID": access.key_id,
        "SECRET": access.secret,
        "SESSION_TOKEN": access.session_token,
        "REGION": access.region,
        "ENDPOINT": access.endpoint,
        # A store that is not Amazon's has no host name for each bucket.
        "URL_STYLE": "path" if access.endpoint else "",
        "USE_SSL": "false" if access.scheme == "http" else "",
    }
    settings = ", ".join(f"{name} {literal(value)}" for name, value in options.items() if value)
    try:
        connection.execute(f"CREATE OR REPLACE TEMPORARY SECRET {_NAME} (TYPE s3, {settings})")
    except duckdb.Error as error:
        raise StoreError(
            f"the AWS_ environment variables are no credentials: {scrub(str(error), access.secrets)}"
        ) from None  # DuckDB repeats the statement


def _first(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
