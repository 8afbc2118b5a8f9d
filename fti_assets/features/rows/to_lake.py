"""Columns of foreign rows in the types of the lake: of staged frames and relations, external tables and rows that somebody brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fti_assets.core.sql import literal, quote
from fti_assets.core.types import EXACT, SIDES, WHOLE, WIDE, ColumnType, type_held_by, type_of_sql
from fti_assets.stores.duckdb.iso_text import try_instant_sql

if TYPE_CHECKING:
    import duckdb

FLOATS = SIDES["number"].same
_KINDS: dict[str, ColumnType] = {sides.sql: kind for kind, sides in SIDES.items()}


_INSTANTS = ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE")


@dataclass(frozen=True)
class LakeColumn:
    """A foreign column in a type of the lake.

    Args:
        sql_type: the DuckDB type that it came with.
        value: the SQL of what came, where NaN is missing, as it is in pandas.
        sql: the SQL of the value in the lake's type, null where that does not hold it.
        misfits: the SQL of which values the type does not hold, each with what it takes.
    """

    sql_type: str
    value: str
    sql: str
    misfits: tuple[tuple[str, str], ...] = ()

    @property
    def finite(self) -> LakeColumn:
        """The column without the instants that SQL has before and after all others: no age or part of a calendar is one of them.

        Whoever joins by a column takes it as it is, since a filter by an expression is not handed on to files.
        """
        if self.sql_type not in _INSTANTS:
            return self
        endless = f"isinf({self.value})"
        sql = f"CASE WHEN {endless} THEN NULL ELSE {self.sql} END"
        return LakeColumn(self.sql_type, self.value, sql, ((endless, "an instant"), *self.misfits))

    def or_error(self, before: str, after: str) -> str:
        """The SQL of the value, which fails at one that is not held with its text between two others."""
        if not self.misfits:
            return self.sql
        is_text = self.sql_type == "VARCHAR"
        value_text = f"chr(39) || left({self.value}, 40) || chr(39)" if is_text else f"left({self.value}::VARCHAR, 60)"
        error = f"error({literal(before)} || {value_text} || {literal(after)})"
        return f"CASE WHEN {self.value} IS NOT NULL THEN coalesce({self.sql}, {error}) END"


def to_lake(connection: duckdb.DuckDBPyConnection, column: str, sql_type: str, target: str) -> LakeColumn:
    """Say how a column becomes one of another type, with what a cast would change without an error.

    Args:
        connection: where the rows are.
        column: the column's name.
        sql_type: its DuckDB type.
        target: the DuckDB type of a column type, or the same one.

    >>> import duckdb
    >>> to_lake(duckdb.connect(), "x", "DOUBLE", "DOUBLE").sql
    'CASE WHEN isnan("x") THEN NULL ELSE "x" END'
    >>> [expected for _, expected in to_lake(duckdb.connect(), "x", "DOUBLE", "BIGINT").misfits[::2]]
    ['a whole number', 'a whole number of 64 bits']
    """
    value = quote(column)
    if sql_type in FLOATS:
        value = f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END"
    if sql_type == target:
        return LakeColumn(sql_type, value, value)
    if _holds_all(sql_type, target):
        return LakeColumn(sql_type, value, f"CAST({value} AS {target})")
    if (sql_type, target) == ("VARCHAR", "TIMESTAMP"):
        instant = try_instant_sql(connection, value)
        return LakeColumn(sql_type, value, instant, ((f"{value} IS NOT NULL AND {instant} IS NULL", "ISO text"),))
    cast = f"TRY_CAST({value} AS {target})"
    misfits = [(f"{value} IS NOT NULL AND {cast} IS NULL", SIDES[_KINDS[target]].request_form)]
    if losses := _lossy_values(value, sql_type, target):
        cast = f"CASE WHEN {' OR '.join(condition for condition, _ in losses)} THEN NULL ELSE {cast} END"
        misfits = [*losses, *misfits]
    return LakeColumn(sql_type, value, cast, tuple(misfits))


def can_be(sql_type: str, target: ColumnType) -> bool:
    """Whether values of a DuckDB type, or some of them, are values of a column type: whole numbers are numbers, too.

    >>> can_be("BIGINT", "number"), can_be("DECIMAL(9,2)", "integer"), can_be("DATE", "timestamp")
    (True, False, True)
    """
    kind = type_held_by(sql_type)
    return kind == target or (kind, target) == ("integer", "number")


def _holds_all(sql_type: str, target: str) -> bool:
    """Whether a type of the lake holds each value of another type."""
    if type_of_sql(sql_type) == "vector":  # an array's numbers in a list
        return target == f"{sql_type.rstrip('0123456789[]')}[]"
    if target == "DOUBLE":
        return sql_type in (*FLOATS, *WHOLE) and sql_type != "BIGINT"
    return target == "VARCHAR" or (target == "BIGINT" and sql_type in WHOLE)


def _lossy_values(value: str, sql_type: str, target: str) -> list[tuple[str, str]]:
    """The SQL of which values a cast changes without an error, or may have been changed before it, with what the type takes."""
    if target == "BIGINT" and sql_type in FLOATS:
        large = f"abs({value}) >= {EXACT} AND TRY_CAST({value} AS {target}) IS NOT NULL"
        return [
            (f"{value} <> trunc({value})", "a whole number"),
            # Nobody can tell which one it was before it became a float.
            (large, "a whole number that came as no float, in which they merge from 2**53 on,"),
        ]
    if target == "BIGINT" and sql_type.startswith("DECIMAL("):
        return [(f"{value} <> trunc({value})", "a whole number")]
    if target == "DOUBLE" and sql_type in ("BIGINT", *WIDE):  # as with an id that was taken for a number
        back = f"TRY_CAST(TRY_CAST({value} AS DOUBLE) AS HUGEINT)"
        return [(f"{value} IS NOT NULL AND {back} IS DISTINCT FROM {value}", "a number that float64 does not round")]
    return []
