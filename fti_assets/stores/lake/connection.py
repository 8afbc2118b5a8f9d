"""A DuckDB connection with the lake attached: UTC, no access to Python variables, spilling into a folder of its own.

It takes all cores and most of the memory, unless ``FTI_THREADS`` and ``FTI_MEMORY`` say less, since steps may run side by side.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import duckdb

from fti_assets.core.sql import literal, quote
from fti_assets.errors import DamagedError, FtiError, StoreError, list_some
from fti_assets.stores.duckdb.extensions import connect_in_memory, load_extension
from fti_assets.stores.temporary_folders import temporary_folder

MAKE = "CREATE_IF_NOT_EXISTS true"
_EXISTING = (
    "CREATE_IF_NOT_EXISTS false"  # else DuckLake makes a lake of whatever file is empty, when somebody only reads
)
READ = f"READ_ONLY, {_EXISTING}"
CATALOG = quote("__ducklake_metadata_lake")
"""DuckLake's own catalog of the lake that is attached."""
METADATA = "ducklake_metadata"
"""The table that makes a database the catalog of a lake to DuckLake."""
_LACKING = re.compile(r"Table with name (ducklake_\w+) does not exist|no such table: (ducklake_\w+)")
_OF_CATALOG = ("__ducklake_metadata_lake", "from DuckLake", "for DuckLake")
_FULL = ("disk i/o error", "disk is full", "no space left", "file too large")
_DAMAGE = ("file is not a database", "disk image is malformed")
_LIMITS = {"FTI_THREADS": "threads", "FTI_MEMORY": "memory_limit"}


