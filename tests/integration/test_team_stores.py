"""A whole system on Postgres, a bucket and Redis: the same versions, answers and forgetting as in folders."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.core.names import TableName
from fti_assets.errors import DamagedError
from fti_assets.stores.lake.files.current_files import current_files
from fti_assets.stores.lake.upkeep.expiry import upkeep
from fti_assets.stores.lake.upkeep.unnamed_files import missing_files
from tests.forgetting import library
from tests.forgetting.library import ANN
from tests.forgetting.test_forget import TABLES, forget_in, run, run_all, stores_in
from tests.stores.online_stores import redis_location
from tests.support.buckets import BucketServer
from tests.support.team_lakes import HOST, database, lake_location, team_bucket
from tests.support.worlds import made_once

MEMBERS = TableName("features", "members_v1")


@pytest.fixture(scope="module")
def server() -> Iterator[BucketServer]:
    with team_bucket() as server:
        yield server


@pytest.fixture(scope="module")
def catalog(server: BucketServer) -> Iterator[str]:
    with database() as name:
        yield name


@pytest.fixture(scope="module")
def team(catalog: str) -> Iterator[fti.Stores]:
    """The library on the stores of a team."""
    with redis_location() as online:
        stores = fti.Stores(
            lake=lake_location(catalog, f"s3://team/{catalog}"), models=f"s3://team/{catalog}/models", online=online
        )
        run_all(stores)
        yield stores


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    """The library in folders."""
    return stores_in(made_once(tmp_path_factory, "library", lambda home: run_all(stores_in(home))))


def versions(stores: fti.Stores) -> dict[str, dict[str, str]]:
    with stores.offline_store().connect() as lake:
        return {
            table.full_name: {key: one.data_version for key, one in lake.ledger(table).items()}
            for table in TABLES
            if table.schema == "features"
        }


def answers_of(stores: fti.Stores) -> list[Any]:
    requests = [
        {"loan_id": number, "borrower": person, "pages": number / 7, "t": "2025-01-03T12:00:00"}
        for number, person in enumerate(library.PEOPLE)
    ]
    online = stores.online_store().location
    with fti.Predictor.load("late_model", models=str(stores.model_store().root), online=online) as predictor:
        inputs = [{name: value for name, value in one.items() if name != "t"} for one in requests]
        return [one.value for one in predictor.predict(inputs, at="2025-01-03T12:00:00")]


def test_versions_and_answers_are_those_of_folders(team: fti.Stores, folders: fti.Stores) -> None:
    assert versions(team) == versions(folders)
    with clock.at(library.NOW):
        assert answers_of(team) == pytest.approx(answers_of(folders))
    pairs = [
        fti.read(library.answers, stores=stores).sort_values("loan_id").reset_index(drop=True)
        for stores in (team, folders)
    ]
    assert pairs[0]["probability"].to_list() == pytest.approx(pairs[1]["probability"].to_list())
    assert pairs[0]["loan_id"].to_list() == pairs[1]["loan_id"].to_list()


@pytest.mark.soak
def test_predictor_follows_the_champion_in_the_bucket(team: fti.Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    from fti_assets.inference.serving import served_model

    monkeypatch.setattr(served_model, "_BUCKET_LOOK_SECONDS", 0.0)
    store = team.model_store()
    first = store.aliases("late_model").champion
    with (
        clock.at(library.NOW),
        fti.Predictor.load("late_model", models=str(store.root), online=team.online_store().location) as predictor,
    ):
        request = {"loan_id": 1, "borrower": ANN, "pages": 1.0}
        assert predictor.predict(request, at="2025-01-03T12:00:00").build == first
        run(team, library.dataset, library.late_model, partition_key="2025-01-05")
        second = store.aliases("late_model").champion
        assert second != first
        assert predictor.predict(request, at="2025-01-03T12:00:00").build == second


def test_rejected_rows_lie_in_the_bucket(team: fti.Stores, server: BucketServer) -> None:
    import pandas as pd
    import pandera.pandas as pa

    class Positive(pa.DataFrameModel):
        k: int = pa.Field(gt=0)

    @fti.feature_group(keys=["k"], schema=Positive)
    def broken() -> pd.DataFrame:
        return pd.DataFrame({"k": [1, -1]})

    with pytest.raises(Exception, match="rejected/broken_v1"):
        run(team, broken)
    assert any("/rejected/broken_v1/" in key for key in server.keys("team"))


def test_upkeep_leaves_every_row(team: fti.Stores, server: BucketServer) -> None:
    before = versions(team)
    with team.offline_store().connect() as lake:
        rows = {table: lake.rows(table).count("*").fetchall() for table in TABLES}
    result = upkeep(
        team.offline_store(), team.model_store(), team.online_store(), keep=timedelta(0), grace=timedelta(0)
    )
    assert result.expired
    assert result.after.catalog_bytes > 0
    with team.offline_store().connect() as lake:
        assert {table: lake.rows(table).count("*").fetchall() for table in TABLES} == rows
    assert versions(team) == before


def test_command_checks_the_lake_and_names_a_file_that_is_gone(
    team: fti.Stores, catalog: str, server: BucketServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with team.offline_store().connect() as lake:
        assert missing_files(lake) == []
        file = current_files(lake, MEMBERS)[0]
        client, key = server.client(), file.path.removeprefix("s3://team/")
        content = client.get_object(Bucket="team", Key=key)["Body"].read()
        client.delete_object(Bucket="team", Key=key)
        assert missing_files(lake) == [file.path]
    with pytest.raises(DamagedError, match=f"of partition '{file.partition}' of features.members_v1, is not there"):
        fti.read(library.members_v1, stores=team)
    client.put_object(Bucket="team", Key=key, Body=content)
    assert len(fti.read(library.members_v1, stores=team)) > 0
    assert main(["lake", "repair", "--lake", team.offline_store().location]) == 1
    assert "restore it from its backup" in capsys.readouterr().err


def test_forgotten_member_is_in_no_file_and_in_no_row_of_the_catalog(
    team: fti.Stores, catalog: str, server: BucketServer
) -> None:
    assert _rows_with(catalog, ANN)  # else the search would find nothing ever
    run(team, library.members_v1, partition_key="2025-01-02")
    with clock.at(library.NOW):
        first = forget_in(team)
        assert {one.occurrences.table for one in first.tables} >= {MEMBERS}
        again = forget_in(team, expire=True)
    assert again.expired is not None
    assert (again.expired.holding, again.expired.unreadable) == ((), ())
    with team.offline_store().connect() as lake:
        assert lake.rows(MEMBERS).filter(f"person = '{ANN}'").fetchall() == []
    assert _rows_with(catalog, ANN) == []


def _rows_with(catalog: str, text: str) -> list[str]:
    """The rows of all tables of a database that hold a text, without the bounds of columns of other tables than the members'."""
    bounds = ("ducklake_file_column_stats", "ducklake_table_column_stats")
    with psycopg.connect(f"postgresql://postgres@{HOST}/{catalog}") as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        queries = [f'SELECT * FROM "{table}"' for (table,) in tables if table not in bounds]
        queries += [
            f"SELECT * FROM {table} JOIN ducklake_table t USING (table_id) WHERE t.table_name = 'members_v1'"
            for table in bounds
        ]
        return [f"{query}: {row}" for query in queries for row in connection.execute(query) if text in repr(row)]


