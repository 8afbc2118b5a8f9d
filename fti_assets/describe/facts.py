"""What is declared, in facts; what only the user can say is read from an asset's tags or metadata."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.core.times import LIFETIME_LENGTH
from fti_assets.errors import FtiError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.window_columns import windows_in_words
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.orchestration.dagster_internals import CronFreshnessPolicy, TimeWindowFreshnessPolicy
from fti_assets.orchestration.declaration import Declaration
from fti_assets.orchestration.partitions import is_timed
from fti_assets.orchestration.resources import Stores
from fti_assets.training.composites.composite import Composite
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model, Servable
from fti_assets.training.tuning.tuning import tuning_text
from fti_assets.training.views.view import FeatureView

NOT_STATED = "not stated"
_FRAMEWORKS = {
    "duckdb": "DuckDB",
    "fti_assets": "DuckDB",
    "lightning": "PyTorch Lightning",
    "onnx": "ONNX",
    "pandas": "pandas",
    "polars": "Polars",
    "pyarrow": "Arrow",
    "pytorch_lightning": "PyTorch Lightning",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
}


def feature_pipeline(group: FeatureGroup, spec: Any, starts: list[str]) -> dict[str, Any]:
    """What a feature group is, how it runs, what it must keep and what starts it."""
    return {
        "asset": spec.key.to_user_string(),
        "description": spec.description or "",
        "mode": fact_of(spec, "mode", _mode(group)),
        "runs": runs(group.partitions_def, group.lookback)
        if group.source is None
        else f"outside: {group.source.place}, joined where it lies",
        "framework": framework(spec, group.annotations),
        "validation": validation(group.assets_def, group.schema),
        "schedule": starts,
        "upstream": upstream(group.assets_def),
        "keys": list(group.keys),
        **({} if group.windows is None else {"windows": windows_in_words(group.windows)}),
        "times": _times(group),
        "renamed": [f"{source!r} to {name!r}" for source, name in group.rename.items()],
        "ttl": None if group.ttl is None else length(group.ttl),
        **_freshness(spec.freshness_policy),
        "online": group.online,
        "owners": list(spec.owners),
    }


def _mode(group: FeatureGroup) -> str:
    if group.windows is not None:
        return "at the time of each request"
    return "batch" if group.source is None else "external"


def _freshness(policy: Any) -> dict[str, Any]:
    """Dagster's policy in words; what has none says nothing of it."""
    if isinstance(policy, TimeWindowFreshnessPolicy):
        warn, fail = policy.warn_window, length(policy.fail_window.to_timedelta())
        warns = "" if warn is None else f"warns {length(warn.to_timedelta())} and "
        return {"freshness": f"{warns}fails {fail} after the last run"}
    if isinstance(policy, CronFreshnessPolicy):
        by, since = policy.deadline_cron, length(policy.lower_bound_delta)
        return {"freshness": f"fails without a run in the {since} before each {by} ({policy.timezone})"}
    return {} if policy is None else {"freshness": type(policy).__name__}


def runs(partitions_def: dg.PartitionsDefinition[str] | None, lookback: Any = None) -> str:
    """Incremental or full, in words."""
    if partitions_def is None:
        return "full: the whole table in each run"
    name = type(partitions_def).__name__.removesuffix("PartitionsDefinition").lower()
    since = f" since {partitions_def.start:%Y-%m-%d}" if is_timed(partitions_def) else ""
    back = f", reading {length(lookback)} back" if lookback else ""
    if lookback == LIFETIME_LENGTH:
        back = ", reading all that came before"
    return f"incremental: {name} partitions{since}{back}"


def validation(asset: dg.AssetsDefinition, schema: Any) -> dict[str, Any]:
    """The schema's name and how many rules there are; a rule that does not block only warns."""
    rules = list(asset.check_specs)
    return {
        "schema": None if schema is None else str(schema.name or "unnamed"),
        "rules": len(rules),
        "blocking": sum(rule.blocking for rule in rules),
    }


def upstream(asset: dg.AssetsDefinition) -> list[str]:
    """The assets that an asset reads."""
    keys = {dep.asset_key for spec in asset.specs for dep in spec.deps}
    return sorted(key.to_user_string() for key in keys)


