"""A Redis server that holds an online store: its client, the names of its keys, and errors that name it."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from fti_assets.core.addresses import scrub, secrets_of, show_address
from fti_assets.core.extras import named_extras
from fti_assets.errors import StoreError
from fti_assets.stores.online.about import About, DamagedNamespaceError, about_from, stored_schema

MARKER = b"\xff"
"""The field of the generation; no key is encoded so, since it is no UTF-8."""

_PREFIX = "fti"
_WAITS = {"socket_timeout": "60", "socket_connect_timeout": "5"}


class RedisServer:
    """A server and the prefix under which a store lies there.

    Args:
        location: ``redis://host:port/db?prefix=name``.

    Raises:
        MissingExtraError: redis-py is not installed.
        StoreError: the location is no address of a server.
    """

    def __init__(self, location: str) -> None:
        with named_extras(f"the online store {show_address(location)}"):
            import redis
        parts = _parts(location)
        options = dict(parse_qsl(parts.query))
        self.location = location
        self._local = threading.local()
        self._prefix = options.pop("prefix", _PREFIX)
        self.connection_error = redis.ConnectionError
        self.late = redis.TimeoutError
        self._error = redis.RedisError
        try:
            (parts.hostname or "").encode("idna")  # as the socket will, whose error would not be the client's
            self.client: Any = redis.Redis.from_url(urlunsplit(parts._replace(query=urlencode(_WAITS | options))))
            pool = self.client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # which knows its options, and does not connect yet
        except (ValueError, TypeError, redis.RedisError) as error:
            raise _no_address(location, error) from None  # which may repeat what is no number, such as a password

    def connection(self) -> Any:
        """This thread's own connection, for those that talk to it themselves; a forked child does not share its parent's."""
        local = self._local
        if getattr(local, "process", None) != os.getpid():
            local.connection, local.process = self.client.connection_pool.make_connection(), os.getpid()
            local.ended = _EndOfThread(local.connection)
        return local.connection

    def key(self, *parts: str) -> str:
        """The name of one of the store's own keys."""
        return ":".join([self._prefix, *parts])

    @contextmanager
    def store_errors(self) -> Iterator[None]:
        """Turn an error of the client into one that names the store."""
        try:
            yield
        except self._error as error:
            message = scrub(str(error), secrets_of(self.location))
            raise StoreError(
                f"the online store {self} cannot be used: {message}. Check that the server runs, is reached from here, has "
                "memory left and lets this user write"
            ) from error

    def __str__(self) -> str:
        return show_address(self.location)


class _EndOfThread:
    """Closes a thread's connection when the thread ends, with which what is local to it goes.

    A connection is part of a cycle, so that it would stay open until a collection.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __del__(self) -> None:
        self._connection.disconnect()  # in a forked child it closes what the child has alone


def to_json(about: About, namespace: str) -> str:
    """What a namespace says of itself, as it is stored."""
    return json.dumps(asdict(about) | {"schema": stored_schema(about, namespace)})


def from_json(text: bytes, namespace: str, *, what: str) -> About:
    """What ``to_json`` wrote.

    Raises:
        DamagedNamespaceError: it is something else.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedNamespaceError(
            f"{what} is damaged: {error}. Materialize the group again, which loads it again"
        ) from error
    return about_from(fields if isinstance(fields, dict) else {}, namespace, what=what)


def _parts(location: str) -> SplitResult:
    """The parts of an address.

    Raises:
        StoreError: it has none.
    """
    try:
        return urlsplit(location)
    except ValueError as error:
        raise _no_address(location, error) from None


def _no_address(location: str, error: Exception) -> StoreError:
    return StoreError(
        f"the online store {show_address(location)} is no address of a Redis server: {scrub(str(error), secrets_of(location))}. Write "
        "redis://host:port/db?prefix=name, and in a password %2F for /, %3F for ? and %23 for #"
    )
