"""Texts with a NUL, by which no table of the lake can be asked as it is."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING

from fti_assets.core.sql import not_pushed_down, quote

if TYPE_CHECKING:
    import duckdb


def columns_with_nul(connection: duckdb.DuckDBPyConnection, table: str, columns: Iterable[str]) -> frozenset[str]:
    """Which of some columns of a table hold a text with a NUL.

    Args:
        connection: where the table is.
        table: the table or view, quoted.
        columns: the columns to look in; those that hold no text have none.
    """
    relation = connection.sql(f"FROM {table}")
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    texts = [name for name in dict.fromkeys(columns) if types.get(name) == "VARCHAR"]
    if not texts:
        return frozenset()
    tests = ", ".join(f"bool_or(contains({quote(name)}, chr(0)))" for name in texts)
    answers = connection.execute(f"SELECT {tests} FROM {table}").fetchall()[0]
    return frozenset(name for name, has_nul in zip(texts, answers, strict=True) if has_nul)


def equal_columns(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Mapping[str, str],
    *,
    rows: str,
    target: str,
) -> str:
    """The SQL of whether a stored row has the values of another row, in which a text may have a NUL.

    Args:
        connection: where the other rows are.
        table: the other rows, quoted: a temporary table, or rows that are cheap to read twice.
        columns: the columns of the other rows by those of the stored rows.
        rows: the alias of the other rows.
        target: the alias of the stored rows.
    """
    with_nul = columns_with_nul(connection, table, columns.values())
    pairs = (
        f"{rows}.{quote(own)} = {comparison(f'{target}.{quote(theirs)}', to=own, with_nul=with_nul)}"
        for theirs, own in columns.items()
    )
    return " AND ".join(pairs)


def equal_values(values: Mapping[str, object]) -> str:
    """The SQL of whether the columns of a stored row have some values, each a parameter.

    >>> print(equal_values({"id": 7, "name": "a\\0b"}))
    "id" = ? AND ("name" || '') = ?
    """
    return " AND ".join(f"{compared_with(value, quote(name))} = ?" for name, value in values.items())


def compared_with(value: object, column: str) -> str:
    """The SQL of a stored column, quoted, that is compared with a value.

    >>> compared_with("a", '"k"'), compared_with("a\\0", '"k"')
    ('"k"', '("k" || \\'\\')')
    """
    return not_pushed_down(column) if isinstance(value, str) and "\0" in value else column


def comparison(column: str, *, to: str, with_nul: Container[str]) -> str:
    """The SQL of a stored column that is compared with a column of other rows.

    Args:
        column: the stored column, quoted.
        to: the name of the column that it is compared with.
        with_nul: those columns of the other rows that hold a text with a NUL.

    >>> comparison('r."k"', to="k", with_nul=()), comparison('r."k"', to="k", with_nul=["k"])
    ('r."k"', '(r."k" || \\'\\')')
    """
    return not_pushed_down(column) if to in with_nul else column
