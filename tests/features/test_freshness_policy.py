"""The freshness policy of a group: from its partitions, its serving delay and its ttl."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.orchestration.due import due_partition, longest_silence
from fti_assets.testing import MemoryStream
from tests.support.examples import examples
from tests.support.payments import payments

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01")
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
CALENDARS = {
    "days": DAYS,
    "days of New York": dg.DailyPartitionsDefinition(start_date="2024-01-01", timezone="America/New_York"),
    "working days": dg.TimeWindowPartitionsDefinition(start="2024-01-01", fmt="%Y-%m-%d", cron_schedule="0 0 * * 1-5"),
    "months": dg.MonthlyPartitionsDefinition(start_date="2024-01-01"),
}


def windows_of(**options: Any) -> tuple[timedelta | None, timedelta] | None:
    """After how long the policy of a group warns and fails."""
    terms = {"keys": ["plane"], "event_time": "at", **options}

    @fti.feature_group(**terms)
    def planes(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return pd.DataFrame()

    policy: Any = planes.assets_def.get_asset_spec().freshness_policy
    if policy is None:
        return None
    warn = None if policy.warn_window is None else policy.warn_window.to_timedelta()
    return warn, policy.fail_window.to_timedelta()


@pytest.mark.parametrize(
    ("options", "windows"),
    [
        ({}, (2 * DAY, 4 * DAY)),
        ({"serving_delay": "3h"}, (2 * DAY + 3 * HOUR, 4 * DAY + 6 * HOUR)),
        ({"ttl": "7d"}, (2 * DAY, 7 * DAY)),
        ({"ttl": "36h"}, (None, 2 * DAY)),
        ({"ttl": "48h"}, (None, 2 * DAY)),
    ],
)
def test_warns_when_overdue_and_fails_after_ttl(options: dict[str, Any], windows: Any) -> None:
    assert windows_of(partitions_def=DAYS, **options) == windows


@pytest.mark.parametrize(
    ("options", "windows"),
    [
        ({}, (DAY / 2, DAY)),
        ({"ttl": "1h"}, (HOUR / 2, HOUR)),
        ({"ttl": "7d"}, (DAY / 2, 7 * DAY)),
        ({"ttl": "1min"}, (timedelta(seconds=150), timedelta(minutes=5))),
    ],
)
def test_a_service_is_missed_before_a_partition_is_over(options: dict[str, Any], windows: Any) -> None:
    policy: Any = payments(MemoryStream("payments"), **options).assets_def.get_asset_spec().freshness_policy
    assert (policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta()) == windows


def test_no_policy_where_no_partition_is_to_come() -> None:
    def of_years(end: str) -> dg.DailyPartitionsDefinition:
        return dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date=end)

    assert windows_of(partitions_def=of_years("2014-01-01")) is None
    assert windows_of(partitions_def=of_years("2999-01-01")) is not None
    assert windows_of() is None
    assert windows_of(partitions_def=dg.StaticPartitionsDefinition(["a"])) is None


def test_no_policy_under_a_set_clock() -> None:
    with clock.at("2024-05-01T00:00:00"):
        assert windows_of(partitions_def=DAYS) is None


def test_policy_of_the_user_wins() -> None:
    own = dg.FreshnessPolicy.time_window(fail_window=HOUR)
    assert windows_of(partitions_def=DAYS, freshness_policy=own) == (None, HOUR)
    assert windows_of(partitions_def=DAYS, freshness_policy=None) is None


def test_silence_of_a_calendar_with_hardly_any_partition() -> None:
    leap_days = dg.TimeWindowPartitionsDefinition(start="2024-01-01", fmt="%Y-%m-%d", cron_schedule="0 0 29 2 *")
    assert longest_silence(leap_days, None) >= 8 * 365 * DAY


@pytest.mark.parametrize("calendar", CALENDARS)
@given(data=st.data())
@settings(max_examples=examples(45), deadline=None)
def test_silence_is_longer_only_while_due_partition_is_missing(calendar: str, data: st.DataObject) -> None:
    """Each partition is materialized between its end and its due; then what is silent for longer lacks the one that is due."""
    partitions_def: dg.TimeWindowPartitionsDefinition = CALENDARS[calendar]
    delay = data.draw(st.sampled_from([timedelta(0), HOUR, 3 * DAY]))
    silence = longest_silence(partitions_def, delay)
    start = datetime(2024, 1, 1, tzinfo=UTC) + data.draw(st.integers(0, 300)) * DAY
    spans = []
    for _ in range(5):
        window = partitions_def.get_next_partition_window(start, respect_bounds=False)
        assert window is not None
        spans.append((window.start.astimezone(UTC), window.end.astimezone(UTC)))
        start = window.end
    fraction = st.sampled_from([0.0, 0.3, 0.999])
    made = [end + data.draw(fraction) * (after[1] - end + delay) for (_, end), after in pairwise(spans)]
    gaps = [later - earlier for earlier, later in pairwise(made)]
    assert max(gaps) <= silence
    now = (made[-1] + silence).replace(tzinfo=None)
    due = due_partition(partitions_def, delay, now)
    assert due is not None
    assert due.end is not None
    assert due.end > spans[-2][1].replace(tzinfo=None), "one that was not materialized is due"
