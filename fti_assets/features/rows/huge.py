"""What Arrow, through which a relation of another connection is read, has not: whole numbers of more than 38 digits, and offsets
of times of day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fti_assets.core.sql import literal, quote

if TYPE_CHECKING:
    import duckdb

_HUGE = ("hugeint", "uhugeint")


WITH_OFFSET = "time with time zone"


def without_offset(column: str) -> str:
    """The SQL of a time of day without its offset, which neither the lake nor Arrow has: one but UTC's is an error with its column.

    >>> import duckdb
    >>> duckdb.sql(f"SELECT {without_offset('t')} AS t FROM (SELECT '12:00:00+00'::TIMETZ AS t)").fetchone()
    (datetime.time(12, 0),)
    """
    name = quote(column)
    problem = literal(", a time of day with an offset, which no stored type has: give text, or the time in UTC")
    message = f"{literal(f'{column} is ')} || {name}::VARCHAR || {problem}"
    return f"CASE WHEN date_part('timezone', {name}) <> 0 THEN error({message}) ELSE {name}::TIME END"


def within_decimals(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """A relation whose numbers of 128 bits are decimals of 38 digits, and whose times of day are those of UTC; another value is an
    error with its column, when it is read.

    DuckDB itself would hand on the number's bits, which are another number or none, and the time without its offset.

    >>> import duckdb
    >>> within_decimals(duckdb.sql("SELECT 5::UHUGEINT AS n, 'a' AS name")).types
    [DECIMAL(38,0), VARCHAR]
    """
    columns = list(zip(relation.columns, relation.types, strict=True))
    if not any(_has_huge(kind) or kind.id == WITH_OFFSET for _, kind in columns):
        return relation
    return relation.project(", ".join(_handed_on(name, kind) for name, kind in columns))


def _handed_on(name: str, kind: Any) -> str:
    if kind.id == WITH_OFFSET:
        return f"{without_offset(name)} AS {quote(name)}"
    return _within(name, kind) if _has_huge(kind) else quote(name)


def _within(name: str, kind: Any) -> str:
    column = quote(name)
    cast = f"TRY_CAST({column} AS {_with(kind, 'DECIMAL(38,0)')})"
    # A cast of numbers within lists nulls the whole or a part of it: by their text it tells which it changes.
    text = _with(kind, "VARCHAR")
    problem = literal(", which has a number of more than 38 digits: give text, or null")
    message = f"{literal(f'{name} is ')} || left({column}::VARCHAR, 60) || {problem}"
    return (
        f"CASE WHEN {cast}::{text} IS DISTINCT FROM {column}::{text} THEN error({message}) ELSE {cast} END AS {column}"
    )


def _has_huge(kind: Any) -> bool:
    return kind.id in _HUGE or any(map(_has_huge, _children(kind)))


def _children(kind: Any) -> list[Any]:
    if kind.id not in ("list", "array", "struct", "map"):
        return []
    return [child for name, child in kind.children if (kind.id, name) != ("array", "size")]


def _with(kind: Any, huge: str) -> str:
    """A type with another in place of whole numbers of 128 bits."""
    if not _has_huge(kind):
        return str(kind)
    inner = [_with(child, huge) for child in _children(kind)]
    if kind.id == "list":
        return f"{inner[0]}[]"
    if kind.id == "array":
        return f"{inner[0]}[{dict(kind.children)['size']}]"
    if kind.id == "map":
        return f"MAP({', '.join(inner)})"
    if kind.id == "struct":
        fields = zip((name for name, _ in kind.children), inner, strict=True)
        return f"STRUCT({', '.join(f'{quote(name)} {field}' for name, field in fields)})"
    return huge
