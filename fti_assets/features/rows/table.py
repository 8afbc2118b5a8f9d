"""A group's rows as a feature function gets them: a lazy DuckDB relation that knows its times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fti_assets.core.times import Times, microseconds
from fti_assets.stores.duckdb.pandas_rows import pandas_rows

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from fti_assets.core.names import TableName
    from fti_assets.core.times import Partition
    from fti_assets.stores.lake.lake import Lake


@dataclass(frozen=True)
class Grid:
    """The instants that the running group is computed for: ``start <= instant < end``, under the name of its event time.

    Args:
        instant: the name of the running group's event time.
        start: the first instant.
        end: the first one after.
        starts: when the later partitions of a run of several begin.
        arrives: the column whose time says which partition of the running group a row is in, or None if that is its event time.
    """

    instant: str
    start: datetime
    end: datetime
    starts: tuple[datetime, ...] = ()
    arrives: str | None = None


@dataclass(frozen=True)
class SourcePartitions:
    """The partitions of a source that a run sees whole, and where tiles of them are kept.

    Args:
        lake: the lake.
        table: the source's table.
        all_rows: all its rows, with ``_partition``: a tile serves later runs too, which see more of them.
        rows: those that the run may see.
        before: those that lie between the lookback's reach and the run's start.
        versions: the data version of every stored partition.
    """

    lake: Lake
    table: TableName
    all_rows: duckdb.DuckDBPyRelation
    rows: duckdb.DuckDBPyRelation
    before: tuple[Partition, ...]
    versions: Mapping[str, str]


def partitioned_by_arrival(source: str, arrives: str) -> str:
    """Why a group with a window at each row of a source that is partitioned by arrival must be so, too."""
    return (
        f"{source} is partitioned by {arrives!r}, so windows for each of its rows are too, or those of a row that "
        f"lands late would belong to a partition that was run before: declare the group with partition_by={arrives!r}, "
        "which the windows carry along, or give every='1h' for windows at the instants of a grid"
    )


@dataclass(frozen=True)
class Table:
    """Rows of a feature group, lazy: nothing is copied before the result is stored.

    Args:
        relation: the rows, with the group's own column names; times are naive UTC ``TIMESTAMP``.
        connection: the DuckDB connection that the relation belongs to.
        name: the group's table, for errors (``arrivals_v1``).
        keys: the group's key columns.
        event_time: the column that says when a row was true, or None for a lookup.
        available_at: the column that says when a row could first be used, or None if it is event time plus
            ``serving_delay``.
        serving_delay: added to event time when there is no ``available_at`` column.
        arrives: the column whose time says which partition a row is in, or None if that is its event time.
        grid: the instants that the asking group is computed for, or None outside a run.
        beyond: the rows that the asking group's lookback leaves out, or None if it leaves none out.
        partitions: the source's partitions before the run, of which windows keep tiles, or None if there are none.
    """

    relation: duckdb.DuckDBPyRelation
    connection: duckdb.DuckDBPyConnection
    name: str
    keys: tuple[str, ...]
    event_time: str | None = None
    available_at: str | None = None
    serving_delay: timedelta = timedelta(0)
    arrives: str | None = None
    grid: Grid | None = None
    beyond: duckdb.DuckDBPyRelation | None = None
    partitions: SourcePartitions | None = None

    @property
    def times(self) -> Times:
        """When a row is true and can be used."""
        return Times(self.event_time, self.available_at, microseconds(self.serving_delay))

    def with_relation(self, relation: duckdb.DuckDBPyRelation) -> Table:
        """The same times and grid over other rows, such as a projection, a filter or a union of this table's own."""
        return replace(self, relation=relation, partitions=None)

    def df(self) -> pd.DataFrame:
        """Fetch the rows as a pandas frame, whole numbers to the last digit: ``int64``, or ``Int64`` beside a null.

        Raises:
            DataError: a whole number, such as a decimal without digits after the point, is beyond 64 bits.
        """
        return pandas_rows(self.relation)
