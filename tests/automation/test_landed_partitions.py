"""The keys of partitions that are kept from tick to tick are those that Dagster lists."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from fti_assets.orchestration.sensors import landed_partitions
from fti_assets.orchestration.sensors.landed_partitions import every_key

DEFINITIONS = {
    "hours over a clock that is set back": dg.HourlyPartitionsDefinition("2024-10-26-00:00", timezone="Europe/Berlin"),
    "days over a clock that is set forward": dg.DailyPartitionsDefinition("2024-03-01", timezone="Europe/Berlin"),
    "months": dg.MonthlyPartitionsDefinition("2023-01-01"),
    "weeks and the one to come": dg.WeeklyPartitionsDefinition("2023-01-01", end_offset=1),
    "days that end": dg.DailyPartitionsDefinition("2024-10-01", end_date="2024-11-01"),
    "days before the last two": dg.DailyPartitionsDefinition("2024-10-01", end_offset=-2),
    "working days": dg.TimeWindowPartitionsDefinition(
        start="2024-10-01", fmt="%Y-%m-%d", cron_schedule="0 0 * * *", exclusions=["0 0 * * 0", "0 0 * * 6"]
    ),
    "days that have not begun": dg.DailyPartitionsDefinition("2024-11-03"),
}


@pytest.fixture(autouse=True)
def nothing_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landed_partitions, "_LISTED", {})


@pytest.mark.parametrize("name", DEFINITIONS)
def test_keys_are_those_of_dagster_at_every_instant(name: str) -> None:
    partitions_def, start = DEFINITIONS[name], datetime(2024, 10, 26, 22, tzinfo=UTC)
    steps = [*range(0, 12), *range(12, 400, 13), 390, 5, 6, 700]  # the clock is set back, too
    for hours in steps:
        with freeze_time(start + timedelta(hours=hours)):
            assert list(every_key(partitions_def)) == list(partitions_def.get_partition_keys())


def test_no_more_than_a_few_definitions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landed_partitions, "_MOST_LISTED", 3)
    for day in range(1, 9):
        every_key(dg.DailyPartitionsDefinition(f"2024-01-0{day}", end_date="2024-02-01"))
    assert len(landed_partitions._LISTED) == 3


def test_hours_are_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hours, listings = dg.HourlyPartitionsDefinition("2024-10-26-00:00"), list[str]()
    list_all = dg.TimeWindowPartitionsDefinition.get_partition_keys
    with freeze_time(datetime(2024, 10, 28, tzinfo=UTC)):
        every_key(hours)

    def get_partition_keys(self: Any, *arguments: Any, **named: Any) -> Any:
        listings.append(str(self))
        return list_all(self, *arguments, **named)

    monkeypatch.setattr(dg.TimeWindowPartitionsDefinition, "get_partition_keys", get_partition_keys)
    for hour in range(1, 9):
        with freeze_time(datetime(2024, 10, 28, hour, tzinfo=UTC)):
            assert len(every_key(hours)) == 48 + hour
    assert not listings
