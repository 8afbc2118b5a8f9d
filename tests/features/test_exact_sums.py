"""Window sums of floats: the DOUBLE nearest to the true sum, as math.fsum has it."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fti_assets import Mean, Rate, Std, Sum, Table, window_aggregate
from fti_assets.features.rows.table import Grid
from fti_assets.features.windows.exact import nearest_double
from tests.features import oracles
from tests.features.window_oracles import _deviation as true_deviation
from tests.support.examples import SOAK, examples

START = datetime(2013, 1, 1)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with oracles.connection_to_shared() as connection:
        yield connection


def nearest(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def true_sum(values: Sequence[float]) -> float:
    """IEEE's answer for infinities and NaN, else the true sum rounded once."""
    if not all(map(math.isfinite, values)):
        return sum(value for value in values if not math.isfinite(value))
    return nearest(sum(map(Fraction, values), Fraction(0)))


def rounded(exact: Fraction) -> Fraction:
    """A number rounded to 53 bits, whatever its exponent."""
    down = max(0, exact.numerator.bit_length() - exact.denominator.bit_length() - 900)
    return Fraction(float(exact / 2**down)) * 2**down


def true_ratio(values: Sequence[float], times: int, over: int) -> float:
    """The sum, rounded once, times a whole number and divided by another, with the roundings of both and no limit between them."""
    if not all(map(math.isfinite, values)):
        return true_sum(values)
    product = rounded(sum(map(Fraction, values), Fraction(0))) * times
    return nearest((product if times == 1 else rounded(product)) / over)


def windows(connection: duckdb.DuckDBPyConnection, values: Sequence[Sequence[float]], **aggregates: Any) -> list[Any]:
    """One key's aggregates for each list of values."""
    keys = [key for key, of_key in enumerate(values) for _ in of_key]
    flat = [value for of_key in values for value in of_key]
    relation = connection.sql(
        "SELECT unnest(?::BIGINT[]) AS k, unnest(?::VARCHAR[])::DOUBLE AS x, ?::TIMESTAMP AS t",
        params=[keys, list(map(repr, flat)), START],
    )
    grid = Grid("hour", START, START + timedelta(hours=1))
    rows = Table(relation, connection, "rows_v1", ("k",), event_time="t", grid=grid)
    result = window_aggregate(rows, keys=["k"], every="1h", windows=["1h"], aggregates=aggregates)
    columns = ", ".join(f'"{name}_1h"' for name in aggregates)
    # In one query: each step of a relation is planned again.
    return result.relation.query("found", f"SELECT {columns} FROM found ORDER BY k").fetchall()


def equal(found: float, expected: float) -> bool:
    return found == expected or (math.isnan(found) and math.isnan(expected))


floats = st.floats(width=64) | st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float)


@st.composite
def cancelling(draw: st.DrawFn) -> list[float]:
    """Values, most of them taken back, some but for their last bit."""
    values = draw(st.lists(floats, min_size=1, max_size=8))
    back = [
        math.nextafter(-value, draw(st.sampled_from([0.0, math.inf]))) if draw(st.booleans()) else -value
        for value in values
    ]
    return draw(st.permutations([*values, *back, *draw(st.lists(floats, max_size=3))]))


@settings(max_examples=examples(60) if SOAK else 3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(cancelling() | st.lists(floats, min_size=1, max_size=9), min_size=1, max_size=12))
@example(
    [
        [1e16, 1.0, 1e-9, -1e16],
        [2.0**53, 1.0, 2.0**-60],
        [2.0**53, 1.0],
        [2.0**53 + 2, 1.0],
        [-(2.0**53), -1.0, -(2.0**-60)],
    ]
)
@example(
    [
        [5e-324] * 3,
        [5e-324, -1e-320],
        [2.0**-1022, -5e-324],
        [1e-310, 1.5e308, -1.5e308],
        [1.7e308, 1.7e308],
        [1.7e308, 1.7e308, -1.7e308],
        [-1.7e308, -1.7e308],
    ]
)
@example([[math.inf, 1.0], [math.inf, -math.inf], [math.nan, 2.0], [-math.inf]])
@example([[2.0**90, 2.0**38 + 2.0**37, 1.0], [2.0**95, 2.0**42, 2.0**-20], [-(2.0**95), -(2.0**42), -(2.0**-20)]])
def test_a_sum_is_the_nearest_float(connection: duckdb.DuckDBPyConnection, values: list[list[float]]) -> None:
    result = windows(connection, values, sum=Sum("x"), mean=Mean("x"), rate=Rate("x", per="30min"))
    for of_key, (total, mean, rate) in zip(values, result, strict=True):
        expected = true_sum(of_key)
        assert equal(total, expected), (of_key, total, expected)
        assert equal(mean, true_ratio(of_key, 1, len(of_key)))
        assert equal(rate, true_ratio(of_key, 1_800_000_000, 3_600_000_000))
        try:
            assert equal(total, math.fsum(of_key))
        except (OverflowError, ValueError):
            assert not math.isfinite(expected) or max(map(abs, of_key)) > 1e307


