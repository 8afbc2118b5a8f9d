"""Dagster's own command line over the code location: its exit codes, and what it says when rows are refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fti_assets as fti
from examples.flight_delays.features import planes, weather
from examples.flight_delays.sources import SCHEMAS, LandingZone
from fti_assets import testing

ROOT = Path(__file__).parents[2]
DAGSTER = Path(sys.executable).parent / "dagster"
DAYS = ["2013-06-01", "2013-06-02", "2013-06-03"]
ORIGINS = ["EWR", "JFK", "LGA"]
PLANES = {
    "tailnum": ["N1", "N2"],
    "year": [2004.0, None],
    "seats": [200, 55],
    "engines": [2, 2],
    "manufacturer": ["EMBRAER", "AIRBUS"],
    "engine": ["Turbo-fan", "Turbo-fan"],
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home where two planes and some days of weather have landed."""
    land(tmp_path, "planes", "planes", PLANES)
    for day in DAYS:
        land(tmp_path, "weather", day, weather_of(day))
    return tmp_path


def land(home: Path, source: str, name: str, rows: dict[str, Any]) -> None:
    folder = home / "landing" / source
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows, SCHEMAS[source]), folder / f"{name}.parquet")


def weather_of(day: str, **measured: Any) -> dict[str, Any]:
    """An hourly row an airport."""
    hours = np.arange(f"{day}T00", f"{day}T23:59", np.timedelta64(1, "h"), dtype="datetime64[us]").repeat(len(ORIGINS))
    usual = {"temp": 70.0, "dewp": 60.0, "humid": 50.0, "wind_dir": 90.0, "wind_speed": 8.0, "wind_gust": None,
             "precip": 0.0, "pressure": 1013.0, "visib": 10.0}  # fmt: skip
    columns = {name: [value] * len(hours) for name, value in (usual | measured).items()}
    return {"origin": ORIGINS * 24, "observed_at": hours, "known_at": hours + np.timedelta64(1, "h"), **columns}


def dagster(home: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of a command, and all that it wrote."""
    (home / "dagster").mkdir(exist_ok=True)
    shutil.copy(ROOT / "dagster.yaml", home / "dagster")
    done = subprocess.run(
        [DAGSTER, *arguments],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("FTI_", "DAGSTER_"))},
            "FTI_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout


def materialize(home: Path, asset: str, *partitions: str) -> tuple[int, str]:
    return dagster(home, "asset", "materialize", "-f", "definitions.py", "--select", asset, *partitions)


def stores(home: Path) -> fti.Stores:
    return fti.Stores(**{name: str(home / name) for name in ("lake", "models", "online")})


def test_the_workspace_loads(home: Path) -> None:
    code, result = dagster(home, "definitions", "validate", "-w", "workspace.yaml")
    assert code == 0, result
    assert "All code locations passed validation" in result


@pytest.mark.soak  # the tutorial's commands show it too, in the tests' own process
def test_a_lookup_is_materialized_without_a_partition(home: Path) -> None:
    code, result = materialize(home, "planes_v1")
    assert code == 0, result
    assert fti.read(planes, stores=stores(home))["tailnum"].tolist() == ["N1", "N2"]
    assert stores(home).online_store().namespaces() == ("planes_v1",)


@pytest.mark.soak  # rows that a rule refuses, and files that do, are tested in the tests' own process
def test_stored_rows_stay_when_new_ones_are_refused(home: Path) -> None:
    landing = LandingZone(folder=str(home / "landing"))
    testing.materialize(weather, stores=stores(home), partition="2013-06-01", resources={"landing": landing})
    stored = fti.read(weather, stores=stores(home))
    assert stored["precip"].tolist() == [0.0] * 72

    land(home, "weather", "2013-06-01", weather_of("2013-06-01", precip=-0.5, temp=71.0))
    # In a process of its own: where another test has imported the definitions here, they have its folders.
    code, result = materialize(home, "weather_v1", "--partition", "2013-06-01")
    assert code == 1, result
    assert "precip: greater_than_or_equal_to(0): 72 of 72 rows break it, such as -0.5" in result
    [rejected] = (home / "lake" / "rejected" / "weather_v1").iterdir()
    assert "nothing was stored, because precip: greater_than_or_equal_to(0): 72 of 72 rows break it" in result
    assert f"The failing rows are kept in {rejected}" in result
    assert len(rejected.read_text().splitlines()) == 72
    assert fti.read(weather, stores=stores(home)).equals(stored)


@pytest.mark.soak  # the tutorial's commands show it too, in the tests' own process
def test_a_range_of_partitions_is_one_run(home: Path) -> None:
    land(home, "weather", "2013-06-03", weather_of("2013-06-03", wind_speed=1_048.0))  # a rule that only warns
    code, result = materialize(home, "weather_v1", "--partition-range", "2013-06-01...2013-06-03")
    assert code == 0, result
    assert "wind_speed: less_than_or_equal_to(150): 72 of 216 rows break it" in result
    with stores(home).offline_store().connect() as lake:
        ledger = lake.ledger(weather.table)
    assert {day: record.rows for day, record in ledger.items()} == dict.fromkeys(DAYS, 72)
    assert len({record.run_id for record in ledger.values()}) == 1
