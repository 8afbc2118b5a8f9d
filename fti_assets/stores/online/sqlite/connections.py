"""The connections by which the embedded online store is read: each thread's own, of several files each."""

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fti_assets.stores.files import readable
from fti_assets.stores.online.sqlite.files import WAIT_SECONDS, is_unchanging, read_only_address

_CACHE_KIB = 16_384
_CACHE_SIZE = 16
_all: "weakref.WeakSet[Connections]" = weakref.WeakSet()
_left_to_the_parent: list[object] = []
# Held while the connections of a thread that ends are closed, and over each fork: what SQLite has locked meanwhile would stay locked in the
# child. It can be taken again, since a collection of garbage may end a thread's connections while the process forks.
_ends = threading.RLock()
_MOST_SECONDS = 1.0

Execute = Callable[..., sqlite3.Cursor]
Signatures = tuple[tuple[str, int, int, int], ...]
_Open = dict[str, tuple[list[sqlite3.Connection], list[Execute], Signatures]]


class Part(NamedTuple):
    """Consecutive namespaces that one connection reads: the distinct files, and which of them each namespace is.

    ``one`` is the statement of one key of each namespace, and ``look`` that of their generations alone.
    """

    paths: tuple[Path, ...]
    numbers: tuple[int, ...]
    one: str
    look: str

    @property
    def files(self) -> int:
        return len(self.paths)


class Connections:
    """The connections by which a store is read, each thread's own, shared by all that read the same files in a thread.

    A model that gets a new champion is read by new readers; with connections of their own these would leave one open a thread
    and champion, until they are collected.
    """

    def __init__(self) -> None:
        self.local = threading.local()
        _all.add(self)

    def executes(self, key: str, parts: Sequence[Part]) -> list[Execute]:
        """The functions of this thread that run a statement, one a part; opened at the first call."""
        try:
            _, executes, unchanging = self.local.open[key]
            if not unchanging or unchanging == _signatures(parts):
                return executes  # type: ignore[no-any-return]
            self.close(key)
        except (AttributeError, KeyError):
            pass
        by_statement: _Open | None = self.local.__dict__.get("open")
        if by_statement is None:
            by_statement = self.local.open = {}
            self.local.ended = _EndOfThread(by_statement)
        while len(by_statement) >= _CACHE_SIZE:
            self.close(next(iter(by_statement)))
        unchanging = _signatures(parts)
        connections: list[sqlite3.Connection] = []
        try:
            for part in parts:
                connections.append(_attach(part.paths))
        except BaseException:
            _close_all(connections)
            raise
        functions: list[Execute] = [connection.cursor().execute for connection in connections]
        by_statement[key] = connections, functions, unchanging
        return functions

    def of(self, key: str) -> list[sqlite3.Connection]:
        """Those of this thread, which are open."""
        return self.local.open[key][0]  # type: ignore[no-any-return]

    def close(self, key: str) -> None:
        """Close those of this thread, if they are open."""
        connections, *_ = self.local.__dict__.get("open", {}).pop(key, ((), (), ()))
        _close_all(connections)


class _EndOfThread:
    """Closes what a thread has open when the thread ends, with which what is local to it goes.

    A connection refers to itself through the statements that it keeps, so that it would stay open until a collection of cycles.
    """

    def __init__(self, by_statement: _Open) -> None:
        self._open, self._process = by_statement, os.getpid()
        # Its own names, since those of the module are gone when an interpreter ends.
        self._process_now, self._left_to_the_parent, self._ends = os.getpid, _left_to_the_parent, _ends

    def __del__(self) -> None:
        if self._process == self._process_now():
            # Not for ever: where the interpreter ends, the thread that held it may be gone.
            is_held = self._ends.acquire(timeout=_MOST_SECONDS)
            try:
                for connections, *_ in self._open.values():
                    for connection in connections:
                        connection.close()
            finally:
                if is_held:
                    self._ends.release()
        else:  # a forked child has none of its parent's other threads
            self._left_to_the_parent.append(self._open)


def _forget_connections() -> None:
    """A connection must be neither used nor closed in a forked child."""
    for connections in _all:
        _left_to_the_parent.append(connections.local)
        connections.local = threading.local()


# Hooks of a child run in the order in which they are registered.
os.register_at_fork(before=_ends.acquire, after_in_parent=_ends.release, after_in_child=_ends.release)
os.register_at_fork(after_in_child=_forget_connections)


def _attach(paths: Sequence[Path]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        "file::memory:", uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        for number, path in enumerate(paths):
            connection.execute(f"ATTACH ? AS f{number}", (read_only_address(path),))
            # SQLite's default is 2 MB, which does not hold the upper pages of a large namespace.
            connection.execute(f"PRAGMA f{number}.cache_size = -{_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def _close_all(connections: Sequence[sqlite3.Connection]) -> None:
    for connection in connections:
        connection.close()


def _signatures(parts: Sequence[Part]) -> Signatures:
    """What tells that one of the files read without locks was changed."""
    results = []
    for path in (path for part in parts for path in part.paths):
        with readable(path):
            if path.exists() and is_unchanging(path):
                status = path.stat()
                results.append((str(path), status.st_mtime_ns, status.st_ino, status.st_size))
    return tuple(results)
