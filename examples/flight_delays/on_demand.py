"""What a flight's scheduled departure says by itself, on New York's calendar."""

import numpy as np

from fti_assets import on_demand

# The rules of daylight saving time have been these since 2007; what lies outside these years has no value.
YEARS = np.arange("2007", "2108", dtype="datetime64[Y]")
_HOUR, _DAY = 3_600_000_000, 86_400_000_000  # microseconds


def _nth(weekday: str, n: int, month: int) -> np.ndarray:
    """The n-th such weekday of a month in each of the years; the 0-th is the last one of the month before."""
    first = (YEARS.astype("datetime64[M]") + (month - 1)).astype("datetime64[D]")
    return np.busday_offset(first, n - 1, roll="forward", weekmask=weekday)


def _date(month: int, day: int) -> np.ndarray:
    return (YEARS.astype("datetime64[M]") + (month - 1)).astype("datetime64[D]") + (day - 1)


# Clocks go forward at 02:00 EST and back at 02:00 EDT: 07:00 and 06:00 UTC.
_FORWARD = _nth("Sun", 2, month=3).astype("datetime64[us]").astype(np.int64) + 7 * _HOUR
_BACK = _nth("Sun", 1, month=11).astype("datetime64[us]").astype(np.int64) + 6 * _HOUR
_CHANGES = np.sort(np.concatenate([_FORWARD, _BACK]))

_HOLIDAYS = np.sort(
    np.concatenate(
        [
            _date(1, 1),  # New Year's Day
            _nth("Mon", 3, month=1),  # Martin Luther King Day
            _nth("Mon", 3, month=2),  # Washington's Birthday
            _nth("Mon", 0, month=6),  # Memorial Day: the last Monday of May
            _date(6, 19)[YEARS.astype(int) + 1970 >= 2021],  # Juneteenth
            _date(7, 4),  # Independence Day
            _nth("Mon", 1, month=9),  # Labor Day
            _nth("Mon", 2, month=10),  # Columbus Day
            _date(11, 11),  # Veterans Day
            _nth("Thu", 4, month=11),  # Thanksgiving
            _date(12, 25),  # Christmas
        ]
    )
).astype(np.int64)
# From New Year's Day of the first year to that of the last, in New York, so that each day has a next holiday.
_START, _END = _HOLIDAYS[0] * _DAY + 5 * _HOUR, YEARS[-1].astype("datetime64[us]").astype(np.int64) + 5 * _HOUR


@on_demand(outputs={"hour_of_day": int, "minute_of_day": int, "day_of_week": int, "days_to_holiday": int})
def calendar(scheduled_at: np.ndarray) -> dict[str, np.ndarray]:
    """Place departures on New York's calendar, in New York's time.

    Args:
        scheduled_at: scheduled departures, ``datetime64[us]`` of shape ``[n]``, naive UTC, NaT where missing.

    Returns:
        Whole numbers as float64 of shape ``[n]``, NaN for NaT and outside the years 2007 to 2106: ``hour_of_day``,
        ``minute_of_day``, ``day_of_week`` (Monday is 0), ``days_to_holiday`` (days to the next federal holiday on its
        own date, 0 on it). A single year cannot teach what a month does, so there is none.

    >>> departure = np.array(["2013-07-04T01:30"], dtype="datetime64[us]")  # 3 July, 21:30 in New York
    >>> {name: values.item() for name, values in calendar(departure).items()}
    {'hour_of_day': 21.0, 'minute_of_day': 1290.0, 'day_of_week': 2.0, 'days_to_holiday': 1.0}
    """
    utc = np.asarray(scheduled_at, dtype="datetime64[us]").astype(np.int64)
    is_covered = (utc >= _START) & (utc < _END)
    utc = np.where(is_covered, utc, _START)
    is_summer = np.searchsorted(_CHANGES, utc, side="right") % 2
    local = utc - (5 - is_summer) * _HOUR
    day, time_of_day = np.divmod(local, _DAY)
    next_holiday = _HOLIDAYS[np.searchsorted(_HOLIDAYS, day)]
    values = {
        "hour_of_day": time_of_day // _HOUR,
        "minute_of_day": time_of_day // (_HOUR // 60),
        "day_of_week": (day + 3) % 7,  # 1970 began on a Thursday
        "days_to_holiday": next_holiday - day,
    }
    return {name: np.where(is_covered, value, np.nan) for name, value in values.items()}


_WEEK = 7 * 24 * 60  # minutes


@on_demand(outputs={"since_last_leg": float})
def turnaround(scheduled_at: np.ndarray, last_leg_minute: np.ndarray) -> dict[str, np.ndarray]:
    """How long before a scheduled departure its plane left or landed last.

    Args:
        scheduled_at: scheduled departures, ``datetime64[us]`` of shape ``[n]``, naive UTC, NaT where missing.
        last_leg_minute: the minute of the week in which the plane did, ``[n]``, NaN where nothing is known of it.

    Returns:
        ``since_last_leg`` in minutes, float64 of shape ``[n]``, NaN where one of both is missing; a leg is less than a week ago.

    >>> departure = np.array(["2013-07-04T01:30"], dtype="datetime64[us]")  # a Thursday, 03:00 after Wednesday 22:30
    >>> turnaround(departure, np.array([2.0 * 24 * 60 + 22 * 60 + 30]))["since_last_leg"].item()
    180.0
    """
    is_there = ~np.isnat(scheduled_at)
    monday = np.datetime64("1970-01-05", "us")
    since_monday = (np.where(is_there, scheduled_at, monday) - monday).astype(np.int64) / 60_000_000
    return {"since_last_leg": np.where(is_there, (since_monday - last_leg_minute) % _WEEK, np.nan)}
