"""A value in a request against the same value in rows: the same is stored and asked with, or the request is refused."""

import datetime as dt
import enum
import math
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import Column
from fti_assets.core.types.columns import ColumnType
from fti_assets.errors import DataError, RequestError
from fti_assets.features.rows.frames.object_columns import arrow_array
from fti_assets.inference.serving.requests.form import RequestForm
from fti_assets.training.views import ad_hoc
from tests.support.examples import examples
from tests.support.records import view_record

TYPES: tuple[ColumnType, ...] = ("text", "integer", "number", "boolean", "timestamp")
FORMS = {kind: RequestForm(view_record(keys=(), request=(Column("x", kind),)), what="m") for kind in TYPES}
NOON = dt.datetime(2024, 7, 4, 12, 30, 15, 123456)
CONNECTION = duckdb.connect()


class Plan(str, enum.Enum):  # noqa: UP042
    PRO = "pro"

    def __str__(self) -> str:
        return "Plan.PRO"


class Level(enum.IntEnum):
    HIGH = 3


# fmt: off
SCALARS: list[Any] = [
    None, True, False, 0, 1, -7, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, 0.0, -0.0, 1.0, 1.5, 1e300, 2.0**63,
    float("nan"), float("inf"), 1j, "", "pro", "1", "2024-01-01", "\u00e9", b"pro", bytearray(b"x"), Plan.PRO, Level.HIGH,
    Decimal(7), Decimal("7.50"), Decimal("0.1"), Decimal("NaN"), Decimal("sNaN"),
    Decimal("1E+5"), Decimal("1E+30"), Decimal("Infinity"), Fraction(1, 2),
    NOON, NOON.replace(tzinfo=dt.UTC), NOON.replace(tzinfo=ZoneInfo("America/New_York")), dt.datetime.min, dt.datetime.max,
    dt.datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")), dt.date(2024, 1, 1), dt.date.min, dt.date.max,
    dt.time(12), dt.timedelta(hours=1), uuid.UUID(int=7), range(2), object(),
    *(kind(7) for kind in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)),
    *(kind(1.5) for kind in (np.float16, np.float32, np.float64, np.longdouble)), np.uint64(2**64 - 1), np.float32(0.1),
    np.longdouble(7), np.longdouble("nan"), np.longdouble("0.1"), np.longdouble("1e4000"), np.longdouble(2) ** 63,
    np.float16("nan"), np.complex64(1), np.bool_(True), np.str_("pro"), np.bytes_(b"pro"), np.void(b"x"),
    *(np.datetime64("2024-07-04T12", unit) for unit in ("Y", "M", "D", "h", "s", "ms", "us", "ns")), np.datetime64("NaT"),
    np.datetime64(2**62, "s"), np.datetime64(-(2**62), "s"), np.datetime64("20000-01-01"), np.datetime64(1_999, "ns"),
    np.datetime64(-1, "ns"), *(np.timedelta64(7, unit) for unit in ("Y", "D", "s", "us", "ns", "ps")), np.timedelta64("NaT"),
    np.timedelta64(7), pd.NA, pd.NaT, pd.Timestamp(NOON), pd.Timestamp(NOON, tz="Asia/Kolkata"), pd.Timestamp(1_999), pd.Timestamp(-1),
    pd.Timedelta("1h"), pd.Timedelta(7), pd.Period("2024-01"), pd.Interval(0, 1), pd.Categorical(["pro"])[0], pd.Categorical([1])[0],
    pa.scalar(1), pa.scalar(1.5), pa.scalar("pro"), pa.scalar(None), pa.scalar(NOON), pa.scalar(True), pa.scalar(dt.date(2024, 1, 1)),
    pa.scalar(Decimal("7.5")),
]
# fmt: on


