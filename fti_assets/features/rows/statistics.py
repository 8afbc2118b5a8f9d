"""Statistics of columns: how many are null, and what the rest is like. Pure functions on DuckDB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import duckdb

from fti_assets.core.names import PARTITION
from fti_assets.core.sql import quote, timestamp
from fti_assets.core.types import ColumnType, type_of_sql
from fti_assets.stores.duckdb.relations import relation_name

# Up to so many rows or values they are counted one by one: there HyperLogLog can be wrong by half.
_FEW = 1000


@dataclass(frozen=True)
class ColumnStatistics:
    """One column of some rows. What a type does not have is None: a mean of text, the least of lists."""

    column: str
    type: str
    null_rate: float
    least: Any
    greatest: Any
    mean: float | None
    std: float | None
    distinct: int | None


@dataclass(frozen=True)
class PartitionStatistics:
    """One partition: its rows, the share of nulls of each column, the newest event that has happened, the farthest to come."""

    rows: int
    null_rates: Mapping[str, float]
    newest: datetime | None
    farthest: datetime | None

    @property
    def null_rate(self) -> float:
        """The share of nulls among all values."""
        return sum(self.null_rates.values()) / len(self.null_rates) if self.null_rates else 0.0


def column_statistics(connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation) -> list[ColumnStatistics]:
    """Statistics of each column of ``n`` rows, in one scan of up to 1,000 rows; beyond, many distinct values are counted by
    HyperLogLog, few by a second scan.

    Args:
        connection: the connection that ``rows`` belongs to.
        rows: any columns.

    Returns:
        One for each column, in order. Mean and standard deviation (of the sample) leave out nulls and what is infinite.

    >>> import duckdb
    >>> connection = duckdb.connect()
    >>> rows = connection.sql("SELECT * FROM (VALUES (1.0::DOUBLE), (3.0), (NULL), (3.0)) AS t(x)")
    >>> [found] = column_statistics(connection, rows)
    >>> found.null_rate, found.least, found.greatest, round(found.mean, 3), found.distinct
    (0.25, 1.0, 3.0, 2.333, 2)
    """
    columns = list(zip(rows.columns, map(str, rows.types), strict=True))
    source = relation_name(rows)
    total = int(connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0])
    exact = total <= _FEW
    values = iter(_first_that_fits(connection, columns, source, exact=exact))
    statistics = []
    for name, sql_type in columns:
        present, least, greatest, mean, std, distinct = (next(values) for _ in range(6))
        null_rate = 1 - present / total if total else 0.0
        type_text = _scalar_type(sql_type) or sql_type
        statistics.append(ColumnStatistics(name, type_text, null_rate, least, greatest, mean, std, distinct))
    few = [one.column for one in statistics if one.distinct is not None and one.distinct <= _FEW]
    if few and not exact:  # where HyperLogLog says 2 for 3 values, and counting costs little
        counts = ", ".join(f"count(DISTINCT {quote(column)})" for column in few)
        exact_counts = dict(zip(few, connection.execute(f"SELECT {counts} FROM {source}").fetchall()[0], strict=True))
        statistics = [replace(one, distinct=exact_counts.get(one.column, one.distinct)) for one in statistics]
    return statistics


def partition_statistics(
    connection: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    columns: Sequence[str],
    *,
    event_time: str | None = None,
    now: datetime,
) -> dict[str, PartitionStatistics]:
    """The share of nulls and the newest event time, up to now and after it, of each partition, in one scan.

    Args:
        connection: the connection that ``rows`` belongs to.
        rows: with ``_partition``.
        columns: whose nulls are counted.
        event_time: the column that says when a row was true.
        now: naive UTC; later events are still to come.
    """
    counts = "".join(f", count({quote(column)})" for column in columns)
    ends = "NULL, NULL"
    if event_time is not None:
        event, moment = quote(event_time), timestamp(now)
        ends = f"max({event}) FILTER ({event} <= {moment}), max({event}) FILTER ({event} > {moment})"
    records = connection.execute(
        f"SELECT {PARTITION}, {ends}, count(*){counts} FROM {relation_name(rows)} GROUP BY {PARTITION}"
    ).fetchall()
    return {
        partition: PartitionStatistics(
            total,
            {column: 1 - present / total for column, present in zip(columns, counts_of_columns, strict=True)},
            newest,
            farthest,
        )
        for partition, newest, farthest, total, *counts_of_columns in records
    }


def _first_that_fits(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[tuple[str, str]], source: str, *, exact: bool
) -> tuple[Any, ...]:
    """The aggregates, six a column; infinite numbers, and squares beyond float64, cost a further scan."""
    # avg() of an infinite number is infinite and stddev() raises: most columns have none, so they are left out only where they hurt.
    for finite, std in ((False, True), (True, True)):
        try:
            aggregates = _aggregates(columns, finite=finite, std=std, exact=exact)
            result: tuple[Any, ...] = connection.execute(f"SELECT {aggregates} FROM {source}").fetchall()[0]
        except duckdb.OutOfRangeException:
            continue
        if all(not isinstance(value, float) or math.isfinite(value) for value in result[3::6]):
            return result
    aggregates = _aggregates(columns, finite=True, std=False, exact=exact)
    last: tuple[Any, ...] = connection.execute(f"SELECT {aggregates} FROM {source}").fetchall()[0]
    return last


def _scalar_type(sql_type: str) -> ColumnType | None:
    """The column type of what has an order; None for a list, too."""
    return None if sql_type.endswith("]") else type_of_sql(sql_type)


def _aggregates(columns: Sequence[tuple[str, str]], *, finite: bool, std: bool, exact: bool) -> str:
    # A list of few values costs a twentieth of count(DISTINCT), which makes a hash table a column.
    distinct_of = "coalesce(list_unique(list({0})), 0)" if exact else "approx_count_distinct({0})"
    parts = []
    for name, sql_type in columns:
        column, kind = quote(name), _scalar_type(sql_type)
        only = f" FILTER (isfinite({column}))" if finite and sql_type in ("DOUBLE", "FLOAT") else ""
        number = {"boolean": f"{column}::INTEGER", "number": column, "integer": column}.get(kind or "")
        deviation = f"stddev_samp({number}){only}" if std and number is not None else "NULL"
        mean = "NULL" if number is None else f"avg({number}){only}"
        ends = f"min({column}), max({column})" if kind is not None else "NULL, NULL"
        distinct = "NULL" if kind is None else distinct_of.format(column)
        parts.append(f"count({column}), {ends}, {mean}, {deviation}, {distinct}")
    return ", ".join(parts)
