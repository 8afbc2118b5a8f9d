"""A few rows that pandas holds in the types in which it would hold a whole table.

A type in pandas depends on few things of a column: its type in DuckDB, whether a value is missing, and whether the declared
type holds every value, which the least and the largest tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import pandas as pd
import pandera.pandas as pa

from fti_assets.core.sql import quoted, timestamp
from fti_assets.core.types import SIDES, compared_type

_Fact = Literal["present", "least", "largest", "beyond_single"]


@dataclass(frozen=True)
class ColumnFacts:
    """How many rows a table has, and what was asked of its columns."""

    rows: int
    told: Mapping[tuple[str, _Fact], Any]


def needed_aggregates(schema: pa.DataFrameSchema, types: Mapping[str, str]) -> dict[tuple[str, _Fact], str]:
    """The aggregates, in SQL, that tell in which types pandas would hold a table."""
    needed: dict[tuple[str, _Fact], str] = {}
    for name, sql_type in types.items():
        column, kind = quoted(name), compared_type(sql_type)
        needed[(name, "present")] = f"count({column})"
        declared = str(getattr(schema.columns[name].dtype, "type", "")) if name in schema.columns else ""
        narrow = kind == "integer" and declared.lower() != "int64"
        if declared and (narrow or kind == "timestamp"):
            needed[(name, "least")], needed[(name, "largest")] = f"min({column})", f"max({column})"
        if sql_type == "DOUBLE" and declared.lower() == "float32":
            single = f"CAST(TRY_CAST({column} AS FLOAT) AS DOUBLE)"
            needed[(name, "beyond_single")] = f"count_if({column} IS NOT NULL AND {single} IS DISTINCT FROM {column})"
    return needed


def probe(
    connection: duckdb.DuckDBPyConnection, table: str, types: Mapping[str, str], seen: ColumnFacts
) -> pd.DataFrame:
    """Rows in the types of a whole table: the least value, the largest, and none if one is missing; no rows of no rows."""
    listed = ", ".join(map(quoted, types))
    if not seen.rows:
        return connection.sql(f"SELECT {listed} FROM {table} LIMIT 0").df()
    rows = [
        ", ".join(f"CAST({_value(name, sql_type, seen, which)} AS {sql_type})" for name, sql_type in types.items())
        for which in ("least", "largest", "missing")
    ]
    values = ", ".join(f"({row})" for row in rows)
    return connection.sql(f"SELECT * FROM (VALUES {values}) AS probe({listed})").df()


def _value(name: str, sql_type: str, seen: ColumnFacts, which: str) -> str:
    present = seen.told[(name, "present")]
    if not present or (which == "missing" and present < seen.rows):
        return "NULL"
    if seen.told.get((name, "beyond_single")):
        return "0.1"
    bound = seen.told.get((name, "least" if which == "least" else "largest"))
    if bound is not None:
        return str(bound) if isinstance(bound, int) else timestamp(bound)
    kind = compared_type(sql_type)
    return "NULL" if kind is None else SIDES[kind].nothing
