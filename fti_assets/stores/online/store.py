"""The online store: embedded on SQLite, or on a Redis server, chosen by its location."""

from pathlib import Path

from fti_assets.core.home import folder_of
from fti_assets.stores.online.about import About, Schema
from fti_assets.stores.online.namespace import NamespaceReader
from fti_assets.stores.online.protocol import NamespaceWriter, OnlineStore
from fti_assets.stores.online.reader import NamespacesReader
from fti_assets.stores.online.sqlite.store import SqliteOnlineStore
from fti_assets.stores.online.versions import Key, Version, Winner

__all__ = [
    "About",
    "Key",
    "NamespaceReader",
    "NamespaceWriter",
    "NamespacesReader",
    "OnlineStore",
    "Schema",
    "SqliteOnlineStore",
    "Version",
    "Winner",
    "is_redis",
    "online_store",
    "with_prefix",
]

_SCHEMES = ("redis://", "rediss://", "unix://")


def is_redis(location: str | Path) -> bool:
    """Whether a location names a Redis server."""
    return isinstance(location, str) and location.startswith(_SCHEMES)


def online_store(location: str | Path) -> OnlineStore:
    """The online store at a location.

    Args:
        location: a folder, or ``redis://host:port/db?prefix=name`` (``rediss://`` with TLS, ``unix://`` for a socket).

    Raises:
        MissingExtraError: it is a server, and its client is not installed.
        StoreError: it is the address of something else.

    >>> online_store("online").location
    'online'
    """
    if is_redis(location):
        # Here, so that an app on the embedded store does not wait for five modules that it never uses.
        from fti_assets.stores.online.redis.store import RedisOnlineStore

        return RedisOnlineStore(str(location))
    return SqliteOnlineStore(folder_of(location, what="online", instead="a folder, or redis://host:port/db"))


def with_prefix(location: str, name: str) -> str:
    """The address of a store of its own on the same server.

    >>> with_prefix("redis://host:6379/0?prefix=shop", "pr-12")
    'redis://host:6379/0?prefix=shop.pr-12'
    """
    # Not at the top: an app on the embedded store does not wait for it.
    from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

    parts = urlsplit(location)
    options = dict(parse_qsl(parts.query))
    options["prefix"] = f"{options.get('prefix', 'fti')}.{name}"
    return urlunsplit(parts._replace(query=urlencode(options)))
