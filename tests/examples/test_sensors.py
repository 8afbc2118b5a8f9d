"""The flagship's sensor over a landing folder of real files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from examples.flight_delays import sources
from examples.flight_delays.definitions import defs
from examples.flight_delays.sensors import new_landings


class Landed:
    """A folder to which days are copied, and the sensor over it."""

    def __init__(self, whole: Path, folder: Path, instance: dg.DagsterInstance) -> None:
        self.whole, self.folder, self.instance, self.cursor = whole, folder, instance, None

    def land(self, source: str, *names: str) -> None:
        for name in names:
            (self.folder / source).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.whole / source / f"{name}.parquet", self.folder / source / f"{name}.parquet")

    def tick(self) -> list[tuple[Any, ...]]:
        with dg.build_sensor_context(
            self.instance,
            cursor=self.cursor,
            definitions=defs,
            sensor_name=new_landings.name,
            resources={"landing": sources.LandingZone(folder=str(self.folder))},
        ) as context:
            result = new_landings.evaluate_tick(context)
        self.cursor = result.cursor
        requests = []
        for request in result.run_requests or []:
            first = request.tags.get("dagster/asset_partition_range_start") or request.partition_key
            last = request.tags.get("dagster/asset_partition_range_end") or first
            requests.append((sorted(key.to_user_string() for key in request.asset_selection or []), first, last))
        return requests


@pytest.fixture
def watched(landing_folder: Path, tmp_path: Path) -> Iterator[Landed]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Landed(landing_folder, tmp_path / "landing", instance)


def test_folder_that_is_not_there_yet_asks_for_nothing(watched: Landed) -> None:
    assert watched.tick() == []


def test_landed_data_is_requested_once_per_version(watched: Landed) -> None:
    for source in ("schedule", "departures", "arrivals", "weather"):
        watched.land(source, "2013-01-01", "2013-01-02", "2013-01-03")
    watched.land("planes", "planes")
    every = ["arrivals_v1", "departures_v1", "schedule_v1", "weather_v1"]
    assert watched.tick() == [(every, "2013-01-01", "2013-01-03"), (["planes_v1"], None, None)]
    assert watched.tick() == []
    watched.land("weather", "2013-01-02")
    assert watched.tick() == [(["weather_v1"], "2013-01-02", "2013-01-02")]


def test_sensors_of_system_run_without_being_turned_on() -> None:
    sensors = {sensor.name: sensor.default_status.value for sensor in defs.sensors or []}
    assert sensors == {
        "new_landings": "RUNNING",
        "flight_delays_features_and_training": "RUNNING",
        "flight_delays_inference": "RUNNING",
        "delay_quality_v1_late_labels": "RUNNING",
    }


def test_lake_of_system_is_kept_small_every_night() -> None:
    (schedule,) = defs.schedules or []
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert (schedule.job_name, schedule.cron_schedule, schedule.default_status.value) == (
        "upkeep",
        "0 3 * * *",
        "RUNNING",
    )
    assert defs.resolve_job_def("upkeep").name == "upkeep"
