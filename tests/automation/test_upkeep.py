"""``fti.upkeep_job``: a plain Dagster job over the stores of its definitions."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.errors import DeclarationError
from fti_assets.stores.lake.store import OfflineStore


@fti.feature_group(keys=["id"])
def things(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.DataFrame({"id": [1], "run": [context.run.run_id]})


@pytest.fixture
def stores(tmp_path: Path) -> fti.Stores:
    return fti.Stores(**{name: str(tmp_path / name) for name in ("lake", "models", "online")})


def snapshots(stores: fti.Stores) -> int:
    with OfflineStore(str(stores.lake)).connect() as lake:
        return int(lake.connection.execute("SELECT count(*) FROM lake.snapshots()").fetchall()[0][0])


def test_its_run_shows_the_lake_before_and_after(stores: fti.Stores) -> None:
    definitions = fti.build_definitions([things], resources={"fti": stores}, jobs=[fti.upkeep_job(keep="30d")])
    for _ in range(3):
        dg.materialize([things.assets_def], resources={"fti": stores})
    assert snapshots(stores) == 5
    job = definitions.resolve_job_def("upkeep")
    assert job.execute_in_process().success
    assert snapshots(stores) == 5  # nothing is as old as that
    result = job.execute_in_process(run_config={"ops": {"run_upkeep": {"config": {"keep": "0s"}}}})
    assert snapshots(stores) == 1
    (event,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_OUTPUT]
    displayed = {name: value.value for name, value in event.step_output_data.metadata.items()}
    assert (displayed["before/files"], displayed["after/files"]) == (3, 1)
    assert displayed["before/bytes"] > displayed["after/bytes"] > 0
    assert (displayed["before/snapshots"], displayed["after/snapshots"]) == (5, 1)
    assert (displayed["expired_snapshots"], displayed["deleted_files"], displayed["orphan_files"]) == (4, 2, 0)
    assert list(displayed["pinned_snapshots"].values()) == [["the newest"]]
    assert (displayed["merged_files"], displayed["dropped_tiles"]) == ({}, 0)
    assert displayed["after/catalog_bytes"] > 0


def test_a_code_location_loads_with_more_than_one() -> None:
    jobs = [fti.upkeep_job(), fti.upkeep_job(name="tidy")]
    schedule = dg.ScheduleDefinition(job=jobs[0], cron_schedule="0 3 * * *")
    dg.Definitions.validate_loadable(fti.build_definitions([things], jobs=jobs, schedules=[schedule]))


@pytest.mark.soak
def test_name_keep_and_tags_are_the_jobs_own(stores: fti.Stores) -> None:
    dg.materialize([things.assets_def], resources={"fti": stores})
    dg.materialize([things.assets_def], resources={"fti": stores})
    job = fti.upkeep_job(name="tidy", keep="0s", description="Tidies.", tags={"team": "ml"})
    assert (job.name, job.description, job.tags["team"]) == ("tidy", "Tidies.", "ml")
    assert "snapshots stay 14d" in str(fti.upkeep_job(keep="14d").description)
    definitions = dg.Definitions(jobs=[job], resources={"fti": stores})
    assert definitions.resolve_job_def("tidy").execute_in_process().success
    assert snapshots(stores) == 1


@pytest.mark.parametrize("wrong", [{"keep": "a month"}, {"name": "Tidy up"}])
def test_what_is_no_duration_or_name_fails_when_it_is_declared(wrong: dict[str, str]) -> None:
    with pytest.raises(DeclarationError, match="Tidy up|a month"):
        fti.upkeep_job(**wrong)
