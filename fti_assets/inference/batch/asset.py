"""Batch predictions as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.features.asset import dep_on, upstream_of
from fti_assets.features.groups.columns import column_schema
from fti_assets.features.stored_partitions import COMPLETE
from fti_assets.features.validation.schema import rules_of, schema_demands
from fti_assets.inference.batch.predictions import BatchPredictions, PredictionConfig, columns_of, layout_of
from fti_assets.orchestration.checks import check_specs
from fti_assets.orchestration.conditions.defaults import on_answerable_rows
from fti_assets.orchestration.conditions.partition_conditions import Answering
from fti_assets.orchestration.conditions.reach import Reach
from fti_assets.orchestration.partitions import is_timed
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import beta_accepted, build_asset
from fti_assets.training.datasets.dataset import ANSWER_RULES
from fti_assets.training.models.model import Servable


def predictions_asset(predictions: BatchPredictions) -> dg.AssetsDefinition:
    """The predictions' asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.inference.batch.run import run_batch_predictions

        return run_batch_predictions(predictions, context, stores, arguments["config"])

    models, spine, partitions_def = predictions.models, predictions.spine, predictions.partitions_def
    reaches = {spine: timedelta(0), **{group: group.ttl or timedelta(0) for group in predictions.feature_groups}}
    names = tuple(model.asset_name for model in models)
    return build_asset(
        predictions,
        function=None,
        run=run,
        config=PredictionConfig,
        deps=[
            *(model_dep(model, partitions_def) for model in models),
            *(dep_on(group, partitions_def, back) for group, back in reaches.items()),
        ],
        check_specs=check_specs(
            predictions.key,
            [*rules_of(predictions.schema), *layout_of(predictions).rules, COMPLETE, *ANSWER_RULES],
        ),
        metadata={
            "dagster/table_name": predictions.table.full_name,
            "model": ", ".join(names),
            **({} if partitions_def is None else {"catch_up": predictions.catch_up}),
            **column_schema(columns_of(predictions)),
        },
        kinds={"onnx", "parquet"},
        group_name="inference",
        description=_description(predictions),
        automation_condition=on_answerable_rows(
            spine.key,
            upstream_of({group: Reach(back) for group, back in reaches.items()}),
            [answering(model) for model in models],
            whole=partitions_def is None,
            catch_up=predictions.catch_up,
        ).with_label("rows_to_answer"),
        code_terms=(
            predictions.name,
            predictions.version,
            names if predictions.by_model else names[0],
            schema_demands(predictions.schema),
            *([] if predictions.top is None else [predictions.top]),
        ),
    )


def answering(model: Servable) -> Answering:
    """A model as a condition asks whether it can answer."""
    return Answering(model.key, model.partitions_def, promotes_itself=model.promote != "by_hand")


def _description(predictions: BatchPredictions) -> str:
    *first, last = [model.name for model in predictions.models]
    who, build = (f"{', '.join(first)} and {last} answer", "builds") if first else (f"{last} answers", "build")
    each = f"each row of {predictions.spine.table_name}"
    if predictions.top is not None:
        each += f", the {predictions.top.k} best of each {' and '.join(predictions.keys)}"
        each += "" if predictions.top.of is None else f" by {predictions.top.of!r}"
    return f"What {who} for {each}, and the {build} that answered."


def model_dep(model: Servable, partitions_def: dg.PartitionsDefinition[str] | None) -> dg.AssetDep:
    """How answers in some partitions depend on their model."""
    if is_timed(partitions_def) and is_timed(model.partitions_def):
        with beta_accepted():
            mapping = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
        return dg.AssetDep(model.key, partition_mapping=mapping)
    return dg.AssetDep(model.key)
