"""Dagster's instances of tests: what each of them would read or make again is read or made once in a process."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._config.pythonic_config import resource
from dagster._core.definitions.job_definition import JobDefinition
from dagster._core.definitions.materialize import EPHEMERAL_JOB_NAME
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from sqlalchemy.engine import Engine

import fti_assets as fti
from tests.support.memory_storages import EventsInMemory, RunsInMemory, name_of_job, name_of_plan

ROOT = Path(__file__).parents[2]
KEPT_JOBS = 16
CONSOLE = {"is read": False}
"""Whether the test that runs reads what is printed."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ABOUT_NEW_DATABASES = ("tests/event_log/", "test_event_log", "test_upstream_facts")
"""The tests that look at how Dagster's databases on disk are made, which Dagster makes there."""


def dagster_home(folder: Path) -> Path:
    """A folder for ``DAGSTER_HOME``, made with the project's own ``dagster.yaml``."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "dagster.yaml", folder)
    return folder


@contextmanager
def instance_at_home(home: Path, patch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance in memory that is the one of ``DAGSTER_HOME`` to all of this process: its databases on disk cost most of a run.

    Args:
        home: the folder, which is made.
        patch: undoes it.
    """
    patch.setenv("DAGSTER_HOME", str(dagster_home(home)))
    with dg.DagsterInstance.ephemeral() as instance:
        patch.setattr(dg.DagsterInstance, "get", lambda: nullcontext(instance))
        yield instance


