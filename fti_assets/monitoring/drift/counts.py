"""How the values of columns are spread over given bins and categories: counted for many columns in one pass over the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from fti_assets.core.manifest.profiles import ColumnProfile
from fti_assets.core.sql import literal, quote
from fti_assets.core.types import ColumnType

MOST_CATEGORIES = 1_000
"""So many categories of a column are told apart in a count, the most frequent; the others are counted together."""

NUMBERS = ("number", "integer", "vector")
"""What has bins; a vector is counted by its norm, whose SQL whoever counts it gives."""
MADE_OF_CATEGORIES = ("text", "boolean")


@dataclass(frozen=True)
class CountedColumn:
    """A column to count: what it is called, its type, and of a number the edges of its bins.

    Args:
        name: what its counts are called.
        type: the column's type; of a timestamp only nulls are counted.
        edges: finite, in ascending order, each once; a bin holds what is above the edge before it and at most its own, the last all above.
        categories: of text and booleans, those that are told apart in any case.
        sql: the SQL of the value, the column of that name by default.
    """

    name: str
    type: ColumnType
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    sql: str = ""

    @property
    def value(self) -> str:
        """The SQL of the value."""
        return self.sql or quote(self.name)


def count_columns(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[CountedColumn], by: Sequence[str]
) -> dict[tuple[Any, ...], dict[str, ColumnProfile]]:
    """Count the values of columns, once for each combination of the columns ``by``.

    NaN is counted as null, and so is empty text, as profiles do. Infinite numbers are in the first and in the last bin.

    Args:
        connection: the one that the rows belong to.
        rows: the SQL of the rows, as a table.
        columns: what is counted.
        by: the names of columns that divide the rows.

    Returns:
        The counts of each division by column, in the form of profiles; a division without rows is not there.
    """
    groups = ", ".join(map(quote, by))
    items = ["count(*)"]
    for column in columns:
        value = column.value
        if column.type in NUMBERS:
            number = f"nullif({value}::DOUBLE, 'nan'::DOUBLE)"
            items += [f"count({number})", f"histogram({number}, {_list(column.edges)})" if column.edges else "NULL"]
        elif column.type in MADE_OF_CATEGORIES:
            items += [f"count({_category(column)})", "NULL"]
        else:
            items += [f"count({value})", "NULL"]
    query = f"SELECT {', '.join([groups, *items])} FROM {rows} GROUP BY {groups}"
    results = {}
    categories = _categories(connection, rows, columns, by)
    for row in connection.execute(query).fetchall():
        group, total, counts = tuple(row[: len(by)]), row[len(by)], row[len(by) + 1 :]
        results[group] = {
            column.name: _profile(
                column, total, counts[2 * at], counts[2 * at + 1], categories.get((group, column.name))
            )
            for at, column in enumerate(columns)
        }
    return results


def _profile(
    column: CountedColumn,
    total: int,
    present: int,
    bins: Mapping[float, int] | None,
    categories: tuple[dict[str, float], float, int] | None,
) -> ColumnProfile:
    own = ColumnProfile(column.name, column.type, float(total), float(total - present))
    if column.type in NUMBERS:
        below = [float((bins or {}).get(edge, 0)) for edge in column.edges]
        last = float(present) - sum(below)
        return replace(own, edges=column.edges, counts=(*below, last) if column.edges else ())
    if categories is None:
        return own
    named, rest, further = categories
    return replace(own, categories=named, rest=rest, further_categories=further)


def _categories(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[CountedColumn], by: Sequence[str]
) -> dict[tuple[tuple[Any, ...], str], tuple[dict[str, float], float, int]]:
    """The rows of each category by division and column, those of the others together, and how many of these there are."""
    own = [column for column in columns if column.type in MADE_OF_CATEGORIES]
    if not own:
        return {}
    groups = [quote(name) for name in by]
    # A query for each column, as one: of many sets of groups at once DuckDB makes one table of them all.
    counts = " UNION ALL ".join(
        f"SELECT {', '.join(groups)}, {place} AS __fti_place, {_category(column)} AS __fti_category, count(*) AS __fti_rows "
        f"FROM {rows} GROUP BY ALL"
        for place, column in enumerate(own)
    )
    each = f"PARTITION BY {', '.join([*groups, '__fti_place'])}"
    is_named = " OR ".join(
        [
            f"row_number() OVER ({each} ORDER BY __fti_rows DESC, __fti_category) <= {MOST_CATEGORIES}",
            *(
                f"(__fti_place = {place} AND __fti_category IN ({', '.join(map(literal, column.categories))}))"
                for place, column in enumerate(own)
                if column.categories
            ),
        ]
    )
    query = (
        f"SELECT {', '.join(groups)}, __fti_place, CASE WHEN __fti_named THEN __fti_category END AS __fti_name, "
        f"sum(__fti_rows)::BIGINT AS __fti_sum, count(*) "
        f"FROM (SELECT *, {is_named} AS __fti_named FROM ({counts}) WHERE __fti_category IS NOT NULL) "
        "GROUP BY ALL ORDER BY __fti_sum DESC, __fti_name"
    )
    results: dict[tuple[tuple[Any, ...], str], tuple[dict[str, float], float, int]] = {}
    for row in connection.execute(query).fetchall():
        key = (tuple(row[: len(by)]), own[row[len(by)]].name)
        category, count, kinds = row[len(by) + 1 :]
        named = results.setdefault(key, ({}, 0.0, 0))[0]
        if category is None:
            results[key] = (named, float(count), kinds)
        else:
            named[category] = float(count)
    return results


def _category(column: CountedColumn) -> str:
    return f"nullif({column.value}::VARCHAR, '')"


def _list(edges: Sequence[float]) -> str:
    return f"[{', '.join(f'{literal(repr(float(edge)))}::DOUBLE' for edge in edges)}]"
