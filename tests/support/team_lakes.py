"""A team's lake on the Postgres and the bucket of this machine: a database of its own, dropped after."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from tests.support.buckets import BucketServer, bucket_server

HOST = "127.0.0.1:5432"
ADMIN = f"postgresql://postgres@{HOST}/postgres"


@cache
def why_no_postgres() -> str | None:
    """Why there is no Postgres to test with, None if there is one."""
    try:
        import psycopg

        psycopg.connect(ADMIN, connect_timeout=2).close()
    except Exception as error:
        return f"no Postgres answers at {ADMIN}: {error}"
    return None


@contextmanager
def database() -> Iterator[str]:
    """The name of an empty database."""
    if (reason := why_no_postgres()) is not None:
        pytest.skip(reason)
    import psycopg

    name = f"fti_test_{secrets.token_hex(6)}"
    with psycopg.connect(ADMIN, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield name
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def lake_location(database: str, data: str, host: str = HOST) -> str:
    """The address of a lake in a database."""
    return f"postgresql://postgres@{host}/{database}?data={data}"


@contextmanager
def team_lake(server: BucketServer, bucket: str = "team") -> Iterator[str]:
    """The address of an empty lake."""
    with database() as name:
        yield lake_location(name, f"s3://{bucket}/{name}")


@contextmanager
def team_bucket() -> Iterator[BucketServer]:
    """A server with a bucket ``team``, to which this process's environment leads."""
    with bucket_server("team") as server, pytest.MonkeyPatch.context() as patch:
        for variable, value in server.environment.items():
            patch.setenv(variable, value)
        yield server
