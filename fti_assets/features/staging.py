"""A group's result as a staged table: normal types, its partition, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pyarrow as pa

from fti_assets.errors import DataError, DeclarationError, one_of
from fti_assets.features.duplicates import without_duplicates
from fti_assets.features.point_in_time import view_of
from fti_assets.features.schema import SQL_TYPES
from fti_assets.features.table import Table
from fti_assets.features.validation import SAMPLE_ROWS, validate
from fti_assets.rules import Rule, Verdict
from fti_assets.stores.sql import checked_name, quoted
from fti_assets.stores.tables import PARTITION
from fti_assets.times import Window

if TYPE_CHECKING:
    import pandera.pandas as pandera

    from fti_assets.stores.columns import ColumnType

NOT_NULL = Rule("keys_and_times_not_null", "Keys and times are never null")
UNIQUE = Rule("rows_unique", "No two rows have the same keys and times")
IN_PARTITION = Rule("rows_in_partition", "Every row belongs to the partitions that are run")

_numbers = count(1)


@dataclass(frozen=True)
class Layout:
    """What a stored table demands of its rows.

    Args:
        what: the table's name, for errors.
        not_null: columns that are never null.
        unique: columns that no two rows share.
        partition_by: the column whose time says which window a row is in, or None for a table without windows.
        schema: a Pandera schema.
        types: the declared type of each column; the rest keep theirs.
        times: columns that hold timestamps, whatever else is declared.
        stored: the DuckDB types of the table that is already there, for columns of which no value tells the type.
        keep_last_by: of rows that share ``unique``, the one that is last by this column is kept; None keeps all.
    """

    what: str
    not_null: tuple[str, ...]
    unique: tuple[str, ...]
    partition_by: str | None
    schema: pandera.DataFrameSchema | None = None
    types: dict[str, ColumnType | None] = field(default_factory=dict)
    times: tuple[str, ...] = ()
    stored: dict[str, str] = field(default_factory=dict)
    keep_last_by: str | None = None

    @property
    def rules(self) -> list[Rule]:
        unique = [UNIQUE] if self.unique else []
        windows = [IN_PARTITION] if self.partition_by is not None else []
        return [NOT_NULL, *unique, *windows]


@dataclass(frozen=True)
class Staged:
    """Rows in a temporary table, ready to be stored if every blocking verdict passed."""

    table: str
    rows: int
    verdicts: list[Verdict]
    failing: pd.DataFrame | None
    duplicates_dropped: int = 0

    @property
    def accepted(self) -> bool:
        return all(verdict.passed or not verdict.rule.blocking for verdict in self.verdicts)


def stage(connection: duckdb.DuckDBPyConnection, result: Any, layout: Layout, windows: Sequence[Window]) -> Staged:
    """Validate a function's result and put it into a temporary table with its partitions.

    Args:
        connection: the lake's connection.
        result: a pandas frame, an Arrow table, a DuckDB relation or a ``Table``.
        layout: what the table demands.
        windows: the partitions that are being run.

    Raises:
        DataError: the result is none of these, lacks a key or time column, or has a time that is no timestamp.
    """
    relation = as_relation(connection, result, layout)
    _refuse_names(relation.columns, layout)
    name = f"__fti_staged_{next(_numbers)}"
    try:
        connection.execute(f"CREATE TEMP TABLE {quoted(name)} AS {_normal(relation, layout)}")
    except duckdb.ConversionException as error:
        raise DataError(f"{layout.what} has a value that its column's type cannot hold: {error}") from error
    _refuse_missing(connection, name, layout)
    name, dropped = _without_duplicates(connection, name, layout)
    verdicts: list[Verdict] = []
    failing: pd.DataFrame | None = None
    if layout.schema is not None:
        frame = connection.table(quoted(name)).df()
        validation = validate(layout.schema, frame)
        verdicts += validation.verdicts
        failing = frame.iloc[validation.failing_rows] if len(validation.failing_rows) else None
        if layout.schema.coerce or any(column.coerce for column in layout.schema.columns.values()):
            connection.register("__fti_coerced", validation.frame)
            coerced = _normal(connection.table("__fti_coerced"), layout)
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(name)} AS {coerced}")
            connection.unregister("__fti_coerced")
    _refuse_other_times(connection, name, layout)
    partitioned = _partitioned(connection, name, layout, windows)
    verdicts += _layout_verdicts(connection, partitioned, layout)
    return Staged(partitioned, _count(connection.table(quoted(partitioned))), verdicts, failing, dropped)


def _without_duplicates(connection: duckdb.DuckDBPyConnection, name: str, layout: Layout) -> tuple[str, int]:
    """The staged table after the duplicates policy, and how many rows it dropped."""
    if layout.keep_last_by is None:
        return name, 0
    rows, kept = connection.table(quoted(name)), f"{name}_kept"
    last = without_duplicates(connection, rows, layout.unique, layout.keep_last_by, what=layout.what)
    connection.execute(f"CREATE TEMP TABLE {quoted(kept)} AS FROM {view_of(last)}")
    return kept, _count(rows) - _count(connection.table(quoted(kept)))


def _count(rows: duckdb.DuckDBPyRelation) -> int:
    return int(rows.aggregate("count(*)").fetchall()[0][0])


def as_relation(connection: duckdb.DuckDBPyConnection, result: Any, layout: Layout) -> duckdb.DuckDBPyRelation:
    """What a function gave, as a relation of the lake's connection."""
    if isinstance(result, Table):
        return result.relation
    if isinstance(result, duckdb.DuckDBPyRelation):
        return result
    if isinstance(result, pd.DataFrame):
        _refuse_names(list(result.columns), layout)
        return connection.from_df(result.reset_index(drop=True).copy())  # DuckDB cannot read a reversed frame's memory
    if isinstance(result, pa.Table):
        return connection.from_arrow(result)
    raise DataError(
        f"{layout.what} gave a {type(result).__name__}: return a pandas DataFrame, a pyarrow Table, a DuckDB relation or an "
        "fti.Table"
    )


