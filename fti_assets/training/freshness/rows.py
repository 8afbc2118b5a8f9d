"""The rows of a stored dataset, and the same rows as they would be had one group's values come sooner or later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import duckdb

from fti_assets.core.manifest import DatasetManifest
from fti_assets.core.names import TableName
from fti_assets.core.sql import quote, temporary_name
from fti_assets.errors import StoreError
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.spine_rows import stored_spine
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.dataset import SPLIT
from fti_assets.training.datasets.splits.hash_split import share_sql
from fti_assets.training.freshness.moved import moved_rows, moved_view

NUMBER = "_fti_number"
"""The column that numbers the rows."""

_SEED = 0


@dataclass(frozen=True)
class DatasetRows:
    """The rows of a dataset at a cutoff, numbered, and what of the spine its joins need, under the same numbers.

    ``stored`` and ``spine`` are temporary tables; ``rows`` says how many each part has.
    """

    lake: Lake
    dataset: DatasetManifest
    stored: str
    spine: str
    rows: dict[str, int]

    @property
    def declared(self) -> duckdb.DuckDBPyRelation:
        """The rows as they are stored."""
        return self.lake.connection.sql(f"SELECT * EXCLUDE ({NUMBER}) FROM {self.stored}")

    def moved(self, table_name: str, delay: timedelta) -> duckdb.DuckDBPyRelation | None:
        """The rows with one group's values ``delay`` after their event time; None if no value of them is another one.

        The features are joined at the dataset's own snapshot, and everything else is as it is stored.

        Raises:
            NotMaterializedError: that snapshot is expired.
        """
        connection, view, snapshot = self.lake.connection, self.dataset.view, self.dataset.snapshot
        moved = moved_view(view, table_name, delay)
        joined = assemble(
            self.lake,
            moved,
            connection.table(self.spine),
            snapshot=snapshot,
            rows=moved_rows(lambda join: self.lake.rows(join.table, snapshot=snapshot), view),
        )
        columns = [quote(feature.name) for feature in moved.features]
        table = quote("temp", temporary_name("moved"))
        connection.execute(
            f"CREATE TEMP TABLE {table} AS SELECT stored.* EXCLUDE ({', '.join(columns)}), "
            f"{', '.join(f'joined.{column}' for column in columns)} "
            f"FROM {self.stored} stored JOIN {relation_name(joined)} joined USING ({NUMBER})"
        )
        differ = " OR ".join(f"stored.{column} IS DISTINCT FROM moved.{column}" for column in columns)
        is_other = connection.execute(
            f"SELECT 1 FROM {self.stored} stored JOIN {table} moved USING ({NUMBER}) WHERE {differ} LIMIT 1"
        ).fetchone()
        return connection.sql(f"SELECT * EXCLUDE ({NUMBER}) FROM {table}") if is_other else None


def dataset_rows(
    lake: Lake, table: TableName, partition: str, dataset: DatasetManifest, *, train_rows: int | None = None
) -> DatasetRows:
    """The stored rows of a cutoff.

    Args:
        lake: the open lake.
        table: the dataset's.
        partition: the dataset's partition.
        dataset: its manifest.
        train_rows: about how many of the train rows are taken, by a hash of their keys, or of their query where the dataset has queries;
            all by default.

    Raises:
        StoreError: rows of the dataset are not in its spine any more.
        NotMaterializedError: its snapshot is expired.
    """
    connection, view = lake.connection, dataset.view
    stored, spine = (quote("temp", temporary_name(kind)) for kind in ("stored", "spine"))
    where = ""
    if train_rows is not None and train_rows < dataset.rows["train"]:
        share = f"{share_sql(dataset.query or view.spine_keys, _SEED)} < {train_rows / dataset.rows['train']!r}"
        where = f" WHERE {quote(SPLIT)} <> 'train' OR {share}"
    rows = lake.rows(table, partitions=[partition])
    connection.execute(
        f"CREATE TEMP TABLE {stored} AS SELECT row_number() OVER () AS {NUMBER}, * FROM {relation_name(rows)}{where}"
    )
    identity = ", ".join(map(quote, view.identity))
    request = "".join(f", spine.{quote(one.name)}" for one in view.request if one.name not in view.identity)
    of_spine = stored_spine(lake, view, snapshot=dataset.snapshot)
    connection.execute(
        f"CREATE TEMP TABLE {spine} AS SELECT {NUMBER}, {identity}{request} "
        f"FROM (SELECT {NUMBER}, {identity} FROM {stored}) JOIN {relation_name(of_spine)} spine USING ({identity})"
    )
    counts = dict(connection.execute(f"SELECT {quote(SPLIT)}, count(*) FROM {stored} GROUP BY 1").fetchall())
    [(with_spine,)] = connection.execute(f"SELECT count(*) FROM {spine}").fetchall()
    if with_spine != sum(counts.values()):
        raise StoreError(
            f"{table.full_name} {partition} has {sum(counts.values())} rows, of which {with_spine} are found in its spine "
            f"{view.spine_table.full_name}: materialize it again"
        )
    return DatasetRows(lake, dataset, stored, spine, counts)
