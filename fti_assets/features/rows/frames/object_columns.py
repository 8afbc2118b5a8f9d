"""Columns of Python objects as Arrow arrays: typed from all values, exactly, or refused by the column's name."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fti_assets.core.times import naive_utc
from fti_assets.core.types.columns import is_missing_of_pandas
from fti_assets.errors import DataError, excerpt, list_phrases, one_of
from fti_assets.features.rows.frames.unstorable import type_problem

if TYPE_CHECKING:
    import narwhals as nw
    import pandas as pd
    import pyarrow as pa

Family = Literal[
    "missing", "text", "bytes", "boolean", "integer", "float", "decimal", "date", "datetime", "time", "duration", "uuid", "list",
    "struct",
]  # fmt: skip
_BASES: tuple[tuple[type | tuple[type, ...], Family], ...] = (
    (type(None), "missing"),
    ((bool, np.bool_), "boolean"),
    ((str,), "text"),
    ((bytes, bytearray), "bytes"),
    ((int, np.integer), "integer"),
    ((float, np.float16, np.float32, np.float64), "float"),
    (Decimal, "decimal"),
    ((dt.datetime, np.datetime64), "datetime"),
    (dt.date, "date"),
    (dt.time, "time"),
    ((dt.timedelta, np.timedelta64), "duration"),
    (uuid.UUID, "uuid"),
    ((list, tuple, np.ndarray), "list"),
    (dict, "struct"),
)  # np.timedelta64 is an np.integer, so durations are looked for first


def arrow_array(values: Sequence[Any], *, column: str, what: str) -> pa.Array:
    """An Arrow array of Python, numpy and Arrow scalars, lists and dicts, in the one type that holds every value exactly.

    None, NaN, ``pd.NA`` and ``pd.NaT`` are missing. Whole numbers are 64 bits wide; beside floats they are doubles. Decimals have the
    digits that the values need after the point, and room before it. Dates beside datetimes are their midnights. Aware datetimes are
    converted to UTC, and those without a zone are in UTC.

    Args:
        values: the column's values.
        column: the column's name, for errors.
        what: the table that the values are for, for errors.

    Raises:
        DataError: the values have no one type, or one that no column can have.

    >>> arrow_array([1, None, 1.5], column="x", what="orders_v1").to_pylist()
    [1.0, None, 1.5]
    """
    import pyarrow as pa

    try:
        return _array(values, column, what)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise DataError(
            f"{what} has a column whose values have no one type: {str(error).splitlines()[0][:200]}, in {column!r}. "
            f"{_casting_hint(column)}"
        ) from error


def arrow_table(frame: pd.DataFrame, *, what: str) -> pa.Table:
    """A pandas frame as an Arrow table, without its index.

    Raises:
        DataError: a column's values have no one type, or one that no column can have.
    """
    import pyarrow as pa

    arrays, names = [], [str(name) for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{what} has two columns {one_of(twice)}: keep one of them")
    for at, name in enumerate(names):
        column = frame.iloc[:, at]
        if column.dtype == object:
            arrays.append(arrow_array(column.tolist(), column=name, what=what))
            continue
        try:
            array = pa.Array.from_pandas(column)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise DataError(type_problem(name, column.dtype, what)) from error
        if isinstance(array.type, pa.BaseExtensionType) and not isinstance(array.type, pa.UuidType):
            raise DataError(type_problem(name, column.dtype, what))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, names=names)


def with_objects(frame: nw.DataFrame[Any], what: str) -> pa.Table:
    """A frame as an Arrow table; polars gives the addresses of its objects."""
    import narwhals as nw
    import pyarrow as pa

    objects = [name for name, kind in frame.schema.items() if kind == nw.Object]
    if not objects:
        return _to_arrow(frame, what)
    table = _to_arrow(frame.drop(objects), what) if len(objects) < len(frame.columns) else None
    arrays = [
        arrow_array(frame[name].to_list(), column=name, what=what) if table is None or name in objects else table[name]
        for name in frame.columns
    ]
    return pa.Table.from_arrays(arrays, names=frame.columns)


def _to_arrow(frame: nw.DataFrame[Any], what: str) -> pa.Table:
    import pyarrow as pa

    try:
        return frame.to_arrow()
    except (pa.ArrowException, ValueError) as error:
        for name in frame.columns:
            try:
                frame[[name]].to_arrow()
            except (pa.ArrowException, ValueError):
                kind = getattr(frame.to_native(), "schema", frame.schema)[name]
                raise DataError(type_problem(name, kind, what)) from error
        raise


def union_problem(column: str, what: str) -> str:
    """What is wrong with a column that is a union, or has one inside, and what to do."""
    return (
        f"{what} has a union in column {column!r}, whose values have no one type: give each member a column of its own, as "
        f"union_extract({column}, 'number') does in SQL, or give one type, as pa.array([...], pa.float64()) for numbers"
    )


def _casting_hint(column: str) -> str:
    return f"Give one type, such as frame[{column!r}].astype(str) for text or .astype(float) for numbers"


def _array(values: Sequence[Any], column: str, what: str) -> pa.Array:
    import pyarrow as pa

    kinds = set(map(type, values))
    if any(issubclass(kind, pa.Scalar) for kind in kinds):
        values = [value.as_py() if isinstance(value, pa.Scalar) else value for value in values]
        kinds = set(map(type, values))
    if any(issubclass(kind, np.ma.MaskedArray) for kind in kinds):  # DuckDB gives a list with nulls as one
        values = [_present_values(value) if isinstance(value, np.ma.MaskedArray) else value for value in values]
        kinds = set(map(type, values))
    if kinds & {np.str_, np.bytes_}:  # of an empty one Arrow reads a byte that is not there
        values = [value.item() if isinstance(value, np.str_ | np.bytes_) else value for value in values]
        kinds = set(map(type, values))
    families = {kind: _family(kind) for kind in kinds}
    present = {family for family in families.values() if family is not None} - {"missing"}
    strange = [kind for kind, family in families.items() if family is None]
    if strange:
        value = next(value for value in values if type(value) in strange)
        raise DataError(
            f"{what} has {excerpt(value)} in column {column!r}, a {strange[0].__module__}.{strange[0].__qualname__}, which no column "
            "holds: give numbers, text, times, lists or dicts"
        )
    # Nothing but NaN among other values is how pandas marks them as missing.
    if "float" in present and _only_nan(values):
        present.discard("float")
    if not present:
        return pa.nulls(len(values))
    if present == {"integer"}:
        return _integers(values)
    if present in ({"decimal"}, {"decimal", "integer"}):
        return _decimals(values)
    if present in ({"datetime"}, {"date", "datetime"}):
        return pa.array(list(map(_naive, values)), pa.timestamp("us"))
    if present in ({"float"}, {"float", "integer"}):
        # Whole numbers beside narrow floats need the wide ones.
        narrow = all(kind in (np.float32, np.float16) or families[kind] == "missing" for kind in kinds)
        return pa.array(values, pa.float32() if narrow else pa.float64(), from_pandas=True)
    if len(present) == 1:
        match next(iter(present)):
            case "text" | "bytes" | "boolean" | "date" | "uuid" as family:
                types = {"text": pa.string, "bytes": pa.binary, "boolean": pa.bool_, "date": pa.date32, "uuid": pa.uuid}
                return pa.array(values, types[family](), from_pandas=True)
            case "time":
                return pa.array(list(map(_time, values)), pa.time64("us"))
            case "duration":
                return pa.array(list(map(_duration, values)), pa.duration("us"))
            case "list":
                return _lists(values, column, what)
            case "struct":
                return _structs(values, column, what)
    first = {family: next(v for v in values if families[type(v)] == family) for family in sorted(present)}
    examples = list_phrases(f"{excerpt(value)} ({family})" for family, value in first.items())
    raise DataError(
        f"{what} has a column whose values have no one type: {column!r} has {examples}. {_casting_hint(column)}"
    )


def _family(kind: type) -> Family | None:
    if is_missing_of_pandas(kind):
        return "missing"
    if issubclass(kind, np.timedelta64):
        return "duration"
    return next((family for base, family in _BASES if issubclass(kind, base)), None)


def _present_values(value: Any) -> list[Any] | None:
    return None if value is np.ma.masked else [None if one is np.ma.masked else one for one in value]


def _only_nan(values: Iterable[Any]) -> bool:
    return all(value != value for value in values if isinstance(value, float | np.floating))


def _missing(value: Any) -> bool:
    """Whether one of a column of times is missing: its other values equal themselves."""
    return value is None or not bool(value == value) if type(value).__name__ != "NAType" else True


def _integers(values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, pa.int64(), from_pandas=True)
    except (pa.ArrowInvalid, OverflowError):
        try:
            return pa.array(values, pa.uint64(), from_pandas=True)
        except (pa.ArrowInvalid, OverflowError):
            beyond = max(
                (value for value in values if isinstance(value, int | np.integer)), key=lambda one: abs(int(one))
            )
            raise ValueError(f"{excerpt(beyond)} is beyond the whole numbers of 64 bits") from None


def _decimals(values: Sequence[Any]) -> pa.Array:
    """A type told by some of a table's values has room for the others: as many digits before the point as 64 or 128 bits hold."""
    import pyarrow as pa

    exact = [Decimal(int(value)) if isinstance(value, int | np.integer) else value for value in values]
    endless = next((value for value in exact if isinstance(value, Decimal) and value.is_infinite()), None)
    if endless is not None:
        raise ValueError(f"{excerpt(endless)} is no number that a decimal column holds")
    array = pa.array(exact, from_pandas=True)  # Arrow leaves too little room for whole numbers beside Decimals
    if pa.types.is_null(array.type):
        return array
    if array.type.precision > 38:
        raise ValueError(f"Decimals of {array.type.precision} digits, where 38 can be held")
    # DuckDB keeps 18 digits in 64 bits and 38 in 128, so a narrower type saves nothing, and tomorrow's values may need it.
    roomy = pa.decimal128(18 if array.type.precision <= 18 else 38, array.type.scale)
    return array.cast(roomy)


