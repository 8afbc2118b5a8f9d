"""Rows in a temporary table with the types that are stored, and the partition of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb

from fti_assets.core.names import PARTITION
from fti_assets.core.sql import literal, quote, temporary_name, timestamp
from fti_assets.core.times import Partition
from fti_assets.core.types import SIDES, type_of_sql
from fti_assets.errors import DataError
from fti_assets.features.rows.frames.object_columns import union_problem
from fti_assets.features.rows.frames.unstorable import failed_relation, has_offsets_inside, lost_problem
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.stored_types import (
    PLACEHOLDER_TYPES,
    StoredColumn,
    fields_alike,
    has_union,
    holds_all,
    storage_of,
    storage_of_iso_text,
    wider_decimal,
)
from fti_assets.features.rows.to_lake import can_be
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.tables.schema import other_digits


def typed_copy(
    connection: duckdb.DuckDBPyConnection,
    relation: duckdb.DuckDBPyRelation,
    layout: Layout,
    partitions: Sequence[Partition],
    order: str | None = None,
) -> tuple[str, list[StoredColumn]]:
    """The rows in a temporary table with stored types and ``_partition``, and how each column is stored; ``order`` is a value beside them.

    Raises:
        DataError: a type cannot be stored, or a value is not one of the type in which its column is stored.
    """
    name = temporary_name("staged")
    types = list(zip(relation.columns, relation.types, strict=True))
    columns = [_stored_column(connection, column, kind, layout) for column, kind in types]
    items = ", ".join(f"{storage.sql} AS {quote(column)}" for (column, _), storage in zip(types, columns, strict=True))
    beside = f", {order} AS {ORDER}" if order is not None else ""
    rows = f"SELECT {items}{beside} FROM {relation_name(relation)}"
    try:
        connection.execute(f"CREATE TEMP TABLE {quote(name)} AS {_add_partitions(rows, layout, partitions)}")
    except _CAST_ERRORS as error:
        if (own := str(error).partition("\n")[0].removeprefix("Invalid Input Error: ")).startswith(
            f"{layout.what} gave "
        ):
            raise DataError(own) from error
        if _STREAM in str(error):
            raise DataError(failed_relation(Exception(str(error).rpartition(_STREAM)[2]), layout.what)) from error
        raise DataError(
            f"{layout.what} has a value that its column's type cannot hold: {str(error).splitlines()[0]}"
        ) from error
    _settle_types(connection, name, types, layout)
    return name, columns


ORDER = "__fti_order"

_STREAM = "arrow_scan: get_next failed(): IOError: IOError: "
"""How DuckDB begins an error of another connection's relation, which it reads as a stream."""

# DuckDB has no one error for a failed cast: which of these comes depends on the pair of types.
_CAST_ERRORS = (
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
    duckdb.NotImplementedException,
)


def _stored_column(connection: duckdb.DuckDBPyConnection, column: str, kind: Any, layout: Layout) -> StoredColumn:
    sql_type = str(kind)
    if has_union(kind):
        raise DataError(union_problem(column, layout.what))
    if alike := fields_alike(kind):
        raise DataError(
            f"{layout.what} gave {column!r} with fields {alike[0]!r} and {alike[1]!r}, which SQL takes for one: rename one of them"
        )
    if has_offsets_inside(kind):
        raise DataError(lost_problem(column, sql_type, layout.what))
    if column in layout.times:
        if sql_type in PLACEHOLDER_TYPES:  # a column without values is one of any type
            return _without_rows(column, sql_type, layout)
        if sql_type == "VARCHAR":
            return storage_of_iso_text(connection, column)
        storage = storage_of(connection, column, kind, layout.types.get(column) or "timestamp")
        return storage if storage.sql_type in ("TIMESTAMP", "DATE") else _without_rows(column, sql_type, layout)
    stored_type = layout.stored_types.get(column)
    if layout.types.get(column) == "vector" and stored_type is not None and type_of_sql(sql_type) == "vector":
        return replace(
            storage_of(connection, column, kind, None), sql_type=stored_type, sql=_as_vector(column, stored_type)
        )
    if wider_decimal(sql_type, stored_type):
        return StoredColumn(str(stored_type), _decimal_as_stored(column, sql_type, str(stored_type), layout))
    return storage_of(connection, column, kind, layout.types.get(column))


def _as_vector(column: str, stored_type: str) -> str:
    """The SQL of a vector in its declared width, to which its numbers are rounded; an error at one that is beyond it."""
    value = quote(column)
    if stored_type != "FLOAT[]":
        return f"{value}::{stored_type}"
    beyond = f"len(list_filter({value}, lambda x: isfinite(x) AND abs(x) >= {2.0**128 - 2.0**103!r})) > 0"
    after = literal(", which has a number beyond the 32 bits that its schema declares: declare pyarrow.float64()")
    problem = f"error({literal(f'{column} is ')} || left({value}::VARCHAR, 60) || {after})"
    return f"CASE WHEN {beyond} THEN {problem} ELSE {value}::{stored_type} END"


