"""An experiment as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fti_assets.experiments.experiment import RULES, Experiment, columns_of
from fti_assets.features.groups.columns import column_schema
from fti_assets.orchestration.checks import check_specs
from fti_assets.orchestration.conditions.defaults import on_changed_inputs
from fti_assets.orchestration.conditions.within_reach import Upstream
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import build_asset


def experiment_asset(experiment: Experiment) -> dg.AssetsDefinition:
    """The experiment's asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.experiments.run import run_experiment

        return run_experiment(experiment, context, stores)

    log, model = experiment.log, experiment.model
    outcomes = model.view.only_label.group
    inputs = [Upstream(log.key, log.partitions_def)]
    if outcomes.source is None:
        inputs.append(Upstream(outcomes.key, outcomes.partitions_def))
    return build_asset(
        experiment,
        function=None,
        run=run,
        deps=[dg.AssetDep(log.key), dg.AssetDep(outcomes.key)],
        check_specs=check_specs(experiment.key, RULES),
        metadata={
            "dagster/table_name": experiment.table.full_name,
            "model": model.asset_name,
            "compares": experiment.figure.name,
            "least_keys": experiment.terms.least_keys,
            "looks": experiment.terms.looks,
            "at_least": experiment.terms.at_least,
            "confidence": experiment.terms.confidence,
            **column_schema(columns_of(experiment)),
        },
        kinds={"duckdb"},
        group_name="monitoring",
        description=f"What became of the answers of each arm of {model.name}'s rollout, and the verdict.",
        automation_condition=on_changed_inputs(inputs, whole=True).with_label("answers_or_outcomes"),
        code_terms=(
            experiment.name,
            experiment.version,
            log.table_name,
            experiment.figure,
            experiment.terms,
            experiment.least_share,
        ),
    )
