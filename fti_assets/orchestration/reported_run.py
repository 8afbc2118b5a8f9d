"""A run that tells Dagster of assets that were made elsewhere, as if it had made them, so that no condition asks for them again.

Events without a run would not do: a default condition takes a changed input for read only if a run of the asset has begun since.
All that a run makes is planned before any of it is there, so no tick in between requests what is still to be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import dagster as dg

from fti_assets.orchestration.conditions.made import PROVISIONAL, newest_events
from fti_assets.orchestration.dagster_internals import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    IMPLICIT_ASSET_JOB_NAME,
    AssetMaterializationPlannedData,
    StepMaterializationData,
    StepSuccessData,
    build_data_version_tags,
    extract_data_version_from_entry,
)


@dataclass(frozen=True)
class MadeElsewhere:
    """A partition of an asset that was made elsewhere; ``partition`` is None of an asset without partitions.

    ``metadata`` is what its page shows, and ``is_provisional`` whether it was made before its end and delay had passed.
    """

    asset: dg.AssetsDefinition
    partition: str | None
    data_version: str
    code_version: str
    metadata: Mapping[str, Any]
    is_provisional: bool = False


def unreported(instance: dg.DagsterInstance, made: Sequence[MadeElsewhere]) -> list[MadeElsewhere]:
    """Those of which Dagster's newest event is of another data or code version, or that it does not know."""
    return [one for its in _by_asset(made).values() for one in _unreported_of_asset(instance, its)]


def report_run(
    instance: dg.DagsterInstance, made: Sequence[MadeElsewhere], *, tags: Mapping[str, str], message: str
) -> str:
    """Tell Dagster of all of it in one run.

    Args:
        instance: that of the stores.
        made: what was made, an asset after what it rests on.
        tags: the run's. A run with the same tags that was killed over is marked as failed.
        message: what the run's log says.

    Returns:
        The run's id.
    """
    _end_killed_runs(instance, tags)
    by_asset = _by_asset(made)
    with _run(instance, frozenset(by_asset), tags, message) as run_id:
        for key, its in by_asset.items():
            for one in its:
                planned = AssetMaterializationPlannedData(key, partition=one.partition)
                _report(instance, run_id, "ASSET_MATERIALIZATION_PLANNED", _step(key), planned)
        for key, its in by_asset.items():
            _report(instance, run_id, "STEP_START", _step(key))
            inputs = _inputs(instance, its[0].asset, key)
            for one in its:
                data = StepMaterializationData(_materialization(key, one, inputs), [])
                _report(instance, run_id, "ASSET_MATERIALIZATION", _step(key), data)
            _report(instance, run_id, "STEP_SUCCESS", _step(key), StepSuccessData(duration_ms=0.0))
    return run_id


def _by_asset(made: Sequence[MadeElsewhere]) -> dict[dg.AssetKey, list[MadeElsewhere]]:
    results: dict[dg.AssetKey, list[MadeElsewhere]] = {}
    for one in made:
        results.setdefault(one.asset.key, []).append(one)
    return results


def _unreported_of_asset(instance: dg.DagsterInstance, its: Sequence[MadeElsewhere]) -> list[MadeElsewhere]:
    versions = {
        event.partition: ((event.tags or {}).get(DATA_VERSION_TAG), (event.tags or {}).get(CODE_VERSION_TAG))
        for event in newest_events(instance, its[0].asset.key, {one.partition for one in its})
    }
    return [one for one in its if versions.get(one.partition) != (one.data_version, one.code_version)]


@contextmanager
def _run(
    instance: dg.DagsterInstance, keys: frozenset[dg.AssetKey], tags: Mapping[str, str], message: str
) -> Iterator[str]:
    run = dg.DagsterRun(job_name=IMPLICIT_ASSET_JOB_NAME, run_id=str(uuid4()), asset_selection=keys, tags=dict(tags))
    instance.add_run(run)
    _report(instance, run.run_id, "PIPELINE_START", None, message=message)
    try:
        yield run.run_id
    except BaseException:
        instance.report_run_failed(run, f"{message}: not all of it was told")
        raise
    _report(instance, run.run_id, "PIPELINE_SUCCESS", None, message=message)


def _end_killed_runs(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> None:
    """Whatever such a run had planned would be in progress for ever."""
    unfinished = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED]
    for run in instance.get_runs(dg.RunsFilter(tags=dict(tags), statuses=unfinished)):
        instance.report_run_failed(run, "it was killed before it had reported all partitions")


def _report(
    instance: dg.DagsterInstance, run_id: str, kind: str, step: str | None, data: Any = None, message: str | None = None
) -> None:
    event = dg.DagsterEvent(
        event_type_value=kind,
        job_name=IMPLICIT_ASSET_JOB_NAME,
        step_key=step,
        event_specific_data=data,
        message=message,
    )
    instance.report_dagster_event(event, run_id)


def _step(key: dg.AssetKey) -> str:
    """The step of an asset, as Dagster names it."""
    return str(key.to_python_identifier())


def _inputs(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, key: dg.AssetKey) -> dict[dg.AssetKey, Any]:
    """What Dagster notes of an asset's inputs, by which it tells later whether they have changed."""
    results = {}
    for parent in sorted(asset.asset_deps[key]):
        record = instance.get_latest_data_version_record(parent)
        version = None if record is None else extract_data_version_from_entry(record.event_log_entry)
        results[parent] = {
            "data_version": version or DEFAULT_DATA_VERSION,
            "storage_id": None if record is None else record.storage_id,
        }
    return results


def _materialization(
    key: dg.AssetKey, one: MadeElsewhere, inputs: Mapping[dg.AssetKey, Any]
) -> dg.AssetMaterialization:
    tags = build_data_version_tags(dg.DataVersion(one.data_version), one.code_version, inputs, True)
    if one.is_provisional:
        tags[PROVISIONAL] = "true"
    return dg.AssetMaterialization(key, partition=one.partition, metadata=dict(one.metadata), tags=tags)
