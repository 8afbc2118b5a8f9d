"""How far back an asset reads, in the partitions of any calendar: months, days of 23 hours, holidays left out."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import dagster as dg

from fti_assets.core.times import naive_utc

_INSTANT = timedelta(microseconds=1)
_YEARS = timedelta(days=5 * 366)  # every order of month lengths, leap years and changes of the clock comes within
_MOST_PARTITIONS = 20_000  # a calendar of minutes has millions in five years
_SAMPLE = 400
_WEEKS = timedelta(weeks=10)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Reach:
    """What a partition of an asset reads of another: from ``back`` before its start on.

    Args:
        back: how far; None is everything before.
        own: whether it reads on to its own end; a cutoff reads what lies before its start alone.
        ahead: how far beyond its own end it reads, as outcomes come later than what they are of.
    """

    back: timedelta | None = timedelta(0)
    own: bool = True
    ahead: timedelta = timedelta(0)

    def span_of(
        self, partitions_def: dg.TimeWindowPartitionsDefinition, start: datetime, end: datetime
    ) -> dg.TimeWindow | None:
        """The span of the reading asset's partitions that reach what lies in ``[start, end)``; None if none does.

        Args:
            partitions_def: the reading asset's partitions; those that do not exist yet count as well.
            start: an aware datetime, as ``end``.

        >>> months = dg.MonthlyPartitionsDefinition(start_date="2024-01-01")
        >>> january = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)
        >>> span = Reach(timedelta(days=31)).span_of(months, *january)
        >>> str(span.start.date()), str(span.end.date())
        ('2025-01-01', '2025-04-01')
        """
        last, start = self._last(naive_utc(end)), start - self.ahead
        if self.own:
            before = partitions_def.get_prev_partition_window(start, respect_bounds=False)
            first = start if before is None else before.end
        else:
            after = partitions_def.get_next_partition_window(start + _INSTANT, respect_bounds=False)
            assert after is not None
            first = after.start
        stop = partitions_def.get_last_partition_window()
        if stop is None:
            return None
        if last < naive_utc(stop.end):
            following = partitions_def.get_next_partition_window(last.replace(tzinfo=UTC), respect_bounds=False)
            assert following is not None
            until = following.start
        else:
            until = stop.end
        return dg.TimeWindow(first, until) if first.timestamp() < until.timestamp() else None

    def near(self, readers: Iterable[dg.TimeWindow], spans: Iterable[dg.TimeWindow]) -> list[dg.TimeWindow]:
        """Of spans of what is read those that some readers may reach, such as are read together made one.

        Args:
            readers: spans of the reading asset's partitions.
            spans: in the order of time, as ``readers``.
        """
        asking = join_spans(map(naive, readers))
        ends = [end for _, end in asking]
        results: list[tuple[datetime, datetime]] = []
        for start, end in map(naive, spans):
            # A partition between the two that reaches back to the first reaches the second as well.
            if results and start - self.ahead < self._last(results[-1][1]):
                results[-1] = (results[-1][0], end)
                continue
            first = bisect_right(ends, start - self.ahead)
            if first < len(asking) and asking[first][0] < self._last(end):
                results.append((start, end))
        return [dg.TimeWindow(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)) for start, end in results]

    def _last(self, end: datetime) -> datetime:
        """Before which a partition has to start that reaches back to what ends then."""
        try:
            return datetime.max if self.back is None else end + self.back
        except OverflowError:
            return datetime.max


def naive(span: dg.TimeWindow) -> tuple[datetime, datetime]:
    """The ends of a span as naive UTC: aware ones of a time zone compare by its clock, which is set back once a year."""
    return naive_utc(span.start), naive_utc(span.end)


def join_spans(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Spans in the order of time, those that overlap or adjoin made one.

    >>> day = [datetime(2024, 1, number) for number in range(1, 8)]
    >>> join_spans([(day[4], day[6]), (day[0], day[2]), (day[2], day[3])]) == [(day[0], day[3]), (day[4], day[6])]
    True
    """
    result: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


@lru_cache(maxsize=1000)
def partitions_back(partitions_def: dg.TimeWindowPartitionsDefinition, reach: timedelta) -> int:
    """How many partitions before its own one must at most see to reach back by ``reach``, over the whole calendar.

    A mapping of Dagster's own has one such number for all partitions, so it takes the largest: February is short, and a day on
    which the clock is set forward too. What a single partition reads is ``Reach``.
    """
    if not reach:
        return 0
    # Of equal lengths: the answer is a division, where a calendar has to be walked.
    if partitions_def.is_basic_hourly:
        return math.ceil(reach / _HOUR)
    if partitions_def.is_basic_daily and partitions_def.timezone == "UTC":
        return math.ceil(reach / _DAY)
    start, newest = naive_utc(partitions_def.start), naive_utc(datetime.now(UTC))
    calendar = _endless(partitions_def)
    first = calendar.get_prev_partition_window((start - reach).replace(tzinfo=UTC), respect_bounds=False)
    assert first is not None
    last = max(start, newest if partitions_def.end is None else min(naive_utc(partitions_def.end), newest))
    # Ten weeks measure the calendar, so that one of minutes is not listed for years; one of leap days has none in them.
    mean_length = _WEEKS / max(1, len(_starts_between(calendar, first.start, first.start + _WEEKS)))
    stop = min(last + _YEARS, start + max(3 * reach, _MOST_PARTITIONS * mean_length))
    starts = _starts_between(calendar, first.start, stop.replace(tzinfo=UTC))
    return max(n - (bisect_right(starts, at - reach) - 1) for n, at in enumerate(starts) if at >= start)


@lru_cache(maxsize=1000)
def longest_run(partitions_def: dg.TimeWindowPartitionsDefinition, number: int) -> timedelta:
    """How long so many adjoining partitions are at most, of some 400 from the first one on or those of some 400 days.

    >>> working_days = dg.TimeWindowPartitionsDefinition(start="2024-01-01", fmt="%Y-%m-%d", cron_schedule="0 0 * * 1-5")
    >>> longest_run(working_days, 2).days
    4
    """
    if partitions_def.is_basic_hourly:
        return number * _HOUR
    if partitions_def.is_basic_daily and partitions_def.timezone == "UTC":
        return number * _DAY
    calendar, start = _endless(partitions_def), naive_utc(partitions_def.start).replace(tzinfo=UTC)
    # A year has its holidays and both changes of the clock; one of leap days has hardly any partition.
    for days in (1, 10, 30, 100, 400, 4_000, 40_000):
        starts = _starts_between(calendar, start, start + days * _DAY)
        if len(starts) > (_SAMPLE if days < _SAMPLE else number):
            break
    return max(end - begin for begin, end in zip(starts, starts[number:], strict=False))


def _endless(partitions_def: dg.TimeWindowPartitionsDefinition) -> dg.TimeWindowPartitionsDefinition:
    """The calendar without an end, with keys that are instants: Dagster lists keys far faster than time windows."""
    return dg.TimeWindowPartitionsDefinition(
        start=naive_utc(partitions_def.start).replace(tzinfo=UTC),
        fmt="%Y-%m-%dT%H:%M:%S%z",
        cron_schedule=partitions_def.cron_schedule,
        timezone=partitions_def.timezone,
        exclusions=partitions_def.exclusions,
    )


def _starts_between(calendar: dg.TimeWindowPartitionsDefinition, start: datetime, end: datetime) -> list[datetime]:
    keys = calendar.get_partition_keys_in_time_window(dg.TimeWindow(start, end))
    return [naive_utc(datetime.fromisoformat(key)) for key in keys]
