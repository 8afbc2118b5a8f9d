"""The online store: embedded on SQLite, or on a Redis server, chosen by its location."""

from pathlib import Path

from fti_assets.stores.blobs import Key, Version, Winner
from fti_assets.stores.home import folder_of
from fti_assets.stores.online_about import About, Schema
from fti_assets.stores.online_protocol import NamespaceWriter, OnlineStore
from fti_assets.stores.online_reader import NamespaceReader, NamespacesReader
from fti_assets.stores.online_redis import RedisOnlineStore, is_redis
from fti_assets.stores.online_sqlite import SqliteOnlineStore

__all__ = [
    "About",
    "Key",
    "NamespaceReader",
    "NamespaceWriter",
    "NamespacesReader",
    "OnlineStore",
    "RedisOnlineStore",
    "Schema",
    "SqliteOnlineStore",
    "Version",
    "Winner",
    "online_store",
]


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
        return RedisOnlineStore(str(location))
    return SqliteOnlineStore(folder_of(location, what="online", instead="a folder, or redis://host:port/db"))