def _decimal_as_stored(column: str, sql_type: str, stored_type: str, layout: Layout) -> str:
    """The SQL of a decimal in its stored type, an error at the first value that this cannot hold."""
    value = quote(column)
    cast = f"TRY_CAST({value} AS {stored_type})"
    message = literal(f"{layout.what} gave {column} = ")
    remedy = literal(
        f", which its stored {stored_type} cannot hold: {other_digits(column, stored_type, sql_type)}. Nothing was stored. Raise the "
        "version, so that the new schema gets a table of its own"
    )
    return f"CASE WHEN {value} IS NOT NULL AND {cast} IS NULL THEN error({message} || {value}::VARCHAR || {remedy}) ELSE {cast} END"


def _without_rows(column: str, sql_type: str, layout: Layout) -> StoredColumn:
    """A time of another type, which only a column without values may have: an error at the first value, which may be late in a stream."""
    problem = literal(_no_times(column, sql_type, layout))
    return StoredColumn(
        "TIMESTAMP", f"CASE WHEN {quote(column)} IS NOT NULL THEN error({problem}) ELSE NULL::TIMESTAMP END"
    )


def _no_times(column: str, sql_type: str, layout: Layout) -> str:
    return f"{layout.what} gave {column!r} as {sql_type}, but it says when a row was true or known: give timestamps or ISO text"


def _settle_types(
    connection: duckdb.DuckDBPyConnection, name: str, result_types: Sequence[tuple[str, Any]], layout: Layout
) -> None:
    """Give columns the stored type where this loses nothing, so that a table's types do not depend on the day.

    A column without values takes the declared type or the stored one, whatever type it came with. Whole numbers go into stored
    doubles that hold each of them exactly, and whole floats below 2**53, as numbers beside a null are, into stored whole
    numbers; a larger one may be a rounded id. Whole decimals go into stored whole numbers. Whole numbers and decimals go into
    a stored decimal that holds each of them exactly. Dates go into stored times.
    """
    rows = connection.table(quote(name))
    types = dict(zip(rows.columns, map(str, rows.types), strict=True))
    other_types = {column: kind for column, kind in layout.stored_types.items() if types.get(column, kind) != kind}
    without_type = [
        column
        for column, kind in result_types
        if str(kind) in PLACEHOLDER_TYPES
        or ((column_type := layout.types.get(column)) is not None and not can_be(types[column], column_type))
    ]
    empty = [column for column in dict.fromkeys([*without_type, *other_types]) if column not in layout.times]
    conditions = {
        column: sql for column, kind in other_types.items() if (sql := holds_all(column, types[column], kind))
    }
    expressions = [*(f"count({quote(column)}) = 0" for column in empty), *conditions.values()]
    if not expressions:
        return
    answers = connection.execute(f"SELECT {', '.join(expressions)} FROM {quote(name)}").fetchall()[0]
    new_types = {
        column: other_types[column] for column, fits in zip(conditions, answers[len(empty) :], strict=True) if fits
    }
    for column, none in zip(empty, answers, strict=False):
        if none:
            column_type = layout.types.get(column)
            stored_type = layout.stored_types.get(column) or types[column]
            new_types[column] = (
                stored_type if column_type is None or column in layout.stored_types else SIDES[column_type].sql
            )
    for column, wanted_type in new_types.items():
        if wanted_type != types[column]:
            # After the copy: whether a type holds every value is known only from all of them.
            connection.execute(f"ALTER TABLE {quote(name)} ALTER COLUMN {quote(column)} TYPE {wanted_type}")


def _add_partitions(rows: str, layout: Layout, partitions: Sequence[Partition]) -> str:
    """Rows with ``_partition``: null for a row that is in none of the partitions. Partitions do not overlap."""
    if partitions[0].start is None:
        return f"SELECT *, {literal(partitions[0].key)} AS {PARTITION} FROM ({rows})"
    assert layout.partition_by is not None
    in_order = sorted(partitions, key=lambda partition: partition.start)  # type: ignore[arg-type, return-value]
    return f"SELECT *, {_partition_of(quote(layout.partition_by), in_order)} AS {PARTITION} FROM ({rows})"


def _partition_of(instant: str, partitions: Sequence[Partition]) -> str:
    """The key of the partition that holds an instant, by bisection: a join with the partitions would sort the rows."""
    if len(partitions) > 1:
        # Nested halves, not one CASE of a branch each: a row of a range of 3,000 days is compared 12 times.
        middle = len(partitions) // 2
        earlier, later = _partition_of(instant, partitions[:middle]), _partition_of(instant, partitions[middle:])
        split = partitions[middle].start
        assert split is not None
        return f"CASE WHEN {instant} < {timestamp(split)} THEN {earlier} ELSE {later} END"
    start, end = partitions[0].start, partitions[0].end
    assert start is not None
    assert end is not None
    within = f"{instant} >= {timestamp(start)} AND {instant} < {timestamp(end)}"
    return f"CASE WHEN {within} THEN {literal(partitions[0].key)} END"
