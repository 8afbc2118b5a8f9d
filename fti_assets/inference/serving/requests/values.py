"""A value of a request as a plain Python one, taken as the offline path takes it: NaN, ``pd.NA`` and NaT are missing."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import numpy as np

from fti_assets.core.manifest import Column
from fti_assets.core.times import instant, naive_utc
from fti_assets.core.types import EXACT, ColumnType
from fti_assets.core.types.columns import float64_rounds, is_decimal, is_missing_of_pandas
from fti_assets.core.types.vectors import vector

_INFINITE = float("inf")


class Reason(ValueError):
    """Why a value of the right type is wrong all the same."""


def require(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The conversion of a value that must be there, such as a key's."""

    def read(value: Any) -> Any:
        result = convert(value)
        if result is None or (result.__class__ is float and not np.isfinite(result)):
            raise Reason("a key must have a value")
        return result

    return read


def _text(value: Any) -> str | None:
    if value.__class__ is str and value.isascii():
        return str(value)
    if not isinstance(value, str):
        _check_missing(_plain(value))
        return None
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Reason("it is not valid Unicode") from error
    return str.__str__(value)  # str(value) of an enum is its name


def _integer(value: Any) -> int | None:
    if value.__class__ is not int:
        value = _plain(value)
        if isinstance(value, bool) or not (isinstance(value, int | float) or is_decimal(value)):
            _check_missing(value)
            return None
        if not isinstance(value, int):
            if _is_nan(value):
                return None
            if not -(2**63) <= value < 2**63:  # before int, which would write out the zeros of Decimal("1e999999")
                raise Reason("it needs more than 64 bits")
            if value != int(value):
                raise Reason("it is not whole")
            if isinstance(value, float) and abs(value) >= EXACT:
                raise Reason(
                    "as a float it may be one of several whole numbers, which merge from 2**53 on: give an int"
                )
            value = int(value)
    if not -(2**63) <= value < 2**63:
        raise Reason("it needs more than 64 bits")
    return int(value)


def _number(value: Any) -> float | None:
    if value.__class__ is not float:
        value = _plain(value)
        if isinstance(value, bool) or not (isinstance(value, int | float) or is_decimal(value)):
            _check_missing(value)
            return None
        if _is_nan(value):
            return None
        number = float(value)
        if number in (_INFINITE, -_INFINITE) and value != number:
            raise Reason("it is beyond the largest number of 64 bits")
        if abs(number) >= EXACT and float64_rounds(value, number):
            raise Reason("float64 rounds it, as it merges whole numbers from 2**53 on: an id is text")
        value = number
    return None if value != value else float(value)


def _boolean(value: Any) -> bool | None:
    value = _plain(value)
    if value.__class__ is bool:
        return bool(value)
    _check_missing(value)
    return None


def timestamp(value: Any) -> datetime | None:
    """A datetime of any kind, a date or ISO text as naive UTC, None for NaT.

    Raises:
        TypeError, ValueError: it is neither.
        Reason: as UTC it is outside the years 1 to 9999.
    """
    try:
        return instant(value) if value.__class__ is str else _timestamp(value)
    except (OverflowError, ValueError) as error:
        if not isinstance(error, OverflowError) and not isinstance(error.__cause__, OverflowError):
            raise
        raise Reason("in UTC it is outside the years 1 to 9999") from error


def _timestamp(value: Any) -> datetime | None:
    value = _plain(value)
    if isinstance(value, str):
        return instant(value)
    if not isinstance(value, datetime):
        if isinstance(value, date):  # its midnight in UTC, as DuckDB casts it
            return datetime(value.year, value.month, value.day)
        _check_missing(value)
        return None
    if value != value:  # pandas' NaT is a datetime too
        return None
    if value.__class__ is not datetime:
        clock = (value.hour, value.minute, value.second, value.microsecond)
        value = datetime(value.year, value.month, value.day, *clock, value.tzinfo, fold=value.fold)
    return naive_utc(value)


