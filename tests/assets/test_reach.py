"""How far back windows read, on any calendar, against what each window's instants say."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache

import dagster as dg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fti_assets.core.times import Partition
from fti_assets.features.asset import beta_accepted
from fti_assets.orchestration.conditions.reach import Reach, partitions_back
from fti_assets.orchestration.partitions import partitions_between, partitions_of
from tests.support.examples import examples

END = "2025-06-02"  # a Monday, on which the last working day ends too
NEW_YORK, BERLIN, UTC_ZONE = "America/New_York", "Europe/Berlin", "UTC"


def cron(schedule: str, timezone: str = UTC_ZONE, **options: object) -> dg.TimeWindowPartitionsDefinition:
    fmt = "%Y-%m-%dT%H:%M"
    return dg.TimeWindowPartitionsDefinition(
        start="2023-11-02T00:00", end=f"{END}T00:00", fmt=fmt, cron_schedule=schedule, timezone=timezone, **options
    )


CALENDARS: dict[str, dg.TimeWindowPartitionsDefinition] = {
    "months": dg.MonthlyPartitionsDefinition(start_date="2023-11-01", end_date=END),
    "months of New York": dg.MonthlyPartitionsDefinition(start_date="2023-11-01", end_date=END, timezone=NEW_YORK),
    "days": dg.DailyPartitionsDefinition(start_date="2023-11-01", end_date="2024-12-01"),
    "days of New York": dg.DailyPartitionsDefinition(start_date="2023-11-01", end_date=END, timezone=NEW_YORK),
    "days of Berlin from six": dg.DailyPartitionsDefinition(
        start_date="2023-11-01", end_date=END, timezone=BERLIN, hour_offset=6
    ),
    "weeks of Berlin": dg.WeeklyPartitionsDefinition(start_date="2023-11-05", timezone=BERLIN),
    "weeks": dg.WeeklyPartitionsDefinition(start_date="2023-11-05", end_offset=1),
    "working days": cron("0 0 * * 1-5"),
    "the 1st and the 15th": cron("0 0 1,15 * *", BERLIN),
    "quarters": cron("0 0 1 */3 *"),
    "six hours": cron("0 */6 * * *", NEW_YORK),
    "leap days": cron("0 0 29 2 *"),
    "without holidays": cron("0 0 * * *", exclusions=["0 0 25 12 *", "0 0 1 1 *", "0 0 * * 0"]),
}
REACHES = [timedelta(0), timedelta(hours=1), *(timedelta(days=days) for days in (1, 2, 7, 28, 29, 30, 31, 59, 62, 90))]
INSTANTS = st.integers(min_value=0, max_value=500 * 24 * 4).map(
    lambda n: datetime(2023, 11, 5) + n * timedelta(minutes=15)
)
NAMES = st.sampled_from(sorted(CALENDARS))


@cache
def windows(name: str) -> list[Partition]:
    """A calendar's windows, made when a test first asks: importing this module makes none."""
    return partitions_of(CALENDARS[name], CALENDARS[name].get_partition_keys())


def reads(reader: Partition, back: timedelta | None, own: bool) -> tuple[datetime, datetime]:
    assert reader.start is not None
    assert reader.end is not None
    return datetime.min if back is None else reader.start - back, reader.end if own else reader.start


@settings(deadline=None, max_examples=examples(300))
@given(
    reader=NAMES,
    back=st.sampled_from([*REACHES, None]),
    own=st.booleans(),
    start=INSTANTS,
    length=st.sampled_from([timedelta(minutes=15), timedelta(days=1), timedelta(days=31), timedelta(days=200)]),
)
@example(reader="months", back=timedelta(days=31), own=True, start=datetime(2024, 1, 1), length=timedelta(days=31))
def test_exactly_the_windows_that_reach_a_span_are_touched(
    reader: str, back: timedelta | None, own: bool, start: datetime, length: timedelta
) -> None:
    end, calendar = start + length, CALENDARS[reader]
    span = Reach(back, own).span_of(calendar, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    result = set() if span is None else set(calendar.get_partition_keys_in_time_window(span))
    oracle = set()
    for window in windows(reader):
        first, last = reads(window, back, own)
        oracle |= {window.key} if first < end and last > start else set()
    assert result & {window.key for window in windows(reader)} == oracle


# Ten thousand windows of six hours are looked at a reach: two reaches show what twelve do.
FEW = {"six hours": (timedelta(hours=1), timedelta(days=31))}


@pytest.mark.soak
@pytest.mark.parametrize(
    ("reach", "name"),
    [
        pytest.param(reach, name, id=f"{reach}-{name}")
        for reach in REACHES
        for name in CALENDARS
        if reach in FEW.get(name, REACHES)
    ],
)
def test_dagsters_mapping_reaches_exactly_far_enough(name: str, reach: timedelta) -> None:
    calendar, every = CALENDARS[name], windows(name)
    back = partitions_back(calendar, reach)
    assert back >= 0
    ends = [window.end for window in every]
    needed = [
        number - bisect_right(ends, window.start - reach)
        for number, window in enumerate(every)
        if window.start - reach >= every[0].start
    ]
    assert back >= max(needed, default=0)
    if name not in ("quarters", "leap days") and needed:
        assert back <= max(needed) + 1


@settings(deadline=None, max_examples=examples(150))
@given(
    reader=st.sampled_from(["months", "days", "weeks", "quarters", "working days"]),
    upstream=st.sampled_from(["months", "days", "weeks", "working days"]),
    reach=st.sampled_from(REACHES),
    number=st.integers(0, 400),
)
@example(reader="months", upstream="months", reach=timedelta(days=31), number=4)
@example(
    reader="weeks", upstream="months", reach=timedelta(0), number=82
)  # in the month that the calendar's end cuts off
def test_dagster_maps_a_window_to_all_that_it_reads(reader: str, upstream: str, reach: timedelta, number: int) -> None:
    calendar, source = CALENDARS[reader], CALENDARS[upstream]
    window = windows(reader)[number % len(windows(reader))]
    with beta_accepted():
        mapping = dg.TimeWindowPartitionMapping(
            start_offset=-partitions_back(calendar, reach), allow_nonexistent_upstream_partitions=True
        )
    mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(
        calendar.subset_with_partition_keys([window.key]), calendar, source
    ).partitions_subset.get_partition_keys()
    assert window.start is not None
    assert window.end is not None
    assert {w.key for w in partitions_between(source, window.start - reach, window.end)} <= set(mapped)
