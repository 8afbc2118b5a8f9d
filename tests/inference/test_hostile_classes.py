"""Requests of classes of someone's own, whose methods raise: whatever is looked at, the error is the library's own and short."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fti_assets.errors import RequestError
from tests.inference import test_predictor
from tests.inference.test_predictor import NOON, REQUEST

world = test_predictor.world

METHODS = [
    "__iter__", "__hash__", "__eq__", "__len__", "__index__", "__float__", "__str__", "__repr__", "__getitem__", "__contains__",
    "__bool__", "__int__", "__getattribute__", "__array__", "__lt__", "__le__", "keys", "items", "to_pylist", "utcoffset",
]  # fmt: skip
BASES: list[Any] = [object(), "JFK", 7, 7.5, Decimal(7), datetime(2013, 6, 1), REQUEST, [REQUEST], np.float64(7)]
VALUES = {name: [value] for name, value in REQUEST.items()}


class OwnError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


def hostile(method: str) -> Iterator[Any]:
    """Values of classes in which one method raises, derived from what a request may hold."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OwnError

    for base in BASES:
        kind = type(base)
        try:
            yield type("Hostile", (kind,), {method: fail})(*([] if kind is object else [base]))
        except (OwnError, TypeError):  # it cannot be made, so nobody can send it
            continue


class Lying(Mapping[str, Any]):
    """A mapping that gives every field, and raises when it is counted."""

    def __getitem__(self, key: str) -> Any:
        return REQUEST[key]

    def __iter__(self) -> Iterator[str]:
        return iter(REQUEST)

    def __len__(self) -> int:
        raise OwnError


class Endless(Sequence[Any]):
    def __getitem__(self, key: Any) -> Any:
        raise OwnError

    def __len__(self) -> int:
        return 10**30


def without_class() -> Any:
    """A value that raises when it is asked for its class, as ``isinstance`` does; it has no other name for pytest to ask."""

    def fail(_: Any) -> Any:
        raise OwnError

    return type("WithoutClass", (), {"__class__": property(fail)})()


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise OwnError


def doors(predictor: Any, value: Any) -> dict[str, Callable[[], Any]]:
    """Everywhere that a value can stand in what is asked."""
    requests: dict[str, Callable[[], Any]] = {
        "request": lambda: predictor.predict(value, at=NOON),
        "rows": lambda: predictor.predict([REQUEST, value], at=NOON),
        "columns": lambda: predictor.predict_columns(value, at=NOON),
        "at": lambda: predictor.predict(REQUEST, at=value),
        "overrides": lambda: predictor.predict(REQUEST, at=NOON, overrides=value),
        "overrides of a row": lambda: predictor.predict(REQUEST, at=NOON, overrides=[value]),
        "override": lambda: predictor.predict(REQUEST, at=NOON, overrides={"temp": value}),
        "features": lambda: predictor.features(value, at=NOON),
        "async": lambda: asyncio.run(predictor.predict_async([value] * 20, at=NOON)),
    }
    for name in REQUEST:
        requests[f"field {name}"] = lambda name=name: predictor.predict(REQUEST | {name: value}, at=NOON)
        requests[f"row {name}"] = lambda name=name: predictor.predict([REQUEST, REQUEST | {name: value}], at=NOON)
        requests[f"column {name}"] = lambda name=name: predictor.predict_columns(VALUES | {name: value}, at=NOON)
        requests[f"value {name}"] = lambda name=name: predictor.predict_columns(VALUES | {name: [value]}, at=NOON)
    try:
        hash(value)
    except Exception:
        return requests
    requests["name"] = lambda: predictor.predict({**REQUEST, value: 1}, at=NOON)
    requests["column name"] = lambda: predictor.predict_columns({**VALUES, value: [1]}, at=NOON)
    requests["override name"] = lambda: predictor.predict(REQUEST, at=NOON, overrides={value: 1})
    return requests


def assert_answered_or_refused(predictor: Any, value: Any) -> int:
    refusals = 0
    for ask in doors(predictor, value).values():
        try:
            ask()
        except RequestError as error:
            text = str(error)
            assert len(text.encode(errors="replace")) <= 4_000
            assert not text.endswith(": ")
            refusals += 1
    return refusals


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_raises_is_a_request_error(world, method):
    predictor = world.load()
    refusals = [assert_answered_or_refused(predictor, value) for value in hostile(method)]
    assert len(refusals) >= 3
    assert min(refusals) >= 5


