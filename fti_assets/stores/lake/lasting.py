"""A lake that stays open as long as somebody holds a relation of it."""

from __future__ import annotations

import os
import threading
import weakref

import duckdb

from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore

_open: weakref.WeakValueDictionary[tuple[int, int, str], duckdb.DuckDBPyConnection] = weakref.WeakValueDictionary()


def lasting_lake(store: OfflineStore) -> Lake:
    """Open a lake whose connection is closed when nothing holds a relation of it any more, at the latest at the program's end.

    A relation, and each that is derived from it, holds its connection. Relations that a thread reads from one store share one,
    so that they can be joined; two threads have one each, since a connection answers one question at a time.
    """
    # By process and thread: a DuckDB connection is neither shared by threads nor used after a fork.
    key = (os.getpid(), threading.get_ident(), store.identity)
    connection = _open.get(key)
    if connection is None:
        manager = store.connect()
        lake = manager.__enter__()
        # A cursor, since the finalizer holds the lake's own connection and would keep that alive itself.
        connection = lake.connection.cursor()
        weakref.finalize(connection, manager.__exit__, None, None, None)
        # A cursor does not take over its connection's settings.
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        _open[key] = connection
    return Lake(connection, store)
