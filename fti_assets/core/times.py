"""Durations and instants as the declarations write them: ``"7d"``, ISO text, datetimes; naive means UTC."""

import re
from datetime import UTC, datetime, timedelta

from fti_assets.core.records import record
from fti_assets.errors import DeclarationError, excerpt

_UNITS = {"ms": "milliseconds", "s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(\d+)\s*(ms|s|min|h|d|w)")
_LONGEST = timedelta(days=1_000_000)
EPOCH = datetime(1970, 1, 1)
LIFETIME, LIFETIME_LENGTH = "lifetime", _LONGEST
"""All that came before, as a declaration writes it, and as a length that no two times are apart."""


def duration(value: str | timedelta, *, what: str = "duration") -> timedelta:
    """Parse a duration: a ``timedelta``, or text of a whole number and a unit.

    >>> duration("36h")
    datetime.timedelta(days=1, seconds=43200)

    Raises:
        DeclarationError: the text is not a number followed by ms, s, min, h, d or w, or the duration is negative.
    """
    if isinstance(value, timedelta):
        result = value
    else:
        match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise DeclarationError(
                f"{what} {excerpt(value)} is not a duration: write a timedelta, or a whole number and one of ms, s, min, h, d, w, "
                "such as '90min' or '7d'"
            )
        try:
            result = timedelta(**{_UNITS[match[2]]: int(match[1])})
        except (OverflowError, ValueError) as error:  # the second of more than 4,300 digits
            raise DeclarationError(f"{what} {excerpt(value)} is longer than {_LONGEST.days:,} days") from error
    if result > _LONGEST:
        raise DeclarationError(
            f"{what} {excerpt(value)} is longer than {_LONGEST.days:,} days, which no row's time can reach"
        )
    if result < timedelta(0):
        raise DeclarationError(f"{what} {excerpt(value)} is negative")
    return result


def lookback_of(value: str | timedelta | None, *, what: str = "lookback") -> timedelta:
    """Parse how far back something is read: a duration, none, or ``"lifetime"`` for ``LIFETIME_LENGTH``.

    >>> lookback_of(None), lookback_of("lifetime") == LIFETIME_LENGTH
    (datetime.timedelta(0), True)
    """
    if value is None or value == LIFETIME:
        return timedelta(0) if value is None else LIFETIME_LENGTH
    return duration(value, what=what)


def back_from(at: datetime, length: timedelta) -> datetime:
    """The instant some time before another, or the first that a datetime has.

    >>> back_from(datetime(2025, 1, 8), timedelta(days=7)), back_from(datetime(2025, 1, 8), LIFETIME_LENGTH)
    (datetime.datetime(2025, 1, 1, 0, 0), datetime.datetime(1, 1, 1, 0, 0))
    """
    try:
        return at - length
    except OverflowError:
        return datetime.min


def naive_utc(value: datetime) -> datetime:
    """Convert an aware datetime to naive UTC; a naive one is taken as UTC already."""
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def instant(value: str | datetime) -> datetime:
    """Parse an instant from a datetime or ISO text into naive UTC.

    >>> instant("2013-06-01T08:00:00-04:00")
    datetime.datetime(2013, 6, 1, 12, 0)

    Raises:
        ValueError: the text is not ISO 8601, or lies outside the years 1 to 9999.
    """
    try:
        return naive_utc(value if isinstance(value, datetime) else datetime.fromisoformat(value))
    except OverflowError as error:  # an offset at the ends of what a datetime holds
        raise ValueError(f"{value} is outside the years 1 to 9999 in UTC") from error


def span(length: timedelta) -> str:
    """A length of time with its two largest units.

    >>> span(timedelta(hours=26, minutes=5)), span(timedelta(seconds=-90)), span(timedelta(0))
    ('1d 2h', '-1min 30s', '0s')
    """
    seconds = abs(length.total_seconds())
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number = seconds // size
        if number:
            parts.append(f"{number:.0f}{unit}")
        elif parts:
            break
        seconds -= number * size
    if not parts:
        return f"{length.total_seconds():g}s" if length else "0s"
    return ("-" if length < timedelta(0) else "") + " ".join(parts[:2])


def microseconds(value: datetime | timedelta) -> int:
    """Whole microseconds of a duration, or since 1970 of a naive UTC instant."""
    length = value if isinstance(value, timedelta) else value - EPOCH
    # In whole numbers: a float of seconds, as total_seconds() gives, is off by a microsecond now and then.
    return (length.days * 86_400 + length.seconds) * 1_000_000 + length.microseconds


def from_microseconds(value: int) -> datetime:
    """The naive UTC instant that is ``value`` microseconds after 1970."""
    return EPOCH + timedelta(microseconds=value)


@record(frozen=True)
class Times:
    """When a row is true, and from when on to when it answers.

    Args:
        event_time: the column that says when a row was true, None for a lookup.
        available_at: the column that says when it could first be used, else that is its event time plus ``serving_delay_us``.
        serving_delay_us: whole microseconds.
        ttl_us: how long after its event time it still answers, whole microseconds; None is for ever.
        tie_break: the column whose greatest value wins among rows of equal keys and times.
    """

    event_time: str | None = None
    available_at: str | None = None
    serving_delay_us: int = 0
    ttl_us: int | None = None
    tie_break: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that these times are told by."""
        return tuple(name for name in (self.event_time, self.available_at, self.tie_break) if name is not None)

    @property
    def have_fixed_delay(self) -> bool:
        """Whether each row becomes visible a fixed time after it is true, no two of a key at once."""
        return self.available_at is None and self.tie_break is None


@record(frozen=True)
class Partition:
    """A partition: its key, and the naive UTC instants it holds, ``start <= t < end``, if it is a span of time."""

    key: str
    start: datetime | None = None
    end: datetime | None = None