@contextmanager
def instances_made_at_little_cost() -> Iterator[None]:
    """Within it, ephemeral instances have storages of ours, new databases on disk are copies of empty ones, and Dagster's
    migrations, a hundred files, are read once, where each database on disk would read them."""
    read, scripts = ScriptDirectory.from_config, dict[Any, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        place = (config.config_file_name, config.get_main_option("script_location"))
        if place not in scripts:
            scripts[place] = read(config)
        return scripts[place]

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as templates:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        patch.setattr(
            resource, "infer_schema_from_config_class", cache_schemas(resource.infer_schema_from_config_class)
        )
        patch.setattr("dagster._core.storage.runs.InMemoryRunStorage", RunsInMemory)
        patch.setattr("dagster._core.storage.event_log.InMemoryEventLogStorage", EventsInMemory)
        patch.setattr("dagster._core.snap.job_snapshot._create_job_snapshot_id", name_of_job)
        patch.setattr("dagster._core.snap.execution_plan_snapshot.create_execution_plan_snapshot_id", name_of_plan)
        patch.setattr(dg, "materialize", materialize_once_made(dg.materialize))
        patch.setattr(JobDefinition, "as_ephemeral_job", jobs_in_process_kept(JobDefinition.as_ephemeral_job))
        copy_new_storages(patch, SqliteRunStorage, "runs.db", Path(templates))
        copy_new_storages(patch, SqliteScheduleStorage, "schedules.db", Path(templates))
        copy_new_event_logs(patch, Path(templates))
        yield


def materialize_once_made(materialize: Any) -> Any:
    """Dagster's ``materialize``, which makes a job of the same assets and resources once, where each call would.

    Nothing is logged to the console, unless the run's configuration has loggers or the test reads what is printed.
    """
    kept: dict[Any, tuple[JobDefinition, Any]] = {}

    @wraps(materialize)
    def materialize_kept(
        assets: Sequence[Any],
        run_config: Any = None,
        instance: dg.DagsterInstance | None = None,
        resources: Mapping[str, object] | None = None,
        partition_key: str | None = None,
        raise_on_error: bool = True,
        tags: Mapping[str, str] | None = None,
        selection: Any = None,
    ) -> dg.ExecuteInProcessResult:
        options = {"instance": instance, "partition_key": partition_key, "raise_on_error": raise_on_error, "tags": tags}
        if selection is not None:
            return materialize(assets, run_config=run_config, resources=resources, selection=selection, **options)
        key = tuple(map(id, assets)), tuple((name, same(one)) for name, one in (resources or {}).items())
        if key not in kept:
            jobs = [dg.define_asset_job(name=EPHEMERAL_JOB_NAME)]
            defs = dg.Definitions(jobs=jobs, assets=assets, resources=resources)
            defs.resolve_all_job_defs()
            if len(kept) == KEPT_JOBS:
                del kept[next(iter(kept))]
            kept[key] = defs.resolve_job_def(EPHEMERAL_JOB_NAME), (list(assets), resources)
        return kept[key][0].execute_in_process(run_config=unlogged(run_config), **options)

    return materialize_kept


def unlogged(run_config: Any) -> Any:
    if CONSOLE["is read"]:
        return run_config
    if run_config is None or (isinstance(run_config, Mapping) and "loggers" not in run_config):
        return {**QUIET, **(run_config or {})}
    return run_config


def same(resource: Any) -> Any:
    """What stands for a resource among others: stores are the same whose fields are."""
    return repr(resource.model_dump()) if type(resource) is fti.Stores else id(resource)


def jobs_in_process_kept(as_ephemeral_job: Any) -> Any:
    """Let what a job is in one process be made once, where each of its runs would make it."""

    @wraps(as_ephemeral_job)
    def kept(
        job: JobDefinition,
        resource_defs: Mapping[str, Any],
        input_values: Mapping[str, Any],
        op_selection: Sequence[str] | None = None,
        asset_selection: Sequence[dg.AssetKey] | None = None,
    ) -> JobDefinition:
        of_job, key = job.__dict__.setdefault("kept_in_process", {}), frozenset(asset_selection or ())
        own = resource_defs or input_values or op_selection
        if own or key not in of_job:
            made = as_ephemeral_job(job, resource_defs, input_values, op_selection, asset_selection)
            if own:
                return made
            of_job[key] = made
        return of_job[key]

    return kept


def cache_schemas(infer: Any) -> Any:
    """Let the schema of a resource's class be inferred once, where each resource, four in a run, would infer it."""
    known: dict[tuple[type, frozenset[str]], Any] = {}

    def infer_once(cls: type, *, fields_to_omit: set[str], **options: Any) -> Any:
        if options:
            return infer(cls, fields_to_omit=fields_to_omit, **options)
        key = cls, frozenset(fields_to_omit)
        if key not in known:
            known[key] = infer(cls, fields_to_omit=fields_to_omit)
        return known[key]

    return infer_once


def copy_new_storages(patch: pytest.MonkeyPatch, storage: Any, name: str, templates: Path) -> None:
    """Let a new database of a storage be a copy of the first."""
    make, template = storage.from_local, templates / name

    def from_local(base_dir: str, inst_data: Any = None) -> Any:
        file = Path(base_dir) / name
        is_new = not file.exists() and not about_new_databases()
        if is_new and template.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(template, file)
        made = make(base_dir, inst_data)
        if is_new and not template.exists():
            shutil.copyfile(file, template)
        return made

    patch.setattr(storage, "from_local", from_local)


def copy_new_event_logs(patch: pytest.MonkeyPatch, templates: Path) -> None:
    """Let the event log of a run, and the index, be copies of the first."""
    make, template = SqliteEventLogStorage._initdb, templates / "events.db"

    @wraps(make)  # what looks at the signature sees the real one's
    def initdb(storage: SqliteEventLogStorage, engine: Engine, for_index_shard: bool = False) -> None:
        file = Path(str(engine.url.database))
        is_new = not file.exists() and not about_new_databases()
        if is_new and template.exists():
            shutil.copyfile(template, file)
            return
        make(storage, engine, for_index_shard)
        if is_new:
            shutil.copyfile(file, template)

    patch.setattr(SqliteEventLogStorage, "_initdb", initdb)


def about_new_databases() -> bool:
    return any(name in os.environ.get("PYTEST_CURRENT_TEST", "") for name in ABOUT_NEW_DATABASES)