def _vector(value: Any) -> np.ndarray | None:
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or value.dtype.kind not in "fiu":
            raise Reason(
                f"it has the shape {list(value.shape)} and the dtype {value.dtype}: numbers of shape [n] are expected"
            )
        return vector(value)
    if not isinstance(value, list | tuple):
        _check_missing(_plain(value))
        return None
    if {*map(type, value)} <= {float}:
        return vector(value)
    return vector([_number_of_vector(place, one) for place, one in enumerate(value)])


def _number_of_vector(place: int, value: Any) -> float | None:
    value = _plain(value)
    if isinstance(value, bool) or not (isinstance(value, int | float) or is_decimal(value)):
        try:
            _check_missing(value)
        except TypeError:
            raise Reason(f"its element {place} is no number") from None
        return None
    return float(value)


def of_length(dim: int) -> Callable[[Any], Any]:
    """The conversion of a vector that has so many numbers, or is missing."""

    def read(value: Any) -> Any:
        result = _vector(value)
        if result is not None and len(result) != dim:
            raise Reason(f"it has {len(result)} numbers, {dim} are expected")
        return result

    return read


def _plain(value: Any) -> Any:
    """A numpy scalar as Python's own, another value as it is."""
    if not isinstance(value, np.generic):
        return value
    if isinstance(value, np.datetime64):
        return _time(value)
    if isinstance(value, np.timedelta64):  # as an item one of nanoseconds is a number
        return None if np.isnat(value) else value
    if isinstance(value, np.longdouble):  # as an item it is itself
        with np.errstate(over="ignore"):
            number = float(value)
        if number != value and value == value:
            raise Reason("it has more digits than a number of 64 bits holds")
        return number
    return value.item()


def _time(value: np.datetime64) -> datetime | None:
    """A datetime64 in whole microseconds, None for NaT.

    Raises:
        Reason: it is outside the years 1 to 9999, where numpy gives a number, or another instant.
    """
    read = value.astype("datetime64[us]")  # which wraps round where it has no room, as a comparison of units does
    result = read.item()
    is_finer = np.datetime_data(value.dtype)[0] in ("ns", "ps", "fs", "as")
    if result is not None and (
        not isinstance(result, datetime) or (read.astype(value.dtype) != value and not is_finer)
    ):
        raise Reason("it is outside the years 1 to 9999")
    return result  # type: ignore[no-any-return]


def _is_nan(value: object) -> bool:
    """Whether a number is none; to compare a Decimal that signals raises."""
    return value.is_nan() if is_decimal(value) else isinstance(value, float) and value != value


def _check_missing(value: Any) -> None:
    """Pass a value that stands for nothing.

    Raises:
        TypeError: it is something.
    """
    if value is None or _is_nan(value):
        return
    if is_missing_of_pandas(type(value)):
        return
    raise TypeError


CONVERTERS: dict[ColumnType, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "timestamp": timestamp,
    "vector": _vector,
}


def converter(column: Column, dims: Mapping[str, int]) -> Callable[[Any], Any]:
    """The conversion of a column's values; of a vector whose length is known, of those alone."""
    if column.type == "vector" and column.name in dims:
        return of_length(dims[column.name])
    return CONVERTERS[column.type]


def _all_texts(column: list[Any]) -> bool:
    return {*map(type, column)} == {str} and "".join(column).isascii()


def _all_integers(column: list[Any]) -> bool:
    return {*map(type, column)} == {int} and min(column) >= -(2**63) and max(column) < 2**63


def _all_numbers(column: list[Any]) -> bool:
    # A sum with a NaN or an infinity in it is one.
    return {*map(type, column)} == {float} and abs(sum(column)) < _INFINITE


def _all_booleans(column: list[Any]) -> bool:
    return {*map(type, column)} == {bool}


def _all_timestamps(column: list[Any]) -> bool:
    return {*map(type, column)} == {datetime} and {one.tzinfo for one in column} == {None}


ARE_PLAIN: dict[ColumnType, Callable[[list[Any]], bool]] = {
    "text": _all_texts,
    "integer": _all_integers,
    "number": _all_numbers,
    "boolean": _all_booleans,
    "timestamp": _all_timestamps,
    "vector": lambda column: False,
}
"""Whether the values of a column are all what ``CONVERTERS`` makes of them, and none is missing: seen without a step of Python a
value. False where it is not known."""
