"""A model as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fti_assets.orchestration.conditions.defaults import on_changed_dataset
from fti_assets.orchestration.conditions.within_reach import Upstream
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import beta_accepted, build_asset
from fti_assets.training.judging.importance import Importance
from fti_assets.training.models.model import KEPT_APART, Model
from fti_assets.training.tuning.tuning import tuning_text


def model_asset(model: Model) -> dg.AssetsDefinition:
    """The model's asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.training.models.run import run_model

        return run_model(model, context, stores, arguments)

    return build_asset(
        model,
        function=model.function,
        run=run,
        own_parameters=model.own_parameters,
        annotations=model.annotations,
        ins=model.asset_ins,
        deps=[dg.AssetDep(model.dataset.key)],
        check_specs=_check_specs(model),
        metadata={
            "task": model.task,
            "view": f"{model.view.name} version {model.view.version}",
            "features": dg.MetadataValue.json(list(model.view.feature_names)),
            **({} if model.tune is None else {"tuning": tuning_text(model.tune, model.tuned_metric)}),
            **({} if model.calibrate is None else {"calibration": model.calibrate}),
            **({"intended_use": model.intended_use} if model.intended_use else {}),
            **({"limits": "\n".join(model.limits)} if model.limits else {}),
            **({} if model.retraining is None else {"retrain": "\n".join(model.retraining.texts)}),
            **({} if model.rollback is None else {"rollback": model.rollback}),
            **({} if model.partitions_def is None else {"catch_up": model.catch_up}),
            **(
                {}
                if model.latency_goal is None
                else {"latency_goal": f"{model.latency_goal.total_seconds() * 1000:g} ms"}
            ),
        },
        kinds={"onnx"},
        group_name="training",
        automation_condition=None if model.retraining is not None else _condition(model),
        code_terms=(
            model.name,
            model.version,
            model.task,
            model.gates,
            model.evaluate,
            repr(model.encoders),
            *([model.levels] if model.levels else []),
            *([] if model.latency_goal is None else [model.latency_goal]),
            *([] if model.tune is None else [model.tune]),
            *([] if model.importance == Importance() else [repr(model.importance)]),
            *([] if model.weights is None else [repr(model.weights)]),
            *([] if model.calibrate is None else [model.calibrate]),
        ),
    )


def _condition(model: Model) -> dg.AutomationCondition[Any]:
    """It is trained when its dataset has changed, unless triggers say when."""
    dataset = Upstream(model.dataset.key, model.dataset.partitions_def)
    whole, label = model.partitions_def is None, "dataset_changed"
    return on_changed_dataset(dataset, whole=whole, catch_up=model.catch_up).with_label(label)


def _check_specs(model: Model) -> list[dg.AssetCheckSpec]:
    """The check of each gate, and of the encoders; they have the model's partitions, so that each cutoff keeps its own verdict."""
    gates = [(gate.name, f"Gate {gate!r} on the test split", model.gates_fail_run) for gate in model.gates]
    with beta_accepted():
        return [
            dg.AssetCheckSpec(
                name, asset=model.key, blocking=blocking, description=description, partitions_def=model.partitions_def
            )
            for name, description, blocking in [*gates, (KEPT_APART.name, KEPT_APART.description, KEPT_APART.blocking)]
        ]
