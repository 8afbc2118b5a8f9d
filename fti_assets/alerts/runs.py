"""What Dagster knows to be wrong: broken checks, and steps that failed for another reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from fti_assets.alerts.causes import Cause, Findings, OpenCause, event_time, shortened
from fti_assets.alerts.checks import broken_checks
from fti_assets.training.models.model import Model, Servable


def findings_of_runs(
    instance: dg.DagsterInstance,
    assets: Sequence[dg.AssetsDefinition],
    models: Iterable[Servable],
    *,
    warnings: bool,
    open_causes: Mapping[str, OpenCause] | None = None,
) -> Findings:
    """The checks whose last evaluation of a partition failed, and the assets that failed in a step of their own when they were last run.

    A step that a check has ended is told by the check, and one that the gates of a model have ended by its rejected build. Of what is
    under way, was cancelled, or waited for an upstream step that failed, nothing new is known.

    Args:
        instance: Dagster's.
        assets: those that are watched.
        models: the gates of these are left out.
        warnings: whether checks that only warn count.
        open_causes: what was wrong before, by subject.
    """
    gates = {dg.AssetCheckKey(one.key, gate.name) for one in models if isinstance(one, Model) for gate in one.gates}
    checks = broken_checks(instance, assets, open_causes or {})
    ended = {(one.key.asset_key, one.run_id) for one in checks.broken if one.is_error}
    return checks.findings(gates=gates, warnings=warnings) + _findings_of_steps(instance, assets, ended)


def _findings_of_steps(
    instance: dg.DagsterInstance, assets: Sequence[dg.AssetsDefinition], ended_by_check: set[tuple[dg.AssetKey, str]]
) -> Findings:
    steps = {key: asset.node_def.name for asset in assets if asset.is_executable for key in asset.keys}
    records = {one.asset_entry.asset_key: one.asset_entry for one in instance.get_asset_records(list(steps))}
    run_ids = {entry.last_run_id for entry in records.values() if entry.last_run_id}
    runs = _runs_by_id(instance, sorted(run_ids))
    failures = {run.run_id: _failures_in(instance, run) for run in runs.values() if _has_failed(run)}
    causes, unseen = [], set[str]()
    for key, step in steps.items():
        run = runs.get(str(records[key].last_run_id)) if key in records else None
        name = key.to_user_string()
        if run is None:
            continue
        reason, since = failures.get(run.run_id, {}).get(step, (None, None))
        if reason is not None and (key, run.run_id) not in ended_by_check:
            text = f"{shortened(reason)}\nRun {run.run_id}"
            causes.append(Cause(f"step {name}", f"{name} failed", text, end=f"{name} ran without failure", since=since))
        elif run.status is not dg.DagsterRunStatus.SUCCESS and not _is_made_in(records[key], run):
            unseen.add(f"step {name}")
    for run in runs.values():
        if _has_failed(run) and not failures[run.run_id]:
            names = sorted(key.to_user_string() for key, entry in records.items() if entry.last_run_id == run.run_id)
            title = (
                f"A run of {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''} failed before its first step"
            )
            text = f"See the log of run {run.run_id}, and whether the code location loads."
            causes.append(Cause(f"start {', '.join(names)}", title, text, end=f"A run of {names[0]} began again"))
    return Findings(tuple(causes), frozenset(unseen))


def _runs_by_id(instance: dg.DagsterInstance, run_ids: list[str]) -> dict[str, dg.DagsterRun]:
    return {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=run_ids))} if run_ids else {}


def _has_failed(run: dg.DagsterRun) -> bool:
    return run.status is dg.DagsterRunStatus.FAILURE


def _is_made_in(entry: Any, run: dg.DagsterRun) -> bool:
    made = entry.last_materialization
    return made is not None and made.run_id == run.run_id


def _failures_in(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, tuple[str, datetime | None]]:
    """Why and when the steps of a run failed, by step."""
    result = {}
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.dagster_event
        if event is not None and event.step_key is not None:
            result[event.step_key] = (_reason_of(event.step_failure_data), event_time(entry.timestamp))
    return result


def _reason_of(failure: Any) -> str:
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return str(failure.user_failure_data.description)
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    return "It gave no reason." if error is None else str(error.message).strip()
