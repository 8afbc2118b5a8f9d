"""A review as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import dagster as dg

from fti_assets.features.asset import upstream_of
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.orchestration.checks import check_specs
from fti_assets.orchestration.conditions.defaults import on_changed_inputs
from fti_assets.orchestration.conditions.reach import Reach
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import build_asset
from fti_assets.reviews.review import HOLDS, Review
from fti_assets.training.models.model import Model


@cache
def review_of(model: Model) -> Review:
    """The review of a model with ``rollback=``; its asset stands under the prefix of the model's."""
    prefix = model.key.path[:-1]
    return Review(
        name=f"{model.name}_review",
        version=model.version,
        model=model,
        options={"key_prefix": prefix} if prefix else {},
        to_asset=review_asset,
    )


def review_asset(review: Review) -> dg.AssetsDefinition:
    """The review's asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.reviews.run import run_review

        return run_review(review, context, stores)

    model = review.model
    groups: dict[TimedTable, Reach] = dict.fromkeys([model.view.spine, model.view.only_label.group], Reach())
    inputs = upstream_of(groups)
    does = "rolls the champion back" if model.rollback == "automatic" else "proposes to roll the champion back"
    return build_asset(
        review,
        function=None,
        run=run,
        deps=[dg.AssetDep(model.key), *(dg.AssetDep(group.key) for group in groups)],
        check_specs=check_specs(review.key, [HOLDS]),
        metadata={"model": model.asset_name, "compares": review.metric, "rollback": model.rollback},
        kinds={"onnx"},
        group_name="monitoring",
        description=f"Holds {model.name}'s champion beside the one before it as labels come, and {does} if it does worse.",
        automation_condition=on_changed_inputs(inputs, whole=True, triggers=[one.key for one in inputs]).with_label(
            "labels_changed"
        ),
        code_terms=(model.name, model.version, review.metric, model.rollback),
    )
