"""What Dagster users are used to do works with handles as with ``@dg.asset``."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from tests.support.instances import dagster_home
from tests.support.partitions import range_tags

SYSTEM = Path(__file__).with_name("habits_system.py")


class Location:
    """The system's module with stores, an instance, and what its functions wrote down, all in one folder."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.instance, self.calls_file = folder, instance, folder / "calls.txt"
        monkeypatch.setenv("FTI_HOME", str(folder / "fti"))
        monkeypatch.setenv("CALLS", str(self.calls_file))
        self.system = load(SYSTEM)
        self.defs: dg.Definitions = self.system.defs

    def run(self, job: str, partition: str, last: str | None = None, **options: Any) -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            **({"tags": range_tags(partition, last)} if last else {"partition_key": partition}),
            **options,
        )

    def materialize(self, *handles: Any, first: str, last: str, **options: Any) -> dg.ExecuteInProcessResult:
        return self.run("__ASSET_JOB", first, last, asset_selection=[handle.key for handle in handles], **options)

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("habits_system", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["habits_system"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Location]:
    with dg.DagsterInstance.from_config(str(dagster_home(tmp_path / "dagster"))) as instance:
        yield Location(tmp_path, instance, monkeypatch)


def test_job_over_handles_runs_them_in_order_of_deps(location: Location) -> None:
    assert location.run("daily", "2024-01-03").success
    assert location.calls() == ["visits 2024-01-03", "outcomes 2024-01-03"]


def test_a_selection_over_handles_finds_what_is_downstream(location: Location) -> None:
    assert location.run("after_outcomes", "2024-01-03").success
    materialized = location.instance.get_materialized_partitions
    assert materialized(location.system.report.key) == {"2024-01-03"}
    assert not materialized(location.system.outcomes.key)


@pytest.mark.soak
def test_run_config_reaches_training_function_in_one_run_and_in_backfill(location: Location) -> None:
    system = location.system
    assert location.materialize(system.visits, system.outcomes, first="2024-01-01", last="2024-01-20").success
    assert location.materialize(system.rows, first="2024-01-14", last="2024-01-21").success
    config = {"ops": {"buyer_v1": {"config": {"strength": 7.0}}}}
    assert location.run("retrain", "2024-01-14").success
    assert location.run("retrain", "2024-01-14", run_config=config).success
    assert location.run("retrain", "2024-01-14", "2024-01-21", run_config=config).success
    assert [call for call in location.calls() if call.startswith("buyer")] == [
        "buyer with 0.25 2024-01-14",
        "buyer with 7.0 2024-01-14",
        "buyer with 7.0 2024-01-14",
        "buyer with 7.0 2024-01-14",
    ]


def test_time_partitioned_assets_backfill_in_a_single_run(location: Location) -> None:
    for handle in (location.system.visits, location.system.rows, location.system.buyer, location.system.answers):
        assert handle.assets_def.backfill_policy == dg.BackfillPolicy.single_run()


def test_a_resource_is_found_by_its_annotation(location: Location) -> None:
    few = dg.Definitions.merge(
        dg.Definitions(resources={"shop": location.system.Shop(per_day=3), "fti": fti.Stores()}),
        dg.Definitions([location.system.visits.assets_def]),
    )
    job = few.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=location.instance, partition_key="2024-01-05").success
    assert len(fti.read(location.system.visits)) == 3


@pytest.mark.soak
def test_step_that_fails_once_is_retried_and_stores_once(location: Location) -> None:
    (location.folder / "fail_once").touch()
    assert location.run("daily", "2024-01-03").success
    assert location.calls() == ["visits 2024-01-03", "outcomes 2024-01-03", "outcomes 2024-01-03"]
    assert len(fti.read(location.system.outcomes)) == 24


@pytest.mark.soak
def test_re_execution_from_failed_step_repeats_nothing_stored(location: Location) -> None:
    job = dg.reconstructable(load(SYSTEM).daily_job)
    (location.folder / "fail").touch()
    tags = {"dagster/partition": "2024-01-03"}
    with dg.execute_job(job, instance=location.instance, tags=tags) as failed:
        assert not failed.success
    stored = ledger(location)
    assert list(stored) == ["visits_v1"]
    (location.folder / "fail").unlink()
    options = dg.ReexecutionOptions.from_failure(failed.run_id, location.instance)
    with dg.execute_job(job, instance=location.instance, tags=tags, reexecution_options=options) as again:
        assert again.success
    assert location.calls() == ["visits 2024-01-03", *["outcomes 2024-01-03"] * 3]
    after = ledger(location)
    assert after["visits_v1"] == stored["visits_v1"], "the first step's rows are those of the first run"
    assert after["outcomes_v1"].run_id == again.run_id


def ledger(location: Location) -> dict[str, Any]:
    """What is stored of the day, by table."""
    results = {}
    with fti.Stores().offline_store().connect() as lake:
        for handle in (location.system.visits, location.system.outcomes):
            for record in lake.ledger(handle.table).values():
                results[handle.table_name] = record
    return results


