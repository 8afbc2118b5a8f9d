"""Windows of partitions against what their definition lists."""

from __future__ import annotations

from datetime import datetime, timedelta

import dagster as dg
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.orchestration.partitions import partitions_between, partitions_of
from tests.support.examples import examples

DEFINITIONS: list[dg.TimeWindowPartitionsDefinition] = [
    dg.DailyPartitionsDefinition(start_date="2024-01-03", end_date="2024-04-20"),
    dg.WeeklyPartitionsDefinition(start_date="2024-01-03"),
    dg.MonthlyPartitionsDefinition(start_date="2023-11-01", end_offset=1),
    dg.DailyPartitionsDefinition(start_date="2024-01-03", timezone="America/New_York"),
    dg.MonthlyPartitionsDefinition(start_date="2023-11-01", end_date="2024-04-20"),
    dg.MonthlyPartitionsDefinition(start_date="2023-11-01", end_date="2024-04-01"),
    dg.WeeklyPartitionsDefinition(start_date="2024-01-03", end_date="2024-04-18"),
    *(
        dg.TimeWindowPartitionsDefinition(
            start="2023-12-01", end=end, fmt="%Y-%m-%d", cron_schedule="0 0 * * *", exclusions=["0 0 * * 0,6"]
        )
        for end in ("2024-04-12", "2024-04-13", "2024-04-14", "2024-04-15")  # a Friday to a Monday
    ),
    dg.TimeWindowPartitionsDefinition(
        start="2023-12-01", end="2024-04-13", fmt="%Y-%m-%d", cron_schedule="0 0 * * 1-5", timezone="Europe/Berlin"
    ),
]
INSTANTS = st.integers(min_value=0, max_value=120 * 24).map(lambda hours: datetime(2024, 1, 1) + timedelta(hours=hours))


@settings(deadline=None, max_examples=examples(1_000))
@given(partitions_def=st.sampled_from(DEFINITIONS), start=INSTANTS, length=st.integers(min_value=1, max_value=30 * 24))
def test_every_window_that_overlaps_span_is_found(
    partitions_def: dg.TimeWindowPartitionsDefinition, start: datetime, length: int
) -> None:
    end = start + timedelta(hours=length)
    every = partitions_of(partitions_def, partitions_def.get_partition_keys())
    overlapping = [w for w in every if w.start is not None and w.end is not None and w.start < end and w.end > start]
    assert partitions_between(partitions_def, start, end) == overlapping
