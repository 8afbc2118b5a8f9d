"""Decoded events as columns of the types that the lake stores; a value that is not of its column's type is told row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fti_assets.core.times import microseconds, naive_utc
from fti_assets.core.types import EXACT, SIDES, ColumnType
from fti_assets.errors import excerpt
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.validation.schema import vector_dims, vector_types

_LEAST, _GREATEST = -(2**63), 2**63 - 1
_BEYOND_SINGLE = 2.0**128 - 2.0**103
"""From here on a float32 is infinite."""
_ARROW: dict[ColumnType, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us"),
}
_IN_UTC = pa.timestamp("us", "UTC")
_FIRST, _LAST = microseconds(datetime(2, 1, 1)), microseconds(datetime(9998, 12, 31))
"""What is closer to the ends of time is looked at one by one."""
_PLAIN: dict[ColumnType, type] = {"text": str, "integer": int, "number": float, "boolean": bool}


def streamed_types(group: FeatureGroup) -> dict[str, ColumnType]:
    """The columns of a streamed group and their types, in the order of its schema."""
    return {name: kind for name, kind in (group.columns or {}).items() if kind is not None}


def lake_types(group: FeatureGroup) -> dict[str, str]:
    """The DuckDB type in which each column is stored, whoever stores it: the service or a run."""
    vectors = vector_types(group.schema)
    return {name: vectors.get(name) or SIDES[kind].sql for name, kind in streamed_types(group).items()}


def arrow_types(group: FeatureGroup) -> dict[str, pa.DataType]:
    """The Arrow type of each column, which DuckDB takes for the one that is stored."""
    stored = lake_types(group)
    return {
        name: _ARROW.get(kind) or pa.list_(pa.float32() if stored[name] == "FLOAT[]" else pa.float64())
        for name, kind in streamed_types(group).items()
    }


class TypedRows:
    """Makes columns of decoded events, for one group.

    Args:
        group: the group; ``available_at`` is given beside the events and not asked for.
    """

    def __init__(self, group: FeatureGroup) -> None:
        types, lengths = arrow_types(group), {} if group.schema is None else vector_dims(group.schema)
        columns = group.schema.columns if group.schema is not None else {}
        times = {*group.keys, *group.time_columns}
        self._columns: list[_Column] = []
        self.available_at = group.available_at
        for name, kind in streamed_types(group).items():
            if name != group.available_at:
                nullable = bool(columns[name].nullable) and name not in times
                convert = _CONVERSIONS.get(kind) or _vector(types[name] == pa.list_(pa.float32()), lengths.get(name))
                self._columns.append(_Column(name, types[name], nullable, convert, _PLAIN.get(kind)))

    def columns(self, rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, pa.Array], dict[int, str]]:
        """The columns of some rows, and what is wrong with some, by their positions; there the columns have nulls."""
        result: dict[str, pa.Array] = {}
        problems: dict[int, str] = {}
        for column in self._columns:
            values = [row.get(column.name) for row in rows]
            array = column.as_they_are(values)
            result[column.name] = column.one_by_one(values, problems) if array is None else array
        return result, problems


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    arrow: pa.DataType
    nullable: bool
    convert: Callable[[Any], Any]
    plain: type | None
    """The class of values that Arrow takes as they are."""

    def as_they_are(self, values: list[Any]) -> pa.Array | None:
        """The column, if no value needs a look of its own; else None."""
        classes = {*map(type, values)}
        if self.nullable:
            classes.discard(type(None))
        if classes == {str} and pa.types.is_timestamp(self.arrow):
            return _times(values)
        if classes and classes != {self.plain}:
            return None
        try:
            array = pa.array(values, self.arrow)
        except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
            return None
        if self.plain is float and pc.any(pc.is_nan(array)).as_py():
            return None
        return array

    def one_by_one(self, values: list[Any], problems: dict[int, str]) -> pa.Array:
        """The column, with a null where a value is not of its type, which is written into ``problems``."""
        results: list[Any] = []
        for position, value in enumerate(values):
            result = None
            if value is not None:
                try:
                    result = self.convert(value)
                except _NotThis as error:
                    problems.setdefault(position, f"{self.name} is {excerpt(value)}: {error}")
            elif not self.nullable:
                problems.setdefault(position, f"{self.name} is missing or null, and never may be")
            results.append(result)
        return pa.array(results, self.arrow)


class _NotThis(Exception):
    """A value is not of its column's type."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _NotThis("a text is expected")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _NotThis("it has half of a character (a lone surrogate), which is no text") from None
    return value


def _integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)  # as a run stores whole floats
    if not isinstance(value, int) or isinstance(value, bool):
        raise _NotThis("a whole number is expected")
    if not _LEAST <= value <= _GREATEST:
        raise _NotThis("a whole number of 64 bits is expected")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _NotThis("a number is expected")
    if isinstance(value, int) and abs(value) > EXACT:
        raise _NotThis("a float64 rounds it: declare the column int, or str for an id")
    if math.isnan(value):
        raise _NotThis("NaN is no number: leave it out, or give null")
    return float(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _NotThis("true or false is expected")
    return value


def _timestamp(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise _NotThis("an ISO time is expected, such as 2024-05-01T09:30:00Z") from None
    if not isinstance(value, datetime):
        raise _NotThis("an ISO time is expected, such as 2024-05-01T09:30:00Z")
    try:
        return microseconds(naive_utc(value))
    except OverflowError:
        raise _NotThis("it is outside the years 1 to 9999 in UTC") from None


def _times(values: list[str | None]) -> pa.Array | None:
    """ISO times with an offset in the years 1 to 9999, all at once; None if one is written otherwise."""
    try:
        array = pa.array(values, pa.string()).cast(_IN_UTC).cast(pa.int64())
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return None
    ends = pc.min_max(array).as_py()
    is_within = ends["min"] is None or (ends["min"] >= _FIRST and ends["max"] <= _LAST)
    return array.cast(_ARROW["timestamp"]) if is_within else None


def _vector(single: bool, length: int | None) -> Callable[[Any], list[float]]:
    def convert(value: Any) -> list[float]:
        if not isinstance(value, list | tuple | np.ndarray):
            raise _NotThis("a list of numbers is expected")
        if length is not None and len(value) != length:
            raise _NotThis(f"{length} numbers are expected, there are {len(value)}")
        numbers = [_number(one) for one in value]
        if single and any(math.isfinite(one) and abs(one) >= _BEYOND_SINGLE for one in numbers):
            raise _NotThis("it has a number beyond 32 bits: declare pyarrow.float64()")
        return numbers

    return convert


_CONVERSIONS: dict[ColumnType, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
}
