"""What a request may hold: values as clients send them, and hostile ones."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import Column
from fti_assets.errors import RequestError
from fti_assets.inference.serving.requests.form import RequestForm, moment
from tests.support.examples import examples
from tests.support.records import view_record

COLUMNS = (
    Column("id", "integer"),
    Column("count", "integer"),
    Column("price", "number"),
    Column("plan", "text"),
    Column("active", "boolean"),
    Column("since", "timestamp"),
)
VIEW = view_record(request=COLUMNS)
FORM = RequestForm(VIEW, what="model 'churn'")
REQUEST = {"id": 1, "count": 2, "price": 3.5, "plan": "pro", "active": True, "since": "2024-01-01T10:00"}


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


class Hostile:
    def __repr__(self) -> str:
        raise OSError("no")

    def __eq__(self, other: object) -> bool:
        raise OSError("no")

    __hash__ = object.__hash__


HOSTILE = [np.int8(3), None, "noon", 10**5000, [1], nested(100_000), pd.NA, Hostile(), 3.0, True]


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, Decimal("nan"), Decimal("snan")]
)
@pytest.mark.parametrize("field", ["count", "price", "plan", "active", "since"])
def test_every_kind_of_nothing_is_missing(field, missing):
    expected = dict(zip(REQUEST, FORM.read(REQUEST), strict=True)) | {field: None}
    assert FORM.read(REQUEST | {field: missing}) == list(expected.values())


def test_nat_of_numpy_is_missing():
    assert FORM.read(REQUEST | {"since": np.datetime64("NaT")})[-1] is None


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_key_must_have_a_value(missing):
    with pytest.raises(RequestError, match="'id' is .*a key must have a value"):
        FORM.read(REQUEST | {"id": missing})


@pytest.mark.parametrize("seven", [7, 7.0, np.int8(7), np.uint64(7), np.float32(7), Decimal(7), Decimal("7.00")])
def test_numbers_of_every_kind_are_taken(seven):
    read = FORM.read(REQUEST | {"id": seven, "count": seven, "price": seven})
    assert read[:3] == [7, 7, 7.0]
    assert [type(value) for value in read[:3]] == [int, int, float]


def test_rows_of_a_frame_are_requests():
    """A column of whole numbers with a null is one of floats."""
    frame = pd.DataFrame(
        {
            "id": [1, 2], "count": [2.0, None], "price": [3.5, None], "plan": ["pro", None],
            "active": pd.array([True, None], dtype="boolean"), "since": pd.to_datetime(["2024-01-01T10:00", None]),
        }
    )  # fmt: skip
    rows = [row.to_dict() for _, row in frame.iterrows()] + frame.to_dict("records")
    expected = [[1, 2, 3.5, "pro", True, datetime(2024, 1, 1, 10)], [2, None, None, None, None, None]]
    assert FORM.read_all(rows) == [list(column) for column in zip(*expected * 2, strict=True)]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"count": 7.5}, "it is not whole"),
        ({"count": float("inf")}, "64 bits"),
        ({"count": Decimal("1e999999")}, "64 bits"),
        ({"count": 2**63}, "64 bits"),
        ({"price": Decimal("1e400")}, "beyond the largest number"),
        ({"price": 10**5000}, "a number is expected"),
        ({"price": True}, "a number is expected"),
        ({"count": "7"}, "a whole number of 64 bits is expected"),
        ({"plan": nested(100_000)}, "text is expected"),
        ({"plan": Hostile()}, "text is expected"),
        ({"plan": "x\ud800"}, "not valid Unicode"),
        ({"since": 10**5000}, "a datetime or ISO text is expected"),
        ({pd.NA: 1}, "<NA> is not a field"),
        ({Hostile(): 1}, "Hostile instance"),
        ({"x" * 10_000_000: 1}, "is not a field"),
        ({"plan": ["x" * 10_000_000] * 100}, "text is expected"),
        ({10**5000: 1}, "is not a field"),
    ],
    ids=range(17),
)  # fmt: skip
def test_a_hostile_value_is_one_short_error(change, problem):
    for read in (lambda request: FORM.read(request), lambda request: FORM.read_all([REQUEST, request])):
        with pytest.raises(RequestError) as caught:
            read(REQUEST | change)
        assert problem in str(caught.value)
        assert len(str(caught.value).encode(errors="replace")) <= 4_000


@pytest.mark.parametrize("request_", HOSTILE, ids=lambda value: type(value).__name__)
def test_what_is_no_mapping_is_refused(request_):
    with pytest.raises(RequestError, match="a mapping of field to value is expected"):
        FORM.read(request_)


def test_the_first_problems_are_named_and_the_rest_counted():
    requests = [REQUEST | {"count": "x", "price": "y"}] * 5_000
    with pytest.raises(RequestError, match=r"request 0: 'count' is 'x'.* and 99\d\d more$") as caught:
        FORM.read_all(requests)
    assert len(str(caught.value).encode()) <= 4_000
    assert str(caught.value).count("request ") == 21  # with that in "the request to"


def test_many_unknown_fields_are_counted():
    with pytest.raises(RequestError, match=r"and 980 more$"):
        FORM.read(REQUEST | {f"field {number:04d}": 1 for number in range(1000)})


def test_a_time_that_no_year_of_utc_holds_is_refused_with_the_reason():
    for at in (
        "0001-01-01T00:00:01+02:02",
        "9999-12-31T23:59:59-01:00",
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ):
        with pytest.raises(RequestError, match=r"is expected \(in UTC it is outside the years 1 to 9999\)$"):
            moment(at)


@pytest.mark.parametrize("at", [*HOSTILE, pd.NaT, b"x", np.datetime64("NaT")], ids=lambda value: type(value).__name__)
def test_a_prediction_time_that_is_none_is_refused(at):
    with pytest.raises(RequestError, match="where a datetime or ISO text is expected"):
        moment(at)


@pytest.mark.parametrize(
    "text",
    ["2024-01-01", "2024-01-01T10", "2024-01-01 10:00", "2024-01-01T10:00:00.5", "2024-01-01T10:00Z", "2024-W01-1", "20240101T100000+0100"],
)  # fmt: skip
def test_iso_text_is_the_same_instant_everywhere(text):
    expected = datetime.fromisoformat(text)
    expected = expected.astimezone(UTC).replace(tzinfo=None) if expected.tzinfo else expected
    assert moment(text) == FORM.read(REQUEST | {"since": text})[-1] == expected


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.datetimes() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(max_examples=examples(100))
@given(st.dictionaries(st.sampled_from([*REQUEST, "other"]) | st.integers(), values), st.booleans())
def test_any_request_is_read_or_refused(change, several):
    problem = ""
    try:
        FORM.read_all([REQUEST | change] * 2) if several else FORM.read(REQUEST | change)
    except RequestError as error:
        problem = str(error)
    assert len(problem.encode(errors="replace")) <= 4_000
