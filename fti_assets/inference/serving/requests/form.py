"""What a request must bring, and every way in which one can be wrong."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import numpy as np

from fti_assets.core.manifest import ViewRecord
from fti_assets.core.types import SIDES
from fti_assets.errors import RequestError, class_name, excerpt
from fti_assets.inference.serving.answers.prediction import Explain
from fti_assets.inference.serving.requests.values import ARE_PLAIN, CONVERTERS, Reason, converter, require, timestamp

_MOST_PROBLEMS = 20
_MOST_BYTES = 4_000


class RequestForm:
    """Reads requests of one feature view.

    Args:
        view: says which fields a request brings, of which types; those of the spine's keys must have a value.
        what: what is asked, for errors.
        dims: how many numbers the vectors among the fields have.

    >>> RequestForm(view, what="model 'delay_net'").read({"flight_id": 7, "origin": "JFK"})  # doctest: +SKIP
    [7, 'JFK']
    """

    def __init__(self, view: ViewRecord, *, what: str, dims: Mapping[str, int] = MappingProxyType({})) -> None:
        self.columns = tuple(column for column in view.request if column.name != view.prediction_time)
        self._time = view.prediction_time
        self._what = what
        self._fields: list[tuple[str, Callable[[Any], Any]]] = [
            (
                column.name,
                require(CONVERTERS[column.type]) if column.name in view.spine_keys else converter(column, dims),
            )
            for column in self.columns
        ]
        self._columns = [
            (itemgetter(column.name), ARE_PLAIN[column.type], convert)
            for column, (_, convert) in zip(self.columns, self._fields, strict=True)
        ]

    def read(self, request: Mapping[str, Any]) -> list[Any]:
        """The request's values in the order of ``columns``: plain Python ones, times as naive UTC, None where missing.

        Raises:
            RequestError: it lists what is wrong with the request.
        """
        values = self._values(request)
        if values is None:
            raise self.error(self._problems(request))
        return values

    def read_all(self, requests: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """``read`` for ``n`` requests, in columns; the error says of each problem in which request it is."""
        names = len(self._fields)
        try:
            if {*map(type, requests)} == {dict} and {*map(len, requests)} == {names}:
                return [
                    _convert(list(map(take, requests)), are_plain, convert)
                    for take, are_plain, convert in self._columns
                ]
        except Exception:  # whatever a client's value raises: one by one it is said which, and of which request
            pass
        rows, wrong = [], []
        for index, request in enumerate(requests):
            values = self._values(request)
            if values is None:
                wrong.append(index)
            else:
                rows.append(values)
        if wrong:
            raise self.error(
                f"request {index}: {problem}" for index in wrong for problem in self._problems(requests[index])
            )
        return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in self._fields]

    def read_columns(self, columns: Mapping[Any, list[Any]]) -> list[list[Any]]:
        """``read_all`` of requests in columns of one length, each ``n`` values."""
        rows = len(next(iter(columns.values()), ()))
        try:
            if len(columns) == len(self._fields):
                return [
                    _convert(columns[column.name], are_plain, convert)
                    for column, (_, are_plain, convert) in zip(self.columns, self._columns, strict=True)
                ]
        except Exception:  # whatever a client's value raises: one by one it is said which, and of which request
            pass
        names = list(columns)
        own_names = {_own_text(name) for name in names}
        if absent := [column.name for column in self.columns if column.name not in own_names]:
            raise self.error([f"the column {name!r} is missing" for name in absent])
        try:
            requests = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        except Exception as error:  # of a name's own class
            raise self.error([f"the names of the columns cannot be compared, which raises {kind(error)}"]) from None
        return self.read_all(requests or [{}] * rows)

    def error(self, problems: Iterator[str] | Sequence[str]) -> RequestError:
        """One error of all problems: the first 20 in words, the others counted, in at most 4,000 bytes."""
        text, count, left_out = f"the request to {self._what} is wrong: ", 0, 0
        for problem in problems:
            longer = f"{text}{'; ' if count else ''}{problem}"
            if count < _MOST_PROBLEMS and not left_out and len(longer.encode(errors="replace")) <= _MOST_BYTES - 40:
                text, count = longer, count + 1
            else:
                left_out += 1
        return RequestError(f"{text}; and {left_out} more" if left_out else text)

    def _values(self, request: Any) -> list[Any] | None:
        """The values of a request in order, None if anything is wrong with it."""
        try:
            values = [convert(request[name]) for name, convert in self._fields]
            is_mapping = request.__class__ is dict or isinstance(request, Mapping)
            return values if len(request) == len(values) and is_mapping else None
        except Exception:  # whatever a client's value raises when it is looked at
            return None

    def _problems(self, request: Any) -> Iterator[str]:
        """Everything that is wrong with a request, a sentence each."""
        count = 0
        for count, problem in enumerate(all_problems(self._look, request), 1):  # noqa: B007
            yield problem
        if not count:
            yield f"it is {excerpt(request)}, {kind(request)}, which says other things when it is read again: give a dict"

    def _look(self, request: Any) -> Iterator[str]:
        if not is_mapping(request):
            yield f"it is {excerpt(request)}, {kind(request)}, where a mapping of field to value is expected"
            return
        for column, (name, convert) in zip(self.columns, self._fields, strict=True):
            expectation = SIDES[column.type].request_form
            try:
                value = request[name]
            except Exception:
                yield f"{name!r} is missing, {expectation} is expected"
                continue
            try:
                convert(value)
            except Exception as problem:
                reason = f" ({problem})" if isinstance(problem, Reason) else ""
                yield f"{name!r} is {excerpt(value)}, {kind(value)}, {expectation} is expected{reason}"
        fields = {column.name for column in self.columns}
        extras = sorted(excerpt(name) for name in request if not (_is_text(name) and _own_text(name) in fields))
        for extra in extras:
            if extra == repr(self._time):
                yield f"{extra} is the prediction time: give it as predict(..., at=...), not in the request"
            else:
                field_list = ", ".join(repr(column.name) for column in self.columns[:_MOST_PROBLEMS]) or "none"
                more = f" and {len(fields) - _MOST_PROBLEMS} more" if len(fields) > _MOST_PROBLEMS else ""
                yield f"{extra} is not a field: the fields are {field_list}{more}"


def all_problems(look: Callable[[Any], Iterator[str]], value: Any) -> Iterator[str]:
    """The problems that a look at a client's value brings up; what the value raises then is one more."""
    try:
        yield from look(value)
    except Exception as error:
        yield f"{unreadable(value, error)}: plain values are expected"


