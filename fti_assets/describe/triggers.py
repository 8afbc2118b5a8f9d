"""What starts an asset: its automation condition, and the schedules and sensors that target it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

_LONGEST = 120
_OR = type(dg.AutomationCondition.missing() | dg.AutomationCondition.missing())
_NOT = type(~dg.AutomationCondition.missing())
BY_HAND = "by hand: no automation condition, schedule or sensor"


def triggers_by_key(definitions: dg.Definitions) -> dict[dg.AssetKey, list[str]]:
    """What starts each asset, in words."""
    repository, graph = definitions.get_repository_def(), definitions.resolve_asset_graph()
    results: dict[dg.AssetKey, list[str]] = {key: [] for key in graph.get_all_asset_keys()}
    for asset in repository.assets_defs_by_key.values():
        for key, condition in asset.automation_conditions_by_key.items():
            results.setdefault(key, []).append(f"automation condition {condition_in_words(condition)}")
    for schedule in repository.schedule_defs:
        for key in _of_jobs(repository, [schedule.job_name]):
            results[key].append(f"schedule {schedule.name} ({_cron(schedule.cron_schedule)})")
    for sensor in repository.sensor_defs:
        if isinstance(sensor, dg.AutomationConditionSensorDefinition):
            continue  # it evaluates the conditions that are told above
        keys = list(_of_jobs(repository, [job for job in _jobs(sensor) if repository.has_job(job)]))
        if sensor.asset_selection is not None:
            keys += sensor.asset_selection.resolve(graph)
        for key in dict.fromkeys(keys):
            results[key].append(f"sensor {sensor.name}")
    return results


def condition_in_words(condition: Any) -> str:
    """A condition's label, or those of the conditions that it is made of, shortened.

    >>> condition_in_words(dg.AutomationCondition.eager())
    'eager'
    """
    text = _words(condition)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _words(condition: Any) -> str:
    label: str | None = condition.get_label()
    parts = [_words(part) for part in condition.children]
    if label or not parts:
        return label or str(condition.description)
    if len(parts) == 1:
        return f"not {parts[0]}" if isinstance(condition, _NOT) else parts[0]
    joined = (" or " if isinstance(condition, _OR) else " and ").join(dict.fromkeys(parts))
    return f"({joined})" if isinstance(condition, _OR) else joined


def _jobs(sensor: Any) -> Iterator[str]:
    return (target.job_name for target in sensor.targets if hasattr(target, "job_name"))


def _of_jobs(repository: Any, jobs: list[str]) -> Iterator[dg.AssetKey]:
    for job in jobs:
        yield from repository.get_job(job).asset_layer.selected_asset_keys


def _cron(schedule: Any) -> str:
    return schedule if isinstance(schedule, str) else ", ".join(schedule)


def triggers_of(triggers: Mapping[dg.AssetKey, list[str]], key: dg.AssetKey) -> list[str]:
    """What starts one asset."""
    return triggers.get(key) or [BY_HAND]
