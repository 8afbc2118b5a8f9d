"""What Dagster is told of a model: the page of a build, what its gates said, and a change of its champion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from fti_assets.core.manifest import GateVerdict, ModelManifest
from fti_assets.core.names import WHOLE, versioned_name
from fti_assets.errors import StoreError
from fti_assets.orchestration.conditions.partition_conditions import CHAMPION, CHAMPION_AFTER_RUN, NO_CHAMPION
from fti_assets.orchestration.dagster_internals import AssetCheckEvaluationTargetMaterializationData
from fti_assets.stores.files import read_file
from fti_assets.stores.models.aliases import Aliases, Evidence
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.places import absolute
from fti_assets.training.judging.pictures.build_pictures import image, pictures, reliability_before
from fti_assets.training.judging.pictures.importance_picture import IMPORTANCE, importance_metadata, importance_picture
from fti_assets.training.judging.pictures.learning import LEARNING, learning_picture
from fti_assets.training.judging.pictures.picture_page import PICTURES
from fti_assets.training.models.model import KEPT_APART, Model
from fti_assets.training.tuning.pictures import tuning_pictures

if TYPE_CHECKING:
    from fti_assets.training.models.build import Build


def build_metadata(model: Model, store: ModelStore, build: Build) -> dict[str, Any]:
    """What is shown of a build: its metrics, pictures and card, and who was the champion after it."""
    manifest = build.manifest
    folder = store.folder(manifest)
    images = pictures(
        model.task, build.outputs, build.y, manifest.slices, model.evaluate.metric_names[0], manifest.labels
    )
    if build.uncalibrated is not None and manifest.calibration is not None:
        images |= reliability_before(model.task, build.uncalibrated, build.y, manifest.labels)
    images |= {} if manifest.importance is None else {IMPORTANCE: importance_picture(manifest.importance)}
    images |= {} if (curve := learning_picture(build.epochs)) is None else {LEARNING: curve}
    return {
        "build": manifest.reference,
        CHAMPION_AFTER_RUN: store.aliases(model.name).champion or NO_CHAMPION,
        **({"trained_because": manifest.trained_because} if manifest.trained_because else {}),
        **{f"test/{name}": value for name, value in manifest.metrics.items()},
        **{f"interval/{name}": interval.text for name, interval in manifest.intervals.items()},
        **{f"baseline/{name}": value for name, value in manifest.baseline.items()},
        **{f"{one}/{name}": value for one, scores in manifest.baselines.items() for name, value in scores.items()},
        **_comparison(manifest),
        **_calibration(manifest),
        **{
            f"fairness/{column}/{name}": value
            for column, record in manifest.fairness.items()
            for name, value in record.figures.items()
        },
        **importance_metadata(manifest.importance),
        **_tuning(build),
        **{name: dg.MetadataValue.md(image(svg, name)) for name, svg in images.items()},
        "whole_pictures": dg.MetadataValue.path(absolute(folder / PICTURES)),
        "card": dg.MetadataValue.md((read_file(folder / "card.md") or b"").decode(errors="replace")),
    }


def _tuning(build: Build) -> dict[str, Any]:
    """How its parameters were chosen."""
    tuning = build.manifest.tuning
    if tuning is None or build.study is None:
        return {}
    images = tuning_pictures(build.study)
    return {
        "tuning/trials": tuning.trials,
        "tuning/pruned": tuning.pruned,
        "tuning/failed": tuning.failed,
        f"tuning/validation_{tuning.metric}": tuning.value,
        "tuning/parameters": dg.MetadataValue.json(tuning.parameters),
        **{f"tuning/{name}": dg.MetadataValue.md(image(svg, name)) for name, svg in images.items()},
    }


def _calibration(manifest: ModelManifest) -> dict[str, Any]:
    """How the probabilities were calibrated, and what that did on the test split."""
    record = manifest.calibration
    if record is None:
        return {}
    return {
        "calibration/method": record.method,
        "calibration/rows": record.rows,
        **{f"calibration/{name}_before": value for name, value in record.before.items()},
        **{f"calibration/{name}_after": value for name, value in record.after.items()},
    }


def _comparison(manifest: ModelManifest) -> dict[str, Any]:
    """How far the graph is from the trained model on the test split."""
    if manifest.comparison is None:
        return {}
    return {
        "graph/largest_difference": manifest.comparison.largest_difference,
        "graph/outliers": manifest.comparison.outliers,
        "graph/rows_compared": manifest.comparison.rows,
    }


def rejection(
    asset_key: dg.AssetKey, partition: str | None, manifest: ModelManifest, metadata: Mapping[str, Any]
) -> dg.AssetObservation:
    """A rejected build on the page of its model, which stays as it was materialized before."""
    failures = [f"{verdict.gate}: {verdict.reason}" for verdict in manifest.gates if not verdict.passed]
    return dg.AssetObservation(
        asset_key,
        partition=partition,
        description=f"{manifest.reference} is rejected: {failure_reasons(manifest)}",
        # Dagster lays an observation's entries over those of a materialization of the same cutoff: names of their own.
        metadata={f"rejected/{name}": value for name, value in {"gates": "\n".join(failures), **metadata}.items()},
    )


def failure_reasons(manifest: ModelManifest) -> str:
    """Why a build was accepted, or what turned it down."""
    is_rejected = manifest.status == "rejected"
    reasons = [
        f"{verdict.gate}: {verdict.reason}" for verdict in manifest.gates if not (is_rejected and verdict.passed)
    ]
    return "; ".join(reasons) or "it has no gates"


def build_results(model: Model, key: dg.AssetKey, build: ModelManifest) -> Iterator[dg.AssetCheckResult]:
    """What the checks said of the one build of a run, after the build's event, which Dagster takes for what was checked."""
    for fields in _all_checks(model, build):
        yield dg.AssetCheckResult(asset_key=key, **fields)


