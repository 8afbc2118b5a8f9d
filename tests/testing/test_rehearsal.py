"""A rehearsal asks sensors as the daemon does: all of them before the first run, each request once, backfills from upstream down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.errors import DeclarationError
from fti_assets.testing import Rehearsal, rehearsal, stores_in

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01")
LANDED: dict[str, str] = {}
CLOCKS: list[str] = []


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    if "broken" in LANDED.values():
        raise ValueError("half of the file is missing")
    CLOCKS.append(f"{clock.now()}")
    rows = [(key, pd.Timestamp(key), float(len(LANDED[key]))) for key in context.partition_keys]
    return pd.DataFrame(rows, columns=["id", "at", "size"])


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def sizes(visits: fti.Table) -> fti.Table:
    return visits


@fti.new_data_sensor(targets=[visits])
def landing() -> dict[Any, dict[str, str]]:
    return {visits: dict(LANDED)}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    LANDED.clear()
    CLOCKS.clear()
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def system(tmp_path: Path, *sensors: Any) -> dg.Definitions:
    return fti.build_definitions(
        [sizes], name="system", sensors=[landing, *sensors], resources={"fti": stores_in(tmp_path)}
    )


def told(runs: list[Any]) -> list[tuple[Any, ...]]:
    return [(f"{run.at:%d %H:%M}", run.sensor, run.assets, run.partitions, run.success) for run in runs]


def test_what_lands_goes_through_the_system_on_its_clock(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    tried = Rehearsal(system(tmp_path), instance)
    assert tried.settle("2024-01-01") == []
    LANDED["2024-01-01"] = "a"
    assert told(tried.settle("2024-01-02T06:00:00Z")) == [
        ("02 06:00", "landing", ("visits_v1",), ("2024-01-01", "2024-01-01"), True),
        ("02 06:01", "system_features_and_training", ("sizes_v1",), ("2024-01-01", "2024-01-01"), True),
    ]
    assert CLOCKS == ["2024-01-02 06:00:00"]
    assert tried.settle("2024-01-02T12:00:00Z") == []


def test_changes_of_several_days_become_a_run_over_their_range(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    tried = Rehearsal(system(tmp_path), instance)
    tried.settle("2024-01-01")
    LANDED.update({f"2024-01-0{day}": "a" for day in (1, 2, 3, 5)})
    runs = [(run.assets, run.partitions) for run in tried.settle("2024-01-06T06:00:00Z")]
    first, last = ("2024-01-01", "2024-01-03"), ("2024-01-05", "2024-01-05")
    assert runs == [(("visits_v1",), first), (("visits_v1",), last), (("sizes_v1",), first), (("sizes_v1",), last)]


def test_a_failed_step_says_why_and_others_go_on(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    tried = Rehearsal(system(tmp_path), instance)
    tried.settle("2024-01-01")
    LANDED["2024-01-01"] = "broken"
    (run,) = tried.settle("2024-01-02T06:00:00Z")
    assert not run.success
    assert run.failures["visits_v1"].endswith("half of the file is missing")


@pytest.mark.soak
def test_a_request_of_the_same_key_is_run_once(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    @dg.sensor(target=[visits.assets_def], default_status=dg.DefaultSensorStatus.RUNNING)
    def each_time() -> dg.RunRequest:
        return dg.RunRequest(run_key="same", partition_key="2024-01-01", asset_selection=[visits.key])

    LANDED["2024-01-01"] = "a"
    tried = Rehearsal(system(tmp_path, each_time), instance)
    tried.settle("2024-01-02")
    assert [run.sensor for run in tried.runs].count("each_time") == 1


def test_a_system_that_never_settles_is_refused(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.sensor(target=[visits.assets_def], default_status=dg.DefaultSensorStatus.RUNNING)
    def restless() -> dg.RunRequest:
        return dg.RunRequest(partition_key="2024-01-01", asset_selection=[visits.key])

    monkeypatch.setattr(rehearsal, "_MOST_ROUNDS", 3)
    LANDED["2024-01-01"] = "a"
    with pytest.raises(DeclarationError, match="does not settle.*visits_v1.*restless"):
        Rehearsal(system(tmp_path, restless), instance).settle("2024-01-02")
