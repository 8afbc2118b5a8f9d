"""What the page of a model shows of a build, accepted or rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.stores.files import read_file
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.judging.picture_page import PICTURES
from fti_assets.training.judging.pictures import image, pictures
from fti_assets.training.models.build import Build
from fti_assets.training.models.model import Model


def build_metadata(model: Model, store: ModelStore, build: Build) -> dict[str, Any]:
    """What is shown of a build: its metrics, pictures and card, and who was the champion after it."""
    manifest = build.manifest
    folder = store.folder(manifest)
    drawn = pictures(model.task, build.outputs, build.y, manifest.slices, model.evaluate.metrics[0])
    return {
        "build": manifest.reference,
        "champion_after_run": store.aliases(model.name).champion or "none",
        **{f"test/{name}": value for name, value in manifest.metrics.items()},
        **{f"baseline/{name}": value for name, value in manifest.baseline.items()},
        **{name: dg.MetadataValue.md(image(svg, name)) for name, svg in drawn.items()},
        "whole_pictures": dg.MetadataValue.path((folder / PICTURES).absolute()),
        "card": dg.MetadataValue.md((read_file(folder / "card.md") or b"").decode(errors="replace")),
    }


def rejection(
    asset_key: dg.AssetKey, partition: str | None, manifest: ModelManifest, metadata: Mapping[str, Any]
) -> dg.AssetObservation:
    """A rejected build on the page of its model, which stays as it was materialized before.

    Its entries are called ``rejected/...``: Dagster lays them over those of a materialization of the same cutoff.
    """
    failed = [f"{verdict.gate}: {verdict.reason}" for verdict in manifest.gates if not verdict.passed]
    return dg.AssetObservation(
        asset_key,
        partition=partition,
        description=f"{manifest.reference} is rejected: {failure_reasons(manifest)}",
        metadata={f"rejected/{name}": value for name, value in {"gates": "\n".join(failed), **metadata}.items()},
    )


def failure_reasons(manifest: ModelManifest) -> str:
    """Why a build was accepted, or what turned it down."""
    rejected = manifest.status == "rejected"
    message = [f"{verdict.gate}: {verdict.reason}" for verdict in manifest.gates if not (rejected and verdict.passed)]
    return "; ".join(message) or "it has no gates"
