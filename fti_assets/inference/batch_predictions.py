"""Declaring batch predictions."""

from __future__ import annotations

from typing import Any, Unpack

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError
from fti_assets.features.validation.schema import pandera_schema
from fti_assets.inference.batch.asset import predictions_asset
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.partitions import is_timed
from fti_assets.training.datasets.dataset import checked_catch_up
from fti_assets.training.models.model import Model


@checked_arguments(options=AssetOptions)
def batch_predictions(
    *,
    name: str,
    model: Model,
    version: int = 1,
    schema: Any = None,
    catch_up: int | None = None,
    **options: Unpack[AssetOptions],
) -> BatchPredictions:
    """Declare batch predictions: a row for each spine row, with its keys, prediction time, answer and build.

    A partition that is run before its end is answered by the champion; one that is run after, by the newest
    accepted and not rolled-back build whose cutoff is not after its start. Run again, it keeps the stored answers.

    Args:
        name: the name of the predictions.
        model: whose answers they are.
        version: names the asset and its table.
        schema: a Pandera model or schema of the rows, checked before they are stored.
        catch_up: from how many of the newest builds' cutoffs on partitions that were never answered are answered by
            themselves, at most 1,000; by default as many as the model catches up on.
        options: every parameter of ``@dg.asset``, with its own meaning.

    Raises:
        DeclarationError: the declaration is impossible.
    """
    what = f"batch predictions {checked_name(name, what='batch predictions')!r}"
    checked_version(version, what=what)
    partitions_def = options.get("partitions_def")
    if partitions_def is not None and model.view.time is None:
        raise DeclarationError(
            f"{what} are partitioned, but the spine {model.view.spine.table_name} has no event time to tell a row's partition by"
        )
    if partitions_def is not None and not is_timed(partitions_def):
        raise DeclarationError(
            f"{what}: partitions_def must be time windows, since a row belongs to its prediction time"
        )
    return BatchPredictions(
        name=name,
        version=version,
        model=model,
        schema=None if schema is None else pandera_schema(schema, what=what),
        catch_up=model.catch_up if catch_up is None else checked_catch_up(catch_up, what=what),
        options=options,
        to_asset=predictions_asset,
    )
