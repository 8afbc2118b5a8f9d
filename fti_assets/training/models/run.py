"""What the step of a model does: a build at each cutoff, in the order of time, each with its own verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import WHOLE
from fti_assets.orchestration.checks import refusal
from fti_assets.orchestration.materialization import one_materialized
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.signature import call_function
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.run import code_version_of
from fti_assets.training.models.build import build_model_at
from fti_assets.training.models.build_events import build_metadata, failure_reasons, rejection
from fti_assets.training.models.champion_events import champion_observations
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.gate_checks import gate_evaluations, gate_outputs, gate_results
from fti_assets.training.models.model import Model


def run_model(
    model: Model, context: dg.AssetExecutionContext, stores: Stores, arguments: Mapping[str, Any]
) -> Iterator[Any]:
    """Build at each cutoff; a rejected build is kept in the store and not materialized, but observed.

    Each build is reported before the next one is begun: what is published and promoted stays so if a later one raises.
    """
    store = stores.model_store()
    windows = running_partitions(context)
    asset_key = context.assets_def.key

    def train(data: TrainingData) -> Any:
        given = {**arguments, model.data_parameter: data}
        alone = f"run one cutoff at a time (--partition {windows[0].key})"
        return call_function(model.function, given, context, what=model.asset_name, instead=alone)

    rejected: list[ModelManifest] = []
    with stores.offline_store().connect() as lake:
        for window in windows:
            build = build_model_at(
                model,
                window.key,
                lake,
                store,
                train,
                code_version=code_version_of(context),
                run_id=context.run.run_id,
                asset_key=asset_key.path,
            )
            manifest, metadata = build.manifest, build_metadata(model, store, build)
            shown = {**metadata, "dagster/uri": str(store.folder(manifest))}
            say = context.log.info if build.accepted else context.log.warning
            say(f"{model.name} {manifest.reference} is {manifest.status}: {failure_reasons(manifest)}")
            for warning in manifest.warnings:
                context.log.warning(f"{model.name} {manifest.reference}: {warning}")
            if not build.accepted:
                rejected.append(manifest)
                partition = None if window.key == WHOLE else window.key
                yield rejection(asset_key, partition, manifest, metadata)
            elif len(windows) > 1:
                yield one_materialized(context, window.key, manifest.build, shown)
            else:
                yield dg.MaterializeResult(metadata=shown, data_version=dg.DataVersion(manifest.build))
            yield from _of_other_assets(store, asset_key, manifest)
            if len(windows) > 1:
                yield from gate_evaluations(model, context, window.key, manifest)
            else:
                yield from gate_results(model, context, manifest)
    if len(windows) > 1:
        yield from gate_outputs(model, context)
    if rejected and model.gates_fail_run:
        raise refusal("\n".join(_refused(model, store, build) for build in rejected))


def _of_other_assets(store: ModelStore, asset_key: dg.AssetKey, build: ModelManifest) -> Iterator[dg.AssetObservation]:
    """For the page of another version whose build was the champion until now."""
    aliases = store.aliases(build.model)
    if aliases.champion == build.reference:
        changes = champion_observations(store, aliases, by=f"run {build.run_id}")
        yield from (change for change in changes if change.asset_key != asset_key)


def _refused(model: Model, store: ModelStore, manifest: ModelManifest) -> str:
    champion = store.aliases(model.name).champion
    stays = f"the champion stays {champion}" if champion else "there is still no champion"
    return f"{model.name} {manifest.reference} is rejected, because {failure_reasons(manifest)}. It is kept in the model store, and {stays}"
