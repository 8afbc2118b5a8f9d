"""The declaration behind an asset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fti_assets.features.groups.group import FeatureGroup
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model

Declaration = FeatureGroup | TrainingDataset | Model | BatchPredictions
_DEPTH = 3


def declaration_of(asset: dg.AssetsDefinition) -> Declaration | None:
    """The declaration that an asset was built from, or None for a plain Dagster asset.

    Its step closes over it, so it is found in whatever definitions the asset is, merged or mapped.
    """
    if not asset.is_executable or not hasattr(asset.node_def, "compute_fn"):
        return None
    step = getattr(asset.node_def.compute_fn, "decorated_fn", None)
    return next((found for found in _closed_over(step, _DEPTH) if isinstance(found, Declaration)), None)


def _closed_over(function: Any, depth: int) -> Iterator[Any]:
    for cell in getattr(function, "__closure__", None) or ():
        try:
            value = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        yield value
        if depth and callable(value):
            yield from _closed_over(value, depth - 1)
