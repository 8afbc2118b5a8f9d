"""A DuckDB connection with the lake attached: UTC, no access to Python variables, spilling into a folder of its own.

It takes all cores and most of the memory, unless ``FTI_THREADS`` and ``FTI_MEMORY`` say less, since steps may run side by side.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from fti_assets.core.sql import literal, quoted
from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores.duckdb.extensions import connect_in_memory, load_extension
from fti_assets.stores.temporary_folders import temporary_folder

MAKE = "CREATE_IF_NOT_EXISTS true"
_EXISTING = (
    "CREATE_IF_NOT_EXISTS false"  # else DuckLake makes a lake of whatever file is empty, when somebody only reads
)
READ = f"READ_ONLY, {_EXISTING}"
CATALOG = quoted("__ducklake_metadata_lake")
"""DuckLake's own catalog of the lake that is attached."""
_FULL = ("disk i/o error", "disk is full", "no space left", "file too large")
_DAMAGED = ("file is not a database", "disk image is malformed")
_LIMITS = {"FTI_THREADS": "threads", "FTI_MEMORY": "memory_limit"}


@contextmanager
def lake_connection(catalog: Path, data: Path, *options: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection to a catalog and its data folder for a block.

    Args:
        catalog: the catalog's file, which is there unless it is to be made.
        data: the folder of the Parquet files.
        options: of DuckLake's ATTACH: ``MAKE`` to make a catalog, ``READ`` to change nothing.

    Raises:
        DamagedError: the catalog is damaged.
        StoreError: the catalog cannot be attached, or a limit is none.
    """
    with temporary_folder("fti_spill_") as spill:
        connection = _limited()
        try:
            # Otherwise comparisons with TIMESTAMPTZ change with the machine.
            connection.execute("SET TimeZone = 'UTC'")
            # Otherwise SQL that names no table of the lake reads a Python variable of that name.
            connection.execute("SET python_enable_replacements = false")
            # The bar would be printed into the log of each step.
            connection.execute("SET enable_progress_bar = false")
            connection.execute(f"SET temp_directory = {literal(str(spill))}")
            for extension in ("sqlite_scanner", "ducklake"):
                load_extension(connection, extension)
            try:
                connection.execute(
                    f"ATTACH {literal(f'ducklake:sqlite:{catalog}')} AS lake "
                    # The catalog keeps the folder in which it was made; a lake that was moved or copied lies elsewhere.
                    f"(DATA_PATH {literal(str(data))}, OVERRIDE_DATA_PATH true, {', '.join(options) or _EXISTING})"
                )
            except duckdb.Error as error:
                if any(word in str(error).lower() for word in _DAMAGED):
                    at = data.parent / "catalog.sqlite"  # what is opened may be a copy of it
                    raise DamagedError(
                        f"{at} is damaged: {error}. Nothing was changed. Put it back from a copy (catalog.sqlite, with "
                        "catalog.sqlite-wal if there is one), or move both away and make a new one from the files: fti lake repair "
                        f"--lake {data.parent}"
                    ) from error
                full = any(word in str(error).lower() for word in _FULL)
                advice = (
                    "SQLite writes beside the catalog to open it: make room on the disk and do it again; what is committed is whole"
                    if full
                    else f"Check that {catalog.name} and data/ there are whole, or point FTI_HOME or Stores(lake=...) at another folder"
                )
                raise StoreError(
                    f"the offline store at {catalog.parent} cannot be opened: {error}. {advice}"
                ) from error
            yield connection
        finally:
            connection.close()


def own_table(name: str) -> str:
    """A table of DuckLake's own catalog, in SQL."""
    return f"{CATALOG}.{quoted(f'ducklake_{name}')}"


def _limited() -> duckdb.DuckDBPyConnection:
    """A connection within the limits that the environment sets."""
    set_here = {variable: value for variable in _LIMITS if (value := os.environ.get(variable))}
    try:
        return connect_in_memory({_LIMITS[variable]: value for variable, value in set_here.items()})
    except duckdb.Error as error:
        message = " and ".join(f"{variable}={value!r}" for variable, value in set_here.items())
        raise StoreError(
            f"the offline store cannot be opened within {message or 'the memory there is'}: {error}. FTI_THREADS is a whole number of "
            "1 and more, FTI_MEMORY a size such as 4GB"
        ) from error
