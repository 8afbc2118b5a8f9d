"""Gates as asset checks: one check a gate, one evaluation a build, at the partition of its cutoff."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.orchestration.dagster_internals import AssetCheckEvaluationTargetMaterializationData
from fti_assets.orchestration.step import beta_accepted
from fti_assets.training.models.model import Model


def gate_specs(model: Model) -> list[dg.AssetCheckSpec]:
    """The check of each gate; it has the model's partitions, so that each cutoff keeps its own verdict."""
    with beta_accepted():
        return [
            dg.AssetCheckSpec(
                gate.name,
                asset=model.key,
                blocking=model.gates_fail_run,
                description=f"Gate {gate!r} on the test split",
                partitions_def=model.partitions_def,
            )
            for gate in model.gates
        ]


def gate_results(model: Model, context: dg.AssetExecutionContext, build: ModelManifest) -> Iterator[Any]:
    """What the gates said of the one build of a run. It comes after the build's event, which Dagster takes for what was checked."""
    for number, gate in enumerate(model.gates):
        yield dg.AssetCheckResult(
            asset_key=context.assets_def.key, check_name=gate.name, **_check_fields(model, number, build)
        )


def gate_evaluations(
    model: Model, context: dg.AssetExecutionContext, partition: str, build: ModelManifest
) -> Iterator[dg.AssetCheckEvaluation]:
    """What the gates said of one build of a range; a result of a step cannot name its partition."""
    key = context.assets_def.key
    newest = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
    ).records
    target = (
        AssetCheckEvaluationTargetMaterializationData(
            storage_id=newest[0].storage_id, run_id=newest[0].run_id, timestamp=newest[0].timestamp
        )
        if newest
        else None
    )
    for number, gate in enumerate(model.gates):
        yield dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=gate.name,
            partition=partition,
            blocking=model.gates_fail_run,
            target_materialization_data=target,
            **_check_fields(model, number, build),
        )


def gate_outputs(model: Model, context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    """The outputs of checks that were evaluated partition by partition, for which what is downstream waits."""
    gates = {gate.name for gate in model.gates}
    for name, spec in context.assets_def.check_specs_by_output_name.items():
        if spec.name in gates:
            yield dg.Output(None, output_name=name)


def _check_fields(model: Model, number: int, build: ModelManifest) -> dict[str, Any]:
    verdict, metric = build.gates[number], model.gates[number].metric
    score = {f"test/{metric}": build.metrics[metric]} if metric in build.metrics else {}
    return {
        "passed": verdict.passed,
        "severity": dg.AssetCheckSeverity.ERROR,
        "description": f"{build.reference}: {verdict.reason}",
        "metadata": {"build": build.reference, "reason": verdict.reason, **score},
    }
