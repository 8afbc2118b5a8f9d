"""Which Parquet files beside the log of a Delta table are no rows of it: they were removed, or never committed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

import duckdb

from fti_assets.core.sql import literal

LOG = "_delta_log"
_FIRST = f"/{LOG}/{0:020}.json"


def not_of_delta(connection: duckdb.DuckDBPyConnection, folder: str, files: Iterable[str]) -> list[str]:
    """The files that a Delta table's log does not count; none without a log.

    A file that the log does not name is taken for a row's if the log does not begin at its first version, since a checkpoint
    can name it.

    Args:
        connection: reads the log, where the files lie.
        folder: the table's folder, with a slash at its end.
        files: Parquet files below it.
    """
    logs = [
        str(row[0])
        for row in connection.execute(f"FROM glob({literal(f'{without_wildcards(folder)}{LOG}/*.json')})").fetchall()
    ]
    if not logs:
        return []
    is_whole = any(log.endswith(_FIRST) for log in logs)
    additions = _added_files(connection, sorted(logs))
    root = min(logs, key=len).rpartition(f"{LOG}/")[
        0
    ]  # as DuckDB writes the folder, without file:// or a doubled slash
    below = {file: file.removeprefix(root) for file in files if file.startswith(root)}
    return [file for file, path in below.items() if not additions.get(path, not is_whole)]


def _added_files(connection: duckdb.DuckDBPyConnection, logs: Sequence[str]) -> dict[str, bool]:
    """Of each file that the log names, whether its last word is that it was added."""
    names = ", ".join(literal(without_wildcards(log)) for log in logs)
    texts = connection.execute(f"SELECT content FROM read_text([{names}]) ORDER BY filename").fetchall()
    results: dict[str, bool] = {}
    for (text,) in texts:
        actions = [json.loads(line) for line in text.splitlines() if line.strip()]
        for kind in ("remove", "add"):  # a commit that rewrites a file under its own name adds it
            results |= {unquote(one[kind]["path"]): kind == "add" for one in actions if kind in one}
    return results


def without_wildcards(path: str) -> str:
    """A path as the pattern that stands for it alone, whatever characters it has.

    >>> without_wildcards("run[1]/a.parquet")
    'run[[]1]/a.parquet'
    """
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


def path_of(pattern: str) -> str:
    """The path that a pattern of ``without_wildcards`` stands for.

    >>> path_of("run[[]1]/a.parquet")
    'run[1]/a.parquet'
    """
    return re.sub(r"\[([*?\[])\]", r"\1", pattern)
