"""The lakes of branches."""

from __future__ import annotations

from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.lake.branches.branch import branch_folder
from fti_assets.stores.lake.postgres.address import LakeAddress
from fti_assets.stores.lake.postgres.cloning import branch_address
from fti_assets.stores.lake.postgres.store import PostgresLake
from fti_assets.stores.lake.store import OfflineStore


def branch_store(main: OfflineStore, name: str) -> OfflineStore:
    """The lake of a branch, whether it is there or not.

    Raises:
        StoreError: the name is none, or too long.
    """
    folder = branch_folder(main, name)
    if isinstance(folder, BucketPath):
        assert isinstance(main.root, LakeAddress)
        return PostgresLake(branch_address(main.root, name, folder / "lake").location)
    return OfflineStore(folder / "lake")
