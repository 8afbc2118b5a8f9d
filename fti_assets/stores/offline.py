"""The offline store: one DuckLake. Known to it, ``lake.py``, ``catalog.py``, ``upkeep.py``, ``forgetting.py`` and ``tiles.py``.

Embedded, it is a SQLite catalog in WAL mode and Parquet files under one folder. Every table is partitioned by
``_partition`` and has a ledger, written in the same transaction, that says which version of each partition is there, who
wrote it and from what.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fti_assets.stores.files import locked
from fti_assets.stores.lake import Lake
from fti_assets.stores.lake_connection import lake_connection
from fti_assets.stores.tables import LEDGER

_LOCK_TIMEOUT_S = 600.0


class OfflineStore:
    """A DuckLake under one folder.

    Args:
        root: the folder; made on the first write.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.sqlite"

    @property
    def rejected(self) -> Path:
        """The folder where rows that failed validation are kept aside."""
        return self.root / "rejected"

    @contextmanager
    def connect(self) -> Iterator[Lake]:
        """Open a connection to the lake for a block; the first of a process checks extensions for half a second."""
        self._create()
        with lake_connection(self.catalog, self.root / "data") as connection:
            yield Lake(connection, self)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the writers' lock: a SQLite catalog admits one writer at a time, thread or process."""
        with locked(self.root / "lake.lock", timeout=_LOCK_TIMEOUT_S):
            yield

    def _create(self) -> None:
        """Make the catalog once, whole or not at all, in WAL mode, so that readers go on while someone commits."""
        if self.catalog.exists():
            return
        (self.root / "data").mkdir(parents=True, exist_ok=True)
        with self.lock():
            if self.catalog.exists():
                return
            half_made = self.root / "catalog.new"
            half_made.unlink(missing_ok=True)
            with lake_connection(half_made, self.root / "data") as connection:
                connection.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
                connection.execute(f"CREATE SCHEMA lake.{LEDGER}")
                connection.execute(f"CALL lake.set_option('data_inlining_row_limit', 100000, schema => '{LEDGER}')")
            journal = sqlite3.connect(half_made)
            try:
                journal.execute("PRAGMA journal_mode = WAL")
            finally:
                journal.close()
            os.replace(half_made, self.catalog)
