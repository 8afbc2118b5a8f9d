"""A composite as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fti_assets.orchestration.conditions.defaults import on_changed_models
from fti_assets.orchestration.conditions.partition_conditions import Answering
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import build_asset
from fti_assets.training.composites.composite import Composite


def composite_asset(composite: Composite) -> dg.AssetsDefinition:
    """The composite's asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.training.composites.run import run_composite

        return run_composite(composite, context, stores)

    names = [model.asset_name for model in composite.models]
    function = composite.function
    return build_asset(
        composite,
        function=None,
        run=run,
        deps=[dg.AssetDep(model.key) for model in composite.models],
        metadata={
            "task": composite.task,
            "models": ", ".join(names),
            "features": dg.MetadataValue.json(list(composite.view.feature_names)),
            **({"feeds": dg.MetadataValue.json(dict(composite.feeds))} if composite.feeds else {}),
            **({} if function is None else {"combine": f"{function.name} version {function.version}"}),
            **(
                {}
                if composite.latency_goal is None
                else {"latency_goal": f"{composite.latency_goal.total_seconds() * 1000:g} ms"}
            ),
        },
        kinds={"onnx"},
        group_name="training",
        description=f"What {', '.join(model.name for model in composite.models)} answer together.",
        automation_condition=on_changed_models(
            [
                Answering(model.key, model.partitions_def, promotes_itself=model.promote != "by_hand")
                for model in composite.models
            ],
            catch_up=composite.catch_up,
        ).with_label("models_changed"),
        code_terms=(
            composite.name,
            composite.version,
            names,
            sorted(composite.feeds.items()),
            None if function is None else function.call.meaning,
            *([] if composite.latency_goal is None else [composite.latency_goal]),
        ),
    )
