"""A feature function on a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import PARTITION
from fti_assets.core.rules import reasons
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition
from fti_assets.errors import DeclarationError, list_some
from fti_assets.features.files.readable import file_errors
from fti_assets.features.groups.group import FeatureGroup, layout_of
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import stage
from fti_assets.features.rows.table import Table
from fti_assets.features.steps.inputs import table_of, within_reach
from fti_assets.testing.failures import RowsRefused
from fti_assets.testing.running import PartitionKeys, call, named_partitions

if TYPE_CHECKING:
    import pandas as pd


@checked_arguments(itself=["partition"])
def rows(group: FeatureGroup, /, *, partition: PartitionKeys = None, **arguments: Any) -> pd.DataFrame:
    """Call a feature function on a few rows, without a store, and validate what it gives as a run would.

    A parameter that is an ``fti.Table`` takes a frame, which becomes the lazy table that a run would give: with the
    input group's keys and times, nothing from after the partition or from before the lookback, and the grid of the
    partition. ``context`` is that of a real step unless one is given; a ``dg.Config`` has its defaults.

    Args:
        group: the feature group.
        partition: a partition key, the first and last key of a range, or None for a group without partitions.
        arguments: the function's other parameters by name: frames (pandas, Arrow or DuckDB relations), resources, config.

    Returns:
        The rows as they would be stored, in the order of their keys and times.

    Raises:
        RowsRefused: rows break a blocking rule; its ``rows`` are those.
        DeclarationError: a parameter or a partition is missing, or there is no such one.
        LookbackError: a window needs a row from before the group's lookback.

    >>> import dagster as dg, pandas as pd
    >>> from fti_assets import Count, Table, feature_group, window_aggregate
    >>> daily = dg.DailyPartitionsDefinition(start_date="2025-01-01")
    >>> @feature_group(keys=["customer"], event_time="at", partitions_def=daily)
    ... def visits() -> pd.DataFrame: ...
    >>> @feature_group(keys=["customer"], event_time="hour", partitions_def=daily, lookback="2h")
    ... def habits(visits: Table) -> Table:
    ...     return window_aggregate(visits, keys=["customer"], every="1h", windows=["2h"], aggregates={"seen": Count()})
    >>> seen = rows(habits, partition="2025-01-02", visits=pd.DataFrame(
    ...     {"customer": [7], "at": [pd.Timestamp("2025-01-02 09:30")]}))
    >>> seen[["customer", "hour", "seen_2h"]].astype(str).values.tolist()
    [['7', '2025-01-02 10:00:00', '1'], ['7', '2025-01-02 11:00:00', '1']]
    """
    partitions = named_partitions(group, partition)
    absent = [name for name in group.inputs if name not in arguments]
    if absent:
        raise DeclarationError(
            f"{group.table_name} reads {list_some(group.inputs[name].table_name for name in absent)}: give a frame of rows, "
            f"{', '.join(f'{name}=...' for name in absent)}"
        )
    connection = duckdb.connect()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        tables = {
            name: _as_table(connection, frame, group.inputs[name], group, partitions)
            for name, frame in arguments.items()
            if name in group.inputs
        }
        with file_errors():
            result = call(group.function, {**arguments, **tables}, group, partitions)
            return validate_rows(connection, result, group, partitions)
    finally:
        connection.close()


def validate_rows(
    connection: duckdb.DuckDBPyConnection, result: Any, group: FeatureGroup, partitions: Sequence[Partition]
) -> pd.DataFrame:
    """A function's result as it would be stored.

    Raises:
        RowsRefused: rows break a blocking rule.
    """
    staged_rows = stage(connection, result, layout_of(group), partitions)
    if not staged_rows.is_accepted:
        import pandas as pd

        failures = [verdict for verdict in staged_rows.verdicts if not verdict.passed and verdict.rule.blocking]
        samples = pd.DataFrame([row for verdict in failures for row in verdict.sample])
        raise RowsRefused(
            f"{group.table_name}: nothing would be stored, because {reasons(staged_rows.verdicts)}",
            samples if staged_rows.failing is None else staged_rows.failing,
        )
    rows = connection.table(quote(staged_rows.table)).project(f"* EXCLUDE ({PARTITION})")
    frame: pd.DataFrame = rows.order(", ".join(map(quote, group.identity))).df()
    return frame


def _as_table(
    connection: duckdb.DuckDBPyConnection,
    frame: Any,
    source: TimedTable,
    group: FeatureGroup,
    partitions: Sequence[Partition],
) -> Table:
    times = tuple(name for name in (source.event_time, source.available_at) if name is not None)
    layout = Layout(source.table_name, times, (), None, times=times)
    if isinstance(source, FeatureGroup):
        own = layout_of(source)
        layout = Layout(own.what, own.times, (), None, types=own.types, times=own.times)
    staged_rows = stage(connection, frame, layout, [Partition("all")])
    relation = connection.table(quote(staged_rows.table)).project(f"* EXCLUDE ({PARTITION})")
    return within_reach(table_of(connection, relation, source), source, group, partitions)
