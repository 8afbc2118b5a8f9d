"""The answers of graphs for the rows of a table, some at a time: neither the rows nor the answers are ever held in Python whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from fti_assets.core.manifest import Column, ModelManifest
from fti_assets.core.sql import quote, temporary_name
from fti_assets.features.point_in_time.arrays import CHUNK_ROWS, fetch_columns
from fti_assets.stores.models.answering import Answering

NUMBER = "__fti_scored"
"""The column that numbers the rows of a table from 1, as ``numbered_table`` makes it."""

_CHUNK = "__fti_chunk"


def numbered_table(connection: duckdb.DuckDBPyConnection, rows: str) -> str:
    """The rows of a relation in a temporary table with their numbers, and its quoted name.

    A table, since a relation without an order may give its rows otherwise when it is read again.
    """
    name = quote(temporary_name("scored"))
    connection.execute(f"CREATE TEMP TABLE {name} AS SELECT row_number() OVER () AS {NUMBER}, * FROM {rows}")
    return name


class Scorer(NamedTuple):
    """A build that scores rows, and the column that its answers go to."""

    answering: Answering
    column: str

    @property
    def manifest(self) -> ModelManifest:
        """The build's."""
        return self.answering.manifest


def score(
    connection: duckdb.DuckDBPyConnection, table: str, scorers: Sequence[Scorer], *, columns: Sequence[str]
) -> str:
    """Answer the rows of a numbered table into a temporary one, and give its quoted name.

    Args:
        connection: the one that ``table`` belongs to.
        table: its quoted name, made by ``numbered_table``, with the features of all scorers.
        scorers: what answers; a feature that several take is read once.
        columns: columns of ``table`` that go with the answers.
    """
    answers = quote(temporary_name("answers"))
    items = ", ".join([*(f"rows.{quote(column)}" for column in columns), f"chunk.* EXCLUDE ({NUMBER})"])
    [(total,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    for first in range(0, max(total, 1), CHUNK_ROWS):  # a table without rows gives answers their types
        # DuckDB skips the parts of a table whose numbers lie elsewhere, so each chunk costs what it holds.
        rows = f"(FROM {table} WHERE {NUMBER} > {first} AND {NUMBER} <= {first + CHUNK_ROWS})"
        connection.register(_CHUNK, _answer(connection.sql(f"FROM {rows}"), scorers))
        into = f"CREATE TEMP TABLE {answers} AS" if first == 0 else f"INSERT INTO {answers}"
        connection.execute(f"{into} SELECT {items} FROM {rows} rows JOIN {_CHUNK} chunk USING ({NUMBER})")
        connection.unregister(_CHUNK)
    return answers


def _answer(rows: duckdb.DuckDBPyRelation, scorers: Sequence[Scorer]) -> pa.Table:
    """The graphs' answers with the numbers of their rows."""
    features = dict.fromkeys(feature for scorer in scorers for feature in scorer.manifest.view.features)
    columns = fetch_columns(rows, [Column(NUMBER, "integer"), *features])
    numbers = columns.pop(NUMBER).astype(np.int64)
    if len(numbers) == 1:  # onnxruntime rounds one row alone otherwise than among others
        columns = {name: np.repeat(values, 2) for name, values in columns.items()}
    answers = {scorer.column: _column(scorer.answering(columns)[: len(numbers)], scorer.manifest) for scorer in scorers}
    return pa.table({NUMBER: numbers, **answers})


def _column(values: np.ndarray, manifest: ModelManifest) -> pa.Array:
    """``probability`` or ``value`` as a number, several answers as a map of class, or name, to number."""
    numbers = values.astype(np.float64)
    if not manifest.answers_by_name:
        return pa.array(numbers)
    maps = [list(zip(manifest.classes, row, strict=True)) for row in numbers.tolist()]
    return pa.array(maps, pa.map_(pa.string(), pa.float64()))
