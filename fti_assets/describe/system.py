"""A system in facts: its feature, training and inference pipelines, and what else its definitions hold."""

from __future__ import annotations

from typing import Any

import dagster as dg

from fti_assets.describe.facts import batch_inference, dataset_facts, feature_pipeline, model_facts, online_inference
from fti_assets.describe.triggers import triggers_by_key, triggers_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.orchestration.declaration import declaration_of
from fti_assets.orchestration.resources import STORES, Stores
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model


def describe(definitions: dg.Definitions) -> dict[str, Any]:
    """Describe a system for people and machines: plain dicts, lists, texts and numbers.

    What cannot be derived is read from an asset's tags or metadata (``mode``, ``framework``, ``tracking``,
    ``accelerator``, ``consumer``, ``server``, ``latency_goal``), else it is "not stated".

    Returns:
        ``features``, ``datasets``, ``models``, ``batch`` and ``online`` inference, and ``others``, each a list of facts.

    >>> describe(defs)["features"][0]["schedule"]  # doctest: +SKIP
    ['automation condition eager']
    """
    triggers = triggers_by_key(definitions)
    stores = (definitions.resources or {}).get(STORES)
    stores = stores if isinstance(stores, Stores) else None
    system: dict[str, Any] = {part: [] for part in ("features", "datasets", "models", "batch", "online", "others")}
    assets = definitions.get_repository_def().assets_defs_by_key
    for key, asset in assets.items():
        spec, starts = asset.get_asset_spec(key), triggers_of(triggers, key)
        match declaration_of(asset):
            case FeatureGroup() as group:
                system["features"].append(feature_pipeline(group, spec, starts))
            case TrainingDataset() as dataset:
                system["datasets"].append(dataset_facts(dataset, spec, starts))
            case Model() as model:
                system["models"].append(model_facts(model, spec, starts, stores, definitions))
                system["online"].append(online_inference(model, spec, stores))
            case BatchPredictions() as predictions:
                system["batch"].append(batch_inference(predictions, spec, starts))
            case _:
                system["others"].append({"asset": key.to_user_string(), "schedule": starts})
    return {part: sorted(facts, key=lambda one: str(one["asset"])) for part, facts in system.items()}
