"""Queries: the lists in which rows are ranked, which no split divides, and the order of rows in which each stands together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fti_assets.core.rules import Verdict
from fti_assets.core.sql import quote, temporary_name
from fti_assets.errors import count_of
from fti_assets.training.datasets.checks.rows import ROW_SPLIT
from fti_assets.training.datasets.dataset import UNDIVIDED
from fti_assets.training.datasets.splits.split import SPLITS

if TYPE_CHECKING:
    import duckdb

QUERY = "_fti_query"
"""The column that numbers the queries of a part from 1, in the order of their rows."""

DIVIDED = "_fti_divided"
"""The column that says whether the rows of a row's query are in several parts, or some of them in none, be it outside the window."""

OF_DIVIDED = "of divided queries"
"""Why their rows are left out."""

_BEGAN = "_fti_began"


def cut_queries(
    connection: duckdb.DuckDBPyConnection,
    query: Sequence[str],
    rows: str,
    candidates: str,
    identity: Sequence[str],
    is_known: str,
) -> str:
    """The quoted name of a temporary table of the queries that have rows which the dataset does not know: before its window, at or after
    its cutoff, or available later. Without them a list looks whole and is short.

    Args:
        query: the columns that name a query.
        rows: the stored rows of the spine, each in all its versions; what follows FROM.
        candidates: the rows that the dataset knows.
        identity: the columns that name a row.
        is_known: the SQL of whether a version of a row is one that the dataset knows.
    """
    table, names = quote(temporary_name("cut")), ", ".join(map(quote, query))
    by = ", ".join(dict.fromkeys([*map(quote, identity), *map(quote, query)]))
    beyond = (
        f"SELECT {by} FROM {rows} WHERE ({names}) IN (SELECT ({names}) FROM {candidates}) GROUP BY {by} "
        f"HAVING NOT bool_or({is_known})"
    )
    connection.execute(f"CREATE TEMP TABLE {table} AS SELECT DISTINCT {names} FROM ({beyond})")
    return table


def divided_sql(query: Sequence[str], is_mature: str, cut: str) -> str:
    """The SQL of ``DIVIDED``; false for rows without queries.

    Args:
        query: the columns that name a query.
        is_mature: the SQL of whether a row is old enough for its label: a query is whole once all its rows are.
        cut: a table of the queries that have other rows besides, as ``cut_queries`` makes it.
    """
    if not query:
        return "false"
    part = f"CASE WHEN {is_mature} THEN coalesce({ROW_SPLIT}, '') ELSE 'immature' END"
    over = f"OVER (PARTITION BY {', '.join(map(quote, query))})"
    names = ", ".join(map(quote, query))
    return f"min({part}) {over} <> max({part}) {over} OR ({names}) IN (SELECT ({names}) FROM {cut})"


def undivided(query: Sequence[str], left_out: Mapping[str, int]) -> Verdict:
    """Judge by how many rows are left out as rows of divided queries."""
    rows = left_out.get(OF_DIVIDED, 0)
    return Verdict(
        UNDIVIDED, rows, (), f"{count_of(rows, 'row')} left out{whole_queries(query, left_out)}" if rows else ""
    )


def whole_queries(query: Sequence[str], left_out: Mapping[str, int]) -> str:
    """Why rows of divided queries are left out and what to do, after a count of them; nothing if there are none."""
    if not left_out.get(OF_DIVIDED):
        return ""
    by = list(query) if len(query) > 1 else query[0]
    return (
        ", since the split has rows of their queries in several parts, or some of them in none, such as before the "
        "window or after the cutoff: give the rows of a query one prediction "
        f"time, let query= name a shorter list, or write split=fti.GroupSplit(by={by!r})"
    )


def queries_by_part(connection: duckdb.DuckDBPyConnection, table: str, query: Sequence[str]) -> dict[str, int]:
    """How many queries the rows of each part are of; nothing for rows without queries.

    Args:
        table: the quoted name of a table with ``_fti_split``.
        query: the columns that name a query.
    """
    if not query:
        return {}
    of_each = f"SELECT DISTINCT {ROW_SPLIT}, {', '.join(map(quote, query))} FROM {table}"
    counts = dict(connection.execute(f"SELECT {ROW_SPLIT}, count(*) FROM ({of_each}) GROUP BY 1").fetchall())
    return {part: counts.get(part, 0) for part in SPLITS}


def numbered(rows: str, query: Sequence[str], time: str | None) -> str:
    """The SQL of rows with ``QUERY``: queries in the order of their first prediction time, then of their names.

    Args:
        rows: the SQL of rows, what follows FROM.
        query: the columns that name a query.
        time: the prediction time, if there is one.
    """
    names = ", ".join(map(quote, query))
    if time is None:
        return f"SELECT *, dense_rank() OVER (ORDER BY {names}) AS {QUERY} FROM {rows}"
    began = f"SELECT *, min({quote(time)}) OVER (PARTITION BY {names}) AS {_BEGAN} FROM {rows}"
    return f"SELECT * EXCLUDE ({_BEGAN}), dense_rank() OVER (ORDER BY {_BEGAN}, {names}) AS {QUERY} FROM ({began})"
