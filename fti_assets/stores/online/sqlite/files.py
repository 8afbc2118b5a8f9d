"""The files of the embedded online store: opening one to read it, what it says of itself, and what SQLite's errors mean."""

import errno
import os
import sqlite3
from pathlib import Path

from fti_assets.errors import StoreError, one_of
from fti_assets.stores.file_kinds import check_file
from fti_assets.stores.files import may_write, readable
from fti_assets.stores.online.about import About, DamagedNamespaceError, Schema, about_from, group_of

WAIT_SECONDS = 60.0
BESIDE = ("-journal", "-wal", "-shm")
"""The ends of the names of the files that SQLite keeps beside one, in the order in which they are removed before it."""

_FILES_OF_ONE = 4  # what SQLite opens for one file: itself, the two beside it, their folder
_ABOUT = ("generation", "schema", "answers_from_us", "snapshot", "keys", "origin")


def check_namespace_file(path: Path) -> None:
    """Refuse what is no file in place of a namespace's: SQLite would wait for a FIFO.

    Raises:
        DamagedError: something else lies there, or in place of the files that SQLite keeps beside it.
        StoreError: it cannot be looked at.
    """
    with readable(path):
        for suffix in ("", *BESIDE):
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
    """What a namespace says of itself, None if nothing was ever loaded.

    Raises:
        DamagedNamespaceError: it is not what was written, or the file has other tables than those that were made.
        StoreError: it cannot be read.
    """
    try:
        rows = connection.execute(
            "SELECT id, generation, schema, answers_from, snapshot, keys, origin FROM about LIMIT 2"
        ).fetchall()
        if rows:  # a write would else make the table of rows again, with its own rows alone
            connection.execute("SELECT key, blob FROM rows LIMIT 1").fetchone()
            _check_tables(connection, path)
    except sqlite3.Error as error:
        if str(error) == "no such table: about":
            return None
        raise file_error(path, error) from error
    except UnicodeDecodeError as error:
        raise _damage_error(path, str(error)) from error
    if not rows:
        return None
    if [number for number, *_ in rows] != [1]:
        raise _damage_error(path, "its table about has other rows than the one of id 1")
    return about_from(dict(zip(_ABOUT, rows[0][1:], strict=True)), path.stem, what=f"online namespace file {path}")


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse views and other objects in place of the two tables, and rows of which a key may have several."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
    if absent := {"about", "rows"} - {name for (name,) in connection.execute(query)}:
        raise _damage_error(path, f"{one_of(sorted(absent))} is no table in it")
    identity = connection.execute("SELECT name FROM pragma_table_info('rows') WHERE pk > 0").fetchall()
    if identity != [("key",)]:
        raise _damage_error(
            path, "its table of rows has no primary key of its own, so that a key may have several rows"
        )


def _damage_error(path: Path, problem: str) -> DamagedNamespaceError:
    return DamagedNamespaceError(
        f"online namespace file {path} is damaged: {problem}. Materialize {group_of(path.stem)} again, which loads it again"
    )


def file_error(path: Path, error: sqlite3.Error) -> StoreError:
    """Say what SQLite's error means for a namespace's file."""
    # The code of a statement that does not fit the file: a table or a column that was written is gone.
    misfit = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK:
        return DamagedNamespaceError(
            f"{path}-journal is of a write that was cut off, or is no journal of SQLite's, and {path.name} cannot be read beside it. "
            f"Materialize {group_of(path.stem)} again, which loads it again without the journal"
        )
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
    return _damage_error(path, str(error))


def _reached_limit() -> str | None:
    """Why no more files can be opened, which SQLite does not say; None if they can."""
    descriptors: list[int] = []
    try:
        while len(descriptors) < _FILES_OF_ONE:
            descriptors.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return os.strerror(error.errno).lower() if error.errno in (errno.EMFILE, errno.ENFILE) else None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return None


def page_bytes(schema: Schema) -> int:
    """How large the pages of a new file are: of SQLite's usual 4,096 bytes an embedding of 384 numbers does not fit into one with its
    key, and each that spills into further pages takes three times as long to read."""
    return 16_384 if any(column.type == "vector" for column in schema.columns) else 4_096