@contextmanager
def lake_connection(catalog: Path, data: Path, *options: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection to a catalog and its data folder for a block.

    Args:
        catalog: the catalog's file, which is there unless it is to be made.
        data: the folder of the Parquet files.
        options: of DuckLake's ATTACH: ``MAKE`` to make a catalog, ``READ`` to change nothing.

    Raises:
        DamagedError: the catalog is damaged, or none of a lake, or lacks a table that the block asked for.
        StoreError: the catalog cannot be attached, or a limit is none.
    """
    with prepared_connection() as connection:
        for extension in ("sqlite_scanner", "ducklake"):
            load_extension(connection, extension)
        try:
            connection.execute(
                f"ATTACH {literal(f'ducklake:sqlite:{catalog}')} AS lake "
                # The catalog keeps the folder in which it was made; a lake that was moved or copied lies elsewhere.
                f"(DATA_PATH {literal(str(data))}, OVERRIDE_DATA_PATH true, {', '.join(options) or _EXISTING})"
            )
        except duckdb.Error as error:
            at = data.parent / "catalog.sqlite"  # what is opened may be a copy of it
            if any(word in str(error).lower() for word in _DAMAGE):
                raise DamagedError(f"{at} is damaged: {error}. {_put_back(at)}") from error
            tables = None if MAKE in options else _tables_of(connection, catalog)
            if tables is not None and METADATA not in tables:
                raise _no_lake(at, tables) from error
            advice = (
                "SQLite writes beside the catalog to open it: make room on the disk and do it again; what is committed is whole"
                if is_of_full_disk(error)
                else f"Check that {catalog.name} and data/ there are whole, or point FTI_HOME or Stores(lake=...) at another folder"
            )
            raise StoreError(f"the offline store at {catalog.parent} cannot be opened: {error}. {advice}") from error
        try:
            yield connection
        except (duckdb.Error, FtiError) as error:
            lacking = _LACKING.search(str(error))
            is_own = any(sign in str(error) for sign in _OF_CATALOG)  # and not a table in somebody's SQL
            if lacking is None or not is_own or isinstance(error, DamagedError):
                raise
            at = data.parent / "catalog.sqlite"
            raise DamagedError(
                f"{at} lacks its table {lacking[1] or lacking[2]}: something has deleted it. {_put_back(at)}"
            ) from error


@contextmanager
def prepared_connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection as a lake wants it, to which none is attached yet, for a block."""
    with temporary_folder("fti_spill_") as spill, open_connection() as connection:
        # Otherwise comparisons with TIMESTAMPTZ change with the machine.
        connection.execute("SET TimeZone = 'UTC'")
        # Otherwise SQL that names no table of the lake reads a Python variable of that name.
        connection.execute("SET python_enable_replacements = false")
        # The bar would be printed into the log of each step.
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET temp_directory = {literal(str(spill))}")
        yield connection


def is_of_full_disk(error: Exception) -> bool:
    """Whether an error is of a disk without room, by its words.

    >>> is_of_full_disk(StoreError("could not be written: database or disk is full"))
    True
    """
    return any(word in str(error).lower() for word in _FULL)


def is_without_tables(catalog: Path) -> bool:
    """Whether a catalog is a SQLite file that holds nothing, which is as good as none."""
    connection = connect_in_memory()
    try:
        load_extension(connection, "sqlite_scanner")
        return _tables_of(connection, catalog) == []
    finally:
        connection.close()


def _tables_of(connection: duckdb.DuckDBPyConnection, catalog: Path) -> list[str] | None:
    """The tables and views of a SQLite file, None if it is none."""
    query = f"SELECT name FROM sqlite_scan({literal(str(catalog))}, 'sqlite_master') WHERE type IN ('table', 'view') ORDER BY 1"
    try:
        return [name for (name,) in connection.execute(query).fetchall()]
    except duckdb.Error:
        return None


def _no_lake(at: Path, tables: Sequence[str]) -> DamagedError:
    if not tables:
        return DamagedError(
            f"{at} holds no tables: the offline store has lost its catalog. Nothing was changed. Put the catalog back from a copy "
            "(catalog.sqlite, with catalog.sqlite-wal if there is one), or make a new one from the files: fti lake repair "
            f"--lake {at.parent}"
        )
    return DamagedError(
        f"{at} is not the catalog of a lake: it lacks {METADATA}, and has the tables {list_some(tables)}. {_put_back(at)}"
    )


def _put_back(at: Path) -> str:
    return (
        "Nothing was changed. Put it back from a copy (catalog.sqlite, with catalog.sqlite-wal if there is one), or move both away "
        f"and make a new one from the files: fti lake repair --lake {at.parent}"
    )


def own_table(name: str) -> str:
    """A table of DuckLake's own catalog, in SQL."""
    return f"{CATALOG}.{quote(f'ducklake_{name}')}"


def ask_sqlite(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[str | int] = ()
) -> list[tuple[str | None, ...]]:
    """``ask_catalog`` of a SQLite catalog: SQLite itself is asked."""
    places = ", ".join("?::BIGINT" if isinstance(one, int) else "?::VARCHAR" for one in parameters)
    arguments = f", params := row({places})" if parameters else ""
    # Its name stands first, so that an error about the catalog is known by it.
    question = f"FROM sqlite_query('__ducklake_metadata_lake', ?{arguments})"
    answer: list[tuple[str | None, ...]] = connection.execute(question, [query, *parameters]).fetchall()
    return answer


class AskedStore(Protocol):
    """What asks the database of a catalog."""

    def ask(
        self, connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[str | int] = ()
    ) -> list[tuple[str | None, ...]]: ...


class AskedLake(Protocol):
    """A lake that is open: its connection, and where it is."""

    connection: duckdb.DuckDBPyConnection

    @property
    def store(self) -> AskedStore: ...


def ask_catalog(lake: AskedLake, query: str, parameters: Sequence[str | int] = ()) -> list[tuple[str | None, ...]]:
    """Ask the database of a lake's catalog itself something; every value comes as text, a truth as 0 or 1.

    It reads in the transaction that the connection has begun, as a query of ``own_table`` does, which takes DuckDB four
    milliseconds to plan if it joins three of these small tables.

    Args:
        lake: an open lake.
        query: in the SQL that SQLite and Postgres share, with the names of the catalog's tables as they are and parameters as ``?1``.
        parameters: texts and whole numbers.
    """
    return lake.store.ask(lake.connection, query, parameters)


@contextmanager
def open_connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection within the limits that the environment sets, for a block."""
    set_here = {variable: value for variable in _LIMITS if (value := os.environ.get(variable))}
    try:
        if negative := [variable for variable, value in set_here.items() if value.strip().startswith("-")]:
            raise duckdb.InvalidInputException(f"{negative[0]} is negative")  # a size below 0 is no limit to DuckDB
        connection = connect_in_memory({_LIMITS[variable]: value for variable, value in set_here.items()})
    except duckdb.Error as error:
        message = " and ".join(f"{variable}={value!r}" for variable, value in set_here.items())
        raise StoreError(
            f"the offline store cannot be opened within {message or 'the memory there is'}: {error}. FTI_THREADS is a whole number of "
            "1 and more, FTI_MEMORY a size such as 4GB"
        ) from error
    try:
        yield connection
    finally:
        connection.close()
