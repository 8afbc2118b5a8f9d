import subprocess
import sys
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from examples.flight_delays.on_demand import calendar, turnaround

NEW_YORK = ZoneInfo("America/New_York")
HOLIDAYS = [
    date(2013, 1, 1), date(2013, 1, 21), date(2013, 2, 18), date(2013, 5, 27), date(2013, 7, 4), date(2013, 9, 2),
    date(2013, 10, 14), date(2013, 11, 11), date(2013, 11, 28), date(2013, 12, 25), date(2014, 1, 1), date(2014, 1, 20),
]  # fmt: skip


def at(*instants: str) -> np.ndarray:
    return np.array(instants, dtype="datetime64[us]")


def local(instants: np.ndarray) -> list[datetime]:
    return [instant.replace(tzinfo=UTC).astimezone(NEW_YORK) for instant in instants.tolist()]


def assert_matches_zoneinfo(instants: np.ndarray) -> None:
    results, expected = calendar(instants), local(instants)
    assert results["hour_of_day"].tolist() == [time.hour for time in expected]
    assert results["minute_of_day"].tolist() == [time.hour * 60 + time.minute for time in expected]
    assert results["day_of_week"].tolist() == [time.weekday() for time in expected]


def test_new_york_time_agrees_with_time_zone_database_over_century() -> None:
    first, last = at("2007-01-01T05:00", "2107-01-01T04:59:59.999999").astype(np.int64)
    instants = np.random.default_rng(0).integers(first, last, 20_000).astype("datetime64[us]")
    assert_matches_zoneinfo(np.concatenate([instants, at("2007-01-01T05:00", "2107-01-01T04:59:59.999999")]))


@pytest.mark.parametrize("change", ["2013-03-10T07:00", "2013-11-03T06:00", "2014-03-09T07:00", "2014-11-02T06:00"])
def test_the_clocks_change_at_the_right_microsecond(change: str) -> None:
    around = at(change) + np.arange(-2, 3).astype("timedelta64[us]")
    assert_matches_zoneinfo(around)
    assert len(set(calendar(around)["minute_of_day"])) == 2
    assert_matches_zoneinfo(at(change) + np.arange(-5_000, 5_000).astype("timedelta64[m]"))


def test_days_to_holiday_counts_to_next_one_on_new_york_dates() -> None:
    instants = np.arange("2013-01-01T05:00", "2014-01-20T05:00", 3_607, dtype="datetime64[s]").astype("datetime64[us]")
    expected = [min((day - time.date()).days for day in HOLIDAYS if day >= time.date()) for time in local(instants)]
    assert calendar(instants)["days_to_holiday"].tolist() == expected


def test_a_holiday_begins_and_ends_at_new_yorks_midnight() -> None:
    results = calendar(at("2013-12-25T04:59", "2013-12-25T05:00", "2013-12-26T04:59", "2013-12-26T05:00"))
    assert results["days_to_holiday"].tolist() == [1, 0, 0, 6]


def test_juneteenth_is_a_holiday_from_2021_on() -> None:
    assert calendar(at("2020-06-19T12:00", "2021-06-19T12:00"))["days_to_holiday"].tolist() == [15, 0]


def test_memorial_day_is_the_last_monday_of_may() -> None:
    assert calendar(at("2015-05-25T12:00", "2020-05-25T12:00"))["days_to_holiday"].tolist() == [0, 0]


def test_missing_time_and_one_outside_years_have_no_values() -> None:
    outside = at("NaT", "2007-01-01T04:59:59.999999", "2107-01-01T05:00", "0001-01-01", "9999-12-31")
    for values in calendar(outside).values():
        assert np.isnan(values).all()


def test_a_missing_time_leaves_the_others_alone() -> None:
    results = calendar(at("2013-07-04T01:30", "NaT", "2013-07-04T01:30"))
    assert {name: values[[0, 2]].tolist() for name, values in results.items()} == {
        "hour_of_day": [21, 21],
        "minute_of_day": [1290, 1290],
        "day_of_week": [2, 2],
        "days_to_holiday": [1, 1],
    }


@pytest.mark.parametrize("n", [0, 1, 7])
def test_every_output_is_float64_with_a_value_a_row(n: int) -> None:
    instants = at(*["2013-07-04T12:00"] * n)
    for values in calendar(instants).values():
        assert values.dtype == np.float64
        assert values.shape == (n,)


def test_input_is_left_unchanged_and_its_unit_does_not_matter() -> None:
    instants = at("2013-07-04T12:00", "NaT")
    expected = calendar(instants)
    for unit in ["s", "ms", "ns"]:
        for name, values in calendar(instants.astype(f"datetime64[{unit}]")).items():
            np.testing.assert_array_equal(values, expected[name])
    np.testing.assert_array_equal(instants, at("2013-07-04T12:00", "NaT"))


def test_departure_is_same_in_batch_and_alone() -> None:
    instants = at("2013-01-01T12:00") + np.arange(500) * np.timedelta64(17, "h")
    together = calendar(instants)
    for row in range(0, 500, 50):
        assert {name: values[0] for name, values in calendar(instants[row : row + 1]).items()} == {
            name: values[row] for name, values in together.items()
        }


def test_an_app_imports_it_without_pandas_or_dagster() -> None:
    code = (
        "import sys, examples.flight_delays.on_demand\n"
        "print([name for name in ('dagster', 'pandas', 'pyarrow', 'duckdb', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_turnaround_counts_over_the_end_of_the_week() -> None:
    monday = at("2013-07-08T00:30", "2013-07-08T00:30", "NaT")
    late_on_sunday = np.array([7 * 24 * 60 - 15.0, np.nan, 0.0])
    minutes = turnaround(monday, late_on_sunday)["since_last_leg"]
    assert minutes.tolist() == pytest.approx([45.0, np.nan, np.nan], nan_ok=True)
