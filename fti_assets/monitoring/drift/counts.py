"""How the values of columns are spread over given bins and categories: counted for many columns in one pass over the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from fti_assets.core.manifest.profiles import Bins, ColumnProfile
from fti_assets.core.sql import literal, quote
from fti_assets.core.types import ColumnType

MOST_CATEGORIES = 1_000
"""So many categories of a column are told apart in a count, the most frequent; the others are counted together."""

NUMBERS = ("number", "integer", "vector")
"""What has bins; a vector is counted by its norm and along directions, whose SQL whoever counts it gives."""
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
        directions: of a vector the SQL of each projection, and its edges.
    """

    name: str
    type: ColumnType
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    sql: str = ""
    directions: tuple[tuple[str, tuple[float, ...]], ...] = ()

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
        if column.type in NUMBERS:
            numbers = [
                (_number(column), column.edges),
                *((_without_nan(sql), edges) for sql, edges in column.directions),
            ]
            for number, edges in numbers:
                items += [f"count({number})", f"histogram({number}, {_list(edges)})" if edges else "NULL"]
        elif column.type not in MADE_OF_CATEGORIES:
            items += [f"count({column.value})", "NULL"]
    counts = connection.execute(f"SELECT {groups}, {', '.join(items)} FROM {rows} GROUP BY {groups}").fetchall()
    # Texts are grouped fastest by themselves alone.
    alone = len(counts) == 1
    categories = _categories(connection, rows, columns, [] if alone else by)
    results: dict[tuple[Any, ...], dict[str, ColumnProfile]] = {}
    for *group, total, of_columns in (((*row[: len(by) + 1], list(row[len(by) + 1 :]))) for row in counts):
        own = results.setdefault(tuple(group), {})
        for column in columns:
            if column.type in MADE_OF_CATEGORIES:
                key = (() if alone else tuple(group), column.name)
                own[column.name] = _of_categories(column, total, categories[key])
            else:
                present, bins, *of_columns = of_columns
                one = ColumnProfile(column.name, column.type, float(total), float(total - present))
                directions = []
                for _, edges in column.directions:
                    number, of_edges, *of_columns = of_columns
                    directions.append(_bins(edges, number, of_edges))
                own_bins = _bins(column.edges, present, bins)
                own[column.name] = replace(
                    one, edges=own_bins.edges, counts=own_bins.counts, directions=tuple(directions)
                )
    return results


def _bins(edges: tuple[float, ...], present: int, of_edges: Mapping[float, int] | None) -> Bins:
    if not edges:
        return Bins()
    below = [float((of_edges or {}).get(edge, 0)) for edge in edges]
    return Bins(edges, (*below, float(present) - sum(below)))


def _of_categories(column: CountedColumn, total: int, categories: _Categories) -> ColumnProfile:
    return ColumnProfile(
        column.name,
        column.type,
        float(total),
        categories.nulls,
        categories=categories.named,
        rest=categories.rest,
        further_categories=categories.further,
    )


@dataclass
class _Categories:
    """The rows of each category, those of the others together and how many of these there are, and the rows without any."""

    named: dict[str, float] = field(default_factory=dict)
    rest: float = 0.0
    further: int = 0
    nulls: float = 0.0


def _categories(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[CountedColumn], by: Sequence[str]
) -> dict[tuple[tuple[Any, ...], str], _Categories]:
    """What is counted of each column of categories, by division and column."""
    own = [column for column in columns if column.type in MADE_OF_CATEGORIES]
    if not own:
        return {}
    groups = "".join(f"{quote(name)}, " for name in by)
    # A query for each column, as one: of many sets of groups at once DuckDB makes one table of them all.
    counts = " UNION ALL ".join(
        f"SELECT {groups}{place} AS __fti_place, {_category(column)} AS __fti_category, count(*) AS __fti_rows "
        f"FROM {rows} GROUP BY ALL"
        for place, column in enumerate(own)
    )
    each = f"PARTITION BY {groups}__fti_place"
    is_named = " OR ".join(
        [
            f"row_number() OVER ({each} ORDER BY __fti_category IS NULL, __fti_rows DESC, __fti_category) <= {MOST_CATEGORIES}",
            *(
                f"(__fti_place = {place} AND __fti_category IN ({', '.join(map(literal, column.categories))}))"
                for place, column in enumerate(own)
                if column.categories
            ),
        ]
    )
    query = (
        f"SELECT {groups}__fti_place, __fti_category IS NULL, CASE WHEN __fti_named THEN __fti_category END AS __fti_name, "
        f"sum(__fti_rows)::BIGINT AS __fti_sum, count(*) FROM (SELECT *, {is_named} AS __fti_named FROM ({counts})) "
        "GROUP BY ALL ORDER BY __fti_sum DESC, __fti_name"
    )
    results: dict[tuple[tuple[Any, ...], str], _Categories] = {}
    for row in connection.execute(query).fetchall():
        group, (place, is_null, name, count, kinds) = tuple(row[: len(by)]), row[len(by) :]
        one = results.setdefault((group, own[place].name), _Categories())
        if is_null:
            one.nulls = float(count)
        elif name is None:
            one.rest, one.further = float(count), kinds
        else:
            one.named[name] = float(count)
    return results


def _number(column: CountedColumn) -> str:
    """The SQL of a number, null for NaN; a whole number is none, so that it costs no comparison."""
    value = f"{column.value}::DOUBLE"
    return value if column.type == "integer" else _without_nan(value)


def _without_nan(value: str) -> str:
    return f"nullif({value}, 'nan'::DOUBLE)"


def _category(column: CountedColumn) -> str:
    return f"nullif({column.value}::VARCHAR, '')"


def _list(edges: Sequence[float]) -> str:
    return f"[{', '.join(f'{literal(repr(float(edge)))}::DOUBLE' for edge in edges)}]"
