"""A group's result as a staged table: normal types, its partition, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pandas as pd

from fti_assets.core.names import PARTITION, is_kept
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import literal, number_rows, quote, temporary_name, timestamp
from fti_assets.core.times import Partition
from fti_assets.core.types import SIDES
from fti_assets.errors import DataError, DeclarationError, excerpt, one_of
from fti_assets.features.rows.duplicates import without_duplicates
from fti_assets.features.rows.frames.object_columns import union_problem
from fti_assets.features.rows.frames.relations import column_names, has_no_columns, refuse_alike, relation_of
from fti_assets.features.rows.frames.unstorable import failed_relation, has_offsets_inside, lost_problem
from fti_assets.features.rows.layout import IN_PARTITION, NOT_NULL, UNIQUE, Layout
from fti_assets.features.rows.rename import refuse_no_names, refuse_unfit, rename_columns
from fti_assets.features.rows.stored_types import (
    PLACEHOLDER_TYPES,
    StoredColumn,
    fields_alike,
    has_union,
    holds_all,
    lake_type,
    storage_of,
    storage_of_iso_text,
    wider_decimal,
)
from fti_assets.features.rows.to_lake import can_be
from fti_assets.features.validation.coercion import Coercion, refuse_rounded
from fti_assets.features.validation.table_validation import RowRule, validate_table
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.tables.schema import other_digits


@dataclass(frozen=True)
class StagedRows:
    """Rows in a temporary table, ready to be stored if every blocking verdict passed.

    Args:
        table: the temporary table's name.
        rows: how many there are.
        verdicts: one for each rule of the schema and of the layout.
        failing: some of the rows that break the schema, or None.
        casts: a sentence for each column whose type the lake does not keep.
        whole: columns that a check of the schema had to see whole, so that they were held in memory.
    """

    table: str
    rows: int
    verdicts: list[Verdict]
    failing: pd.DataFrame | None
    casts: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    duplicates_dropped: int = 0

    @property
    def is_accepted(self) -> bool:
        return all(verdict.passed or not verdict.rule.blocking for verdict in self.verdicts)


def stage(
    connection: duckdb.DuckDBPyConnection, result: Any, layout: Layout, partitions: Sequence[Partition]
) -> StagedRows:
    """Put a function's result into a temporary table with its partitions, and validate it: one copy and one scan.

    Args:
        connection: the lake's connection.
        result: what ``frames.relation_of`` takes: a frame of pandas, polars, Arrow or narwhals, a DuckDB relation or a ``Table``.
        layout: what the table demands.
        partitions: the partitions that are being run.

    Raises:
        DataError: the result is none of these, lacks a key or time column, has a time that is neither a timestamp nor ISO text, or a
            value that its column's type cannot hold.
    """
    _refuse_partitions(layout, partitions)
    # An empty frame may have no columns at all; on a day without rows that is no mistake.
    if has_no_columns(result):
        result = _no_rows(connection, layout)
    names = column_names(result)
    if names is not None:
        _refuse_no_texts(names, layout)
        refuse_alike(list(map(str, names)), layout.what)
        refuse_unfit(list(map(str, names)), layout.rename, what=layout.what)
        _refuse_names([layout.rename.get(str(name), name) for name in names], layout)
    relation = rename_columns(relation_of(connection, result, what=layout.what), layout.rename, what=layout.what)
    _refuse_names(relation.columns, layout)
    _refuse_missing(relation.columns, layout)
    layout = _without_placeholders(relation, layout)
    order = _finer_order(relation, layout)
    name, columns = typed_copy(connection, relation, layout, partitions, order)
    name, duplicates = _without_duplicates(connection, name, layout, order)
    if layout.schema is not None:
        # The staged table has `_partition` behind the result's own columns.
        kinds = connection.table(quote(name)).types
        refuse_rounded(layout.schema, dict(zip(relation.columns, map(str, kinds), strict=False)), what=layout.what)
    rules = _row_rules(layout)
    validation = validate_table(connection, name, layout.schema, columns=relation.columns, rules=rules)
    verdicts = validation.verdicts
    if validation.coercion is not None:
        new_rows = coerced_relation(connection, name, validation.coercion, what=layout.what)
        # Coerced values come from pandas, so their types and partitions are told anew.
        name, again = typed_copy(connection, new_rows, layout, partitions)
        columns = [*columns, *again]
        verdicts = [*verdicts, *validate_table(connection, name, None, rules=rules).verdicts]
    words = tuple(dict.fromkeys(column.word for column in columns if column.word))
    return StagedRows(name, validation.rows, verdicts, validation.failing, words, validation.whole, duplicates)


def _without_placeholders(relation: duckdb.DuckDBPyRelation, layout: Layout) -> Layout:
    """The layout without the stored types that no value has, for which no value is to be cast."""
    types = dict(zip(relation.columns, map(lake_type, relation.types), strict=True))
    placeholders = {
        column
        for column, kind in layout.stored_types.items()
        if types.get(column, kind) != kind and layout.is_placeholder(column)
    }
    return replace(
        layout, stored_types={name: kind for name, kind in layout.stored_types.items() if name not in placeholders}
    )


def _finer_order(relation: duckdb.DuckDBPyRelation, layout: Layout) -> str | None:
    """The SQL of the nanoseconds that say which row is last and that the lake does not keep, if there are any."""
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    by = layout.keep_last_by
    return f"epoch_ns({quote(by)})" if by is not None and types.get(by) == "TIMESTAMP_NS" else None


def _without_duplicates(
    connection: duckdb.DuckDBPyConnection, name: str, layout: Layout, order: str | None
) -> tuple[str, int]:
    """The staged table after the duplicates policy, and how many rows it dropped."""
    if layout.keep_last_by is None:
        return name, 0
    rows, unique = connection.table(quote(name)), f"{name}_kept"
    finer = _ORDER if order is not None else None
    last = without_duplicates(connection, rows, layout.unique, layout.keep_last_by, finer, what=layout.what)
    connection.execute(f"CREATE TEMP TABLE {quote(unique)} AS FROM {relation_name(last)}")
    return unique, len(rows) - len(connection.table(quote(unique)))


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
    beside = f", {order} AS {_ORDER}" if order is not None else ""
    rows = f"SELECT {items}{beside} FROM {relation_name(relation)}"
    try:
        connection.execute(f"CREATE TEMP TABLE {quote(name)} AS {_add_partitions(rows, layout, partitions)}")
    except _NOT_HELD as error:
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


_ORDER = "__fti_order"

_STREAM = "arrow_scan: get_next failed(): IOError: IOError: "
"""How DuckDB begins an error of another connection's relation, which it reads as a stream."""

