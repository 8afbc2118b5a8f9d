"""What a function is as text: another text wherever something else would be computed, the same in each process."""

import functools
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fti_assets.core.functions import capture_text, source_text, type_name, value_text


def scaled(factor: Any) -> Any:
    def scale(value: float) -> Any:
        return factor * value

    return scale


def with_default(factor: Any) -> Any:
    def scale(value: float, by: Any = factor) -> Any:
        return by * value

    return scale


def with_keyword(factor: Any) -> Any:
    def scale(value: float, *, by: Any = factor) -> Any:
        return by * value

    return scale


class Scaler:
    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def __call__(self, value: float) -> Any:
        return self.factor * value

    def scale(self, value: float) -> Any:
        return self.factor * value


class InSlots:
    __slots__ = "factor"

    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def scale(self, value: float) -> Any:
        return self.factor * value


@dataclass
class Terms:
    factor: Any


def multiply(factor: Any, value: float) -> Any:
    return factor * value


HOLDERS = {
    "closure": scaled,
    "default": with_default,
    "keyword": with_keyword,
    "object": Scaler,
    "method": lambda factor: Scaler(factor).scale,
    "slots": lambda factor: InSlots(factor).scale,
    "partial": lambda factor: functools.partial(multiply, factor),
    "keyword of a partial": lambda factor: functools.partial(multiply, factor=factor),
    "closure within a closure": lambda factor: scaled(scaled(factor)),
    "function in a list": lambda factor: scaled([scaled(factor)]),
    "dataclass": lambda factor: scaled(Terms(factor)),
    "mapping": lambda factor: scaled({"by": factor}),
    "set": lambda factor: scaled({factor}),
}
VALUES = [2, 3, 2.0, True, "2", b"2", (2,), None]


@pytest.mark.parametrize("holder", HOLDERS)
def test_each_value_that_is_held_is_another_text(holder: str) -> None:
    hold: Any = HOLDERS[holder]
    # In a set 2, 2.0 and True are alike, but each stands alone in one here.
    texts = [source_text(hold(value)) for value in VALUES]
    assert len(set(texts)) == len(VALUES)
    assert texts == [source_text(hold(value)) for value in VALUES]


def test_arrays_are_told_apart_by_values_shape_and_type() -> None:
    arrays = [
        np.arange(4.0),
        np.arange(4.0).reshape(2, 2),
        np.arange(4),
        np.array([0.0, 1.0, 2.0, 4.0]),
        np.array(["a", None], object),
    ]
    assert len({source_text(scaled(one)) for one in arrays}) == len(arrays)
    assert source_text(scaled(np.arange(8.0)[::2])) == source_text(scaled(np.array([0.0, 2.0, 4.0, 6.0])))


def test_a_plain_function_is_its_source_alone() -> None:
    assert capture_text(multiply, type_name) == ""
    assert source_text(multiply) == "def multiply(factor: Any, value: float) -> Any:\n    return factor * value\n"


def test_what_cannot_be_put_into_words_is_left_to_the_caller() -> None:
    with open("/dev/null") as file:
        assert value_text([file], lambda value: f"<{type(value).__name__}>") == "builtins.list [<TextIOWrapper>]"


def test_what_holds_itself_has_an_end() -> None:
    around: list[Any] = []
    around.append(around)
    assert "itself" in value_text(around, type_name)
    scaler = Scaler(None)
    scaler.factor = scaler.scale
    assert "itself" in source_text(scaler)
    assert value_text(list(range(100_000)), type_name).count("int") >= 10_000


@pytest.mark.soak
def test_the_text_is_the_same_in_each_process() -> None:
    code = (
        "import hashlib, tests.test_functions as t; "
        "texts = [t.source_text(hold(v)) for hold in t.HOLDERS.values() for v in [{'a', 'b', 'c'} and 'x', ('a', 'b')]]; "
        "texts.append(t.source_text(t.scaled({'a', 'b', 'c', 1, 2.5}))); "
        "print(hashlib.sha256(''.join(texts).encode()).hexdigest())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != ""
