"""Credentials for ``s3://`` addresses, from the environment, a profile or a role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from fti_assets.core.addresses import scrub
from fti_assets.core.sql import literal
from fti_assets.errors import StoreError
from fti_assets.stores.buckets.access import s3_access
from fti_assets.stores.duckdb.extensions import load_extension

_NAME = "__fti_s3"


@contextmanager
def unreachable_s3(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Keep a connection's database from every ``s3://`` address for a block."""
    # By a setting, since a secret that is put in a transaction goes with it. Nothing listens there.
    connection.execute("SET http_proxy = '127.0.0.1:1'")
    connection.execute("SET http_retries = 0")
    try:
        yield
    finally:
        connection.execute("RESET http_proxy")
        connection.execute("RESET http_retries")


def read_s3(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection read ``s3://`` addresses, with what ``s3_access`` says now. Without a key the access is anonymous.

    Raises:
        StoreError: DuckDB refuses what it says, or a profile, a role or a service that is named gives no key.
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
