from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.core.times import EPOCH, duration, from_microseconds, instant, microseconds, naive_utc
from fti_assets.errors import DeclarationError


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("50ms", timedelta(milliseconds=50)),
        ("90s", timedelta(seconds=90)),
        ("15min", timedelta(minutes=15)),
        ("36h", timedelta(hours=36)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        (" 3 h ", timedelta(hours=3)),
        ("0s", timedelta(0)),
        (timedelta(minutes=1, seconds=30), timedelta(seconds=90)),
    ],
)
def test_durations_are_timedelta_or_whole_number_and_unit(text: str | timedelta, length: timedelta) -> None:
    assert duration(text) == length


@pytest.mark.parametrize("text", ["", "7", "d", "1.5h", "7D", "1 month", "3m", "-3h", "1h30min", 7, None, ["7d"]])
def test_what_is_no_duration_is_named_with_what_to_write(text: object) -> None:
    with pytest.raises(
        DeclarationError, match="ttl of 'weather' .* is not a duration: write a timedelta, or a whole number"
    ):
        duration(text, what="ttl of 'weather'")  # type: ignore[arg-type]


def test_negative_durations_are_refused() -> None:
    with pytest.raises(DeclarationError, match="lookback .* is negative"):
        duration(timedelta(seconds=-1), what="lookback")


def test_aware_instants_become_naive_utc_and_naive_ones_are_utc_already() -> None:
    noon = datetime(2013, 6, 1, 12)
    assert instant("2013-06-01T08:00:00-04:00") == noon
    assert instant("2013-06-01T12:00:00Z") == noon
    assert instant("2013-06-01 12:00") == noon
    assert instant(noon) == noon
    assert naive_utc(noon.replace(tzinfo=UTC)) == noon
    assert naive_utc(datetime(2013, 6, 1, 8, tzinfo=timezone(timedelta(hours=-4)))) == noon
    assert instant("2013-06-01T08:00:00-04:00").tzinfo is None


def test_text_that_is_no_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="tomorrow"):
        instant("tomorrow")
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        instant("0001-01-01T00:00+02:00")


@given(st.datetimes())
def test_microseconds_lose_nothing(moment: datetime) -> None:
    assert from_microseconds(microseconds(moment)) == moment


def test_microseconds_count_from_1970_and_measure_lengths() -> None:
    assert microseconds(EPOCH) == 0
    assert microseconds(datetime(1969, 12, 31, 23, 59, 59)) == -1_000_000
    assert microseconds(timedelta(hours=1)) == 3_600_000_000


def test_a_duration_beyond_all_time_is_refused() -> None:
    with pytest.raises(DeclarationError, match="longer than 1,000,000 days"):
        duration("999999999999w")
