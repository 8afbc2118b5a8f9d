"""The offline store: one DuckLake, which the modules know that ``docs/architecture.md`` names.

Embedded, it is a SQLite catalog in WAL mode and Parquet files under one folder. Every table is partitioned by
``_partition`` and has a ledger, written in the same transaction, that says which version of each partition is there, who
wrote it and from what.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fti_assets.stores.lake.branches.branch import errors_of_dropped
from fti_assets.stores.lake.files.damage import damage_errors
from fti_assets.stores.lake.folder import LakeFolder
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.sources.source import value_errors, without_secrets


class OfflineStore(LakeFolder):
    """A DuckLake under one folder.

    Args:
        root: the folder; made on the first write.
    """

    @contextmanager
    def connect(self) -> Iterator[Lake]:
        """Open a connection to the lake for a block; the first of a process checks extensions for half a second.

        Raises:
            DataError: the block read a value of an external group that is not of its declared type.
            DamagedError: the lake has lost its catalog; or the block met a file that is missing or damaged.
            NotMaterializedError: it is that of an environment, which was dropped meanwhile.
            StoreError: it cannot be opened or made.
        """
        self.create()
        with errors_of_dropped(self), self.attached() as connection:
            lake = Lake(connection, self)
            with damage_errors(lake), without_secrets(), value_errors():
                yield lake