_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_UNTOLD = {"INTEGER", '"NULL"'}
"""What DuckDB takes a pandas or Arrow column for that has no value."""


def _no_value(relation: duckdb.DuckDBPyRelation, column: str) -> bool:
    return bool(relation.aggregate(f"count({quoted(column)})").fetchall()[0][0] == 0)


def _fits_double(relation: duckdb.DuckDBPyRelation, column: str) -> bool:
    """Whether every whole number is one that float64 holds exactly."""
    name = quoted(column)
    exact = f"coalesce(bool_and({name} BETWEEN -9007199254740992 AND 9007199254740992), true)"
    return bool(relation.aggregate(exact).fetchall()[0][0])


def _normal(relation: duckdb.DuckDBPyRelation, layout: Layout) -> str:
    """The SQL that gives every column the type in which the lake keeps it, and null for NaN."""
    selected = []
    for column, sql_type in zip(relation.columns, map(str, relation.types), strict=True):
        declared = layout.types.get(column) or ("timestamp" if column in layout.times else None)
        target = _stored_type(sql_type, declared)
        if target in _INTEGERS and layout.stored.get(column) == "DOUBLE" and _fits_double(relation, column):
            target = "DOUBLE"
        if sql_type in _UNTOLD and _no_value(relation, column):
            target = SQL_TYPES[declared] if declared is not None else layout.stored.get(column, target)
        expression = quoted(column)
        if sql_type in {"DOUBLE", "FLOAT"}:
            expression = f"CASE WHEN isnan({expression}) THEN NULL ELSE {expression} END"
        if target != sql_type:
            expression = f"CAST({expression} AS {target})"
        selected.append(f"{expression} AS {quoted(column)}")
    return f"SELECT {', '.join(selected)} FROM {view_of(relation)}"


def _stored_type(sql_type: str, declared: ColumnType | None) -> str:
    """Casts that lose nothing: wider numbers, naive UTC microseconds, text for categories, lists for arrays;
    a declared type that loses nothing either."""
    if declared is not None:
        wanted = SQL_TYPES[declared]
        lossless = {
            "BIGINT": _INTEGERS,
            "DOUBLE": {*_INTEGERS, "FLOAT", "DOUBLE"},
            "TIMESTAMP": {"DATE"},
            "VARCHAR": {"UUID"},
        }.get(wanted, set())
        if sql_type in lossless:
            return wanted
    if sql_type.startswith("ENUM"):
        return "VARCHAR"
    if sql_type.startswith("TIMESTAMP"):
        return "TIMESTAMP"
    if sql_type.endswith("]") and not sql_type.endswith("[]"):
        return sql_type[: sql_type.rindex("[")] + "[]"
    if sql_type == '"NULL"':
        return "VARCHAR"
    return {"HUGEINT": "BIGINT", "UHUGEINT": "BIGINT", "UBIGINT": "BIGINT"}.get(sql_type, sql_type)


