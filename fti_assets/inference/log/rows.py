"""Answers of a prediction log as rows of a temporary table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa

from fti_assets.core.manifest import BY_NAME, Task
from fti_assets.core.names import PARTITION
from fti_assets.core.sql import quote
from fti_assets.inference.log.log import FEATURES, LATENCY, REQUEST, REQUEST_ID, ROW, PredictionLog
from fti_assets.inference.serving.log.lines import HASH_PREFIX

_TOGETHER = 20_000
_CHUNK = "__fti_logged"
_LISTS = ("missing", "unknown", "out_of_schema")
_JSON = (REQUEST, FEATURES, "ages")


class Rows:
    """Fills a temporary table with answers, some at a time.

    Args:
        connection: where the table is made.
        table: its name.
        log: whose answers they are.
        types: the DuckDB types of the log's columns.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, table: str, log: PredictionLog, types: Mapping[str, str]
    ) -> None:
        self._connection, self._table, self._log, self._types = connection, table, log, types
        self._keys = log.model.view.spine.keys
        columns = ", ".join(f"{quote(name)} {kind}" for name, kind in {**types, PARTITION: "VARCHAR"}.items())
        connection.execute(f"CREATE TEMP TABLE {quote(table)} ({columns})")
        self._waiting: list[tuple[str, dict[str, Any]]] = []

    def add(self, partition: str, content: dict[str, Any]) -> None:
        """One answer, as its line says it."""
        self._waiting.append((partition, content))
        if len(self._waiting) >= _TOGETHER:
            self.finish()

    def finish(self) -> None:
        """Write what is not written yet."""
        contents = [content for _, content in self._waiting]
        if not contents:
            return
        requests = [content[REQUEST] for content in contents]
        columns: dict[str, pa.Array] = {
            REQUEST_ID: _texts([content[REQUEST_ID] for content in contents]),
            ROW: pa.array([content[ROW] for content in contents], pa.int64()),
            **{key: _texts([_key_text(request.get(key)) for request in requests]) for key in self._keys},
            self._log.event_time: _texts([content["at"] for content in contents]),
            "answered_at": _texts([content["answered_at"] for content in contents]),
            "build": _texts([content["build"] for content in contents]),
            "arm": _texts([content["arm"] for content in contents]),
            self._log.output: _values([content["value"] for content in contents], self._log.model.task),
            **{name: _texts([_compact(content[name]) for content in contents]) for name in _JSON},
            LATENCY: pa.array([content[LATENCY] for content in contents], pa.float64()),
            **{name: _text_lists([content[name] for content in contents]) for name in _LISTS},
        }
        casts = [f"TRY_CAST({quote(name)} AS {self._types[name]}) AS {quote(name)}" for name in columns]
        columns[PARTITION] = _texts([partition for partition, _ in self._waiting])
        self._connection.register(_CHUNK, pa.table(columns))
        self._connection.execute(
            f"INSERT INTO {quote(self._table)} BY NAME SELECT {', '.join([*casts, PARTITION])} FROM {_CHUNK}"
        )
        self._connection.unregister(_CHUNK)
        self._waiting = []


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _key_text(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value.startswith(HASH_PREFIX)):
        return None
    return value if isinstance(value, str) else json.dumps(value)


def _texts(values: list[str | None]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:  # half of a surrogate pair, which a client may send and no UTF-8 holds
        return pa.array([None if one is None else one.encode("utf-8", "replace").decode() for one in values])


def _text_lists(values: list[list[Any]]) -> pa.Array:
    return pa.array([[str(one) for one in names] for names in values], pa.list_(pa.string()))


def _values(values: list[Any], task: Task) -> pa.Array:
    if task in BY_NAME:
        maps = [list(value.items()) if isinstance(value, dict) else None for value in values]
        return pa.array(maps, pa.map_(pa.string(), pa.float64()))
    return pa.array([float(one) if isinstance(one, int | float) else None for one in values], pa.float64())
