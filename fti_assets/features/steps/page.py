"""What a run of a feature group adds to its asset's page: statistics, numbers over partitions, and lineage by column."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import duckdb

from fti_assets.core import clock
from fti_assets.core.names import PARTITION
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition
from fti_assets.features.external.rows import outside_relation
from fti_assets.features.groups.freshness import is_backfill
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.rows.staging import StagedRows
from fti_assets.features.rows.statistics import ColumnStatistics, column_statistics, partition_statistics
from fti_assets.features.rows.table import Table
from fti_assets.features.sql_lineage import UntoldError, sql_lineage
from fti_assets.orchestration.lineage import COLUMN_LINEAGE
from fti_assets.stores.duckdb.relations import sql_of
from fti_assets.stores.lake.lake import Lake

_PLOTTED_COLUMNS = 30
"""A plot for each column is shown up to so many; beyond, only that of all of them."""


def statistics_metadata(
    lake: Lake,
    group: FeatureGroup,
    staged_rows: StagedRows,
    partitions: Sequence[Partition],
    verdicts: Sequence[Verdict],
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The metadata of a run, and the numbers of each partition, which Dagster plots."""
    rows = lake.connection.table(quote(staged_rows.table))
    statistics = column_statistics(lake.connection, rows.project(f"* EXCLUDE ({PARTITION})"))
    metadata: dict[str, Any] = {"statistics": statistics_table(statistics)}
    delay = next((v.facts["measured_delay_p95_s"] for v in verdicts if "measured_delay_p95_s" in v.facts), None)
    if delay is not None:
        metadata["measured_delay_p95_s"] = float(delay)
    columns = [one.column for one in statistics if one.column not in (*group.keys, *group.time_columns)]
    now, by_partition = clock.now(), dict[str, dict[str, Any]]()
    result = partition_statistics(lake.connection, rows, columns, event_time=group.event_time, now=now)
    for partition in partitions:
        one = result.get(partition.key)
        if one is None:
            continue
        numbers: dict[str, Any] = {"null_rate": one.null_rate}
        if len(columns) <= _PLOTTED_COLUMNS:
            numbers |= {f"null_rate/{column}": rate for column, rate in one.null_rates.items()}
        if one.newest is not None and not is_backfill(partition, now):
            numbers["newest_event_age_s"] = (now - one.newest).total_seconds()
        if one.farthest is not None:
            numbers["farthest_event_ahead_s"] = (one.farthest - now).total_seconds()
        by_partition[partition.key] = numbers
    return metadata, by_partition


_STATISTICS = {
    **dict.fromkeys(("column", "type"), "string"),
    "null_rate": "float",
    **dict.fromkeys(("min", "max"), "string"),
    **dict.fromkeys(("mean", "std"), "float"),
    "distinct_about": "int",
}


def statistics_table(statistics: Sequence[ColumnStatistics]) -> dg.TableMetadataValue:
    """Statistics as a table on the asset's page."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "column": one.column,
                    "type": one.type,
                    "null_rate": round(one.null_rate, 6),
                    "min": _text(one.least),
                    "max": _text(one.greatest),
                    "mean": _number(one.mean),
                    "std": _number(one.std),
                    "distinct_about": one.distinct,
                }
            )
            for one in statistics
        ],
        schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in _STATISTICS.items()]),
    )


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:80]


def _number(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


_log = logging.getLogger(__name__)


def lineage_of_run(lake: Lake, group: FeatureGroup, result: Any, relations: Mapping[str, str]) -> dict[str, Any]:
    """The metadata that tells what each column of a run was made from; none where that cannot be told.

    Args:
        lake: the open lake of the run.
        group: the group; what its ``metadata`` says of lineage is taken as it is.
        result: what its function gave.
        relations: the SQL of the relations that were named while it ran.
    """
    lineage = (group.options.get("metadata") or {}).get(COLUMN_LINEAGE)
    if lineage is not None:
        return {COLUMN_LINEAGE: lineage}
    relation = result.relation if isinstance(result, Table) else result
    if not isinstance(relation, duckdb.DuckDBPyRelation) or not group.inputs:
        return {}
    keys = {_place(source): source.key for source in group.rests_on}
    sql = sql_of(relation)
    try:
        if sql is None:
            raise UntoldError("its rows were fetched, and what they were made from is lost")
        with lake.one_snapshot():
            columns = dict(_columns(lake, group))
        sources = sql_lineage(sql, tables=columns, relations=relations)
    except UntoldError as error:
        _log.debug("%s has no lineage by column: %s", group.table_name, error)
        return {}
    names = {name.lower(): name for name in relation.columns}  # a query may spell them otherwise
    deps = {
        group.rename.get(names[column.lower()], names[column.lower()]): [
            dg.TableColumnDep(asset_key=keys[table], column_name=name) for table, name in match
        ]
        for column, match in sources.items()
        if column.lower() in names
    }
    return {COLUMN_LINEAGE: dg.TableColumnLineage(deps)} if deps else {}


def _place(source: TimedTable) -> str:
    """What a query that reads a group calls its table."""
    return outside_relation(source.table_name) if source.source is not None else f"lake.{source.table.full_name}"


def _columns(lake: Lake, group: FeatureGroup) -> Iterable[tuple[str, dict[str, str]]]:
    for source in group.rests_on:
        own = {} if source.source is not None else {PARTITION: "VARCHAR"}
        yield _place(source), {**lake.types(source.table), **own}
