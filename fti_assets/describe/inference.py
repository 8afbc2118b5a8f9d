"""Inference in facts: batch predictions, and what an app asks."""

from __future__ import annotations

from typing import Any

import dagster as dg

from fti_assets.describe.features import runs, upstream, validation
from fti_assets.describe.stated import stated
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.orchestration.resources import Stores
from fti_assets.training.models.model import Model


def batch_inference(predictions: BatchPredictions, spec: Any, starts: list[str]) -> dict[str, Any]:
    """What is predicted in batch, where it goes and for whom."""
    return {
        "asset": spec.key.to_user_string(),
        "consumer": stated(spec, "consumer"),
        "model": predictions.model.asset_name,
        "runs": runs(predictions.partitions_def),
        "sink": stated(spec, "sink", _sink(predictions)),
        "validation": validation(predictions.assets_def, predictions.schema),
        "schedule": starts,
        "upstream": upstream(predictions.assets_def),
        "latency_goal": stated(spec, "latency_goal"),
    }


def online_inference(model: Model, spec: Any, stores: Stores | None) -> dict[str, Any]:
    """Whether a model can be asked online, and how."""
    view = model.view
    joined = [group for group in view.groups if group is not view.spine and group is not view.label.group]
    offline = [group.table for group in joined if not group.online]
    online = None if stores is None or isinstance(stores.online, dg.EnvVar) else str(stores.online_store())
    return {
        "asset": spec.key.to_user_string(),
        "answers": f"no: {', '.join(offline)} is not online" if offline else "yes",
        "consumer": stated(spec, "consumer"),
        "server": stated(spec, "server", "in the app, by fti_assets.Predictor"),
        "latency_goal": stated(spec, "latency_goal"),
        "reads": [group.table for group in joined if group.online],
        "on_demand": [feature.name for feature in view.on_demand],
        "online_store": online or "known when it runs",
    }


def _sink(predictions: BatchPredictions) -> str:
    online = ", and its online namespace" if getattr(predictions, "online", False) else ""
    return f"the table {predictions.table_name} of the offline store{online}"
