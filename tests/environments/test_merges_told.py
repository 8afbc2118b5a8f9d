"""After a merge Dagster knows what main has, so that nothing of it is made again, and the online store serves it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

import fti_assets as fti
from fti_assets import environments
from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.errors import StoreError
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.orchestration import reported_run
from fti_assets.testing import Rehearsal, stores_in
from tests.environments import till

AGAIN = {"ops": {"scores_v1": {"config": {"predict_again": True}}}}
TICK = "2025-01-13T13:00:00Z"


def deployed(stores: fti.Stores, factor: float) -> Any:
    return till.system(factor=factor, stored=stores)


@contextmanager
def main_in(home: Path) -> Iterator[tuple[Path, dg.DagsterInstance, dict[str, Any]]]:
    """Main, its instance, and what its conditions remember."""
    stores = stores_in(home)
    with dg.DagsterInstance.ephemeral() as instance:
        till.run_all(till.system(stored=stores), stores, instance=instance)
        rehearsal = Rehearsal(deployed(stores, 1.0).defs, instance)
        rehearsal.settle(TICK)
        assert rehearsal.settle(TICK) == []
        yield home, instance, dict(rehearsal._cursors)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dg.DagsterInstance, dict[str, Any]]]:
    with main_in(tmp_path_factory.mktemp("till")) as main:
        yield main


@pytest.fixture
def home(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    for name in ("DAGSTER_HOME", "FTI_ENV", "FTI_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def changed_in_environment(stores: fti.Stores, instance: dg.DagsterInstance | None = None) -> Any:
    changed = deployed(stores, 2.0)
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    options = {} if instance is None else {"instance": instance}
    till.run(changed.busy, branch, ("2025-01-03", till.LAST), **options)
    till.run(changed.dataset, branch, till.CUTOFF, **options)
    till.run(changed.model, branch, till.CUTOFF, **options)
    till.run(changed.scores, branch, till.LAST, run_config=AGAIN, **options)
    return changed


@pytest.mark.soak
def test_without_being_told_they_would_train_again(tmp_path: Path) -> None:
    """The oracle: it is the run that keeps the conditions quiet, not that they would not look."""
    with main_in(tmp_path) as (_, instance, cursors):
        stores = stores_in(tmp_path)
        changed = changed_in_environment(stores)
        mains = Rehearsal(changed.defs, instance, _cursors=dict(cursors))
        assert environments.merge(changed.defs, stores, "pr-12").reports is None
        till.run(changed.dataset, stores, till.CUTOFF, instance=instance)  # finds the rows that were merged
        assert {asset for run in mains.settle(TICK) for asset in run.assets} == {"refund_model_v1"}


def test_conditions_run_nothing_of_what_was_merged(home: Path, made: Any) -> None:
    stores, (_, instance, cursors) = stores_in(home), made
    changed = changed_in_environment(stores)
    mains = Rehearsal(changed.defs, instance, _cursors=dict(cursors))
    result = environments.merge(changed.defs, stores, "pr-12", instance=instance)
    assert result.reports == {"busy_v1": 10, "refund_dataset_v1": 1, "refund_model_v1": 1, "scores_v1": 1}
    assert mains.settle(TICK) == []

    # The pages of the assets show it, and nothing is stale.
    with stores.offline_store().connect() as lake:
        for declaration in (changed.busy, changed.dataset, changed.scores):
            for key, record in lake.ledger(declaration.table).items():
                event = latest(instance, declaration.key, key)
                assert event.tags["dagster/data_version"] == record.data_version
                assert event.metadata["dagster/partition_row_count"].value == record.rows
    build = latest(instance, changed.model.key, till.CUTOFF)
    champion = stores.model_store().champion("refund_model")
    assert build.metadata["build"].value == build.metadata["champion_after_run"].value == champion.reference
    graph = changed.defs.resolve_asset_graph()
    status = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    for key, partition in (
        (changed.dataset.key, till.CUTOFF),
        (changed.model.key, till.CUTOFF),
        (changed.busy.key, till.LAST),
    ):
        assert status.get_status(key, partition) == StaleStatus.FRESH, status.get_stale_causes(key, partition)

    # What comes later is no less seen, and a second merge tells nothing twice.
    assert environments.merge(changed.defs, stores, "pr-12", instance=instance).reports == {}
    till.run(changed.dataset, stores, till.CUTOFF, instance=instance)  # the same rows
    assert mains.settle(TICK) == []
    till.run(till.system(raised=1.0).sales, stores, "2025-01-11", instance=instance)
    assert {asset for run in mains.settle(TICK) for asset in run.assets} == {"busy_v1"}


def latest(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> Any:
    asked = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    [record] = instance.fetch_materializations(asked, limit=1).records
    return record.asset_materialization


@pytest.mark.soak
def test_a_merge_killed_while_it_tells_tells_the_rest_again(
    home: Path, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = stores_in(home)
    changed = changed_in_environment(stores)
    with dg.DagsterInstance.ephemeral() as instance:
        with monkeypatch.context() as patch:
            patch.setattr(reported_run, "_inputs", lambda *_: exit("killed"))
            patch.setattr(dg.DagsterInstance, "report_run_failed", lambda *_: None)  # as by SIGKILL
            with pytest.raises(SystemExit):
                environments.merge(changed.defs, stores, "pr-12", instance=instance)
        [left] = instance.get_runs()
        assert left.status == dg.DagsterRunStatus.STARTED
        assert sum(environments.merge(changed.defs, stores, "pr-12", instance=instance).reports.values()) == 13
        assert [run.status.value for run in instance.get_runs()] == ["SUCCESS", "FAILURE"]


def test_the_instance_of_the_environment_is_not_taken_for_that_of_main(home: Path) -> None:
    stores = stores_in(home)
    with dg.DagsterInstance.ephemeral() as instance:
        changed = changed_in_environment(stores, instance)
        with pytest.raises(
            StoreError, match="DAGSTER_HOME is the instance of the environment 'pr-12'.*Nothing was merged"
        ):
            environments.merge(changed.defs, stores, "pr-12", instance=instance)
    assert not environments.difference(stores, "pr-12").is_empty


def answer(stores: fti.Stores) -> tuple[float, Any]:
    """What an app gets for a sale of shop a."""
    predictor = Predictor.load("refund_model", models=stores.model_store().root, online=stores.online_store().location)
    with predictor:
        result = predictor.predict({"sale": "new", "price": 9.0, "shop": "a"}, at="2025-01-13T11:00:00")
        return result.value, result.features["takings_1d"]


@pytest.mark.soak
def test_the_online_store_of_an_environment_is_loaded_from_its_lake_and_that_of_main_by_the_merge(home: Path) -> None:
    stores = stores_in(home)
    before = answer(stores)
    changed = changed_in_environment(stores)
    branch = stores.in_environment("pr-12")
    with clock.at(datetime.fromisoformat(till.NOW)):
        assert environments.load(changed.defs, stores, "pr-12") == {"busy_v1": 2, "shops_v1": 2}
        assert answer(branch)[1] == pytest.approx(2 * before[1])
        environments.merge(changed.defs, stores, "pr-12")
    assert answer(stores) == answer(branch)

    # One in which nothing was run serves what main has, after one command.
    environments.create(stores, "pr-13")
    other = stores.in_environment("pr-13")
    assert not other.online_store().namespaces()
    with clock.at(datetime.fromisoformat(till.NOW)):
        environments.load(changed.defs, stores, "pr-13")
    assert answer(other) == answer(stores)


def test_from_the_command_line(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stores = stores_in(home)
    changed_in_environment(stores)
    monkeypatch.chdir(home)
    (home / "definitions.py").write_text(
        "from fti_assets.testing import stores_in\nfrom tests.environments import till\n"
        "defs = till.system(factor=2.0, stored=stores_in('.')).defs\n"
    )
    assert main(["env", "load", "pr-12"]) == 0
    assert "busy_v1: 2 keys" in capsys.readouterr().out
    assert main(["env", "merge", "pr-12"]) == 0
    out = capsys.readouterr().out
    assert "online busy_v1: 2 keys" in out
    assert "Dagster was not told, since DAGSTER_HOME is not set" in out
    with dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        monkeypatch.setattr(dg.DagsterInstance, "get", lambda: nullcontext(instance))
        assert main(["env", "merge", "pr-12"]) == 0
    assert (
        "Dagster knows 10 of busy_v1, 1 of refund_dataset_v1, 1 of refund_model_v1, 1 of scores_v1"
        in capsys.readouterr().out
    )
