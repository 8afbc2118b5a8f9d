"""The files of the embedded online store: opening one to read it, what it says of itself, and what SQLite's errors mean."""

import errno
import os
import sqlite3
from pathlib import Path

from fti_assets.errors import StoreError
from fti_assets.stores.file_kinds import check_file
from fti_assets.stores.files import may_write, readable
from fti_assets.stores.online.about import About, DamagedNamespaceError, about_from, group_of

WAIT_SECONDS = 60.0
_FILES_OF_ONE = 4  # what SQLite opens for one file: itself, the two beside it, their folder
_ABOUT = ("generation", "schema", "answers_from_us", "snapshot", "keys", "origin")


def check_namespace_file(path: Path) -> None:
    """Refuse what is no file in place of a namespace's: SQLite would wait for a FIFO.

    Raises:
        DamagedError: something else lies there, or in place of the files that SQLite keeps beside it.
        StoreError: it cannot be looked at.
    """
    with readable(path):
        for suffix in ("", "-wal", "-shm"):
            check_file(path.with_name(path.name + suffix), f"remove it, and materialize {group_of(path.stem)} again")


def read_only_address(path: Path) -> str:
    check_namespace_file(path)
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_unchanging(path) else ''}"


def is_unchanging(path: Path) -> bool:
    """Whether a file lies where this process cannot make the files beside it by which SQLite tells readers of changes.

    It is then read as one that does not change, without locks; that it has not is looked at before each read.
    """
    journal = path.with_name(f"{path.name}-wal")
    return not may_write(path.parent) and not (journal.exists() and journal.stat().st_size)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a namespace's file read-only."""
    with readable(path):
        location = read_only_address(path)
    try:
        return sqlite3.connect(location, uri=True, timeout=WAIT_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise file_error(path, error) from error


def read_about(connection: sqlite3.Connection, path: Path) -> About | None:
    """What a namespace says of itself, None if nothing was ever loaded."""
    try:
        row = connection.execute(
            "SELECT generation, schema, answers_from, snapshot, keys, origin FROM about"
        ).fetchone()
        if row is not None:  # a write would else make the table of rows anew, with its own rows alone
            connection.execute("SELECT key, blob FROM rows LIMIT 1").fetchone()
    except sqlite3.Error as error:
        if str(error) == "no such table: about":
            return None
        raise file_error(path, error) from error
    except UnicodeDecodeError as error:
        raise DamagedNamespaceError(
            f"online namespace file {path} is damaged: {error}. Materialize the group again, which loads it anew"
        ) from error
    if row is None:
        return None
    return about_from(dict(zip(_ABOUT, row, strict=True)), path.stem, what=f"online namespace file {path}")


def file_error(path: Path, error: sqlite3.Error) -> StoreError:
    """Say what SQLite's error means for a namespace's file."""
    # The code of a statement that does not fit the file: a table or a column that was written is gone.
    misfit = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    if isinstance(error, sqlite3.OperationalError) and not misfit:
        if (limit := _reached_limit()) is not None:
            return StoreError(
                f"online namespace file {path} cannot be opened: {limit}. Raise the limit of open files of the process "
                "(ulimit -n), or close what keeps them open"
            )
        return StoreError(
            f"online namespace file {path} cannot be used: {error}. "
            "Its folder must be there, have room, and be writable (readers share SQLite's -wal and -shm files)"
        )
    return DamagedNamespaceError(
        f"online namespace file {path} is damaged: {error}. Materialize {group_of(path.stem)} again, which loads it anew"
    )


def _reached_limit() -> str | None:
    """Why no more files can be opened, which SQLite does not say; None if they can."""
    opened: list[int] = []
    try:
        while len(opened) < _FILES_OF_ONE:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return os.strerror(error.errno).lower() if error.errno in (errno.EMFILE, errno.ENFILE) else None
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return None
