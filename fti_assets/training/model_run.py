"""What the step of a model does: a build at each cutoff, in the order of time, each with its own verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import numpy as np

from fti_assets.assets.checks import refusal
from fti_assets.assets.function import call_function
from fti_assets.assets.materialization import log_materialized
from fti_assets.assets.windows import running_windows
from fti_assets.resources import Stores
from fti_assets.stores.manifest import ModelManifest
from fti_assets.stores.models import ModelStore
from fti_assets.training.build_model import build_model_at
from fti_assets.training.data import TrainingData
from fti_assets.training.dataset_run import code_version_of
from fti_assets.training.model import Model
from fti_assets.training.pictures import image, pictures


def run_model(
    model: Model, context: dg.AssetExecutionContext, stores: Stores, arguments: Mapping[str, Any]
) -> Iterator[Any]:
    """Build at each cutoff; a rejected build is kept in the store and not materialized."""
    store = stores.model_store()
    windows = running_windows(context)

    def train(data: TrainingData) -> Any:
        given = {**arguments, model.data_parameter: data}
        alone = f"run one cutoff at a time (--partition {windows[0].key})"
        return call_function(model.function, given, context, what=model.asset_name, instead=alone)

    builds: list[ModelManifest] = []
    tested: list[tuple[np.ndarray, np.ndarray]] = []
    metadata: dict[str, Any] = {}
    with stores.offline_store().connect() as lake:
        for window in windows:
            manifest = build_model_at(
                model,
                window.key,
                lake,
                store,
                train,
                code_version=code_version_of(context),
                run_id=context.run.run_id,
                evaluated=lambda outputs, y: tested.append((outputs, y)),
            )
            builds.append(manifest)
            outputs, y = tested.pop()
            say = context.log.info if manifest.status == "accepted" else context.log.warning
            say(f"{model.name} {manifest.reference} is {manifest.status}: {_said(manifest)}")
            if manifest.status == "accepted":
                metadata = _metadata(model, store, manifest, outputs, y)
                if len(windows) > 1:
                    log_materialized(context, window.key, manifest.build, metadata)
    yield from _check_results(model, context, builds)
    rejected = [build for build in builds if build.status == "rejected"]
    if rejected and model.gates_fail_run:
        raise refusal("\n".join(_rejection(model, store, build) for build in rejected))
    if len(windows) == 1 and builds[0].status == "accepted":
        yield dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(builds[0].build))


def _check_results(
    model: Model, context: dg.AssetExecutionContext, builds: list[ModelManifest]
) -> Iterator[dg.AssetCheckResult]:
    for number, gate in enumerate(model.gates):
        verdicts = {build.reference: build.gates[number] for build in builds}
        failed = {reference: verdict for reference, verdict in verdicts.items() if not verdict.passed}
        said = failed or verdicts
        yield dg.AssetCheckResult(
            asset_key=context.assets_def.key,
            check_name=gate.name,
            passed=not failed,
            severity=dg.AssetCheckSeverity.ERROR,
            description="; ".join(f"{reference}: {verdict.reason}" for reference, verdict in said.items()),
            metadata={reference: verdict.reason for reference, verdict in verdicts.items()},
        )


def _metadata(
    model: Model, store: ModelStore, manifest: ModelManifest, outputs: np.ndarray, y: np.ndarray
) -> dict[str, Any]:
    champion = store.aliases(model.name).champion
    folder = store.root / model.name / f"v{manifest.version}" / manifest.build
    drawn = pictures(model.task, outputs, y, manifest.slices, model.evaluate.metrics[0])
    return {
        "build": manifest.reference,
        "champion": champion or "none",
        **{f"test/{name}": value for name, value in manifest.metrics.items()},
        **{f"baseline/{name}": value for name, value in manifest.baseline.items()},
        "dagster/uri": str(folder),
        **{name: dg.MetadataValue.md(image(svg, name)) for name, svg in drawn.items()},
        "card": dg.MetadataValue.md((folder / "card.md").read_text()),
    }


def _rejection(model: Model, store: ModelStore, manifest: ModelManifest) -> str:
    champion = store.aliases(model.name).champion
    stays = f"the champion stays {champion}" if champion else "there is still no champion"
    return f"{model.name} {manifest.reference} is rejected, because {_said(manifest)}. It is kept in the model store, and {stays}"


def _said(manifest: ModelManifest) -> str:
    """Why a build was accepted, or what turned it down."""
    rejected = manifest.status == "rejected"
    said = [f"{verdict.gate}: {verdict.reason}" for verdict in manifest.gates if not (rejected and verdict.passed)]
    return "; ".join(said) or "it has no gates"
