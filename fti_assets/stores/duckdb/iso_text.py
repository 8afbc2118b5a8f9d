"""ISO text as instants in SQL, by the one parser of this library, so that a column reads a text as a request does."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import duckdb

from fti_assets.core.times import instant

_FUNCTION = "__fti_instant"


def try_instant_sql(connection: duckdb.DuckDBPyConnection, expression: str) -> str:
    """The instant of a text expression, null where it is not ISO 8601. DuckDB's own casts drop offsets, and want seconds before one."""
    try:
        connection.execute(f"SELECT {_FUNCTION}(NULL)")
    # The connection is asked: a list of connections kept here would outlive them.
    except duckdb.CatalogException:
        options = {"type": "arrow", "null_handling": "special", "side_effects": False}
        connection.create_function(_FUNCTION, _instants, ["VARCHAR"], "TIMESTAMP", **options)
    return f"{_FUNCTION}({expression})"


def _instants(texts: Any) -> Any:  # DuckDB evaluates these annotations
    import pyarrow as pa

    # A column of times repeats itself, and Python parses one text at a time: each distinct text is parsed once.
    dictionary = texts.combine_chunks().dictionary_encode()
    different = pa.array([_instant(text) for text in dictionary.dictionary.to_pylist()], pa.timestamp("us"))
    return pa.chunked_array([different.take(dictionary.indices)])


def _instant(text: str | None) -> datetime | None:
    try:
        return None if text is None else instant(text)
    except ValueError:
        return None
