"""Values that a declared column could have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fti_assets.core.manifest import Task
from fti_assets.core.types import ColumnType
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.validation.schema import vector_dims

_MISSING = 0.1
_DIM = 4
"""Of vectors whose length no schema states."""
_WORDS = ("a", "b", "c", "d", "e")
_FIRST = np.datetime64("2025-01-01T00:00:00", "us")


def column_values(group: FeatureGroup, name: str, rows: int, rng: np.random.Generator) -> list[Any]:
    """``rows`` values of a group's column, None where missing; within what its checks allow, of ranges and lists.

    Raises:
        DeclarationError: the group's schema does not say of which type the column is.
    """
    kind = (group.columns or {}).get(name)
    if kind is None or group.schema is None:
        raise DeclarationError(
            f"nothing says of which type {name!r} of {group.table_name} is: give the group a schema, or train_tiny a frame"
        )
    column = group.schema.columns[name]
    if kind == "vector":
        dim = vector_dims(group.schema).get(name, _DIM)
        values: list[Any] = list(rng.normal(size=(rows, dim)).astype(np.float32))
    else:
        values = _values(kind, _demands(column), rows, rng)
    if column.nullable:
        values = [
            None if missing else value for value, missing in zip(values, rng.random(rows) < _MISSING, strict=True)
        ]
    return values


def label_values(
    group: FeatureGroup, name: str, kind: ColumnType | None, task: Task | None, rows: int, rng: np.random.Generator
) -> pd.Series:
    """``rows`` labels, every class of them in each part of a split."""
    task = task or ("binary" if kind == "boolean" else "multiclass" if kind == "text" else "regression")
    if task == "binary":
        labels = np.arange(rows) % 2
        return pd.Series(labels.astype(bool) if kind == "boolean" else labels)
    if task == "multiclass":
        column = None if group.schema is None else group.schema.columns.get(name)
        values = _demands(column).get("allowed_values") if column is not None else None
        classes: Any = sorted(values) if values else ["a", "b", "c"] if kind in ("text", None) else [0, 1, 2]
        return pd.Series([classes[number % len(classes)] for number in range(rows)])
    if task == "ranking":
        return pd.Series(np.arange(rows) % 3)
    return pd.Series(rng.normal(size=rows))


def _values(kind: ColumnType, demands: dict[str, Any], rows: int, rng: np.random.Generator) -> list[Any]:
    values = demands.get("allowed_values")
    if values:
        return [sorted(values)[number] for number in rng.integers(len(values), size=rows)]
    least, most = demands.get("min_value"), demands.get("max_value")
    if kind == "text":
        return [_WORDS[number] for number in rng.integers(len(_WORDS), size=rows)]
    if kind == "boolean":
        return [bool(value) for value in rng.integers(2, size=rows)]
    if kind == "timestamp":
        return list((_FIRST + rng.integers(365 * 86_400, size=rows) * np.timedelta64(1_000_000, "us")).tolist())
    low = float(least) if least is not None else min(0.0, float(most) - 1.0) if most is not None else 0.0
    high = float(most) if most is not None else low + 10.0
    if kind == "integer":
        return [int(value) for value in rng.integers(int(np.ceil(low)), int(np.floor(high)) + 1, size=rows)]
    return [float(value) for value in rng.uniform(low, high, size=rows)]


def _demands(column: Any) -> dict[str, Any]:
    """The statistics of a column's checks: ranges and lists of allowed values."""
    results: dict[str, Any] = {}
    for check in column.checks:
        results |= check.statistics or {}
    return results
