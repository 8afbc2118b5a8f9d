"""Bad input, where a user meets it: the run's own words, the other code locations, the daemon's next tick."""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fti_assets as fti
from examples.flight_delays.features import weather
from examples.flight_delays.sources import SCHEMAS, LandingZone
from fti_assets.errors import DeclarationError

HERE = Path(__file__).parent
DAY = "2013-06-01"


class Weather:
    """A home where one day's weather lands, run as its asset is."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.file = home / "landing" / "weather" / f"{DAY}.parquet"
        self.file.parent.mkdir(parents=True)
        self.stores = fti.Stores(lake=str(home / "lake"), online=str(home / "online"))
        self.instance = instance

    def rows(self, hours: int) -> pa.Table:
        at = [f"{DAY}T{hour:02}:00" for hour in range(hours)]
        known = [f"{DAY}T{hour + 1:02}:00" for hour in range(hours)]
        columns: dict[str, Any] = {"origin": ["JFK"] * hours, "temp": [70.0] * hours, "humid": [50.0] * hours}
        columns["observed_at"] = pa.array(at).cast(pa.timestamp("us"))
        columns["known_at"] = pa.array(known).cast(pa.timestamp("us"))
        empty = {name: [None] * hours for name in SCHEMAS["weather"].names if name not in columns}
        return pa.table({**columns, **empty}).select(SCHEMAS["weather"].names).cast(SCHEMAS["weather"])

    def run(self) -> str:
        """Materialize the day; the words of the failure, or nothing."""
        result = dg.materialize(
            [weather.assets_def],
            instance=self.instance,
            resources={"fti": self.stores, "landing": LandingZone(folder=str(self.file.parents[1]))},
            partition_key=DAY,
            raise_on_error=False,
        )
        if result.success:
            return ""
        error = result.get_step_failure_events()[0].step_failure_data.error
        return str(error.cause.message if error.cause else error.message)

    def stored(self) -> int:
        return len(fti.read(weather, stores=self.stores))


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Weather]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Weather(tmp_path, instance)


def test_half_written_file_fails_with_its_name_and_stored_rows_stay(day: Weather) -> None:
    pq.write_table(day.rows(5), day.file)
    assert day.run() == ""
    whole = day.file.read_bytes()
    day.file.write_bytes(whole[: len(whole) // 2])
    result = day.run()
    assert f"{day.file} cannot be read as Parquet" in result
    assert "to land all of" in result
    assert day.stored() == 5
    pq.write_table(day.rows(6), day.file)
    assert day.run() == ""
    assert day.stored() == 6


def test_file_of_another_schema_fails_with_column_and_stored_rows_stay(day: Weather) -> None:
    pq.write_table(day.rows(5), day.file)
    assert day.run() == ""
    pq.write_table(day.rows(7).rename_columns(["airport", *SCHEMAS["weather"].names[1:]]), day.file)
    assert f"{day.file} is not a file of 'weather': column 'origin' is missing" in day.run()
    assert day.stored() == 5


def test_day_that_has_not_landed_fails_with_how_to_land_it(day: Weather) -> None:
    assert f"{day.file} has not landed" in day.run()


BROKEN = """
import pandas as pd
import fti_assets as fti

@fti.feature_group(keys=["origin"], event_time="observed_at", online=True)
def weather() -> pd.DataFrame: ...

defs = fti.build_definitions([weather])
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two code locations, one of which declares something impossible."""
    (tmp_path / "broken.py").write_text(BROKEN)
    file = tmp_path / "workspace.yaml"
    file.write_text(
        f"load_from:\n  - python_file: {{relative_path: {HERE / 'habits_system.py'}, location_name: shop}}\n"
        "  - python_file: {relative_path: broken.py, location_name: broken}\n"
    )
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return file


@pytest.fixture
def webserver(workspace: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = workspace.parent
    command = [str(Path(sys.executable).with_name("dagster-webserver")), "-w", str(workspace)]
    with (folder / "webserver.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, "DAGSTER_HOME": str(folder / "dagster"), "FTI_HOME": str(folder / "fti")},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((folder / "webserver.log").read_text()[-4000:])
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
  ... on RepositoryLocation { repositories { assetNodes { id } } }
  ... on PythonError { message cause { message } causes { message } } } } } } }
"""


SAID = (
    "feature group weather_v1 is online but does not say when its rows can be used",
    "name the available_at column, or state serving_delay",
)


def test_code_location_that_declares_the_impossible_says_why(workspace: Path) -> None:
    with pytest.raises(DeclarationError) as result:
        runpy.run_path(str(workspace.with_name("broken.py")))
    for words in SAID:
        assert words in str(result.value)


@pytest.mark.soak
def test_code_location_that_fails_to_load_says_why_and_others_stay(webserver: str) -> None:
    request = urllib.request.Request(
        f"{webserver}/graphql", json.dumps({"query": LOCATIONS}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        entries = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
    results = {entry["name"]: entry["locationOrLoadError"] for entry in entries}
    assert len(results["shop"]["repositories"][0]["assetNodes"]) >= 5
    result = json.dumps(results["broken"])
    for words in SAID:
        assert words in result
