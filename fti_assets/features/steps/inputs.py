"""A group's input groups as lazy tables: no row from after its partitions, and none missing from before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import duckdb

from fti_assets.core.sql import quote, timestamp
from fti_assets.core.times import LIFETIME_LENGTH, Partition, back_from
from fti_assets.engines.spark.lake_files import Bounds
from fti_assets.errors import LookbackError, list_some
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.rows.table import Grid, SourcePartitions, Table
from fti_assets.orchestration.partitions import is_timed, partitions_between
from fti_assets.stores.lake.lake import Lake


def input_table(lake: Lake, source: TimedTable, group: FeatureGroup, partitions: Sequence[Partition]) -> Table:
    """The rows of ``source`` that ``group`` may see when it runs for ``partitions``.

    Raises:
        NotMaterializedError: ``source`` was never materialized.
        LookbackError: a partition of ``source`` within the lookback is missing.
    """
    start, end, snapshot = partitions[0].start, partitions[-1].end, lake.snapshot()
    if start is None or end is None or source.event_time is None:
        keys = same_partitions(source, group, partitions)
        missing = sorted(set(keys or ()) - lake.ledger(source.table, snapshot=snapshot).keys())
        if missing:
            raise LookbackError(
                f"{group.table_name} needs {source.table_name} {list_some(missing)}, which is not materialized: materialize it first"
            )
        rows = lake.rows(source.table, snapshot=snapshot, partitions=keys)
        return within_reach(table_of(lake.connection, rows, source), source, group, partitions)
    reach = back_from(start, group.lookback)
    refuse_missing_partitions(lake, source, group, reach, end, snapshot)
    table = table_of(lake.connection, lake.rows(source.table, snapshot=snapshot), source)
    result = within_reach(table, source, group, partitions)
    if not is_timed(source.partitions_def):
        return result
    ledger = lake.ledger(source.table, snapshot=snapshot)
    whole = [
        partition
        for partition in partitions_between(source.partitions_def, reach, start)
        if partition.start
        and partition.end
        and partition.start >= reach
        and partition.end <= start
        and partition.key in ledger
    ]
    rows = replace(table, relation=lake.rows(source.table, snapshot=snapshot, with_partition=True))
    # All of a partition must be visible for a tile of it: one that the reach or the start cuts is read row by row.
    whole_partitions = SourcePartitions(
        lake,
        source.table,
        rows.relation,
        within_reach(rows, source, group, partitions).relation,
        tuple(whole),
        {key: record.data_version for key, record in ledger.items()},
    )
    return replace(result, partitions=whole_partitions)


def same_partitions(source: TimedTable, group: FeatureGroup, partitions: Sequence[Partition]) -> list[str] | None:
    """The partitions of an input that a group takes, where those of both are the same and have no times; else None, for all."""
    if partitions[0].start is not None and partitions[-1].end is not None and source.event_time is not None:
        return None
    same_keys = source.partitions_def is not None and source.partitions_def == group.partitions_def
    return [partition.key for partition in partitions] if same_keys else None


def bounds_of(source: TimedTable, group: FeatureGroup, partitions: Sequence[Partition]) -> list[Bounds]:
    """What a group may see of an input when it runs for ``partitions``: nothing from before its lookback, nothing from after them.

    Rows of partitions that begin after the run are left out too, whatever their event time: they had not arrived. A group
    that is partitioned by the arrival of the source's rows sees all that have arrived.
    """
    start, end = partitions[0].start, partitions[-1].end
    if start is None or end is None or source.event_time is None:
        return []
    column = source.partition_by or source.event_time
    arrives = None if group.partition_by == group.event_time else group.partition_by
    by_arrival = (
        arrives is not None and arrives == source.partition_by
    )  # what has arrived is seen, whenever it comes true
    bounds = [Bounds(column, since=back_from(start, group.lookback), before=end)]
    if not by_arrival and source.event_time != column:
        bounds.append(Bounds(source.event_time, before=end))
    return bounds


def table_of(connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, source: TimedTable) -> Table:
    """Rows of a group as a table that knows its times."""
    return Table(
        relation=rows,
        connection=connection,
        name=source.table_name,
        keys=source.keys,
        event_time=source.event_time,
        available_at=source.available_at,
        serving_delay=source.serving_delay or timedelta(0),
        arrives=None if source.partition_by == source.event_time else source.partition_by,
    )


def within_reach(table: Table, source: TimedTable, group: FeatureGroup, partitions: Sequence[Partition]) -> Table:
    """Of all rows of ``source`` those that ``group`` may see when it runs for ``partitions``, as ``bounds_of`` says."""
    start, end = partitions[0].start, partitions[-1].end
    if start is None or end is None:
        return table
    # A range is one run, so windows must know where each later partition begins to see no row from after it.
    later = tuple(partition.start for partition in partitions[1:] if partition.start is not None)
    arrives = None if group.partition_by == group.event_time else group.partition_by
    grid = None if group.event_time is None else Grid(group.event_time, start, end, later, arrives)
    if source.event_time is None:
        return replace(table, grid=grid)
    reach, column = timestamp(back_from(start, group.lookback)), quote(source.partition_by or source.event_time)
    visible = " AND ".join(bound.sql() for bound in bounds_of(source, group, partitions))
    return replace(
        table,
        relation=table.relation.filter(visible),
        grid=grid,
        beyond=None if group.lookback == LIFETIME_LENGTH else table.relation.filter(f"{column} < {reach}"),
    )


def refuse_missing_partitions(
    lake: Lake, source: TimedTable, group: FeatureGroup, reach: datetime, end: datetime, snapshot: int
) -> None:
    """Raise a LookbackError if a partition of the source between two instants is not stored."""
    if not is_timed(source.partitions_def):
        return
    ledger = lake.ledger(source.table, snapshot=snapshot)
    missing = [
        partition.key
        for partition in partitions_between(source.partitions_def, reach, end)
        if partition.key not in ledger
    ]
    if missing:
        since = "from its first partition" if group.lookback == LIFETIME_LENGTH else f"from {reach}"
        raise LookbackError(
            f"{group.table_name} needs {source.table_name} {since} to {end}, but {len(missing)} of its partitions are not "
            f"materialized: {list_some(missing)}. Materialize them first; a "
            "day without rows must be materialized too"
        )
