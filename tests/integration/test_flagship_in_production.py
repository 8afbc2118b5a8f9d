"""Five weeks of the flagship in the environment ``production``: Postgres, a bucket and Redis, as its resources read them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from examples.flight_delays.features import planes
from fti_assets.core import clock
from resources import resources_for
from tests.examples.test_flight_delays import (
    CUTOFF,
    FIRST,
    GROUPS,
    LAST,
    NOW,
    QUIET,
    short_dataset,
    short_net,
    short_predictions,
)
from tests.stores.online_stores import redis_location
from tests.support.buckets import bucket_server
from tests.support.flights import landed_year
from tests.support.partitions import range_tags
from tests.support.team_lakes import HOST, database, lake_location

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:Parameter .* is currently in beta")]


@pytest.fixture
def production(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dg.DagsterInstance]:
    """The environment's variables, and an instance of Dagster that keeps its runs in Postgres."""
    landing, _ = landed_year(tmp_path_factory)
    with bucket_server("flights") as server, database() as lake, database() as runs, redis_location() as online:
        variables = {
            **server.environment,
            "FLIGHTS_LAKE": lake_location(lake, "s3://flights/lake"),
            "FLIGHTS_MODELS": "s3://flights/models",
            "FLIGHTS_ONLINE": online,
            "FLIGHTS_LANDING": str(landing),
            "DAGSTER_PG_URL": f"postgresql+psycopg2://postgres@{HOST}/{runs}",
            "FTI_HOME": str(tmp_path / "home"),
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        shutil.copy(ROOT / "deploy/dagster.yaml", tmp_path)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            yield instance


def run(resources: dict[str, Any], instance: dg.DagsterInstance) -> None:
    """The groups over five weeks, a dataset, a model and a day of predictions."""

    def materialize(*declarations: Any, **where: Any) -> None:
        assets = [one.assets_def for one in declarations]
        assert dg.materialize(assets, instance=instance, resources=resources, run_config=QUIET, **where).success

    materialize(planes)
    materialize(*GROUPS, tags=range_tags(FIRST, LAST))
    for declaration in (short_dataset, short_net, short_predictions):
        materialize(declaration, partition_key=CUTOFF)


def versions(stores: fti.Stores) -> dict[str, dict[str, str]]:
    with stores.offline_store().connect() as lake:
        return {
            table.full_name: {key: one.data_version for key, one in lake.ledger(table).items()}
            for table in lake.tables()
            if table.schema == "features"
        }


def test_five_weeks_are_what_they_are_in_folders(production: dg.DagsterInstance, tmp_path: Path) -> None:
    resources = resources_for("production")
    folders = {**resources, "fti": fti.Stores(**{name: str(tmp_path / name) for name in ("lake", "models", "online")})}
    with clock.at(NOW):
        run(resources, production)
        with dg.DagsterInstance.ephemeral() as instance:
            run(folders, instance)
        team = resources["fti"].process_config_and_initialize()
        assert versions(team) == versions(folders["fti"])
        answers = []
        for stores in (team, folders["fti"]):
            rows = fti.read(short_predictions, stores=stores).set_index("flight_id").sort_index()
            answers.append(rows["probability"])
            champion = stores.model_store().champion("short_net")
            assert champion.status == "accepted"
        assert list(answers[0].index) == list(answers[1].index)
        assert answers[0].to_numpy() == pytest.approx(answers[1].to_numpy(), abs=1e-4)
    assert production.get_runs_count() == 5
