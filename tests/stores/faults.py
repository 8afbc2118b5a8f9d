"""Faults of a disk, one at a time: the n-th file operation below a folder fails."""

import builtins
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READS = ("stat", "lstat", "scandir", "listdir")
WRITES = ("mkdir", "fsync", "replace", "rename", "unlink", "remove", "rmdir")


class Fault:
    """Fails the n-th operation that it is asked about, and each after it while ``lasting``.

    Attributes:
        happened: what failed, None if the operations came to an end before.
        asked: the names of the operations that it was asked about.
    """

    def __init__(self, folder: Path, number: int, code: int, *, lasting: bool) -> None:
        self._folder, self._left, self._code, self._lasting = str(folder), number, code, lasting
        self.happened: str | None = None
        self.asked: list[str] = []

    def at(self, name: str, path: Any) -> None:
        """Fail, if it is its turn."""
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")
            except OSError:
                return
        if isinstance(path, bytes) or not str(path).startswith(self._folder):
            return
        self._left -= 1
        self.asked.append(name)
        if self._left == 0 or (self._left < 0 and self._lasting):
            self.happened = self.happened or f"{name} {path}"
            raise OSError(self._code, os.strerror(self._code), str(path))


class _Connection(sqlite3.Connection):
    fault: Fault
    path: str

    def execute(self, sql: str, *arguments: Any) -> Any:
        _sqlite(self.fault, f"sqlite {sql.split()[0]}", self.path)
        return super().execute(sql, *arguments)

    def executemany(self, sql: str, *arguments: Any) -> Any:
        _sqlite(self.fault, f"sqlite {sql.split()[0]}", self.path)
        return super().executemany(sql, *arguments)

    def executescript(self, sql: str) -> Any:
        _sqlite(self.fault, "sqlite script", self.path)
        return super().executescript(sql)


def _sqlite(fault: Fault, name: str, path: str) -> None:
    try:
        fault.at(name, path)
    except OSError as error:
        result = "database or disk is full" if error.errno == 28 else "disk I/O error"
        raise sqlite3.OperationalError(result) from None


@contextmanager
def fault_at(folder: Path, number: int, code: int, *, lasting: bool = False) -> Iterator[Fault]:
    """Let the n-th file operation below a folder fail with an error code, for a block."""
    fault = Fault(folder, number, code, lasting=lasting)
    present: dict[tuple[Any, str], Callable[..., Any]] = {}

    def failing(owner: Any, name: str) -> None:
        real = present[owner, name] = getattr(owner, name)

        def call(path: Any = ".", *arguments: Any, **named: Any) -> Any:
            fault.at(name, path)
            return real(path, *arguments, **named)

        setattr(owner, name, call)

    def connect(path: Any, **named: Any) -> sqlite3.Connection:
        file = str(path).removeprefix("file://").partition("?")[0]
        _sqlite(fault, "sqlite connect", file)
        connection = present[sqlite3, "connect"](path, factory=_Connection, **named)
        connection.fault, connection.path = fault, file
        return connection  # type: ignore[no-any-return]

    for name in ("open", *READS, *WRITES):
        failing(os, name)
    for owner in (io, builtins):
        failing(owner, "open")
    present[sqlite3, "connect"] = sqlite3.connect
    sqlite3.connect = connect  # type: ignore[assignment]
    try:
        yield fault
    finally:
        for (owner, name), real in present.items():
            setattr(owner, name, real)
