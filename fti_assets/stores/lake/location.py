"""The offline store at a location: a folder, or the address of a team's lake."""

from __future__ import annotations

from pathlib import Path

from fti_assets.stores.lake.postgres.address import is_lake_address
from fti_assets.stores.lake.postgres.store import PostgresLake
from fti_assets.stores.lake.store import OfflineStore


def offline_store(location: str | Path) -> OfflineStore:
    """The offline store in a folder, or at ``postgresql://user:password@host/database?data=s3://bucket/folder``.

    >>> offline_store("stores/lake").root.name
    'lake'

    Raises:
        StoreError: it is an address of something else, or does not say where the files lie.
        DeclarationError: libpq cannot read it.
        MissingExtraError: psycopg is not installed.
    """
    return PostgresLake(str(location)) if is_lake_address(location) else OfflineStore(location)