EXTREMES = [
    1e300,
    -1e300,
    1.7976931348623157e308,
    -1.7e308,
    5e-324,
    -5e-324,
    2.0**-1022,
    -(2.0**-1030),
    0.0,
    -0.0,
    1e16,
    0.1,
    -1 / 3,
]


@settings(max_examples=examples(60) if SOAK else 3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.lists(st.sampled_from(EXTREMES) | floats, min_size=1, max_size=9) | cancelling(), min_size=1, max_size=12
    ),
    per=st.sampled_from(["1s", "1h", "365d"]),
)
@example([[1.7e308, 1.7e308], [1.7e308, 1.7e308, -1.7e308], [1.7976931348623157e308] * 9, [-1.7e308] * 3], "365d")
@example([[1e300, 1e300], [2.0**959, 2.0**958], [2.0**1000, -(2.0**1000), 5e-324]], "1h")
def test_means_and_rates_are_right_wherever_their_true_value_is_float(
    connection: duckdb.DuckDBPyConnection, values: list[list[float]], per: str
) -> None:
    hours = {"1s": Fraction(1, 3600), "1h": Fraction(1), "365d": Fraction(8760)}[per]
    result = windows(connection, values, sum=Sum("x"), mean=Mean("x"), rate=Rate("x", per=per))
    for of_key, (total, mean, rate) in zip(values, result, strict=True):
        if not all(map(math.isfinite, of_key)):
            assert all(equal(one, true_sum(of_key)) for one in (total, mean, rate))
            continue
        exact = sum(map(Fraction, of_key), Fraction(0))
        assert total == nearest(exact)
        for one, true in ((mean, exact / len(of_key)), (rate, exact * hours)):
            least_step = Fraction(5e-324)
            if abs(true) < Fraction(1.7976931348623155e308):
                assert math.isfinite(one), (of_key, one, float(true))
                assert abs(Fraction(one) - true) <= max(abs(true) * 3 / 2**53, least_step), (of_key, one, float(true))
            else:
                assert abs(one) >= 1.797693134862315e308


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.sampled_from([2**63 - 1, -(2**63), 2**53 + 1, -1, 0, 1]) | st.integers(-(2**63), 2**63 - 1),
                        min_size=1, max_size=9))  # fmt: skip
@example([2**63 - 1, 2**63 - 1, -(2**63), -5])
@example([-(2**63)])
@example([-(2**53) - 2])  # which DuckDB's own cast makes another number
def test_whole_numbers_add_up_exactly_or_are_refused(connection: duckdb.DuckDBPyConnection, numbers: list[int]) -> None:
    relation = connection.sql("SELECT 1 AS k, unnest(?::BIGINT[]) AS x, ?::TIMESTAMP AS t", params=[numbers, START])
    grid = Grid("hour", START, START + timedelta(hours=1))
    rows = Table(relation, connection, "rows_v1", ("k",), event_time="t", grid=grid)

    def asked(aggregate: Any) -> Any:
        result = window_aggregate(rows, keys=["k"], every="1h", windows=["1h"], aggregates={"y": aggregate})
        return result.relation.project("y_1h").fetchall()[0][0]

    total = sum(numbers)
    assert asked(Mean("x")) == float(total) / len(numbers)
    if -(2**63) <= total < 2**63:
        assert asked(Sum("x")) == total
    else:
        with pytest.raises(duckdb.InvalidInputException, match=str(total)):
            asked(Sum("x"))


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(
        st.integers(-(2**127) + 1, 2**127 - 1)
        | st.builds(lambda top, at, by: (top << at) + by, st.integers(-(2**54), 2**54), st.integers(0, 72), st.integers(-2, 2)),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_whole_numbers_of_any_size_round_to_nearest_float(
    connection: duckdb.DuckDBPyConnection, numbers: list[int]
) -> None:
    relation = connection.sql("SELECT unnest(?::VARCHAR[])::HUGEINT AS n", params=[list(map(str, numbers))])
    results = [value for (value,) in relation.project(nearest_double("n")).fetchall()]
    assert results == [float(number) for number in numbers]


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.lists(st.floats(-1e130, 1e130).filter(lambda x: x == 0 or abs(x) > 1e-120), min_size=2, max_size=8), min_size=1, max_size=8
    ),
    shift=st.sampled_from([0.0, 1e9, -1e15]),
)  # fmt: skip
def test_a_deviation_is_within_four_roundings(
    connection: duckdb.DuckDBPyConnection, values: list[list[float]], shift: float
) -> None:
    shifted = [[value + shift for value in of_key] for of_key in values]
    result = windows(connection, shifted, std=Std("x"))
    for of_key, (deviation,) in zip(shifted, result, strict=True):
        assert deviation == pytest.approx(true_deviation(of_key), rel=4 * 2.0**-53, abs=0)
