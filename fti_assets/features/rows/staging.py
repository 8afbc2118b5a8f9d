"""A group's result as a staged table: normal types, its partition, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pandas as pd

from fti_assets.core.names import PARTITION
from fti_assets.core.rules import Rule, Verdict
from fti_assets.core.sql import number_rows, quote
from fti_assets.core.times import Partition
from fti_assets.core.types import SIDES, type_of_sql
from fti_assets.errors import DataError, excerpt, one_of
from fti_assets.features.rows.duplicates import without_duplicates
from fti_assets.features.rows.frames.relations import column_names, has_no_columns, refuse_alike, relation_of
from fti_assets.features.rows.layout import IN_PARTITION, NOT_NULL, UNIQUE, Layout
from fti_assets.features.rows.refusals import refuse_missing, refuse_names, refuse_no_texts, refuse_partitions
from fti_assets.features.rows.rename import refuse_unfit, rename_columns
from fti_assets.features.rows.stored_types import (
    lake_type,
)
from fti_assets.features.rows.typed_copy import ORDER, typed_copy
from fti_assets.features.validation.coercion import Coercion, refuse_rounded
from fti_assets.features.validation.table_validation import RowRule, validate_table
from fti_assets.stores.duckdb.relations import relation_name


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
    refuse_partitions(layout, partitions)
    # An empty frame may have no columns at all; on a day without rows that is no mistake.
    if has_no_columns(result):
        result = _no_rows(connection, layout)
    names = column_names(result)
    if names is not None:
        refuse_no_texts(names, layout)
        refuse_alike(list(map(str, names)), layout.what)
        refuse_unfit(list(map(str, names)), layout.rename, what=layout.what)
        refuse_names([layout.rename.get(str(name), name) for name in names], layout)
    relation = rename_columns(relation_of(connection, result, what=layout.what), layout.rename, what=layout.what)
    refuse_names(relation.columns, layout)
    refuse_missing(relation.columns, layout)
    layout = _without_placeholders(relation, layout)
    order = _finer_order(relation, layout)
    name, columns = typed_copy(connection, relation, layout, partitions, order)
    name, duplicates = _without_duplicates(connection, name, layout, order)
    if layout.schema is not None:
        # The staged table has `_partition` behind the result's own columns.
        kinds = connection.table(quote(name)).types
        refuse_rounded(layout.schema, dict(zip(relation.columns, map(str, kinds), strict=False)), what=layout.what)
    rules = _row_rules(layout, connection.table(quote(name)))
    validation = validate_table(connection, name, layout.schema, columns=relation.columns, rules=rules)
    verdicts = validation.verdicts
    if validation.coercion is not None:
        new_rows = coerced_relation(connection, name, validation.coercion, what=layout.what)
        # Coerced values come from pandas, so their types and partitions are told again.
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
    finer = ORDER if order is not None else None
    last = without_duplicates(connection, rows, layout.unique, layout.keep_last_by, finer, what=layout.what)
    connection.execute(f"CREATE TEMP TABLE {quote(unique)} AS FROM {relation_name(last)}")
    return unique, len(rows) - len(connection.table(quote(unique)))


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


def _row_rules(layout: Layout, rows: duckdb.DuckDBPyRelation) -> list[RowRule]:
    types = dict(zip(rows.columns, map(str, rows.types), strict=True))
    nulls = " OR ".join(f"{quote(column)} IS NULL" for column in dict.fromkeys(layout.not_null)) or "false"
    rules = {
        NOT_NULL: RowRule(
            NOT_NULL, f"of {layout.what} with a null in {one_of(dict.fromkeys(layout.not_null))}", fails=nulls
        ),
        UNIQUE: RowRule(
            UNIQUE, f"of {layout.what} with the same {', '.join(layout.unique)} as another", unique=layout.unique
        ),
        IN_PARTITION: RowRule(
            IN_PARTITION,
            f"of {layout.what} with {layout.partition_by} outside the partitions of this run",
            fails=f"{PARTITION} IS NULL",
        ),
    }
    rules |= {
        rule: _length_rule(layout, column, rule, types.get(column, "")) for column, rule in layout.length_rules.items()
    }
    return [rules[rule] for rule in layout.rules]


def _length_rule(layout: Layout, column: str, rule: Rule, sql_type: str) -> RowRule:
    dim = layout.dims[column]
    # What is there in another type, the rule of the columns says.
    fails = f"len({quote(column)}) <> {dim}" if type_of_sql(sql_type) == "vector" else "false"

    def example(row: Mapping[str, Any]) -> str:
        key = ", ".join(f"{name}={excerpt(row[name])}" for name in layout.not_null or layout.unique if name in row)
        return f"; the row {key} has {len(row[column])}" if key else f"; one has {len(row[column])}"

    problem = f"of {layout.what} with another count than {dim} numbers in {column!r}"
    return RowRule(rule, problem, fails=fails, example=example)


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