def unreadable(value: object, error: Exception) -> str:
    """What to say of a value that cannot be looked at."""
    return f"{excerpt(value)}, {kind(value)}, cannot be read, since it raises {kind(error)}"


def is_mapping(value: object) -> bool:
    """Whether a client's value is a mapping, whatever it says of its class."""
    try:
        return isinstance(value, Mapping)
    except Exception:
        return False


def _own_text(name: Any) -> str | None:
    """A name as Python's own text, which compares as texts do; None for one that is none."""
    try:
        return str.__str__(name) if isinstance(name, str) else None
    except Exception:
        return None


def _is_text(name: Any) -> bool:
    """Whether a name can be looked up among texts: one of a class of someone's own may raise then."""
    try:
        return type(name) is str or (isinstance(name, str) and hash(name) == hash(str.__str__(name)) and name == name)
    except Exception:
        return False


def _convert(values: list[Any], are_plain: Callable[[list[Any]], bool], convert: Callable[[Any], Any]) -> list[Any]:
    return values if are_plain(values) else list(map(convert, values))


def moment(at: Any) -> datetime:
    """Read a prediction time, given as a datetime or ISO text, as naive UTC.

    Raises:
        RequestError: it is neither, or as UTC outside the years 1 to 9999.
    """
    reason = ""
    try:
        read = timestamp(at)
    except Exception as error:  # whatever a client's value raises when it is looked at
        read = None
        reason = f" ({error})" if isinstance(error, Reason) else ""
    if read is None:
        expectation = SIDES["timestamp"].request_form
        raise RequestError(f"at is {excerpt(at)}, {kind(at)}, where {expectation} is expected{reason}")
    return read


def is_explained(explain: Any) -> Explain:
    """Whether predictions are to be explained, or their scores, as ``explain`` says.

    Raises:
        RequestError: it is neither True nor False nor "score".
    """
    if explain is True or explain is False:
        return explain
    if type(explain) is str and explain == "score":
        return "score"
    if type(explain) is np.bool_:
        return bool(explain)
    raise RequestError(f"explain is {excerpt(explain)}, {kind(explain)}, where True, False or 'score' is expected")


def kind(value: object) -> str:
    """The type of a value for an error message: ``an int``."""
    name = class_name(value)
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"[:80]
