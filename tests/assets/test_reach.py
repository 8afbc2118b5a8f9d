"""How far back windows read, on any calendar, against what each window's instants say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fti_assets.core.times import Window
from fti_assets.features.asset import beta_accepted
from fti_assets.orchestration.conditions.reach import Reach, partitions_back
from fti_assets.orchestration.partitions import windows_between, windows_of

NEW_YORK, BERLIN, UTC_ZONE = "America/New_York", "Europe/Berlin", "UTC"


def cron(schedule: str, timezone: str = UTC_ZONE, **options: object) -> dg.TimeWindowPartitionsDefinition:
    return dg.TimeWindowPartitionsDefinition(
        start="2023-11-02T00:00", fmt="%Y-%m-%dT%H:%M", cron_schedule=schedule, timezone=timezone, **options
    )


CALENDARS: dict[str, dg.TimeWindowPartitionsDefinition] = {
    "months": dg.MonthlyPartitionsDefinition(start_date="2023-11-01", end_date="2025-06-01"),
    "months of New York": dg.MonthlyPartitionsDefinition(start_date="2023-11-01", timezone=NEW_YORK),
    "days": dg.DailyPartitionsDefinition(start_date="2023-11-01", end_date="2024-12-01"),
    "days of New York": dg.DailyPartitionsDefinition(start_date="2023-11-01", timezone=NEW_YORK, end_offset=1),
    "days of Berlin from six": dg.DailyPartitionsDefinition(start_date="2023-11-01", timezone=BERLIN, hour_offset=6),
    "weeks of Berlin": dg.WeeklyPartitionsDefinition(start_date="2023-11-05", timezone=BERLIN),
    "weeks": dg.WeeklyPartitionsDefinition(start_date="2023-11-05", end_offset=1),
    "working days": cron("0 0 * * 1-5"),
    "the 1st and the 15th": cron("0 0 1,15 * *", BERLIN),
    "quarters": cron("0 0 1 */3 *"),
    "six hours": cron("0 */6 * * *", NEW_YORK),
    "without holidays": cron("0 0 * * *", exclusions=["0 0 25 12 *", "0 0 1 1 *", "0 0 * * 0"]),
}
REACHES = [timedelta(0), timedelta(hours=1), *(timedelta(days=days) for days in (1, 2, 7, 28, 29, 30, 31, 59, 62, 90))]
INSTANTS = st.integers(min_value=0, max_value=500 * 24 * 4).map(
    lambda n: datetime(2023, 11, 5) + n * timedelta(minutes=15)
)
NAMES = st.sampled_from(sorted(CALENDARS))


def windows(calendar: dg.TimeWindowPartitionsDefinition) -> list[Window]:
    return windows_of(calendar, calendar.get_partition_keys())


def reads(reader: Window, back: timedelta | None, own: bool) -> tuple[datetime, datetime]:
    assert reader.start is not None
    assert reader.end is not None
    return datetime.min if back is None else reader.start - back, reader.end if own else reader.start


EVERY = {name: windows(calendar) for name, calendar in CALENDARS.items()}


@settings(deadline=None, max_examples=300)
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
    span = Reach(back, own).touched(calendar, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    found = set() if span is None else set(calendar.get_partition_keys_in_time_window(span))
    oracle = set()
    for window in EVERY[reader]:
        first, last = reads(window, back, own)
        oracle |= {window.key} if first < end and last > start else set()
    assert found & {window.key for window in EVERY[reader]} == oracle


@pytest.mark.parametrize("name", CALENDARS)
@pytest.mark.parametrize("reach", REACHES, ids=str)
def test_dagsters_mapping_reaches_as_far_as_any_window_and_no_partition_further(name: str, reach: timedelta) -> None:
    calendar, every = CALENDARS[name], EVERY[name]
    back = partitions_back(calendar, reach)
    assert back >= 0
    needed = []
    for number, window in enumerate(every):
        assert window.start is not None
        assert every[0].start is not None
        if window.start - reach >= every[0].start:
            earlier = [other for other in every[:number] if other.end is not None and other.end > window.start - reach]
            needed.append(len(earlier))
    assert back >= max(needed, default=0)
    if name not in ("quarters",) and needed:
        assert back <= max(needed) + 1


@settings(deadline=None, max_examples=150)
@given(
    reader=st.sampled_from(["months", "days", "weeks", "quarters", "working days"]),
    upstream=st.sampled_from(["months", "days", "weeks", "working days"]),
    reach=st.sampled_from(REACHES),
    number=st.integers(0, 400),
)
@example(reader="months", upstream="months", reach=timedelta(days=31), number=4)
def test_dagster_maps_a_window_to_all_that_it_reads(reader: str, upstream: str, reach: timedelta, number: int) -> None:
    calendar, source = CALENDARS[reader], CALENDARS[upstream]
    window = EVERY[reader][number % len(EVERY[reader])]
    with beta_accepted():
        mapping = dg.TimeWindowPartitionMapping(
            start_offset=-partitions_back(calendar, reach), allow_nonexistent_upstream_partitions=True
        )
    mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(
        calendar.subset_with_partition_keys([window.key]), calendar, source
    ).partitions_subset.get_partition_keys()
    assert window.start is not None
    assert window.end is not None
    assert {w.key for w in windows_between(source, window.start - reach, window.end)} <= set(mapped)