_ANSWERING = """
import os, signal, sys, time
from fti_assets import Predictor
models, online, log, server = sys.argv[1:]
predictor = Predictor.load("late_model", models=models, online=online, log=log)
for number in range(20):
    answer = predictor.predict({"loan_id": int(server) * 100 + number, "borrower": "ann-4d61c9", "pages": 1.0}, at="2025-01-03T12:00:00")
    print(answer.request_id, flush=True)
sys.stdin.readline()
time.sleep(1.0)  # an answer waits in memory for a fifth of that
if server == "2":
    os.kill(os.getpid(), signal.SIGKILL)
predictor.close()
"""


@pytest.mark.soak
def test_answers_of_two_servers_that_share_a_volume_are_taken_in_once(team: fti.Stores, tmp_path: Path) -> None:
    """One of them is killed: what it had written counts, as what the other one closed."""
    volume = tmp_path / "volume"
    stores = fti.Stores(lake=team.lake, models=team.models, online=team.online, log=volume)
    log = fti.prediction_log(name="late_log", model=library.late_model)
    places = [str(team.model_store().root), str(team.online_store().location), str(volume)]
    servers = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        command = [sys.executable, "-c", _ANSWERING, *places, str(number)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        servers.append(subprocess.Popen(command, text=True, cwd=tmp_path / str(number), **pipes))
    ids = [str(server.stdout.readline()).strip() for server in servers for _ in range(20) if server.stdout]
    assert len({*ids}) == 40
    for server in servers:
        server.communicate("\n")
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = fti.build_definitions([log], resources={"fti": stores})
        context = dg.build_sensor_context(instance=instance, resources={"fti": stores}, definitions=definitions)
        [request] = log.sensor.evaluate_tick(context).run_requests or []
    for _ in range(2):  # once more adds nothing
        run(stores, log, partition_key=request.partition_key)
        rows = fti.read(log, stores=stores)
        assert sorted(rows["request_id"]) == sorted(ids)
    assert sorted(rows["loan_id"]) == [*range(100, 120), *range(200, 220)]
    assert not list(volume.rglob("*.jsonl*"))
