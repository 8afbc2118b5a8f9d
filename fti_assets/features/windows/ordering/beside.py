"""The ordered aggregates beside the others, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fti_assets.core.sql import quote, temporary_name
from fti_assets.features.windows.axis import AT, Windows
from fti_assets.features.windows.ordering.answers import OrderedResults
from fti_assets.features.windows.ordering.rows import GROUP, TARGET, parts_of, store_rows
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb


def with_ordered(
    windows: Windows, others: duckdb.DuckDBPyRelation, ordered: Sequence[str], table: str
) -> duckdb.DuckDBPyRelation:
    """The rows of ``others``, each with the ordered aggregates at its keys and instant.

    It is computed at once, a part of the keys after another, so that memory holds one part.

    Args:
        windows: what to compute, its windows all of one delay.
        others: the keys, the instant and further columns.
        ordered: the names of the ordered aggregates.
        table: a name from ``spans_table``, after which further tables are named.
    """
    connection, axis, keys = windows.rows.connection, windows.axis, windows.names
    windows = replace(windows, aggregates={name: windows.aggregates[name] for name in ordered})
    results = OrderedResults(windows)
    base, groups, targets, rows, answers = (
        _beside(table, what) for what in ("base", "groups", "targets", "rows", "answers")
    )
    create = "CREATE OR REPLACE TEMP TABLE"
    connection.execute(
        f"{create} {base} AS SELECT *, row_number() OVER () - 1 AS {TARGET} FROM {relation_name(others)}"
    )
    connection.execute(
        f"{create} {groups} AS SELECT *, row_number() OVER () - 1 AS {GROUP} FROM (SELECT DISTINCT {keys} FROM {base})"
    )
    at = f"(epoch_us({quote(windows.grid.instant)}) - {axis.start}) // {axis.every} AS {AT}"
    connection.execute(
        f"{create} {targets} AS SELECT {TARGET}, {GROUP}, {at} FROM {base} JOIN {groups} USING ({keys}) ORDER BY {GROUP}, {AT}"
    )
    store_rows(windows, results.row_values, groups, rows)
    types = results.types()
    declared = "".join(f", {quote(name)} {kind}" for name, kind in types.items())
    connection.execute(f"{create} {answers} ({TARGET} BIGINT{declared})")
    for part in parts_of(connection, windows, targets=targets, rows=rows):
        _insert(connection, answers, {TARGET: part.numbers, **results.at(part)}, types)
    for done in (groups, targets, rows):
        connection.execute(f"DROP TABLE {done}")
    return connection.sql(f"SELECT * EXCLUDE ({TARGET}) FROM {base} JOIN {answers} USING ({TARGET})")


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, object], types: dict[str, str]
) -> None:
    import pyarrow as pa

    name = temporary_name("part")
    casts = "".join(f", {quote(column)}::{kind}" for column, kind in types.items())
    connection.register(name, pa.table(columns))
    try:
        connection.execute(f"INSERT INTO {table} SELECT {TARGET}{casts} FROM {quote('temp', name)}")
    finally:
        connection.unregister(name)


def _beside(table: str, what: str) -> str:
    """The quoted name of another table beside a quoted one."""
    return f'{table[:-1]}_{what}"'