def _refuse_names(columns: list[str], layout: Layout) -> None:
    for column in columns:
        checked_name(column, what=f"column of {layout.what}")
        if column == PARTITION or column.startswith("__fti_"):
            raise DataError(
                f"{layout.what} gave a column {column!r}, a name that the store keeps for itself: rename it"
            )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{layout.what} gave two columns {one_of(twice)}: keep one of them")


def _refuse_other_times(connection: duckdb.DuckDBPyConnection, name: str, layout: Layout) -> None:
    rows = connection.table(quoted(name))
    types = dict(zip(rows.columns, map(str, rows.types), strict=True))
    for column in layout.times:
        if types[column] not in ("TIMESTAMP", "DATE"):
            raise DataError(
                f"{layout.what} gave {column!r} as {types[column]}, but it says when a row was true or known: give timestamps"
            )


def _refuse_missing(connection: duckdb.DuckDBPyConnection, name: str, layout: Layout) -> None:
    columns = connection.table(quoted(name)).columns
    needed = dict.fromkeys([*layout.not_null, *layout.unique, *((layout.partition_by,) if layout.partition_by else ())])
    missing = [column for column in needed if column not in columns]
    if missing:
        raise DataError(
            f"{layout.what} has no column {one_of(missing)}, a key or time; its result has {one_of(columns)}"
        )


def _partitioned(
    connection: duckdb.DuckDBPyConnection, name: str, layout: Layout, windows: Sequence[Window]
) -> str:  # fmt: skip
    """Add ``_partition``: null for a row that is in none of the windows."""
    table = f"{name}_partitioned"
    if windows[0].start is None:
        if len(windows) > 1:
            raise DeclarationError(
                f"{layout.what} was asked for {len(windows)} partitions that are not time windows in one run: give "
                "backfill_policy=dg.BackfillPolicy.multi_run()"
            )
        connection.execute(
            f"CREATE TEMP TABLE {quoted(table)} AS SELECT *, ?::VARCHAR AS {PARTITION} FROM {quoted(name)}",
            [windows[0].key],
        )
        return table
    if layout.partition_by is None:
        raise DeclarationError(
            f"{layout.what} has time partitions but neither event_time nor partition_by: say which column a row's partition "
            "is told by"
        )
    spans = f"{name}_windows"
    connection.execute(
        f"CREATE TEMP TABLE {quoted(spans)} AS SELECT unnest($1) AS __fti_key, unnest($2) AS __fti_start, "
        "unnest($3) AS __fti_end",
        [[w.key for w in windows], [w.start for w in windows], [w.end for w in windows]],
    )
    connection.execute(
        f"CREATE TEMP TABLE {quoted(table)} AS SELECT staged.*, CASE WHEN staged.{quoted(layout.partition_by)} < "
        f"spans.__fti_end THEN spans.__fti_key END AS {PARTITION} FROM {quoted(name)} staged ASOF LEFT JOIN {quoted(spans)} "
        f"spans ON staged.{quoted(layout.partition_by)} >= spans.__fti_start"
    )
    return table


def _layout_verdicts(connection: duckdb.DuckDBPyConnection, table: str, layout: Layout) -> list[Verdict]:
    source = quoted(table)
    nulls = " OR ".join(f"{quoted(column)} IS NULL" for column in dict.fromkeys(layout.not_null)) or "false"
    unique = ", ".join(map(quoted, layout.unique))
    conditions = {
        NOT_NULL: f"SELECT * EXCLUDE ({PARTITION}) FROM {source} WHERE {nulls}",
        UNIQUE: f"SELECT * EXCLUDE ({PARTITION}) FROM {source} QUALIFY count(*) OVER (PARTITION BY {unique}) > 1",
        IN_PARTITION: f"SELECT * EXCLUDE ({PARTITION}) FROM {source} WHERE {PARTITION} IS NULL",
    }
    words = {
        NOT_NULL: f"a null in {one_of(dict.fromkeys(layout.not_null))}",
        UNIQUE: f"the same {', '.join(layout.unique)} as another",
        IN_PARTITION: f"{layout.partition_by} outside the partitions of this run",
    }
    verdicts = []
    for rule in layout.rules:
        failures = connection.execute(f"SELECT count(*) FROM ({conditions[rule]})").fetchall()[0][0]
        if not failures:
            verdicts.append(Verdict(rule))
            continue
        sample = connection.execute(f"{conditions[rule]} LIMIT {SAMPLE_ROWS}").df().to_dict("records")
        problem = f"{failures} rows of {layout.what} have {words[rule]}"
        verdicts.append(Verdict(rule, failures, tuple({str(k): v for k, v in row.items()} for row in sample), problem))
    return verdicts
