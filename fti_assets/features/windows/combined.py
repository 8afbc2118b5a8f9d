"""All aggregates of a run beside each other: totals and extremes, ordered ones, and windows that end at different times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fti_assets.core.sql import quote
from fti_assets.features.windows.aggregates import Aggregate, Count, DistinctCount, Rate, Sessions, is_ordered, names_of
from fti_assets.features.windows.axis import Windows
from fti_assets.features.windows.ordering.beside import with_ordered
from fti_assets.features.windows.sweep import sweep
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb

_ROWS = "__fti_rows"
"""A count that stands for the others where all aggregates are ordered ones."""


def columns_of(windows: Windows) -> list[str]:
    """The columns of the aggregates, in the order of the declaration."""
    return [
        f"{one}_{text}"
        for name, aggregate in windows.aggregates.items()
        for one in names_of(name, aggregate)
        for text in windows.lengths
    ]


def aggregated(windows: Windows, extras: Sequence[str], targets: str | None, table: str) -> duckdb.DuckDBPyRelation:
    """The aggregates: columns that are kept of the targets, the keys, the instant, and a column for each aggregate and window.

    Args:
        windows: what to compute.
        extras: further columns of the targets.
        targets: the SQL of ``extras``, the keys and ``__fti_at``; or None for each position at which a key has a row in one of
            the windows.
        table: a name from ``spans_table``.
    """
    parts = windows.by_delay()
    if len(parts) == 1 and not any(map(is_ordered, windows.aggregates.values())):
        return sweep(parts[0], extras, targets, table)
    relations = [
        _with_one_delay(part, extras, targets, table if not number else f'{table[:-1]}_{number}"')
        for number, part in enumerate(parts)
    ]
    connection = windows.rows.connection
    names = ", ".join(map(quote, [*extras, *windows.keys, windows.grid.instant]))
    joined = relation_name(relations[0])
    for relation in relations[1:]:
        joined += f" FULL JOIN {relation_name(relation)} USING ({names})"
    empty = _empty(windows) if len(parts) > 1 else {}
    answers = ", ".join(
        f"coalesce({quote(column)}, {empty[column]}) AS {quote(column)}" if column in empty else quote(column)
        for column in columns_of(windows)
    )
    return connection.sql(f"SELECT {names}, {answers} FROM {joined}")


def _with_one_delay(
    windows: Windows, extras: Sequence[str], targets: str | None, table: str
) -> duckdb.DuckDBPyRelation:
    ordered = [name for name, aggregate in windows.aggregates.items() if is_ordered(aggregate)]
    others: dict[str, Aggregate] = {
        name: aggregate for name, aggregate in windows.aggregates.items() if name not in ordered
    }
    relation = sweep(replace(windows, aggregates=others or {_ROWS: Count()}), extras, targets, table)
    return with_ordered(windows, relation, ordered, table) if ordered else relation


def _empty(windows: Windows) -> dict[str, str]:
    """What a column is over a window without a row, where that is no null."""
    zeros = {
        name: "0"
        for name, aggregate in windows.aggregates.items()
        if isinstance(aggregate, Count | DistinctCount)
        or (isinstance(aggregate, Rate) and aggregate.column is None)
        or (isinstance(aggregate, Sessions) and aggregate.of != "seconds")
    }
    return {f"{name}_{text}": zero for name, zero in zeros.items() for text in windows.lengths}
