"""A prediction log as a Dagster asset, and the sensor that takes its files in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.features.groups.columns import column_schema
from fti_assets.inference.batch.asset import model_dep
from fti_assets.inference.log.log import PredictionLog, columns_of, rules_of
from fti_assets.inference.serving.log.files import LogFile
from fti_assets.orchestration.checks import check_specs
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.sensors.new_data import new_data_sensor
from fti_assets.orchestration.step import build_asset

_AGAIN = timedelta(hours=1)
"""After how long files that still wait are asked for again: their run failed, or took others."""

_RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def log_asset(log: PredictionLog) -> dg.AssetsDefinition:
    """The log's asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.inference.log.run import run_prediction_log

        return run_prediction_log(log, context, stores)

    return build_asset(
        log,
        function=None,
        run=run,
        deps=[model_dep(log.model, log.partitions_def)],
        check_specs=check_specs(log.key, rules_of(log)),
        metadata={
            "dagster/table_name": log.table.full_name,
            "model": log.model.asset_name,
            "redacted": ", ".join(sorted(log.redact)) or "nothing",
            **column_schema(columns_of(log)),
        },
        kinds={"parquet"},
        group_name="inference",
        description=f"What {log.model.name} was asked and answered, a row an answer, by prediction time.",
        code_terms=(log.name, log.version, log.model.asset_name, sorted(log.redact)),
    )


def log_sensor(log: PredictionLog) -> dg.SensorDefinition:
    """The sensor that asks for the partitions whose lines wait in closed files."""
    name = f"{log.asset_name}_files"

    @new_data_sensor(
        targets=[log],
        name=name,
        minimum_interval_seconds=60,
        name_gaps=False,
        description=f"Takes what was logged of {log.model.name} into {log.table_name}.",
    )
    def files(context: dg.SensorEvaluationContext, fti: Stores) -> dict[Any, dict[str, str]]:
        from fti_assets.inference.log.run import files_folder
        from fti_assets.inference.log.waiting import settle, stored_ledger, waiting_files
        from fti_assets.stores.files import paths_in

        runs = dg.RunsFilter(
            tags={"dagster/sensor_name": name},
            statuses=_RUNNING,
            updated_after=clock.now().replace(tzinfo=UTC) - _AGAIN,
        )
        if context.instance.get_runs(runs, limit=1):
            return {}  # it takes in what there was; the rest goes into one run after it
        folder, store = files_folder(log, fti), fti.offline_store()
        if not paths_in(folder, "*.jsonl*"):
            return {}
        waiting = waiting_files(log, folder, stored_ledger(log, store))
        if store.exists():  # what a run that was killed after its commit left
            with store.connect() as lake:
                if outside := settle(log, lake, folder):
                    context.log.warning(f"{outside} lines are of no partition: they are kept in {folder / 'outside'}")
        return {log: {partition: _version(of) for partition, of in waiting.items()}}

    return files


def _version(files: list[LogFile]) -> str:
    """Changes with the files that wait, and once in a while for as long as they do."""
    oldest = min((file.start for file in files if file.start is not None), default=clock.now())
    names = "\n".join(sorted(file.name for file in files))
    return f"{hashlib.sha256(names.encode()).hexdigest()} {max(clock.now() - oldest, timedelta(0)) // _AGAIN}"
