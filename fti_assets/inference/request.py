"""What a request must bring, and every way in which one can be wrong."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from fti_assets.errors import RequestError
from fti_assets.stores.columns import ColumnType
from fti_assets.stores.manifest import ViewRecord
from fti_assets.times import instant, naive_utc

_EXPECTED: dict[ColumnType, str] = {
    "text": "text",
    "integer": "a whole number of 64 bits",
    "number": "a number",
    "boolean": "true or false",
    "timestamp": "a datetime or ISO text",
}


class RequestForm:
    """Reads requests of one feature view.

    Args:
        view: says which fields a request brings, of which types; those of the spine's keys must have a value.
        what: what is asked, for errors.

    >>> RequestForm(view, what="model 'delay_net'").read({"flight_id": 7, "origin": "JFK"})  # doctest: +SKIP
    [7, 'JFK']
    """

    def __init__(self, view: ViewRecord, *, what: str) -> None:
        self.columns = tuple(column for column in view.request if column.name != view.prediction_time)
        self._time = view.prediction_time
        self._what = what
        self._fields: list[tuple[str, Callable[[Any], Any]]] = [
            (column.name, (_required if column.name in view.spine_keys else _nullable)(_CONVERTERS[column.type]))
            for column in self.columns
        ]

    def read(self, request: Mapping[str, Any]) -> list[Any]:
        """The request's values in the order of ``columns``: plain Python ones, times as naive UTC, None where missing.

        Raises:
            RequestError: it lists everything that is wrong with the request.
        """
        try:
            values = [convert(request[name]) for name, convert in self._fields]
            if len(request) == len(values):
                return values
        except (KeyError, TypeError, ValueError, OverflowError):
            pass
        raise self.error(self.problems(request))

    def error(self, problems: list[str]) -> RequestError:
        """One error of all problems."""
        return RequestError(f"the request to {self._what} is wrong: {'; '.join(problems)}")

    def problems(self, request: Any) -> list[str]:
        """Everything that is wrong with a request, a sentence each."""
        if not isinstance(request, Mapping):
            return [f"it is {request!r:.80}, a {type(request).__name__}, where a mapping of field to value is expected"]
        found = []
        for column, (name, convert) in zip(self.columns, self._fields, strict=True):
            expected = _EXPECTED[column.type]
            if name not in request:
                found.append(f"{name!r} is missing, {expected} is expected")
                continue
            try:
                convert(request[name])
            except (TypeError, ValueError, OverflowError) as problem:
                value = request[name]
                reason = f" ({problem})" if isinstance(problem, _Reason) else ""
                found.append(f"{name!r} is {value!r:.80}, a {type(value).__name__}, {expected} is expected{reason}")
        fields = [column.name for column in self.columns]
        for extra in sorted((name for name in request if name not in fields), key=str):
            if extra == self._time:
                found.append(f"{extra!r} is the prediction time: give it as predict(..., at=...), not in the request")
            else:
                found.append(f"{extra!r} is not a field: the fields are {', '.join(map(repr, fields)) or 'none'}")
        return found


def moment(at: Any) -> datetime:
    """Read a prediction time, given as a datetime or ISO text, as naive UTC.

    Raises:
        RequestError: it is neither.
    """
    try:
        read = _timestamp(at)
    except (TypeError, ValueError, OverflowError):
        read = None
    if read is None:
        raise RequestError(f"at is {at!r:.80}, a {type(at).__name__}, where {_EXPECTED['timestamp']} is expected")
    return read


class _Reason(ValueError):
    """Why a value of the right type is wrong all the same."""


def _required(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        converted = None if value is None else convert(value)
        if converted is None or (converted.__class__ is float and not math.isfinite(converted)):
            raise _Reason("a key must have a value")
        return converted

    return read


def _nullable(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _text(value: Any) -> str:
    if value.__class__ is str and value.isascii():
        return str(value)
    if not isinstance(value, str):
        raise TypeError
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _Reason("it is not valid Unicode") from error
    return str(value)


def _integer(value: Any) -> int:
    if value.__class__ is not int:
        value = _plain(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError
    if not -(2**63) <= value < 2**63:
        raise _Reason("it needs more than 64 bits")
    return int(value)


def _number(value: Any) -> float | None:
    if value.__class__ is not float:
        value = _plain(value)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError
        value = float(value)
    return None if math.isnan(value) else value


def _boolean(value: Any) -> bool:
    value = _plain(value)
    if value.__class__ is not bool:
        raise TypeError
    return bool(value)


def _timestamp(value: Any) -> datetime | None:
    value = _plain(value)
    if isinstance(value, str):
        return instant(value)
    if not isinstance(value, datetime):
        raise TypeError
    if value != value:  # pandas' NaT is a datetime too
        return None
    if value.__class__ is not datetime:
        clock = (value.hour, value.minute, value.second, value.microsecond)
        value = datetime(value.year, value.month, value.day, *clock, value.tzinfo, fold=value.fold)
    return naive_utc(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]").item()
    return value.item() if isinstance(value, np.generic) else value


_CONVERTERS: dict[ColumnType, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
}