def _times(group: FeatureGroup) -> str:
    if group.event_time is None:
        return "a lookup, always visible"
    if group.available_at is not None:
        return f"true at {group.event_time}, available at {group.available_at}"
    delay = group.serving_delay
    return f"true at {group.event_time}, available {f'{length(delay)} later' if delay else 'at once'}"


def dataset_facts(dataset: TrainingDataset, spec: Any, starts: list[str]) -> dict[str, Any]:
    """What a training dataset holds and how it is split."""
    view = dataset.view
    return {
        "asset": spec.key.to_user_string(),
        "view": f"{view.name} version {view.version}",
        "spine": view.spine.table_name,
        **_label_facts(view),
        "features": view.feature_names,
        "point_in_time": view.time is not None,
        "split": repr(dataset.split),
        **({"query": list(dataset.query)} if dataset.query else {}),
        "window": "everything" if dataset.window is None else length(dataset.window),
        "runs": runs(dataset.partitions_def),
        "validation": validation(dataset.assets_def, dataset.schema),
        "schedule": starts,
        "upstream": upstream(dataset.assets_def),
    }


def _label_facts(view: FeatureView) -> dict[str, Any]:
    facts = {
        name: f"{label.name} of {label.group.table_name}, mature after {length(label.age)}"
        + ("" if label.missing is None else ", a no where there is none")
        for name, label in view.labels.items()
    }
    return {"labels": facts} if view.has_several_labels else {"label": facts.popitem()[1]}


def model_facts(
    model: Model, spec: Any, starts: list[str], stores: Stores | None, definitions: dg.Definitions
) -> dict[str, Any]:
    """How a model is trained, judged and registered."""
    return {
        "asset": spec.key.to_user_string(),
        "task": model.task,
        "framework": framework(spec, model.annotations),
        "dataset": model.dataset.table_name,
        "tracking": fact_of(spec, "tracking", _tracking_text(definitions, stores)),
        "trigger": [*starts, *([] if model.retraining is None else model.retraining.texts)],
        "accelerator": fact_of(spec, "accelerator"),
        "encoders": {
            name: repr(model.encoders.get(name, "Standardize() by default")).strip("'\"")
            for name in model.view.feature_names
        },
        "evaluation": {
            "metrics": list(model.evaluate.metric_names),
            "slices": list(model.evaluate.slice_names),
            **({"threshold": model.evaluate.threshold} if model.task in ("binary", "multilabel") else {}),
        },
        **({} if model.tune is None else {"tuning": tuning_text(model.tune, model.tuned_metric)}),
        "gates": [repr(gate) for gate in model.gates],
        "rejected_fails_the_run": model.gates_fail_run,
        "promotion": model.promote,
        **({} if model.rollback is None else {"rollback": model.rollback}),
        "registry": _registry(model, stores),
    }


def composite_facts(composite: Composite, spec: Any, starts: list[str], stores: Stores | None) -> dict[str, Any]:
    """What a composite is made of, and where it is registered."""
    function = composite.function
    return {
        "asset": spec.key.to_user_string(),
        "task": composite.task,
        "models": [model.asset_name for model in composite.models],
        **({"feeds": dict(composite.feeds)} if composite.feeds else {}),
        **({} if function is None else {"combine": f"{function.name} version {function.version}"}),
        "trigger": starts,
        "promotion": composite.promote,
        "registry": _registry(composite, stores),
    }


def _tracking_text(definitions: dg.Definitions, stores: Stores | None) -> str:
    resources = (definitions.resources or {}).values()
    with_mlflow = (stores is not None and stores.tracking is not None) or any(
        "mlflow" in type(resource).__module__.lower() for resource in resources
    )
    own = "the build's manifest and card, and Dagster's metadata of each run"
    return f"MLflow, {own}" if with_mlflow else own


def _registry(model: Servable, stores: Stores | None) -> dict[str, Any]:
    """Where the model store is and what it serves; the store is read, never made."""
    if stores is None or isinstance(stores.models, dg.EnvVar):
        return {"store": "known when it runs", "champion": None}
    store = stores.model_store()
    try:
        return {
            "store": str(store.root),
            "champion": store.aliases(model.name).champion,
            "builds": len(store.builds(model.name)),
        }
    except FtiError as error:
        return {"store": str(store.root), "champion": None, "problem": str(error)}


