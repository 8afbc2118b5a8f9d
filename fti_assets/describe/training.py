"""Training datasets and models in facts."""

from __future__ import annotations

from typing import Any

import dagster as dg

from fti_assets.describe.features import runs, upstream, validation
from fti_assets.describe.stated import framework, length, stated
from fti_assets.errors import FtiError
from fti_assets.orchestration.resources import Stores
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model


def dataset_facts(dataset: TrainingDataset, spec: Any, starts: list[str]) -> dict[str, Any]:
    """What a training dataset holds and how it is split."""
    view = dataset.view
    return {
        "asset": spec.key.to_user_string(),
        "view": f"{view.name} version {view.version}",
        "spine": view.spine.table,
        "label": f"{view.label.name} of {view.label.group.table}, mature after {length(view.label.age)}",
        "features": view.feature_names,
        "point_in_time": view.time is not None,
        "split": repr(dataset.split),
        "window": "everything" if dataset.window is None else length(dataset.window),
        "runs": runs(dataset.partitions_def),
        "validation": validation(dataset.assets_def, dataset.schema),
        "schedule": starts,
        "upstream": upstream(dataset.assets_def),
    }


def model_facts(
    model: Model, spec: Any, starts: list[str], stores: Stores | None, definitions: dg.Definitions
) -> dict[str, Any]:
    """How a model is trained, judged and registered."""
    return {
        "asset": spec.key.to_user_string(),
        "task": model.task,
        "framework": framework(spec, model.annotations),
        "dataset": model.dataset.table,
        "tracking": stated(spec, "tracking", _tracking(definitions)),
        "trigger": starts,
        "accelerator": stated(spec, "accelerator"),
        "encoders": _encoders(model),
        "evaluation": {"metrics": list(model.evaluate.metrics), "slices": list(model.evaluate.slices)},
        "gates": [repr(gate) for gate in model.gates],
        "rejected_fails_the_run": model.gates_fail_run,
        "promotion": model.promote,
        "registry": _registry(model, stores),
    }


def _tracking(definitions: dg.Definitions) -> str:
    resources = (definitions.resources or {}).values()
    with_mlflow = any("mlflow" in type(resource).__module__.lower() for resource in resources)
    own = "the build's manifest and card, and Dagster's metadata of each run"
    return f"MLflow, {own}" if with_mlflow else own


def _encoders(model: Model) -> dict[str, str]:
    """The encoder of each feature; numbers without one are standardized."""
    return {
        name: repr(model.encoders.get(name, "Standardize() by default")).strip("'\"")
        for name in model.view.feature_names
    }


def _registry(model: Model, stores: Stores | None) -> dict[str, Any]:
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
