"""Columns in the types that their schema declares, and what a schema that coerces changed of the rows; neither may round a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.types import type_of_dtype_kind
from fti_assets.errors import DataError
from fti_assets.features.validation.schema import column_type, column_types

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa


@dataclass(frozen=True)
class Coercion:
    """What a coercing schema made of a table.

    Args:
        frame: the columns that it changed or added; the index says of which row of the table each row is.
        columns: all columns, in order.
    """

    frame: pd.DataFrame
    columns: tuple[str, ...]


def coerces(schema: pa.DataFrameSchema) -> bool:
    """Whether the schema gives columns another type than they came with."""
    return bool(schema.coerce or any(column.coerce for column in schema.columns.values()))


def coerced_rows(before: pd.DataFrame, after: pd.DataFrame, schema: pa.DataFrameSchema) -> Coercion | None:
    """What a schema changed of the rows that it was given, None if it changed none."""
    columns = tuple(map(str, after.columns))
    if _parses(schema):  # a parser may have moved the rows
        return Coercion(after.reset_index(drop=True), columns)
    same_rows = len(after) == len(before)
    old_rows = before if same_rows else before.loc[after.index]
    changes = [name for name in columns if name not in old_rows or not after[name].equals(old_rows[name])]
    if not changes and same_rows and columns == tuple(before.columns):
        return None
    return Coercion(after[changes], columns)


def exact_columns(schema: pa.DataFrameSchema, types: Mapping[str, str]) -> list[str]:
    """The decimals that a schema coerces to whole numbers, text or Decimals: pandas gets them as ``Decimal``, since the float
    that it holds them in otherwise has 15 digits."""
    return [
        name
        for name, kind in types.items()
        if kind.startswith("DECIMAL") and kind.endswith(")") and _coerced_exactly(schema, name)
    ]


def refuse_rounded(schema: pa.DataFrameSchema, types: Mapping[str, str], *, what: str) -> None:
    """Refuse columns that pandas rounds, of a schema that coerces and whose parsers put pandas' rows in the place of all.

    Raises:
        DataError: there is such a column.
    """
    for name, kind in types.items() if coerces(schema) and _parses(schema) else ():
        wide = [int(digits) for digits in re.findall(r"DECIMAL\((\d+),", kind) if int(digits) > 15]
        if wide and name not in exact_columns(schema, types):
            raise DataError(
                f"{what}: column {name!r} is {kind}, which pandas holds in floats of 15 digits, and the schema's parsers give all rows "
                "again: cast the column before, or parse in the function"
            )


def with_declared_types(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> pd.DataFrame:
    """Give columns the declared width, time unit, zone or category where that changes no value: what a check of the user's own
    sees is what it declares, though the lake has one width of numbers, text for categories and naive UTC microseconds."""
    import pandas as pd

    changes = {}
    for name, kind in column_types(schema).items():
        dtype = getattr(schema.columns[name].dtype, "type", None)
        if name not in frame or dtype is None or frame[name].dtype == dtype:
            continue
        values = frame[name]
        family = {type_of_dtype_kind(values.dtype.kind)} | ({"text"} if pd.api.types.is_string_dtype(values) else set())
        if kind == "timestamp" and values.dtype.kind == "M":
            zone = getattr(dtype, "tz", None)
            utc = values.dt.tz_localize("UTC") if values.dt.tz is None else values.dt.tz_convert("UTC")
            values = utc.dt.tz_localize(None) if zone is None else utc.dt.tz_convert(zone)
        elif kind not in family and not (isinstance(dtype, pd.CategoricalDtype) and "text" in family):
            continue
        changes[name] = _cast_unless_it_changes(values, dtype)
    return frame.assign(**changes) if changes else frame


def _cast_unless_it_changes(values: pd.Series, dtype: Any) -> pd.Series:
    categories = getattr(dtype, "categories", None)
    if categories is not None and not (values.isna() | values.isin(categories)).all():
        return values
    try:
        with np.errstate(over="ignore"):  # what becomes infinite is another value
            cast = values.astype(dtype)
        # There and back: a cast that changes a value would have the check judge what is not stored. Below zero, whole numbers without
        # a sign come back as they were.
        is_same = cast.astype(values.dtype).equals(values) and not _lost_sign(values, cast).any()
        return cast if is_same else values
    except (TypeError, ValueError, OverflowError):  # Pandera says what is wrong with the column
        return values


def _lost_sign(before: pd.Series, after: pd.Series) -> np.ndarray:
    """Which numbers ``[n]`` are on the other side of zero as whole numbers than they were."""
    if before.dtype.kind not in "iuf" or after.dtype.kind not in "iu":
        return np.zeros(len(before), dtype=bool)
    was_below, is_below = ((values < 0).fillna(value=False).to_numpy(bool) for values in (before, after))
    return np.asarray(was_below != is_below)


def wrapped_values(before: pd.DataFrame, after: pd.DataFrame) -> list[dict[str, Any]]:
    """The failure cases, as Pandera has them, of numbers that pandas made others of when it coerced them to whole numbers: those beyond
    what the type holds, of which it keeps the low bits. What stands behind a point is cut off, as Pandera says."""
    records = []
    for name in after.columns if len(after) == len(before) else ():
        old, new = before.get(name), after[name]
        if old is None or old.dtype.kind not in "iuf" or new.dtype.kind not in "iu":
            continue
        is_wrapped = _lost_sign(old, new)
        if old.dtype.kind == "f":  # a whole number that fits is the very float
            floats = new.to_numpy(float, na_value=np.nan)
            is_wrapped = np.abs(floats - old.to_numpy(float, na_value=np.nan)) >= 1
        records += [
            {
                "schema_context": "Column",
                "column": name,
                "check": f"coerce_dtype('{new.dtype}')",
                "check_number": None,
                "index": int(position),
                "failure_case": old.iloc[position].item(),
            }
            for position in np.flatnonzero(is_wrapped)
        ]
    return records


def _coerced_exactly(schema: pa.DataFrameSchema, name: str) -> bool:
    """Whether a schema coerces a column to a type that holds every digit."""
    patterns = [column for pattern, column in schema.columns.items() if column.regex and re.match(str(pattern), name)]
    column = schema.columns.get(name) or next(iter(patterns), None)
    dtype = schema.dtype if schema.dtype is not None or column is None else column.dtype
    has_coercion = schema.coerce or (schema.dtype is None and column is not None and column.coerce)
    return (
        bool(has_coercion)
        and dtype is not None
        and (column_type(dtype) in ("integer", "text") or "Decimal" in str(dtype))
    )


def _parses(schema: pa.DataFrameSchema) -> bool:
    return bool(schema.parsers or any(column.parsers for column in schema.columns.values()))
