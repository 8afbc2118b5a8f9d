"""Batch predictions as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.features.asset import dep_on, upstream_of
from fti_assets.features.groups.columns import column_schema
from fti_assets.features.stored_partitions import COMPLETE
from fti_assets.features.validation.schema import described, rules_of
from fti_assets.inference.batch.predictions import BatchPredictions, PredictionConfig, columns_of, layout_of
from fti_assets.orchestration.checks import check_specs
from fti_assets.orchestration.conditions.defaults import on_answerable_rows
from fti_assets.orchestration.conditions.reach import Reach
from fti_assets.orchestration.conditions.within_reach import Upstream
from fti_assets.orchestration.partitions import is_timed
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import beta_accepted, build_asset
from fti_assets.training.datasets.dataset import ANSWER_RULES


def predictions_asset(predictions: BatchPredictions) -> dg.AssetsDefinition:
    """The predictions' asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.inference.batch.run import run_batch_predictions

        return run_batch_predictions(predictions, context, stores, arguments["config"])

    model, partitions_def = predictions.model, predictions.partitions_def
    view = model.view
    features = [group for group in view.groups if group not in (view.spine, view.label.group)]
    reaches = {view.spine: timedelta(0), **{group: group.ttl or timedelta(0) for group in features}}
    return build_asset(
        predictions,
        function=None,
        run=run,
        config=PredictionConfig,
        deps=[
            _model_dep(predictions),
            *(dep_on(group, partitions_def, back) for group, back in reaches.items()),
        ],
        check_specs=check_specs(
            predictions.key,
            [*rules_of(predictions.schema), *layout_of(predictions).rules, COMPLETE, *ANSWER_RULES],
        ),
        metadata={
            "dagster/table_name": predictions.table.full_name,
            "model": model.asset_name,
            **({} if partitions_def is None else {"catch_up": predictions.catch_up}),
            **column_schema(columns_of(predictions)),
        },
        kinds={"onnx", "parquet"},
        group_name="inference",
        description=f"What {model.name} answers for each row of {view.spine.table_name}, and the build that answered.",
        automation_condition=on_answerable_rows(
            view.spine.key,
            upstream_of({group: Reach(back) for group, back in reaches.items()}),
            Upstream(model.key, model.partitions_def),
            whole=partitions_def is None,
            catch_up=predictions.catch_up,
        ).with_label("rows_to_answer"),
        code_terms=(predictions.name, predictions.version, model.asset_name, described(predictions.schema)),
    )


def _model_dep(predictions: BatchPredictions) -> dg.AssetDep:
    timed = (predictions.partitions_def, predictions.model.partitions_def)
    if all(is_timed(partitions) for partitions in timed):
        with beta_accepted():
            mapping = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
        return dg.AssetDep(predictions.model.key, partition_mapping=mapping)
    return dg.AssetDep(predictions.model.key)
