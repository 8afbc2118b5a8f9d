"""Rows for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import TableName
from fti_assets.core.sql import quote
from fti_assets.errors import NotMaterializedError, StoreError, excerpt, list_some, one_of
from fti_assets.features.external.rows import external_rows
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.online.joined import joined_whole
from fti_assets.features.online.rows import visible_at
from fti_assets.features.online.windows_at import windows_at
from fti_assets.features.rows.frames.kinds import Kind, as_kind, checked_kind
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.lasting import lasting_lake
from fti_assets.stores.lake.snapshots import moment_of, snapshot_of
from fti_assets.stores.sources.source import read_errors, source_connection

if TYPE_CHECKING:
    from fti_assets.inference.batch.predictions import BatchPredictions
    from fti_assets.inference.log.log import PredictionLog
    from fti_assets.monitors.monitor import Monitor
    from fti_assets.monitors.parity.parity import Parity
    from fti_assets.training.datasets.dataset import TrainingDataset


@checked_arguments()
def read(
    declaration: FeatureGroup | TrainingDataset | BatchPredictions | PredictionLog | Monitor | Parity | str,
    *,
    at: datetime | str | None = None,
    columns: Sequence[str] | None = None,
    partitions: Sequence[str] | None = None,
    snapshot: int | str | datetime | None = None,
    as_: Kind = "pandas",
    stores: Stores | None = None,
) -> Any:
    """Read what is stored of a feature group, a dataset, batch predictions, a log, a monitor or a parity. An external group is read
    in place.

    Args:
        declaration: what to read; without its code, the table's name, ``"weather_v1"``.
        at: an instant (naive for UTC). A feature group gives the one row per key that wins then, which a request at that instant
            would have been answered with; a group without an event time gives all rows. Windows at the time of a request give the
            keys with a row in the longest one, which may be none.
        columns: some columns only.
        partitions: some partitions only.
        snapshot: as of a snapshot of the lake: its number, or an instant for the newest one committed by then; the newest
            of all by default.
        as_: ``"pandas"``, ``"polars"``, ``"arrow"``, ``"dicts"`` or ``"relation"``: a lazy DuckDB relation. It keeps its connection
            open for as long as it, or one that is derived from it, is held; relations that a thread reads from one store can be
            joined with each other. When it is returned, its files are there with the right sizes; damage inside one is found when
            the relation is evaluated, as DuckDB's own error.
        stores: where it is stored; under ``FTI_HOME`` by default.

    Raises:
        NotMaterializedError: it, one of the partitions or the snapshot is not there, or nothing was visible yet at ``at``.
        DamagedError: a file of it is gone or damaged.
        StoreError: there is no such column, or it has no times that ``at`` could ask for.
        MissingExtraError: pandas or polars is asked for and not installed.

    >>> read(weather, at="2013-06-01T08:00Z", columns=["origin", "temp"])  # doctest: +SKIP
    """
    kind = checked_kind(as_)
    if not isinstance(declaration, str) and (isinstance(declaration, type) or not hasattr(declaration, "table_name")):
        raise StoreError(
            f"{excerpt(declaration)} has no stored rows of its own: read a feature group, a dataset, batch predictions, a monitor, or a "
            "table by its name, 'weather_v1'; a view's rows come by view.features_for(rows)"
        )
    if isinstance(declaration, FeatureGroup) and declaration.source is not None:
        return _outside(declaration, at, columns, partitions, snapshot, kind)
    store = (stores or Stores()).offline_store()
    if not store.exists():
        table_name = declaration if isinstance(declaration, str) else declaration.table.full_name
        raise NotMaterializedError(
            f"there is no offline store at {store.root} that has {table_name}: materialize it first"
        )
    with nullcontext(lasting_lake(store)) if kind == "relation" else store.connect() as lake:
        number = snapshot_of(lake, snapshot)
        if at is None and isinstance(declaration, FeatureGroup) and declaration.windows is not None:
            raise StoreError(
                f"{declaration.table_name} has no rows of its own: its windows are computed at an instant. Give at=, or read "
                f"{declaration.table}, whose rows they count"
            )
        table = _table(lake, declaration)
        # Nobody names the file to whoever evaluates a relation, and a FIFO in its place would be waited for.
        if lake.has(table):
            everything = kind != "relation" and columns is None and at is None
            lake.look_at_files(table, partitions, snapshot=number, whole=everything)
        rows = _rows(lake, table, partitions, number)
        if at is not None:
            rows = _at(lake, declaration, rows, moment_of(at, what="at"), columns, partitions)
        return as_kind(_select(rows, columns, table.full_name), kind)


def _outside(
    group: FeatureGroup,
    at: datetime | str | None,
    columns: Sequence[str] | None,
    partitions: Sequence[str] | None,
    snapshot: int | str | datetime | None,
    kind: Kind,
) -> Any:
    if partitions is not None or snapshot is not None:
        raise NotMaterializedError(
            f"{group.table_name} has no partitions and no snapshots: another system keeps it; read it as it is now"
        )
    if kind == "relation":
        raise StoreError(f"{group.table_name} cannot be read as a relation: another system keeps it; take as_='arrow'")
    assert group.source is not None
    with source_connection() as connection, read_errors(group.source):
        rows = external_rows(connection, group)
        if at is not None:
            rows = visible_at(connection, group, rows, moment_of(at, what="at"))
        return as_kind(_select(rows, columns, group.table_name), kind)


def _select(rows: duckdb.DuckDBPyRelation, columns: Sequence[str] | None, what: str) -> duckdb.DuckDBPyRelation:
    unknown = [column for column in columns or () if column not in rows.columns]
    if unknown:
        raise StoreError(f"{what} has no column {list_some(unknown)}: it has {list_some(rows.columns, limit=50)}")
    return rows.project(", ".join(map(quote, columns))) if columns is not None else rows


def _table(
    lake: Lake, declaration: FeatureGroup | TrainingDataset | BatchPredictions | PredictionLog | Monitor | Parity | str
) -> TableName:
    if not isinstance(declaration, str):
        return declaration.table
    tables = lake.tables()
    results = [table for table in tables if declaration in (table.full_name, table.name)]
    if len(results) != 1:
        several = f"several tables {declaration!r}: say {one_of(table.full_name for table in results)}"
        versions = [
            table.name
            for table in tables
            if declaration in (table.full_name.rpartition("_v")[0], table.name.rpartition("_v")[0])
        ]
        then = f"say {one_of(versions)}" if versions else "materialize it first"
        none = f"no table {declaration!r}: it has {list_some((table.full_name for table in tables), limit=50)}; {then}"
        raise NotMaterializedError(f"the offline store at {lake.store.root} has {several if results else none}")
    return results[0]


def _rows(lake: Lake, table: TableName, partitions: Sequence[str] | None, snapshot: int) -> duckdb.DuckDBPyRelation:
    lake.require(table)
    ledger = lake.ledger(table, snapshot=snapshot)
    if not ledger:
        raise NotMaterializedError(f"{table.full_name} was not there yet at snapshot {snapshot}: take a later one")
    if partitions is not None and not partitions:
        raise NotMaterializedError(
            f"{table.full_name} is read of no partition: name some of {list_some(ledger)}, or leave out partitions="
        )
    absent = [partition for partition in partitions or () if partition not in ledger]
    if absent:
        raise NotMaterializedError(
            f"{table.full_name} has no partition {list_some(absent)}: it has {list_some(ledger)}; materialize it first"
        )
    return lake.rows(table, snapshot=snapshot, partitions=partitions)


def _at(
    lake: Lake,
    declaration: Any,
    rows: duckdb.DuckDBPyRelation,
    at: datetime,
    columns: Sequence[str] | None,
    partitions: Sequence[str] | None,
) -> duckdb.DuckDBPyRelation:
    if not isinstance(declaration, FeatureGroup):
        what = "a name does not say what its times mean" if isinstance(declaration, str) else "it is no feature group"
        raise StoreError(f"{declaration!r} cannot be read at={at}: {what}; give a feature group, or leave at= out")
    if partitions is not None:
        raise StoreError(
            f"{declaration.table_name} cannot be read at={at} from some partitions alone, since the row that wins can lie in another: "
            "leave partitions= or at= out"
        )
    if declaration.windows is not None:
        whole = joined_whole(declaration, lake.types(declaration.table))
        if columns is not None and all(name in {*declaration.keys, *declaration.windows.columns} for name in columns):
            whole = replace(whole, columns=tuple(one for one in whole.columns if one.feature in columns))
        return windows_at(lake.connection, whole, rows, at)
    return visible_at(lake.connection, declaration, rows, at)
