"""SQL as DuckDB's own parser takes it: what a group's SQL reads and what a query's columns are made of rest on one grammar."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from typing import Any

import duckdb


class _Parser(threading.local):
    """A database of its own for each thread: parsing needs no lake, and a text is never run where there is one."""

    process: int | None = None
    connection: duckdb.DuckDBPyConnection


_parser = _Parser()


def syntax_trees(texts: Sequence[str]) -> list[dict[str, Any]]:
    """The root of DuckDB's syntax tree of each SELECT; of what is none, a dict with its ``error_message``."""
    # Kept, since making a database costs more than parsing; with one thread, so that a fork leaves no thread of it behind.
    if _parser.process != os.getpid():
        _parser.connection, _parser.process = duckdb.connect(":memory:", config={"threads": "1"}), os.getpid()
    trees = _parser.connection.execute("SELECT json_serialize_sql(unnest($1::VARCHAR[]))", [list(texts)]).fetchall()
    return [tree if tree["error"] else tree["statements"][0]["node"] for tree in (json.loads(row[0]) for row in trees)]
