"""Lists, structs and maps as JSON text that any reader of JSON takes."""

from __future__ import annotations

from typing import Any

import duckdb

from fti_assets.core.sql import literal, quote


def json_text(column: str, sql_type: str) -> str:
    """The SQL of a column as JSON text, null where it is null. A float that JSON has no number for, NaN or infinite, is a null in it.

    Args:
        column: its name.
        sql_type: its DuckDB type.

    >>> import duckdb
    >>> text = json_text("best", 'STRUCT("id" BIGINT, "score" DOUBLE)[]')
    >>> duckdb.sql(f"SELECT {text} FROM (SELECT [{{'id': 7, 'score': 'nan'::DOUBLE}}] AS best)").fetchall()
    [('[{"id":7,"score":null}]',)]
    """
    return f"to_json({_plain(quote(column), duckdb.sqltype(sql_type))})::VARCHAR"


def _plain(value: str, kind: Any, depth: int = 0) -> str:
    """The SQL of a value without floats that JSON does not have."""
    if kind.id in ("double", "float"):
        return f"CASE WHEN isfinite({value}) THEN {value} END"
    if kind.id in ("list", "array"):
        item = f"__fti_item_{depth}"
        return f"list_transform({value}, lambda {item}: {_plain(item, kind.children[0][1], depth + 1)})"
    if kind.id == "struct":
        fields = ", ".join(
            f"{quote(name)} := {_plain(f'struct_extract({value}, {literal(name)})', of, depth)}"
            for name, of in kind.children
        )
        return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({fields}) END"
    if kind.id == "map":
        pair = f"__fti_pair_{depth}"
        each = f"struct_pack(key := {pair}.key, value := {_plain(f'{pair}.value', kind.children[1][1], depth + 1)})"
        return f"map_from_entries(list_transform(map_entries({value}), lambda {pair}: {each}))"
    return value
