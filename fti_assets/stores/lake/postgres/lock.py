"""The lock of those who write to a lake with a Postgres catalog: held by a session of its own, which ends with its process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from fti_assets.core.addresses import scrub
from fti_assets.core.extras import named_extras
from fti_assets.errors import StoreError
from fti_assets.stores.lake.postgres.address import LakeAddress

LOCK = 0x6674695F6C616B65
"""The number of the lock, in its database: the letters of fti_lake."""
_SKEW = timedelta(minutes=1)
_threads: dict[str, threading.Lock] = {}
os.register_at_fork(after_in_child=_threads.clear)


@contextmanager
def session(address: LakeAddress) -> Iterator[Any]:
    """A session of psycopg at the catalog's database, which commits by itself, for a block.

    Raises:
        StoreError: the database cannot be reached, or the block failed there.
    """
    with named_extras(f"the offline store at {address}"):
        import psycopg
    database = address.database
    try:
        with psycopg.connect(database.text, password=database.password, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        raise StoreError(
            f"the offline store at {address} cannot be used: {scrub(' '.join(str(error).split()), database.secrets)}. Check that "
            "Postgres runs, is reached from here, and knows this user, password and database"
        ) from None  # libpq may repeat what it was given


@contextmanager
def writers_lock(address: LakeAddress, seconds: float) -> Iterator[None]:
    """Hold the writers' lock of a lake for a block, against all other threads, processes and machines.

    Args:
        address: the lake.
        seconds: how long to wait.

    Raises:
        StoreError: somebody else held it all the time, the database cannot be reached, or this machine's clock is not the database's.
    """
    deadline = time.monotonic() + seconds
    # Threads wait for each other here, so that a process has one session at most that waits for the lock.
    thread = _threads.setdefault(address.location, threading.Lock())
    if not thread.acquire(timeout=max(seconds, 0)):
        raise _timed_out(address, seconds)
    try:
        with session(address) as connection:
            _take(connection, address, deadline, seconds)
            _refuse_other_clock(connection, address)
            try:
                yield
            finally:
                with suppress(Exception):  # a lost session has lost its lock, too; the commit says what became of it
                    connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
                    connection.close()
    finally:
        thread.release()


def _take(connection: Any, address: LakeAddress, deadline: float, seconds: float) -> None:
    import psycopg

    milliseconds = max(1, round((deadline - time.monotonic()) * 1000))
    try:
        connection.execute(f"SET lock_timeout = {milliseconds}")
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    except psycopg.errors.LockNotAvailable:
        raise _timed_out(address, seconds) from None


def _refuse_other_clock(connection: Any, address: LakeAddress) -> None:
    """Refuse to write with a clock that is off: what is known when, what is over and what may be expired rest on it."""
    ((database_time,),) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchall()
    off = time.time() - database_time
    if abs(off) > _SKEW.total_seconds():
        raise StoreError(
            f"this machine's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} that of the database of {address}: nothing "
            "was written, since what was known when rests on it. Set both by NTP, and do it again"
        )


def _timed_out(address: LakeAddress, seconds: float) -> StoreError:
    return StoreError(
        f"the writers' lock of {address} was held by another thread, process or machine for {seconds:g} s: wait until it is done and try "
        "again (the lock ends with its session; pg_locks and pg_stat_activity say whose it is)"
    )
