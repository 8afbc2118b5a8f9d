"""The files of a prediction log: one that is written, closed ones that wait to be taken in, and what a crash left."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from fti_assets.inference.serving.log.lines import instant_of
from fti_assets.stores.file_kinds import check_file
from fti_assets.stores.files import guard_writes, may_write, paths_in, readable, sync_folder

CLOSED, OPEN = ".jsonl", ".jsonl.open"
STAMP = "%Y%m%dT%H%M%S%f"
"""How a file's name begins: when it was begun."""

_STAMP_LENGTH = len("20130101T000000000000")
_TAIL = 65_536


@dataclass(frozen=True)
class LogFile:
    """A closed file, which nobody changes any more."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(CLOSED)

    @cached_property
    def start(self) -> datetime | None:
        """When its writer began it, naive UTC; None of a file that no writer has named."""
        try:
            return datetime.strptime(self.name[:_STAMP_LENGTH], STAMP)
        except ValueError:
            return None

    def lines(self) -> Iterator[bytes]:
        """Its whole lines, the first and the last included; none once it is taken in and gone."""
        with readable(self.path), suppress(FileNotFoundError), self._open() as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line

    def is_cut_off(self) -> bool:
        """Whether it is empty, or its last line has lost its end; no writer leaves either."""
        with readable(self.path), suppress(FileNotFoundError), self._open() as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            return file.read() != b"\n"
        return False

    def redactions(self) -> frozenset[str]:
        """What its writer redacted."""
        first = next(self.lines(), b"")
        entry = _read(first)
        return frozenset(_texts(entry.get("redacted")) or ()) if "log" in entry else frozenset()

    def hours(self) -> set[str]:
        """The hours of its lines' prediction times, as ``2013-01-01T05``: from its last line, or of all if a crash left it."""
        end = _read(self._last_line()).get("end")
        if isinstance(end, dict) and (hours := _texts(end.get("hours"))) is not None:
            return set(hours)
        return {at[:13] for line in self.lines() if (at := instant_of(line)) is not None}

    def _last_line(self) -> bytes:
        with readable(self.path), suppress(FileNotFoundError), self._open() as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read().rstrip(b"\n").rpartition(b"\n")[2]
        return b""

    def _open(self) -> BinaryIO:
        check_file(self.path, "move it away")  # a FIFO would be waited for
        return self.path.open("rb")


def closed_files(folder: Path) -> list[LogFile]:
    """The files of a folder that wait to be taken in, the oldest first; those whose writer has died are closed first.

    Raises:
        DamagedError: a file lies in place of the folder.
        StoreError: the folder, or one of its files, cannot be read.
    """
    if may_write(folder):  # else nobody closes any, and who only looks reads them as open ones
        for path in open_files(folder):
            close_left(path)
    return [LogFile(path) for path in paths_in(folder, f"*{CLOSED}")]


def open_files(folder: Path) -> list[Path]:
    """The files that are being written."""
    return paths_in(folder, f"*{OPEN}")


def close_left(path: Path) -> None:
    """Close a file whose writer is gone, without the line that it was about to write; one that is written is left alone.

    Its writer holds a lock on it, which ends with the process.
    """
    descriptor = -1
    with readable(path), suppress(FileNotFoundError):
        check_file(path, "move it away")
        descriptor = os.open(path, os.O_RDWR)
    if descriptor < 0:
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        with suppress(FileNotFoundError), guard_writes(path):
            # Another process may have closed and renamed it between opening and locking.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                os.ftruncate(descriptor, _whole_bytes(descriptor))
                finish(descriptor, path)
    finally:
        os.close(descriptor)


def finish(descriptor: int, path: Path) -> None:
    """Make an open file's lines durable, and name it as one that is closed.

    Raises:
        OSError: it could not be; its lines are taken in nevertheless once its writer is gone.
    """
    # Before the new name: a closed file is taken in and deleted, so it must be whole after a power cut.
    os.fsync(descriptor)
    os.rename(path, path.with_name(path.name.removesuffix(OPEN) + CLOSED))
    sync_folder(path.parent)


def _whole_bytes(descriptor: int) -> int:
    """How many bytes there are up to the end of the last whole line."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _TAIL)
        position = os.pread(descriptor, end - start, start).rfind(b"\n")
        if position >= 0:
            return start + position + 1
        end = start
    return 0


def _read(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):  # what a crash left, or a damaged disk
        return {}
    return entry if isinstance(entry, dict) else {}


def _texts(value: Any) -> list[str] | None:
    """A list of texts, None for anything else."""
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else None