def _naive(value: Any) -> dt.datetime | None:
    """Arrow takes the zone's offset wrongly once Pandera is imported, so it gets naive UTC."""
    if _missing(value):
        return None
    if isinstance(value, np.datetime64):
        result = value.astype("datetime64[us]")
        is_finer = np.datetime_data(value.dtype)[0] in ("ns", "ps", "fs", "as")
        if (
            result.astype(value.dtype) != value and not is_finer
        ):  # a cast and a comparison wrap round where there is no room
            raise ValueError(f"{value!r} is out of range")
        moment = result.item()
        if not isinstance(moment, dt.datetime):
            raise ValueError(f"{value!r} is out of range")
        return moment
    if not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day)
    return naive_utc(value)


def _time(value: Any) -> dt.time | None:
    if _missing(value):
        return None
    if value.tzinfo is not None:
        raise ValueError(f"{value!r} has a zone, and a time of day is stored without one")
    return value  # type: ignore[no-any-return]


def _duration(value: Any) -> dt.timedelta | None:
    if _missing(value):
        return None
    if isinstance(value, np.timedelta64):
        if np.datetime_data(value.dtype)[0] in ("Y", "M"):
            raise ValueError(f"{value!r} is a duration of months, which are of no one length")
        duration = value.astype("timedelta64[us]").item()
        if not isinstance(duration, dt.timedelta):
            raise ValueError(f"{value!r} is out of range")
        return duration
    return value  # type: ignore[no-any-return]