# DuckDB has no one error for a failed cast: which of these comes depends on the pair of types.
_NOT_HELD = (
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
    if wider_decimal(sql_type, stored_type):
        return StoredColumn(str(stored_type), _decimal_as_stored(column, sql_type, str(stored_type), layout))
    return storage_of(connection, column, kind, layout.types.get(column))


def _decimal_as_stored(column: str, sql_type: str, stored_type: str, layout: Layout) -> str:
    """The SQL of a decimal in its stored type, an error at the first value that this cannot hold."""
    value = quote(column)
    held = f"TRY_CAST({value} AS {stored_type})"
    told = literal(f"{layout.what} gave {column} = ")
    remedy = literal(
        f", which its stored {stored_type} cannot hold: {other_digits(column, stored_type, sql_type)}. Nothing was stored. Raise the "
        "version, so that the new schema gets a table of its own"
    )
    return f"CASE WHEN {value} IS NOT NULL AND {held} IS NULL THEN error({told} || {value}::VARCHAR || {remedy}) ELSE {held} END"


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


def _no_rows(connection: duckdb.DuckDBPyConnection, layout: Layout) -> duckdb.DuckDBPyRelation:
    """No rows, with the columns that are stored or declared: what a frame without columns means on a day without rows.

    On a first day without a schema they are the keys and times alone, since a table without rows takes the columns and types of the first.

    Raises:
        DataError: nothing is stored, and no column is declared.
    """
    column_types = {column: SIDES[kind].sql for column, kind in layout.types.items() if kind is not None}
    names = [*layout.not_null, *layout.unique, *([layout.partition_by] if layout.partition_by is not None else [])]
    types = dict.fromkeys(names, "INTEGER") | dict.fromkeys(layout.times, "TIMESTAMP") | column_types
    types |= {column: kind for column, kind in layout.stored_types.items() if column != PARTITION}
    if not types:
        raise DataError(
            f"{layout.what} gave a frame without columns, and nothing is stored of it yet: give an empty frame with its columns, or "
            "declare them, schema="
        )
    items = ", ".join(f"NULL::{kind} AS {quote(column)}" for column, kind in types.items())
    return connection.sql(f"SELECT {items} WHERE false")


def _refuse_no_texts(columns: list[Any], layout: Layout) -> None:
    """Raise a DataError if a frame has a column without a name, or with one that no text can hold."""
    for place, column in enumerate(columns):
        if column is None or column is pd.NA or column != column:  # pandas makes NaN of None beside text
            raise DataError(
                f"{layout.what} gave a column whose name is missing ({column}), number {place + 1} of {len(columns)}: name it in the "
                "frame, frame.columns = [...], or leave it out"
            )
        try:
            str(column).encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{layout.what} gave a column {excerpt(column)}, whose name has half of a character (a lone surrogate), which is no "
                "text: name it in the frame, frame.columns = [...]"
            ) from None


