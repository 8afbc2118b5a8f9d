"""The flagship in three code locations whose environments lack what the others need gives what it gives in one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from tests.support import flight_locations as locations
from tests.support.flights import landed_year

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:Parameter .* is currently in beta")]


def run(location: str, home: Path, landing: Path, said: str = "") -> str:
    """What a location's program prints, in an environment of its own."""
    command = [sys.executable, "-m", "tests.support.flight_locations", location, str(home), str(landing)]
    here = {**os.environ, "PYTHONPATH": str(ROOT), "FTI_HOME": str(home / "nowhere")}
    done = subprocess.run(command, cwd=ROOT, env=here, input=said, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@dataclass(frozen=True)
class Worlds:
    """The stores of the three locations, and those of one, beside which the landing zone lies."""

    split: Path
    single: Path
    landing: Path


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    landing, _ = landed_year(tmp_path_factory)
    split, single = tmp_path_factory.mktemp("split"), tmp_path_factory.mktemp("single")
    run("features", split, landing)
    shutil.copytree(split, single, dirs_exist_ok=True)
    nowhere = split / "no_landing"
    run("training", split, nowhere)
    run("inference", split, nowhere)
    with clock.at(locations.NOW):
        locations.train(single)
        locations.answer(single, locations.short_model())
    return Worlds(split, single, landing)


def ledger(home: Path, table: str) -> dict[str, tuple[str, int]]:
    from fti_assets.core.names import TableName

    with locations.stores_of(home).offline_store().connect() as lake:
        records = lake.ledger(TableName(*table.split(".")))
    return {key: (record.data_version, record.rows) for key, record in records.items()}


def test_dataset_has_same_rows(worlds: Worlds) -> None:
    [(version, rows)] = ledger(worlds.split, "datasets.short_dataset_v1").values()
    assert rows > 20_000
    assert ledger(worlds.single, "datasets.short_dataset_v1") == {locations.CUTOFF: (version, rows)}


def test_builds_learned_the_same(worlds: Worlds) -> None:
    builds = [locations.stores_of(home).model_store().champion("short_net") for home in (worlds.split, worlds.single)]
    assert builds[0].view == builds[1].view
    assert builds[0].encoders == builds[1].encoders
    assert builds[0].metrics == pytest.approx(builds[1].metrics, rel=1e-5)


def test_predictions_are_same(worlds: Worlds) -> None:
    split, single = (
        fti.read("short_predictions_v1", stores=locations.stores_of(home)).set_index("flight_id").sort_index()
        for home in (worlds.split, worlds.single)
    )
    assert len(split) > 500
    assert split["predict_at"].equals(single["predict_at"])
    pd.testing.assert_series_equal(split["probability"], single["probability"], rtol=1e-5)


def test_a_server_of_the_base_install_gives_the_batchs_answers(worlds: Worlds) -> None:
    stores = locations.stores_of(worlds.split)
    view = stores.model_store().champion("short_net").view
    flights = fti.read("schedule_v1", stores=stores, partitions=[locations.CUTOFF]).head(40)
    batch = fti.read("short_predictions_v1", stores=stores).set_index("flight_id")["probability"]
    requests = [_request(flight, [column.name for column in view.request]) for _, flight in flights.iterrows()]
    answers = json.loads(run("serving", worlds.split, worlds.landing, json.dumps(requests)))
    assert [one["value"] for one in answers] == pytest.approx(batch[list(flights["flight_id"])].tolist(), abs=1e-6)


def _request(flight: Any, columns: list[str]) -> dict[str, Any]:
    values = {name: flight[name] for name in columns}
    plain = {
        name: None
        if pd.isna(value)
        else value.isoformat()
        if hasattr(value, "isoformat")
        else getattr(value, "item", lambda v=value: v)()
        for name, value in values.items()
    }
    return {"at": flight["predict_at"].isoformat(), "request": plain}
