"""A DuckDB connection with the lake attached: UTC, no access to Python variables, spilling into a folder of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from fti_assets.errors import StoreError
from fti_assets.stores.duckdb_extensions import connect_in_memory, load_extension
from fti_assets.stores.files import used_folder
from fti_assets.stores.sql import literal


@contextmanager
def lake_connection(catalog: Path, data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection to a catalog and its data folder for a block.

    Raises:
        StoreError: the catalog cannot be attached.
    """
    with tempfile.TemporaryDirectory(prefix="fti_spill_") as spill, used_folder(Path(spill)):
        connection = connect_in_memory()
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET python_enable_replacements = false")
            connection.execute("SET enable_progress_bar = false")
            connection.execute(f"SET temp_directory = {literal(spill)}")
            for extension in ("sqlite_scanner", "ducklake"):
                load_extension(connection, extension)
            try:
                connection.execute(
                    f"ATTACH {literal(f'ducklake:sqlite:{catalog}')} AS lake "
                    f"(DATA_PATH {literal(str(data))}, OVERRIDE_DATA_PATH true)"
                )
            except duckdb.Error as error:
                raise StoreError(
                    f"the offline store at {catalog.parent} cannot be opened: {error}. Check that {catalog.name} and "
                    "data/ there are whole, or point FTI_HOME or Stores(lake=...) at another folder"
                ) from error
            yield connection
        finally:
            connection.close()