def _lists(values: Sequence[Any], column: str, what: str) -> pa.Array:
    import pyarrow as pa

    present = [isinstance(value, list | tuple | np.ndarray) for value in values]
    cells = [value for value, is_present in zip(values, present, strict=True) if is_present]
    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    # All cells are laid end to end, so that Arrow types their values together, and cut again by their lengths.
    offsets[1:][present] = [len(cell) for cell in cells]
    offsets = np.cumsum(offsets)
    kinds = {cell.dtype if isinstance(cell, np.ndarray) and cell.ndim == 1 else None for cell in cells}
    kind = next(iter(kinds))
    if len(kinds) == 1 and kind is not None and kind.kind in "iuf" and kind.itemsize <= 8:
        whole = np.concatenate(cells)
        inner = pa.array(whole.astype("float32") if kind == "float16" else whole, from_pandas=True)
    else:
        inner = _array(list(chain.from_iterable(cells)), column, what)
    missing = pa.array(~np.asarray(present, dtype=bool))
    # Offsets of a plain list are 32 bits wide.
    if len(inner) < 2**31:
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), inner, mask=missing)
    return pa.LargeListArray.from_arrays(pa.array(offsets), inner, mask=missing)


def _structs(values: Sequence[Any], column: str, what: str) -> pa.Array:
    import pyarrow as pa

    present = [isinstance(value, dict) for value in values]
    cells = [value if is_present else {} for value, is_present in zip(values, present, strict=True)]
    # The fields of all dicts, in the order of their first use: the first dict may lack some.
    names = list(dict.fromkeys(chain.from_iterable(cells)))
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("dicts need fields, and their names are text")
    arrays = [_array([cell.get(name) for cell in cells], column, what) for name in names]
    return pa.StructArray.from_arrays(arrays, names=names, mask=pa.array(~np.asarray(present, dtype=bool)))
