"""Whole numbers of 128 bits in a relation of another connection: Arrow, through which it is read, has 38 digits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fti_assets.core.sql import literal, quote

if TYPE_CHECKING:
    import duckdb

_HUGE = ("hugeint", "uhugeint")


def within_decimals(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """A relation whose numbers of 128 bits are decimals of 38 digits; one of 39 is an error with its column, when it is read.

    DuckDB itself would hand on its bits, which are another number or none.

    >>> import duckdb
    >>> within_decimals(duckdb.sql("SELECT 5::UHUGEINT AS n, 'a' AS name")).types
    [DECIMAL(38,0), VARCHAR]
    """
    columns = list(zip(relation.columns, relation.types, strict=True))
    if not any(_has_huge(kind) for _, kind in columns):
        return relation
    return relation.project(
        ", ".join(_within(name, kind) if _has_huge(kind) else quote(name) for name, kind in columns)
    )


def _within(name: str, kind: Any) -> str:
    column = quote(name)
    held = f"TRY_CAST({column} AS {_with(kind, 'DECIMAL(38,0)')})"
    # A cast of numbers within lists nulls the whole or a part of it: by their text it tells which it changes.
    text = _with(kind, "VARCHAR")
    problem = literal(", which has a number of more than 38 digits: give text, or null")
    message = f"{literal(f'{name} is ')} || left({column}::VARCHAR, 60) || {problem}"
    return (
        f"CASE WHEN {held}::{text} IS DISTINCT FROM {column}::{text} THEN error({message}) ELSE {held} END AS {column}"
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
