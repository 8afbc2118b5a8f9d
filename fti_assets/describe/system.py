"""A system in facts: its feature, training and inference pipelines, and what else its definitions hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fti_assets.alerts.alerts import ALERTS, Alerts
from fti_assets.describe.facts import (
    batch_inference,
    composite_facts,
    dataset_facts,
    elsewhere_facts,
    feature_pipeline,
    log_facts,
    model_facts,
    online_inference,
)
from fti_assets.describe.watching import alerts_facts, experiment_facts, monitor_facts, parity_facts, review_facts
from fti_assets.experiments.experiment import Experiment
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitors.monitor import Monitor
from fti_assets.monitors.parity.parity import Parity
from fti_assets.orchestration.declaration import declaration_of
from fti_assets.orchestration.resources import STORES, Stores
from fti_assets.reviews.review import Review
from fti_assets.training.composites.composite import Composite
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model, Servable

_LONGEST = 120
# Dagster has no public names of these classes.
_OR = type(dg.AutomationCondition.missing() | dg.AutomationCondition.missing())
_NOT = type(~dg.AutomationCondition.missing())
_BY_HAND = "by hand: no automation condition, schedule or sensor"


def describe(definitions: dg.Definitions) -> dict[str, Any]:
    """Describe a system for people and machines: plain dicts, lists, texts and numbers.

    What cannot be derived is read from an asset's tags or metadata (``mode``, ``framework``, ``tracking``,
    ``accelerator``, ``consumer``, ``server``, ``latency_goal``), else it is "not stated".

    Returns:
        ``features``, ``datasets``, ``models``, ``batch`` and ``online`` inference, prediction ``logs``, ``monitors`` with parities,
        experiments and reviews, ``elsewhere`` what other code locations own, ``alerts`` if somebody is told, and ``others``, each a list
        of facts.

    >>> describe(defs)["features"][0]["schedule"]  # doctest: +SKIP
    ['automation condition eager']
    """
    triggers = _triggers_by_key(definitions)
    stores = (definitions.resources or {}).get(STORES)
    stores = stores if isinstance(stores, Stores) else None
    system: dict[str, Any] = {
        part: [] for part in ("features", "datasets", "models", "batch", "online", "logs", "monitors", "others")
    }
    assets = definitions.get_repository_def().assets_defs_by_key
    for key, asset in assets.items():
        spec, starts = asset.get_asset_spec(key), triggers.get(key) or [_BY_HAND]
        declaration = declaration_of(asset)
        if declaration is not None and not declaration.is_owned:
            system.setdefault("elsewhere", []).append(elsewhere_facts(declaration, spec))
            if isinstance(declaration, Servable):
                system["online"].append(online_inference(declaration, spec, stores))
            continue
        match declaration:
            case FeatureGroup() as group:
                system["features"].append(feature_pipeline(group, spec, starts))
            case TrainingDataset() as dataset:
                system["datasets"].append(dataset_facts(dataset, spec, starts))
            case Model() as model:
                system["models"].append(model_facts(model, spec, starts, stores, definitions))
                system["online"].append(online_inference(model, spec, stores))
            case Composite() as composite:
                system["models"].append(composite_facts(composite, spec, starts, stores))
                system["online"].append(online_inference(composite, spec, stores))
            case BatchPredictions() as predictions:
                system["batch"].append(batch_inference(predictions, spec, starts))
            case PredictionLog() as log:
                system["logs"].append(log_facts(log, spec, starts, stores))
            case Monitor() as monitor:
                system["monitors"].append(monitor_facts(monitor, spec, starts))
            case Parity() as parity:
                system["monitors"].append(parity_facts(parity, spec, starts))
            case Experiment() as experiment:
                system["monitors"].append(experiment_facts(experiment, spec, starts))
            case Review() as review:
                system["monitors"].append(review_facts(review, spec, starts))
            case _:
                system["others"].append({"asset": key.to_user_string(), "schedule": starts})
    alerts = (definitions.resources or {}).get(ALERTS)
    if isinstance(alerts, Alerts):
        system["alerts"] = [alerts_facts(alerts)]
    return {part: sorted(facts, key=lambda one: str(one["asset"])) for part, facts in system.items()}


def _triggers_by_key(definitions: dg.Definitions) -> dict[dg.AssetKey, list[str]]:
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
    words = (" or " if isinstance(condition, _OR) else " and ").join(dict.fromkeys(parts))
    return f"({words})" if isinstance(condition, _OR) else words


def _jobs(sensor: Any) -> Iterator[str]:
    return (target.job_name for target in sensor.targets if hasattr(target, "job_name"))


def _of_jobs(repository: Any, jobs: list[str]) -> Iterator[dg.AssetKey]:
    for job in jobs:
        yield from repository.get_job(job).asset_layer.selected_asset_keys


def _cron(schedule: Any) -> str:
    return schedule if isinstance(schedule, str) else ", ".join(schedule)
