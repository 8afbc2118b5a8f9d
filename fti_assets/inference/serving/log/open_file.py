"""The file of a prediction log that a process is writing."""

import fcntl
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fti_assets.core import clock
from fti_assets.inference.serving.log.files import OPEN, STAMP


@dataclass
class OpenFile:
    """The file of one model that is being written; its descriptor holds the lock that says so."""

    descriptor: int
    path: Path
    began: float
    size: int = 0
    rows: int = 0
    hours: set[str] = field(default_factory=set)

    @classmethod
    def begin(cls, folder: Path, first: bytes) -> "OpenFile":
        """A new file with its first line, which has its lock before others can see it."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{clock.now().strftime(STAMP)}-{os.getpid()}-{secrets.token_hex(4)}"
        temporary = folder / f".{name}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file = cls(descriptor, folder / f"{name}{OPEN}", time.monotonic())
            file.write(first)
            # Renamed only when it is locked: an unlocked open file is taken for one that a crash left.
            os.rename(temporary, file.path)
        except BaseException:
            os.close(descriptor)
            with suppress(OSError):
                temporary.unlink()
            raise
        return file

    def write(self, content: bytes) -> None:
        """Append lines, all of them or none."""
        remainder = content
        try:
            while remainder:
                remainder = remainder[os.write(self.descriptor, remainder) :]
        except OSError:
            os.ftruncate(self.descriptor, self.size)  # works on a full disk
            raise
        self.size += len(content)
