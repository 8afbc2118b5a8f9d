"""Columns of a relation as canonical arrays, and plain values as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from fti_assets.core.manifest import Column
from fti_assets.core.sql import quote
from fti_assets.core.types import SIDES, ColumnType
from fti_assets.core.types.vectors import vectors

CHUNK_ROWS = 122_880
"""How many rows are held in Python at once: as many as DuckDB keeps together in a table, so that a chunk is read without its neighbours."""


def fetch_columns(relation: duckdb.DuckDBPyRelation, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """Fetch columns of ``n`` rows as canonical arrays ``[n]``: float64, ``datetime64[us]``, objects of text or of vectors."""
    if not columns:
        return {}
    canonical = ", ".join(f"{canonical_sql(column)} AS {quote(column.name)}" for column in columns)
    arrays = relation.project(canonical).fetchnumpy()
    return {column.name: _fill(arrays[column.name], column.type) for column in columns}


def as_table(columns: Sequence[Column], values: Sequence[Sequence[Any]]) -> pa.Table:
    """Columns of ``n`` plain values, None where missing, as an Arrow table of their types."""
    types = [
        pa.list_(pa.float32()) if column.type == "vector" else pa.type_for_alias(SIDES[column.type].arrow)
        for column in columns
    ]
    arrays = [pa.array(plain, type=kind) for plain, kind in zip(values, types, strict=True)]
    return pa.table(arrays, names=[column.name for column in columns])


def canonical_sql(column: Column) -> str:
    """The SQL of a stored column as its canonical array has it: text and numbers without null."""
    name = quote(column.name)
    if column.type == "text":
        return f"coalesce({name}, '')"
    if column.type == "vector":  # numpy makes float32 of it, offline and online alike; of an array a list
        return f"{name}[:]"
    return f"{name}::TIMESTAMP" if column.type == "timestamp" else f"coalesce({name}::DOUBLE, 'nan'::DOUBLE)"


def _fill(values: np.ndarray, kind: ColumnType) -> np.ndarray:
    if kind == "vector":
        pairs = zip(np.ma.getdata(values), np.ma.getmaskarray(values).tolist(), strict=True)
        return vectors(None if is_null else value for value, is_null in pairs)
    plain = np.asarray(np.ma.getdata(values))
    if kind != "timestamp":
        return plain.astype(SIDES[kind].array, copy=False)
    # DuckDB masks null times, and what lies under a mask is arbitrary.
    return np.where(np.ma.getmaskarray(values), np.datetime64("NaT", "us"), plain.astype("datetime64[us]"))