def build_evaluations(
    model: Model, context: dg.AssetExecutionContext, partition: str, build: ModelManifest
) -> Iterator[dg.AssetCheckEvaluation]:
    """What the checks said of one build of a range."""
    # A check's result of a step cannot name its partition, an evaluation can; but then it must say itself what was checked.
    key = context.assets_def.key
    cutoff = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    newest = context.instance.fetch_materializations(cutoff, limit=1).records
    target = [
        AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        for record in newest
    ]
    for fields in _all_checks(model, build):
        yield dg.AssetCheckEvaluation(
            asset_key=key,
            partition=partition,
            blocking=fields["check_name"] != KEPT_APART.name and model.gates_fail_run,
            target_materialization_data=target[0] if target else None,
            **fields,
        )


def check_outputs(model: Model, context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    """The outputs of checks that were evaluated partition by partition, for which what is downstream waits."""
    names = {KEPT_APART.name, *(gate.name for gate in model.gates)}
    for name, spec in context.assets_def.check_specs_by_output_name.items():
        if spec.name in names:
            yield dg.Output(None, output_name=name)


def _all_checks(model: Model, build: ModelManifest) -> Iterator[dict[str, Any]]:
    """What each gate said of a build, and then whether its encoders keep numbers apart."""
    for gate, verdict in zip(model.gates, build.gates, strict=True):
        metric = getattr(gate, "metric", None)
        score = {f"test/{metric}": build.metrics[metric]} if metric in build.metrics else {}
        yield {
            "check_name": gate.name,
            "passed": verdict.passed,
            "severity": dg.AssetCheckSeverity.ERROR,
            "description": f"{build.reference}: {verdict.reason}",
            "metadata": {"build": build.reference, "reason": verdict.reason, **score, **_figures(verdict)},
        }
    problem = "; ".join(build.warnings)
    yield {
        "check_name": KEPT_APART.name,
        "passed": not build.warnings,
        "severity": dg.AssetCheckSeverity.WARN,
        "description": f"{build.reference}: {problem}" if problem else None,
        "metadata": {"build": build.reference, "failures": len(build.warnings)}
        | ({"problem": problem} if problem else {}),
    }


def _figures(verdict: GateVerdict) -> dict[str, float]:
    """The figure that a gate judged, its bound and its interval, for Dagster's plots of a check."""
    interval = verdict.interval
    values = {
        "value": verdict.value,
        "bound": verdict.bound,
        "interval/low": None if interval is None else interval.low,
        "interval/high": None if interval is None else interval.high,
    }
    return {name: value for name, value in values.items() if value is not None}


def champion_observations(store: ModelStore, aliases: Aliases) -> list[dg.AssetObservation]:
    """The newest change of a champion, for the page of the old and of the new one: an asset and its partition.

    Args:
        aliases: after the change.
    """
    change = aliases.history[-1]
    evidence = change.evidence or Evidence()
    pages = {_page(store, aliases.model, build) for build in (change.champion, change.previous) if build}
    return [
        dg.AssetObservation(
            key,
            partition=partition,
            description=f"The champion is {change.champion}, before it was {change.previous or 'none'}: {change.reason}",
            metadata={
                CHAMPION: change.champion,
                "previous_champion": change.previous or "none",
                "reason": change.reason,
                "changed_by": change.author or "unknown",
                "changed_at": f"{change.at} UTC",
                # Names of their own, as of a rejected build.
                **{f"evidence/{name}": value for name, value in evidence.metrics.items()},
                **({"evidence/beside_the_champion_before": "\n".join(lines)} if (lines := evidence.comparison) else {}),
                **({"evidence/gates": _in_words(evidence.gates)} if evidence.gates else {}),
                **({} if change.fresh is None else {"evidence/fresh_labels": change.fresh.text}),
            },
        )
        for key, partition in sorted(filter(None, pages), key=str)
    ]


def proposal_observation(store: ModelStore, aliases: Aliases) -> list[dg.AssetObservation]:
    """That a rollback is proposed, for the page of the champion: an asset and its partition."""
    proposal = aliases.proposal
    page = None if proposal is None else _page(store, aliases.model, proposal.champion)
    if proposal is None or page is None:
        return []
    key, partition = page
    return [
        dg.AssetObservation(
            key,
            partition=partition,
            description=f"A rollback of {proposal.champion} to {proposal.to} is proposed: {proposal.evidence.text}",
            metadata={
                "rollback/from": proposal.champion,
                "rollback/to": proposal.to,
                "rollback/evidence": proposal.evidence.text,
                "rollback/proposed_at": f"{proposal.at} UTC",
                "rollback/behind": proposal.evidence.behind,
                "rollback/rows": proposal.evidence.rows,
            },
        )
    ]


def of_other_assets(store: ModelStore, asset_key: dg.AssetKey, build: ModelManifest) -> Iterator[dg.AssetObservation]:
    """For the page of another version whose build was the champion until now."""
    aliases = store.aliases(build.model)
    if aliases.champion == build.reference:
        changes = champion_observations(store, aliases)
        yield from (change for change in changes if change.asset_key != asset_key)


def report_champion(store: ModelStore, aliases: Aliases) -> list[str]:
    """Tell the instance of ``DAGSTER_HOME`` of the newest change by hand; the keys of the assets whose pages show it."""
    observations = champion_observations(store, aliases)
    with dg.DagsterInstance.get() as instance:
        for observation in observations:
            instance.report_runless_asset_event(observation)
    return sorted({observation.asset_key.to_user_string() for observation in observations})


def _in_words(verdicts: Iterable[GateVerdict]) -> str:
    return "\n".join(f"{'passed' if one.passed else 'failed'} {one.gate}: {one.reason}" for one in verdicts)


def _page(store: ModelStore, model: str, reference: str) -> tuple[dg.AssetKey, str | None] | None:
    """The asset and the partition of a build; None for a champion whose files are lost."""
    try:
        build = store.manifest(model, reference)
    except StoreError:
        return None
    partition = None if build.dataset.partition == WHOLE else build.dataset.partition
    return dg.AssetKey(list(build.asset_key or (versioned_name(build.model, build.version),))), partition