@pytest.mark.parametrize(
    "make",
    [Lying, Endless, without_class, Nameless("Own", (), {}), type("x" * 100_000, (), {}), lambda: 10**5000, lambda: -(10**5000)],
    ids=["lying", "endless", "without class", "nameless", "long name", "5001 digits", "negative"],
)  # fmt: skip
def test_what_lies_about_itself_is_a_request_error(world, make):
    assert assert_answered_or_refused(world.load(), make()) >= 5


def test_the_error_says_where_and_what_was_raised(world):
    [text, *_] = hostile("__len__")
    raising = type("Rows", (list,), {"__iter__": lambda self: text.__len__()})([REQUEST])
    predictor = world.load()
    with pytest.raises(RequestError, match="the requests are .*a Rows, cannot be read, since it raises an OwnError"):
        predictor.predict(raising, at=NOON)
    with pytest.raises(RequestError, match="the column 'origin' of the requests cannot be read, since it raises a"):
        predictor.predict_columns(VALUES | {"origin": raising}, at=NOON)
    with pytest.raises(RequestError, match=r"request 1: it is .*Lying.* which says other things when it is read again"):
        predictor.predict([REQUEST, Lying()], at=NOON)


def test_a_column_is_read_no_further_than_shows_that_it_is_too_long(world):
    class Numbers(Sequence[int]):
        read = 0

        def __len__(self) -> int:
            return 10**12

        def __getitem__(self, key: Any) -> int:
            self.read += 1
            assert self.read < 10
            return 7

    for name in (*REQUEST, "other"):
        numbers = Numbers()
        with pytest.raises(RequestError, match="differ in length"):
            world.load().predict_columns(VALUES | {name: numbers}, at=NOON)
        assert 2 <= numbers.read < 10


def own_name(text: str, method: str) -> str:
    """A name with the hash of a text, which raises when it is compared with anything else, or when a method is called."""

    def fail(*_: Any) -> Any:
        raise OwnError

    def compare(self: Any, other: Any) -> bool:
        if self is other:
            return True
        raise OwnError

    def give_hash(self: Any) -> int:
        return hash(str.__str__(self))

    own = {"__eq__": compare, "__hash__": give_hash}
    return type("Name", (str,), own if method == "__eq__" else own | {method: fail})(text)


@pytest.mark.soak
@pytest.mark.parametrize("name", REQUEST)
@pytest.mark.parametrize("method", ["__eq__", "__repr__", "__str__", "__len__"])
def test_a_name_that_raises_with_the_hash_of_a_field_is_a_request_error(world, name, method):
    predictor = world.load()
    own = own_name(name, method)
    request = {own if key == name else key: value for key, value in REQUEST.items()}
    columns = {own if key == name else key: values for key, values in VALUES.items()}
    frame = pd.DataFrame(VALUES)
    frame.columns = pd.Index(list(columns), dtype=object)
    for ask in (
        lambda: predictor.predict(request, at=NOON),
        lambda: predictor.predict([REQUEST, request], at=NOON),
        lambda: predictor.features(request, at=NOON),
        lambda: predictor.predict_columns(columns, at=NOON),
        lambda: predictor.predict_columns(frame, at=NOON),
        lambda: predictor.predict(REQUEST, at=NOON, overrides={own_name("temp", method): 1}),
    ):
        with pytest.raises(RequestError):
            ask()


@pytest.mark.parametrize(
    "explain",
    [None, pd.NA, pd.NaT, np.array([]), np.array([True]), np.ones((2, 2)), pd.Series([True]), pd.DataFrame({"a": [1]}), 1, "yes", [True],
     type("Length", (list,), {"__len__": lambda self: 1 / 0})()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_neither_true_nor_false_does_not_say_whether_to_explain(world, explain):
    predictor = world.load()
    requests = [
        lambda: predictor.predict(REQUEST, at=NOON, explain=explain),
        lambda: predictor.predict([REQUEST], at=NOON, explain=explain),
        lambda: predictor.predict([], at=NOON, explain=explain),
        lambda: asyncio.run(predictor.predict_async(REQUEST, at=NOON, explain=explain)),
    ]
    for ask in requests:
        with pytest.raises(RequestError, match=r"(?s)^explain is .*, where True, False or .score. is expected"):
            ask()


def test_numpys_truth_says_whether_to_explain(world):
    answer = world.load().predict(REQUEST, at=NOON, explain=np.bool_(False))
    assert answer.explanation is None
