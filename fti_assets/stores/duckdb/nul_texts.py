"""Texts with a NUL, by which no table of the lake can be asked as it is."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from fti_assets.core.sql import not_pushed_down, quoted

if TYPE_CHECKING:
    import duckdb


def columns_with_nul(connection: duckdb.DuckDBPyConnection, table: str, columns: Iterable[str]) -> frozenset[str]:
    """Which of some columns of a table hold a text with a NUL.

    Args:
        connection: where the table is.
        table: the table, quoted.
        columns: the columns to look in; those that hold no text have none.
    """
    relation = connection.table(table)
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    texts = [name for name in dict.fromkeys(columns) if types.get(name) == "VARCHAR"]
    if not texts:
        return frozenset()
    asked = ", ".join(f"bool_or(contains({quoted(name)}, chr(0)))" for name in texts)
    answers = connection.execute(f"SELECT {asked} FROM {table}").fetchall()[0]
    return frozenset(name for name, has_nul in zip(texts, answers, strict=True) if has_nul)


def compared(column: str, *, to: str, with_nul: Container[str]) -> str:
    """The SQL of a stored column that is compared with a column of other rows.

    Args:
        column: the stored column, quoted.
        to: the name of the column that it is compared with.
        with_nul: those columns of the other rows that hold a text with a NUL.

    >>> compared('r."k"', to="k", with_nul=()), compared('r."k"', to="k", with_nul=["k"])
    ('r."k"', '(r."k" || \\'\\')')
    """
    return not_pushed_down(column) if to in with_nul else column
