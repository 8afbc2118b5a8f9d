"""The sensor of a model's triggers."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from fti_assets.core.names import TableName
from fti_assets.orchestration.options import accepted_by_dagster
from fti_assets.orchestration.resources import STORES, Stores
from fti_assets.orchestration.signature import CONTEXT, take
from fti_assets.training.models.model import Model

_SECONDS = 60


def retraining_sensor(model: Model, monitors: Mapping[str, TableName]) -> dg.SensorDefinition:
    """The sensor of a model's triggers.

    Args:
        model: a model with triggers.
        monitors: the tables of the monitors, by the names that the triggers give them.
    """
    name = f"{model.asset_name}_retraining"

    def evaluate(context: dg.SensorEvaluationContext, fti: Stores) -> dg.SensorResult:
        from fti_assets.training.retraining.tick import evaluate_triggers

        return evaluate_triggers(model, monitors, context, fti)

    take(evaluate, {CONTEXT: dg.SensorEvaluationContext, STORES: Stores})

    assert model.retraining is not None
    with accepted_by_dagster(name, "sensor"):
        return dg.sensor(
            name=name,
            target=dg.AssetSelection.assets(model.dataset.key, model.key),
            minimum_interval_seconds=_SECONDS,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description=f"Trains {model.asset_name}: {'; '.join(model.retraining.texts)}.",
        )(evaluate)
