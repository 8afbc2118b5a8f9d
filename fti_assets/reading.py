"""Rows for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fti_assets.errors import NotMaterializedError, StoreError, listed
from fti_assets.features.external_rows import external_rows
from fti_assets.features.feature_group import FeatureGroup
from fti_assets.resources import Stores
from fti_assets.stores.external import source_connection
from fti_assets.stores.sql import quoted

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from fti_assets.inference.batch import BatchPredictions
    from fti_assets.training.dataset import TrainingDataset


def read(
    declaration: FeatureGroup | TrainingDataset | BatchPredictions,
    *,
    columns: Sequence[str] | None = None,
    partitions: Sequence[str] | None = None,
    snapshot: int | None = None,
    stores: Stores | None = None,
) -> pd.DataFrame:
    """Read what is stored of a feature group, a training dataset or batch predictions; an external group where it lies.

    Args:
        declaration: what to read.
        columns: some columns only.
        partitions: some partitions only.
        snapshot: as of a snapshot of the lake, the newest by default.
        stores: where it is stored; under ``FTI_HOME`` by default.

    Raises:
        NotMaterializedError: it, one of the partitions or the snapshot is not there.
        StoreError: there is no such column.

    >>> read(weather, partitions=["2013-06-01"])  # doctest: +SKIP
    """
    if isinstance(declaration, FeatureGroup) and declaration.source is not None:
        return _outside(declaration, columns, partitions, snapshot)
    table, store = declaration.table_name, (stores or Stores()).offline_store()
    if not store.catalog.exists():
        raise NotMaterializedError(f"there is no offline store at {store.root} that has {table}: materialize it first")
    with store.connect() as lake:
        rows, stored = lake.rows(table, snapshot=snapshot, partitions=partitions), lake.ledger(table, snapshot=snapshot)
        absent = [partition for partition in partitions or () if partition not in stored]
        if absent:
            raise NotMaterializedError(
                f"{table} has no partition {listed(absent)}: it has {listed(stored)}; materialize it first"
            )
        return _selected(rows, columns, str(table))


def _outside(
    group: FeatureGroup, columns: Sequence[str] | None, partitions: Sequence[str] | None, snapshot: int | None
) -> pd.DataFrame:
    if partitions is not None or snapshot is not None:
        raise NotMaterializedError(
            f"{group.table} has no partitions and no snapshots: another system keeps it; read it as it is now"
        )
    with source_connection() as connection:
        return _selected(external_rows(connection, group), columns, group.table)


def _selected(rows: duckdb.DuckDBPyRelation, columns: Sequence[str] | None, what: str) -> pd.DataFrame:
    unknown = [column for column in columns or () if column not in rows.columns]
    if unknown:
        raise StoreError(f"{what} has no column {listed(unknown)}: it has {listed(rows.columns, limit=50)}")
    return (rows.project(", ".join(map(quoted, columns))) if columns is not None else rows).df()
