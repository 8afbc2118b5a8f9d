"""The columns that a table ever had, which DuckLake's catalog keeps: a data version names those of its commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fti_assets.core.names import PARTITION, TableName
from fti_assets.core.sql import quote
from fti_assets.stores.lake.catalog import NUMBERS
from fti_assets.stores.lake.connection import own_table
from fti_assets.stores.lake.files.current_files import OF_SCHEMA
from fti_assets.stores.lake.reader import LakeReader

_NAMED_OTHERWISE = {"timestamptz": "TIMESTAMP WITH TIME ZONE", "timetz": "TIME WITH TIME ZONE"}


class _Column(NamedTuple):
    number: int
    first: int
    end: int | None
    name: str
    kind: str
    within: int | None


def past_types(lake: LakeReader, table: TableName) -> list[dict[str, str]]:
    """The DuckDB types of a table's columns as of each snapshot that changed them, without ``_partition``, the newest first.

    Those of earlier tables of its name count too, and those of snapshots that are expired.
    """
    rows = lake.connection.execute(
        f"""
        SELECT table_id, column_id, c.begin_snapshot, c.end_snapshot, column_name, column_type, parent_column
        FROM {own_table("column")} c
        JOIN (SELECT DISTINCT table_id, schema_id, table_name FROM {own_table("table")}) t USING (table_id) {OF_SCHEMA}
        WHERE s.schema_name = ? AND t.table_name = ? ORDER BY table_id DESC, column_id
        """,
        [table.schema, table.name],
    ).fetchall()
    by_table: dict[int, list[_Column]] = {}
    for number, *column in rows:
        by_table.setdefault(number, []).append(_Column(*column))
    results = []
    for columns in by_table.values():
        for snapshot in sorted({one.first for one in columns}, reverse=True):
            live = [one for one in columns if one.first <= snapshot and (one.end is None or one.end > snapshot)]
            types = {
                one.name: str(lake.connection.sqltype(_sql_type(one, live)))
                for one in live
                if one.within is None and one.name != PARTITION
            }
            if types not in results:
                results.append(types)
    return results


def _sql_type(column: _Column, live: Sequence[_Column]) -> str:
    """A type of DuckLake's catalog, in which what is within a column is a column of its own, as DuckDB's SQL."""
    within = [one for one in live if one.within == column.number]
    match column.kind:
        case "list":
            return f"{_sql_type(within[0], live)}[]"
        case "map":
            return f"MAP({', '.join(_sql_type(one, live) for one in within)})"
        case "struct":
            return f"STRUCT({', '.join(f'{quote(one.name)} {_sql_type(one, live)}' for one in within)})"
    return NUMBERS.get(column.kind) or _NAMED_OTHERWISE.get(column.kind) or column.kind
