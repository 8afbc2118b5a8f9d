"""Columns in the types that their schema declares, where that changes no value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pandera.pandas as pa

from fti_assets.core.types import type_of_dtype_kind
from fti_assets.features.validation.schema import column_types


def with_declared_types(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> pd.DataFrame:
    """Give columns the declared width, time unit or category where that changes no value, so that it is not a failure:
    whole numbers are stored in 64 bits, numbers as doubles, categories as text and times as naive UTC microseconds."""
    changed = {}
    for name, kind in column_types(schema).items():
        declared = getattr(schema.columns[name].dtype, "type", None)
        if name not in frame or declared is None:
            continue
        values = frame[name]
        if kind == "timestamp" and values.dtype.kind == "M":
            changed[name] = _with_declared_time(values, declared)
        elif values.dtype != declared and (
            kind in _family(values.dtype)
            or (isinstance(declared, pd.CategoricalDtype) and "text" in _family(values.dtype))
        ):
            changed[name] = _cast_unless_it_changes(values, declared)
    return frame.assign(**changed) if changed else frame


def in_pandas_types(frame: pd.DataFrame, types: Mapping[str, Any]) -> pd.DataFrame:
    """Some rows of a frame in the types in which the whole is held."""
    changed = {}
    for name, values in frame.items():
        held = types[str(name)]
        if values.dtype == held or held == "object" or isinstance(held, pd.CategoricalDtype):
            continue
        utc = isinstance(held, pd.DatetimeTZDtype) and values.dt.tz is None
        changed[name] = (values.dt.tz_localize("UTC") if utc else values).astype(held)
    return frame.assign(**changed) if changed else frame


def _family(dtype: Any) -> set[str]:
    return {type_of_dtype_kind(dtype.kind) or ""} | ({"text"} if pd.api.types.is_string_dtype(dtype) else set())


def _with_declared_time(values: pd.Series, declared: Any) -> pd.Series:
    zone = getattr(declared, "tz", None)
    utc = values.dt.tz_localize("UTC") if values.dt.tz is None else values.dt.tz_convert("UTC")
    moved = utc.dt.tz_localize(None) if zone is None else utc.dt.tz_convert(zone)
    return _cast_unless_it_changes(moved, declared)


def _cast_unless_it_changes(values: pd.Series, declared: Any) -> pd.Series:
    categories = getattr(declared, "categories", None)
    if categories is not None and not (values.isna() | values.isin(categories)).all():
        return values
    try:
        cast = values.astype(declared)
        return cast if cast.astype(values.dtype).equals(values) else values
    except (TypeError, ValueError, OverflowError):  # Pandera says what is wrong with the column
        return values
