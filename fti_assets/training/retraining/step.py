"""A step as a model's own, in which its function is trained again, and of which Dagster keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import dagster as dg

from fti_assets.orchestration.resources import STORES, Stores
from fti_assets.orchestration.signature import call_function
from fti_assets.orchestration.step import beta_accepted, build_asset
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.model import Model
from fti_assets.training.models.tuned import Train
from fti_assets.training.tuning.trial import Trial

T = TypeVar("T")

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def within_step(
    model: Model,
    partition: str,
    stores: Stores,
    resources: Mapping[str, Any],
    work: Callable[[Train], T],
    *,
    parameters: Trial | None = None,
) -> T:
    """Work in a step as the model's own, which its function may ask for a context, config and resources.

    Args:
        model: the model.
        partition: of the step.
        stores: what the step has as its stores.
        resources: what the model's function takes besides.
        work: is given what calls the function.
        parameters: of a tuned model, the same each time; None for those of the trial that is made.
    """
    results: list[T] = []

    def run(context: dg.AssetExecutionContext, _: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        def train(data: TrainingData, trial: Trial | None) -> Any:
            inputs = {**arguments, **model.own_arguments(data, parameters or trial)}
            return call_function(model.function, inputs, context, what=model.asset_name, instead="take one partition")

        results.append(work(train))
        yield from ()

    asset = build_asset(
        model,
        function=model.function,
        run=run,
        own_parameters=model.own_parameters,
        annotations=model.annotations,
        ins=model.asset_ins,
        group_name="training",
        code_terms=(),
    )
    with dg.DagsterInstance.ephemeral() as instance, beta_accepted():
        options: dict[str, Any] = {} if model.partitions_def is None else {"partition_key": partition}
        if isinstance(model.partitions_def, dg.DynamicPartitionsDefinition) and model.partitions_def.name:
            instance.add_dynamic_partitions(model.partitions_def.name, [partition])
        dg.materialize(
            [asset], instance=instance, resources={**resources, STORES: stores}, run_config=_QUIET, **options
        )
    return results[0]
