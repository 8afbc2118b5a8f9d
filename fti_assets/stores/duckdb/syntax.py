"""SQL as DuckDB's own parser takes it: what a group's SQL reads and what a query's columns are made of rest on one grammar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import duckdb


def syntax_trees(texts: Sequence[str]) -> list[dict[str, Any]]:
    """The root of DuckDB's syntax tree of each SELECT; of what is none, a dict with its ``error_message``."""
    # A database of its own: parsing needs no lake, and a text is never run where there is one.
    with duckdb.connect(":memory:") as connection:
        trees = connection.execute("SELECT json_serialize_sql(unnest($1::VARCHAR[]))", [list(texts)]).fetchall()
    return [tree if tree["error"] else tree["statements"][0]["node"] for tree in (json.loads(row[0]) for row in trees)]