def stored(value: Any, kind: ColumnType) -> Any:
    """What the rows of ``features_for`` hold of a value.

    Raises:
        DataError: they hold no such value.
    """
    table = pa.table({"x": arrow_array([value], column="x", what="rows")})
    rows = CONNECTION.from_arrow(table)
    questions: list[Any] = []
    cast = ad_hoc._cast(CONNECTION, rows, Column("x", kind), "x", questions)
    ad_hoc._refuse(rows, questions, "rows")
    return rows.project(cast).fetchall()[0][0]


def same(one: Any, other: Any) -> bool:
    return one == other and type(one) is type(other)


@pytest.mark.parametrize("seconds", [2**62, -(2**62), 2**60])
def test_instant_that_numpy_wraps_round_is_stored_by_no_rows(seconds: int) -> None:
    with pytest.raises(DataError, match="out of range"):
        stored(np.datetime64(seconds, "s"), "timestamp")


def check(value: Any, kind: ColumnType) -> None:
    """Hold the request against the rows; what they refuse may be asked with where no digit is lost."""
    try:
        read = FORMS[kind].read({"x": value})[0]
    except RequestError:
        return
    try:
        expected = stored(value, kind)
    except (DataError, duckdb.Error):
        assert not isinstance(value, np.timedelta64)  # which numpy finds equal to its number
        is_wide = (
            isinstance(value, int | Decimal)
            and kind == "number"
            and read == float(value)
            and (Decimal(repr(read)) == value or value != int(value))
        )  # no column is that wide
        assert read == value or is_wide or (read is None and value != value)
        return
    if isinstance(value, Decimal) and kind == "number" and read is not None and np.isfinite(read):
        assert abs(read - expected) <= math.ulp(read)  # of more than 15 digits DuckDB rounds twice
    else:
        assert same(read, expected)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("place", range(len(SCALARS)))
def test_scalar_is_asked_with_as_rows_have_it_or_refused(place: int, kind: ColumnType) -> None:
    check(SCALARS[place], kind)


# Whole numbers beside those that a float has, of every kind.
EDGES = [sign * (2**power + by) for power in (53, 54, 63, 64) for by in (-1, 0, 1, 3) for sign in (1, -1)]
edges = st.sampled_from(EDGES)
numbers = (
    st.integers(-(2**70), 2**70) | st.floats() | st.decimals() | edges | edges.map(Decimal) | edges.map(np.longdouble)
)
kinds = st.sampled_from([np.float32, np.float64, np.longdouble, np.int64, np.uint64])
times = st.builds(
    np.datetime64, st.integers(-(2**62), 2**62), st.sampled_from(["D", "h", "s", "ms", "us", "ns", "ps"])
) | st.datetimes(timezones=st.none() | st.timezones())


@settings(max_examples=examples(150))
@given(numbers | st.builds(lambda kind, at: kind(at), kinds, st.integers(0, 2**62)) | times | st.dates())
@example(Decimal(2**53 + 1))
def test_request_values_of_every_size_match_rows_or_are_refused(value: Any) -> None:
    for kind in TYPES:
        check(value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (dt.date(2024, 1, 1), "timestamp", dt.datetime(2024, 1, 1)),
        (np.datetime64("2024-01-01"), "timestamp", dt.datetime(2024, 1, 1)),
        (np.longdouble(1.5), "number", 1.5),
        (np.longdouble(7), "integer", 7),
        (np.longdouble("nan"), "number", None),
        (Plan.PRO, "text", "pro"),
        (Level.HIGH, "integer", 3),
    ],
    ids=range(7),
)
def test_what_a_client_may_send_is_taken(value: Any, kind: ColumnType, expected: Any) -> None:
    assert same(FORMS[kind].read({"x": value})[0], expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.longdouble(1) / 3, "number"),
        (np.longdouble("1e4000"), "number"),
        (np.timedelta64(7, "ns"), "integer"),
        (np.timedelta64(7), "number"),
        (np.datetime64(2**62, "s"), "timestamp"),
    ],
    ids=range(5),
)
def test_what_would_be_another_value_is_refused(value: Any, kind: ColumnType) -> None:
    with pytest.raises(RequestError):
        FORMS[kind].read({"x": value})