def processes_of_steps(location: Location, config: dict[str, Any]) -> set[int | None]:
    tags = {"dagster/partition": "2024-01-03"}
    with dg.execute_job(
        dg.reconstructable(load(SYSTEM).daily_job), instance=location.instance, tags=tags, run_config=config
    ) as done:
        assert done.success
        return {event.pid for event in done.all_events if event.event_type_value == "STEP_SUCCESS"}


# From a server that has imported Dagster: two processes that each begin again would import it twice.
SERVER = {"forkserver": {"preload_modules": ["fti_assets.definitions", "dagster"]}}
ASKED = {"execution": {"config": {"multiprocess": {"max_concurrent": 1, "start_method": SERVER}}}}


@pytest.mark.parametrize(("config", "executor"), [({}, "in_process"), (ASKED, "multiprocess")])
def test_a_runs_config_chooses_its_executor(location: Location, config: dict[str, Any], executor: str) -> None:
    resolved = dg.validate_run_config(location.defs.resolve_job_def("daily"), config)
    assert list(resolved["execution"]["in_process_or_multiprocess"]) == [executor]


def test_steps_share_a_process(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SYSTEM.parent)  # where the job is found again
    assert processes_of_steps(location, {}) == {os.getpid()}


@pytest.mark.soak
def test_each_step_has_a_process_if_the_run_asks(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SYSTEM.parent)  # where another process finds it
    assert len(processes_of_steps(location, ASKED) - {os.getpid()}) == 2, "each of the two steps has its own"


def test_tags_and_pools_are_those_of_the_step(location: Location) -> None:
    op = location.system.visits.assets_def.op
    assert op.tags["team"] == "shop"
    assert location.system.visits.assets_def.op.pool == "shop_database"


def test_definitions_merge_with_plain_ones_and_with_those_of_another_system(location: Location) -> None:
    @dg.asset(deps=[location.system.outcomes.key])
    def unrelated() -> None: ...

    @fti.feature_group(keys=["id"])
    def others() -> None: ...

    shared = {"shop": location.system.Shop(), "fti": fti.Stores()}
    merged = dg.Definitions.merge(
        fti.build_definitions([location.system.answers], name="shop", resources=shared),
        fti.build_definitions([others], resources=shared),
        dg.Definitions([unrelated]),
    )
    keys = {key.to_user_string() for key in merged.resolve_asset_graph().get_all_asset_keys()}
    assert {"visits_v1", "buyer_v1", "others_v1", "unrelated"} <= keys
    job = merged.resolve_implicit_global_asset_job_def()
    selection = [location.system.visits.key]
    assert job.execute_in_process(
        instance=location.instance, partition_key="2024-01-03", asset_selection=selection
    ).success


def test_two_systems_on_the_same_groups_are_one_definitions(location: Location) -> None:
    @fti.model(dataset=location.system.rows, task="binary")
    def second(data: fti.TrainingData) -> Any: ...

    defs = fti.build_definitions([location.system.answers, second], resources={"shop": location.system.Shop()})
    keys = [key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()]
    assert sorted(keys) == ["answers_v1", "buyer_v1", "outcomes_v1", "rows_v1", "second_v1", "visits_v1"]


def test_several_code_locations_load_side_by_side_on_same_stores(location: Location, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(
        "import dagster as dg\n"
        "import pandas as pd\n"
        "import fti_assets as fti\n"
        "visits = dg.AssetSpec('visits_v1', metadata={'dagster/table_name': 'features.visits_v1'})\n"
        "@dg.asset(deps=[visits])\n"
        "def readers() -> None: ...\n"
        "defs = dg.Definitions([visits, readers])\n"
    )
    shop, readers = location.defs, load(other).defs
    for defs in (shop, readers):
        dg.Definitions.validate_loadable(defs)
    assert location.system.visits.key in shop.resolve_asset_graph().materializable_asset_keys
    assert location.system.visits.key in readers.resolve_asset_graph().external_asset_keys


def test_rows_of_another_location_are_read_by_the_stores(location: Location) -> None:
    assert location.run("daily", "2024-01-03").success
    visits = dg.AssetSpec(location.system.visits.key, metadata={"dagster/table_name": "features.visits_v1"})

    @dg.asset(
        ins={
            "visits_v1": dg.AssetIn(
                input_manager_key="fti", partition_mapping=dg.SpecificPartitionsPartitionMapping(["2024-01-03"])
            )
        }
    )
    def count(visits_v1: pd.DataFrame) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"rows": len(visits_v1)})

    external = visits.replace_attributes(partitions_def=location.system.DAYS)
    elsewhere = dg.Definitions([external, count], resources={"fti": fti.Stores()})
    result = elsewhere.resolve_implicit_global_asset_job_def().execute_in_process(instance=location.instance)
    assert result.asset_materializations_for_node("count")[0].metadata["rows"].value == 24
