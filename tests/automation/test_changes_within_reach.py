"""Which partitions a change asks for, on calendars of uneven windows, against what each window reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.orchestration.partitions import partitions_of
from tests.automation.test_conditions import report

NOW = datetime(2025, 7, 2, 12)
BERLIN = "Europe/Berlin"
MONTHS = dg.MonthlyPartitionsDefinition(start_date="2024-10-01", end_date="2025-07-01")
CALENDARS = {
    "months": MONTHS,
    "days": dg.DailyPartitionsDefinition(start_date="2025-03-01", end_date="2025-04-20", timezone=BERLIN),
    "weeks": dg.WeeklyPartitionsDefinition(start_date="2025-01-05", end_date="2025-06-01"),
    "working days": dg.TimeWindowPartitionsDefinition(
        start="2025-05-01", end="2025-06-10", fmt="%Y-%m-%d", cron_schedule="0 0 * * 1-5"
    ),
}


def asked_for(
    calendar: dg.TimeWindowPartitionsDefinition, lookback: str, corrected: str, absent: tuple[str, ...] = ()
) -> set[str]:
    """What a correction of one partition of an input asks for, when some are missing."""

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=calendar)
    def events() -> pd.DataFrame: ...

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=calendar, lookback=lookback)
    def sums(events: fti.Table) -> fti.Table: ...

    defs, cursor = fti.build_definitions([sums]), None
    with dg.DagsterInstance.ephemeral() as instance:
        report(instance, events.key, *(key for key in calendar.get_partition_keys() if key not in absent))
        for minute in range(2):
            with clock.at(NOW):
                at = (NOW + timedelta(minutes=minute)).replace(tzinfo=UTC)
                tick: Any = dg.evaluate_automation_conditions(
                    defs, instance, dg.AssetSelection.assets(sums.key), evaluation_time=at, cursor=cursor
                )
            cursor = tick.cursor
            if minute == 0:
                report(instance, events.key, corrected, early=True)
        return set(tick.get_requested_partitions(sums.key))


def test_january_correction_reaches_march_over_short_february() -> None:
    assert asked_for(MONTHS, "31d", "2025-01-01") == {"2025-01-01", "2025-02-01", "2025-03-01"}
    assert asked_for(MONTHS, "31d", "2025-02-01") == {"2025-02-01", "2025-03-01"}
    assert asked_for(MONTHS, "31d", "2025-03-01") == {"2025-03-01", "2025-04-01", "2025-05-01"}


def test_a_month_beyond_the_reach_may_be_missing() -> None:
    absent = ("2025-01-01",)
    assert asked_for(MONTHS, "31d", "2025-03-01", absent) == {"2025-04-01", "2025-05-01"}, "March reads January"


@pytest.mark.parametrize("name", CALENDARS)
@pytest.mark.parametrize("lookback", ["1h", "1d", "7d", "30d"])
def test_correction_asks_for_exactly_windows_that_read_it(name: str, lookback: str) -> None:
    calendar, back = CALENDARS[name], timedelta(hours=1) if lookback == "1h" else timedelta(days=int(lookback[:-1]))
    windows = partitions_of(calendar, calendar.get_partition_keys())
    corrected = windows[len(windows) // 3]
    assert corrected.start is not None
    assert corrected.end is not None
    oracle = {
        window.key
        for window in windows
        if window.start is not None
        and window.end is not None
        and window.start - back < corrected.end
        and window.end > corrected.start
    }
    assert asked_for(calendar, lookback, corrected.key) == oracle
