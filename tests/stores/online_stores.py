"""Both online stores for tests: each made empty, and removed after."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fti_assets.core.manifest import Column
from fti_assets.stores.online.redis.store import RedisOnlineStore
from fti_assets.stores.online.store import OnlineStore, SqliteOnlineStore

TEMP = (Column("temp", "number"),)
REDIS = "redis://127.0.0.1:6379/0"
KINDS = ["sqlite", "redis"]


@cache
def why_no_redis() -> str | None:
    """Why there is no Redis server to test with, None if there is one."""
    try:
        import redis

        with redis.Redis.from_url(REDIS, socket_connect_timeout=1) as client:
            client.ping()
    except Exception as error:
        return f"no Redis server answers at {REDIS}: {error}"
    return None


def redis_client() -> Any:
    import redis

    return redis.Redis.from_url(REDIS)


@contextmanager
def redis_location() -> Iterator[str]:
    """A prefix of its own on the server."""
    if why_no_redis() is not None:
        pytest.skip(str(why_no_redis()))
    prefix = f"fti-test-{secrets.token_hex(6)}"
    try:
        yield f"{REDIS}?prefix={prefix}"
    finally:
        with redis_client() as client:
            keys = list(client.scan_iter(f"{prefix}:*", count=1000))
            if keys:
                client.unlink(*keys)


@contextmanager
def online_store_of(kind: str) -> Iterator[OnlineStore]:
    """An empty store of a kind."""
    if kind == "redis":
        with redis_location() as location:
            yield RedisOnlineStore(location, lock_seconds=5)
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield SqliteOnlineStore(Path(folder) / "online")


def load(store: OnlineStore, rows: object, namespace: str = "weather_v1", **other: object) -> None:
    """Load keys with a temperature, or what else is said."""
    settings = {
        "key_types": ("text",),
        "columns": TEMP,
        "answers_from": None,
        "snapshot": 1,
        "event_time": True,
    }
    store.load(namespace, rows=rows, **(settings | other))
