"""A namespace's file that stays open for a writer who comes again and again."""

import os
import sqlite3
from pathlib import Path

from fti_assets.stores.online.about import About
from fti_assets.stores.online.blob_cache import BlobCache
from fti_assets.stores.online.sqlite.files import WAIT_SECONDS, read_about

_CACHE_KIB = 16_384
_LOG_PAGES = 4_000
"""After how many pages the log is taken over into the file: pages that are written by each of several turns are then copied once. A reader
searches as many in one step."""


class OpenFile:
    """The connection by which a file is written, and what it has read and written.

    Args:
        path: the file, which is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature = _signature(path)
        self._about: About | None = None
        self.cache = BlobCache()
        self.connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            set_up_writes(self.connection)
            # A service has what it writes in its outbox: after a power cut it finds the file as of an earlier turn, and loads it again.
            self.connection.execute("PRAGMA synchronous = NORMAL")
            self.connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self.connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            # Whoever closes a file last takes its whole log over into it, and waits for the disk three times more.
            self.connection.execute("SELECT count(*) FROM about").fetchone()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.connection.close()

    def is_current(self) -> bool:
        """Whether the file is still the one in its place: another may have been made there."""
        return self._signature == _signature(self._path)

    def about(self) -> About | None:
        """As ``read_about``; what was read of a generation is not read again."""
        about = self._about
        if about is not None:
            rows = self.connection.execute("SELECT generation FROM about").fetchall()
            if rows == [(about.generation,)]:
                return about
        self._about = read_about(self.connection, self._path)
        if self._about is not None:
            self.cache.begin(self._about.generation)
        else:
            self.cache.forget()
        return self._about

    def move_on(self, about: About) -> None:
        """What this connection has committed is what there is, and what is in the cache was written."""
        self._about = about
        self.cache.move_on(about.generation)

    def forget(self) -> None:
        """Hold nothing of what the file has."""
        self._about = None
        self.cache.forget()


def set_up_writes(connection: sqlite3.Connection) -> None:
    # In WAL mode readers go on, and see the old rows, while a load writes.
    connection.execute("PRAGMA journal_mode = WAL")
    # What was said to be loaded must survive a power cut: expiry spares only the snapshot that it names.
    connection.execute("PRAGMA synchronous = FULL")
    # After a whole load the journal would stay as large as the namespace.
    connection.execute("PRAGMA journal_size_limit = 67108864")


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
