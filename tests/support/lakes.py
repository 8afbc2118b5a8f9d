"""Lakes of tests: making an empty catalog takes DuckLake a tenth of a second, and DuckDB starts in twenty milliseconds.

A copy of an empty catalog costs nothing, and a DuckDB that holds nothing any more serves the next lake.
"""

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from fti_assets.stores.lake import connection as lake_connections
from fti_assets.stores.lake.folder import LakeFolder

ABOUT_NEW_LAKES = (
    *(
        f"test_offline.py::test_{name}"
        for name in ("a_lake_works_where", "folder_that_is_no_lake", "rows_are_plain", "new_files")
    ),
    "test_lost_catalog",
    "test_faults.py::test_a_lake_is_whole_whatever_kind_of_operation_fails[a new lake]",
    "test_files",
    "test_full_disk",
)
"""The tests that look at how a catalog is made, which DuckLake makes there."""
ABOUT_CONNECTIONS = (
    "test_duckdb_extensions",
    "test_catalog_locks",
    "test_offline.py::test_lake_keeps_within",
    "test_offline.py::test_a_limit",
    "test_offline.py::test_an_interrupt",
    "test_external",
    "test_full_disk",
)
"""The test files that look at DuckDB itself, which is started for each lake there."""
HOLDS_SOMETHING = """
    SELECT 1 FROM duckdb_databases() WHERE NOT internal AND database_name <> 'memory' UNION ALL
    SELECT 1 FROM duckdb_tables() WHERE NOT temporary UNION ALL SELECT 1 FROM duckdb_secrets() UNION ALL
    SELECT 1 FROM duckdb_views() WHERE NOT internal AND NOT temporary LIMIT 1
"""


@contextmanager
def new_catalogs_copied() -> Iterator[None]:
    """Within it, DuckLake makes the first catalog of the process, and each further one is a copy of it."""
    make = LakeFolder.new_catalog
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        template = Path(folder) / "catalog.sqlite"

        def new_catalog(lake: LakeFolder) -> Path:
            if running(ABOUT_NEW_LAKES):
                return make(lake)
            if not template.exists():
                shutil.copyfile(make(lake), template)
            half_made = lake.delete_half_made()
            shutil.copyfile(template, half_made)
            return half_made

        patch.setattr(LakeFolder, "new_catalog", new_catalog)
        yield


@contextmanager
def databases_kept() -> Iterator[None]:
    """Within it, a DuckDB in memory that a lake was attached to serves the next one, if it holds nothing of the last."""
    start = lake_connections.open_connection
    idle: dict[tuple[str | None, ...], list[duckdb.DuckDBPyConnection]] = defaultdict(list)
    of_the_parent = []

    def forget() -> None:  # a child that was forked has neither their threads nor their files
        of_the_parent.append(dict(idle))
        idle.clear()

    @contextmanager
    def open_connection() -> Iterator[duckdb.DuckDBPyConnection]:
        limits = (os.environ.get("FTI_THREADS"), os.environ.get("FTI_MEMORY"))
        if running(ABOUT_CONNECTIONS):
            with start() as connection:
                yield connection
            return
        if not idle[limits]:
            ready = start()
            idle[limits].append(ready.__enter__())
            started.append(ready)
        database = idle[limits].pop()
        connection = database.cursor()
        try:
            yield connection
        finally:
            connection.close()
            if empties(database):
                idle[limits].append(database)
            else:
                database.close()

    started = []
    os.register_at_fork(after_in_child=forget)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake_connections, "open_connection", open_connection)
        yield


def empties(database: duckdb.DuckDBPyConnection) -> bool:
    """Let go of the lake, and say whether nothing is left."""
    try:
        database.execute("DETACH DATABASE IF EXISTS lake")
        database.execute("SET temp_directory = ''")  # which cannot be set once it was used
        return not database.execute(HOLDS_SOMETHING).fetchall()
    except duckdb.Error:
        return False


def running(files: tuple[str, ...]) -> bool:
    return any(name in os.environ.get("PYTEST_CURRENT_TEST", "") for name in files)