def batch_inference(predictions: BatchPredictions, spec: Any, starts: list[str]) -> dict[str, Any]:
    """What is predicted in batch, where it goes and for whom."""
    return {
        "asset": spec.key.to_user_string(),
        "consumer": fact_of(spec, "consumer"),
        "model": ", ".join(model.asset_name for model in predictions.models),
        **({} if predictions.top is None else {"top": f"{predictions.top.k} a {', '.join(predictions.keys)}"}),
        "runs": runs(predictions.partitions_def),
        "sink": fact_of(spec, "sink", _sinks(predictions)),
        "validation": validation(predictions.assets_def, predictions.schema),
        "schedule": starts,
        "upstream": upstream(predictions.assets_def),
        "latency_goal": fact_of(spec, "latency_goal"),
    }


def _sinks(predictions: BatchPredictions) -> str:
    places = [f"the table {predictions.table.full_name} of the offline store"]
    places += ["the online store"] if predictions.online else []
    return ", ".join([*places, *(sink.place for sink in predictions.sinks)])


def online_inference(model: Servable, spec: Any, stores: Stores | None) -> dict[str, Any]:
    """Whether a model can be asked online, and how."""
    view = model.view
    groups = model.feature_groups
    offline = [group.table_name for group in groups if not group.online]
    online = None if stores is None or isinstance(stores.online, dg.EnvVar) else str(stores.online_store())
    return {
        "asset": spec.key.to_user_string(),
        "answers": f"no: {', '.join(offline)} is not online" if offline else "yes",
        "consumer": fact_of(spec, "consumer"),
        "server": fact_of(spec, "server", "in the app, by fti_assets.Predictor"),
        "latency_goal": fact_of(spec, "latency_goal"),
        "reads": [group.table_name for group in groups if group.online],
        "on_demand": [feature.name for feature in view.on_demand],
        "online_store": online or "known when it runs",
    }


def elsewhere_facts(declaration: Declaration, spec: Any) -> dict[str, Any]:
    """What another code location owns, as its contract tells."""
    facts: dict[str, Any] = {"asset": spec.key.to_user_string(), "description": spec.description or ""}
    if isinstance(declaration, FeatureGroup):
        facts |= {
            "kind": "feature group",
            "runs": runs(declaration.partitions_def, declaration.lookback),
            "keys": list(declaration.keys),
            "times": _times(declaration),
            "ttl": None if declaration.ttl is None else length(declaration.ttl),
            "columns": list(declaration.columns or {}),
            "online": declaration.online,
        }
    elif isinstance(declaration, Servable):
        facts |= {
            "kind": "model",
            "task": declaration.task,
            "features": declaration.view.feature_names,
            "promotion": declaration.promote,
        }
    return {**facts, "owners": list(spec.owners)}


def log_facts(log: PredictionLog, spec: Any, starts: list[str], stores: Stores | None) -> dict[str, Any]:
    """Whose answers are logged, from where to where, and what is kept out."""
    has_folder = stores is not None and not isinstance(stores.log, dg.EnvVar)
    return {
        "asset": spec.key.to_user_string(),
        "model": log.model.asset_name,
        "redacted": sorted(log.redact),
        "limits": [] if log.limits is None else [f"{name} {limit:g}" for name, limit in log.limits.limits.items()],
        "runs": runs(log.partitions_def),
        "files": str(stores.log_folder() / log.model.name)
        if has_folder and stores is not None
        else "known when it runs",
        "sink": f"the table {log.table.full_name} of the offline store",
        "schedule": starts,
        "upstream": upstream(log.assets_def),
    }


def fact_of(spec: Any, name: str, otherwise: str = NOT_STATED) -> str:
    """A tag of the asset, or else its metadata, or else what is known otherwise."""
    result = spec.tags.get(name) or spec.metadata.get(name)
    return otherwise if result is None else str(getattr(result, "value", result))


def length(duration: timedelta) -> str:
    """A duration as declarations write it.

    >>> length(timedelta(hours=36)), length(timedelta(days=14)), length(timedelta(minutes=15))
    ('36h', '14d', '15min')
    """
    for unit, of_one in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if duration and not duration % of_one:
            return f"{duration // of_one}{unit}"
    return f"{duration.total_seconds():g}s"


def framework(spec: Any, annotations: Mapping[str, Any]) -> str:
    """What a function is written with: as stated, or of what it is annotated to return."""
    module = getattr(annotations.get("return"), "__module__", "").partition(".")[0]
    return fact_of(spec, "framework", _FRAMEWORKS.get(module, NOT_STATED))
