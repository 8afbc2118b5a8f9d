"""Columns of a relation as canonical arrays, and plain values as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from fti_assets.core.manifest import Column
from fti_assets.core.sql import quoted
from fti_assets.core.types import SIDES, ColumnType


def fetch_columns(relation: duckdb.DuckDBPyRelation, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """Fetch columns of ``n`` rows as canonical arrays ``[n]``: float64, ``datetime64[us]`` or text objects."""
    if not columns:
        return {}
    fetched = relation.project(
        ", ".join(f"{_canonical(column)} AS {quoted(column.name)}" for column in columns)
    ).fetchnumpy()
    return {column.name: _filled(fetched[column.name], column.type) for column in columns}


def as_table(columns: Sequence[Column], values: Sequence[Sequence[Any]]) -> pa.Table:
    """Columns of ``n`` plain values, None where missing, as an Arrow table of their types."""
    return pa.table(
        {
            column.name: pa.array(made, type=pa.type_for_alias(SIDES[column.type].arrow))
            for column, made in zip(columns, values, strict=True)
        }
    )


def _canonical(column: Column) -> str:
    name = quoted(column.name)
    if column.type == "text":
        return f"coalesce({name}, '')"
    if column.type == "timestamp":
        return f"{name}::TIMESTAMP"
    return f"coalesce({name}::DOUBLE, 'nan'::DOUBLE)"


def _filled(values: np.ndarray, kind: ColumnType) -> np.ndarray:
    if kind == "timestamp":
        plain = np.asarray(np.ma.getdata(values)).astype("datetime64[us]")
        return np.where(np.ma.getmaskarray(values), np.datetime64("NaT", "us"), plain) if np.ma.isMA(values) else plain
    plain = np.asarray(np.ma.getdata(values))
    return plain.astype(SIDES[kind].array)
