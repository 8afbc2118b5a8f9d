"""Keys that are compared exactly: DuckDB compares a whole number or a decimal with a float as floats, in which neighbours are one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fti_assets.core.sql import quote
from fti_assets.core.types import SIDES, WHOLE, WIDE
from fti_assets.errors import DataError

if TYPE_CHECKING:
    import duckdb

_FLOATS = SIDES["number"].same


def check_equal_keys(
    rows: duckdb.DuckDBPyRelation,
    others: duckdb.DuckDBPyRelation,
    pairs: Iterable[tuple[str, str]],
    *,
    what: str,
    of: str,
) -> None:
    """Refuse keys that are exact on one side and floats on the other, where a float rounds one of them.

    Args:
        rows: rows to be joined to.
        others: the rows that are joined.
        pairs: a column of ``rows`` and the one of ``others`` that must equal it.
        what: what ``rows`` are, for the error.
        of: what ``others`` is.

    Raises:
        DataError: a float rounds a key, so that rows of several keys would be one.

    >>> import duckdb
    >>> exact, floats = duckdb.sql("SELECT 0.5::DECIMAL(38,1) AS k"), duckdb.sql("SELECT 0.5::DOUBLE AS k")
    >>> check_equal_keys(exact, floats, [("k", "k")], what="the spine", of="prices_v1")
    """
    for own, theirs in pairs:
        sides = [(rows, own, _type_of(rows, own)), (others, theirs, _type_of(others, theirs))]
        for (relation, column, kind), (_, _, other) in (sides, sides[::-1]):
            if other not in _FLOATS or not is_exact(kind):
                continue
            value = quote(column)
            back = f"TRY_CAST(TRY_CAST({value} AS {other}) AS {kind})"
            misfits = relation.filter(f"{value} IS NOT NULL AND {back} IS DISTINCT FROM {value}")
            if (row := misfits.project(value).limit(1).fetchone()) is not None:
                raise DataError(
                    f"{own!r} of {what} is {sides[0][2]} and {theirs!r} of {of} is {sides[1][2]}: as floats {row[0]} and its "
                    "neighbours are one key; give both one exact type, such as BIGINT, DECIMAL or text"
                )


def _type_of(relation: duckdb.DuckDBPyRelation, column: str) -> str:
    return str(relation.types[relation.columns.index(column)])


def is_exact(sql_type: str) -> bool:
    """Whether values of a DuckDB type are numbers that a float may round."""
    return sql_type in (*WHOLE, *WIDE, "UHUGEINT") or sql_type.startswith("DECIMAL(")