def _refuse_names(columns: list[str], layout: Layout) -> None:
    refuse_no_names(columns, what=layout.what)
    for column in columns:
        if is_kept(column):
            raise DataError(
                f"{layout.what} gave a column {column!r}, a name that the store keeps for itself: rename it"
            )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{layout.what} gave two columns {one_of(twice)}: keep one of them")


def _refuse_missing(columns: list[str], layout: Layout) -> None:
    names = dict.fromkeys([*layout.not_null, *layout.unique, *((layout.partition_by,) if layout.partition_by else ())])
    missing = [column for column in names if column not in columns]
    if missing:
        raise DataError(
            f"{layout.what} has no column {one_of(missing)}, a key or time; its result has {one_of(columns)}"
        )


def _refuse_partitions(layout: Layout, partitions: Sequence[Partition]) -> None:
    if partitions[0].start is None and len(partitions) > 1:
        raise DeclarationError(
            f"{layout.what} was asked for {len(partitions)} partitions that are not spans of time in one run: give "
            "backfill_policy=dg.BackfillPolicy.multi_run()"
        )
    if partitions[0].start is not None and layout.partition_by is None:
        raise DeclarationError(
            f"{layout.what} has time partitions but neither event_time nor partition_by: say which column a row's partition "
            "is told by"
        )


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


def _row_rules(layout: Layout) -> list[RowRule]:
    nulls = " OR ".join(f"{quote(column)} IS NULL" for column in dict.fromkeys(layout.not_null)) or "false"
    rules = {
        NOT_NULL: RowRule(
            NOT_NULL, f"rows of {layout.what} have a null in {one_of(dict.fromkeys(layout.not_null))}", fails=nulls
        ),
        UNIQUE: RowRule(
            UNIQUE, f"rows of {layout.what} have the same {', '.join(layout.unique)} as another", unique=layout.unique
        ),
        IN_PARTITION: RowRule(
            IN_PARTITION,
            f"rows of {layout.what} have {layout.partition_by} outside the partitions of this run",
            fails=f"{PARTITION} IS NULL",
        ),
    }
    return [rules[rule] for rule in layout.rules]


_ROW = "__fti_row"


def coerced_relation(
    connection: duckdb.DuckDBPyConnection, table: str, coercion: Coercion, *, what: str
) -> duckdb.DuckDBPyRelation:
    """A table's rows after coercion: the changed columns of the frame beside the others of the table."""
    changes = set(map(str, coercion.frame.columns))
    if changes.issuperset(coercion.columns):
        return relation_of(connection, coercion.frame, what=what)
    # The join by row numbers leaves unchanged columns in DuckDB: pandas rounds some and makes objects of others.
    frame = coercion.frame.assign(**{_ROW: coercion.frame.index})
    new_rows = relation_of(connection, frame, what=what)
    source, position = number_rows(quote(table), connection.table(quote(table)).columns)
    items = ", ".join(f"{'made' if name in changes else 'stored'}.{quote(name)}" for name in coercion.columns)
    return connection.sql(
        f"SELECT {items} FROM {relation_name(new_rows)} made JOIN {source} stored ON stored.{position} = made.{_ROW} "
        f"ORDER BY made.{_ROW}"
    )
