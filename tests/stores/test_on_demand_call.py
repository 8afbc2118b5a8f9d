"""An on-demand function as an app calls it: its values have the types that it declares, wherever it runs."""

import hashlib
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fti_assets.core.manifest import Column, OnDemandCall, OnDemandModule, OnDemandVector
from fti_assets.core.on_demand.call import LoadedCall
from fti_assets.core.types import ColumnType
from fti_assets.errors import PredictionError
from tests.stores import given_values

NOON = datetime(2013, 7, 4, 12)


def call(column_type: ColumnType, **changed: Any) -> OnDemandCall:
    own = hashlib.sha256(Path(given_values.__file__).read_bytes()).hexdigest()
    return OnDemandCall("f", 1, given_values.__name__, "given", own, (), (Column("x", column_type),), **changed)


def made(values: Any, column_type: ColumnType) -> Any:
    given_values.GIVEN["x"] = values
    return LoadedCall(call(column_type), types={})({}, len(values))[0]


@pytest.mark.parametrize(
    ("values", "column_type", "expected"),
    [
        (np.array([1, -2]), "integer", [1, -2]),
        (np.array([1.0, np.nan]), "integer", [1, None]),
        (np.array([1, None], dtype=object), "integer", [1, None]),
        (np.array([1.5, np.nan], dtype=np.float32), "number", [1.5, None]),
        (np.array([1, 2], dtype=np.int8), "number", [1.0, 2.0]),
        (np.array([True, False]), "boolean", [True, False]),
        (np.array([1.0, np.nan, 0.0]), "boolean", [True, None, False]),
        (np.array(["a", ""]), "text", ["a", ""]),
        (np.array(["a", None], dtype=object), "text", ["a", None]),
        (["a", "b"], "text", ["a", "b"]),
        (np.array(["2013-07-04T12", "NaT"], dtype="datetime64[h]"), "timestamp", [NOON, None]),
        (np.array([NOON, None], dtype=object), "timestamp", [NOON, None]),
        (np.array([np.datetime64("2013-07-04T12", "ns")], dtype=object), "timestamp", [NOON]),
    ],
)
def test_values_of_the_declared_type_come_as_plain_ones(values: Any, column_type: ColumnType, expected: Any) -> None:
    results = made(values, column_type)
    assert results == expected
    assert [type(value) for value in results] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("values", "column_type", "message"),
    [
        (np.array([1.0, 1.5]), "integer", "returned 'x' with 1.5, a float: int, a whole number, is expected"),
        (np.array([np.inf]), "integer", "with inf, a float"),
        (np.array([True]), "integer", "with True, a bool: int"),
        (np.array(["1"]), "integer", "with '1', a str"),
        (np.array([True]), "number", "with True, a bool: float"),
        (np.array([1j]), "number", "a complex"),
        (np.array([2.0]), "boolean", "with 2.0, a float: bool"),
        (np.array([1.0]), "text", "with 1.0, a float: str"),
        (np.array([b"a"]), "text", "a bytes"),
        (np.array([NOON], dtype="datetime64[us]"), "number", "as datetime64.us.: float"),
        (np.array([1.0]), "timestamp", "as float64: datetime"),
        (np.array([1.0], dtype=object), "timestamp", "with 1.0, a float: datetime"),
        (np.array([3], dtype="timedelta64[s]"), "number", "a timedelta: float"),
    ],
)
def test_a_value_of_another_type_is_an_error(values: Any, column_type: ColumnType, message: str) -> None:
    with pytest.raises(
        PredictionError, match=f"on-demand function 'f' version 1 {'' if 'returned' in message else '.*'}{message}"
    ):
        made(values, column_type)


def vectors_of(values: Any) -> Any:
    given_values.GIVEN["x"] = values
    return LoadedCall(call("vector", vectors=(OnDemandVector("x", 2),)), types={})({}, len(values))[0]


@pytest.mark.parametrize(
    "values",
    [
        np.array([[1, 2], [3, 4]]),
        np.array([[1, 2], [3, 4]], dtype=np.uint8),
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        [[1.0, 2], [3, 4.0]],
    ],
)
def test_a_matrix_comes_as_a_vector_of_float32_a_row(values: Any) -> None:
    found = vectors_of(values)
    assert [one.dtype for one in found] == [np.float32] * 2
    assert [one.tolist() for one in found] == [[1, 2], [3, 4]]


def test_what_float32_lacks_of_a_vector_is_missing_or_refused() -> None:
    [numbers] = vectors_of(np.array([[np.nan, 1e300]]))
    assert np.isnan(numbers[0])
    assert np.isinf(numbers[1])
    assert vectors_of(np.array([[2**24, -(2**24)]]))[0].tolist() == [2.0**24, -(2.0**24)]
    with pytest.raises(PredictionError, match=r"returned 'x' with 16777217: a vector is of float32.*2\*\*24"):
        vectors_of(np.array([[0, 2**24 + 1]]))


def test_no_rows_are_no_vectors() -> None:
    assert vectors_of(np.empty((0, 2))) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3)), r"of shape \(2, 3\): \(2, 2\) is expected"),
        (np.zeros(2), r"of shape \(2,\): \(2, 2\) is expected"),
        (np.array([["a", "b"]]), "as <U1: a list of numbers, is expected"),
        (np.array([[True, False]]), "as bool: a list of numbers, is expected"),
        (np.array([[1, None]], dtype=object), "as object: a list of numbers, is expected"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_an_error(values: Any, message: str) -> None:
    with pytest.raises(PredictionError, match=f"on-demand function 'f' version 1 returned 'x' {message}"):
        vectors_of(values)


def test_imported_module_must_match_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "od_table.py").write_text("X = 1")
    learned = hashlib.sha256(b"X = 1").hexdigest()
    LoadedCall(call("number", imports=(OnDemandModule("od_table", learned),)), types={})
    (tmp_path / "od_table.py").write_text("X = 2")
    with pytest.raises(PredictionError, match="od_table.py, means something else than what the model learned from"):
        LoadedCall(call("number", imports=(OnDemandModule("od_table", learned),)), types={})
    with pytest.raises(PredictionError, match="'f' version 1 takes from module 'od_gone', and it is not there"):
        LoadedCall(call("number", imports=(OnDemandModule("od_gone", learned),)), types={})
    assert "od_table" not in sys.modules
