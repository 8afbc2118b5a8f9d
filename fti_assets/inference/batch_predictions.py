"""Declaring batch predictions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Unpack

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.group import DEFAULT_ONLINE_HISTORY
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
    online: bool = False,
    online_history: str | timedelta | None = None,
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
        online: load the answers to the online store too, after the lake's commit, in a namespace of the table's name: by the spine's
            keys, an answer's event time being its prediction time. An app looks them up by ``fti.read_online``.
        online_history: how far back the online store answers, 7 days by default.
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
    if online and model.task == "multiclass":
        raise DeclarationError(
            f"{what}: online=True cannot hold the probabilities of several classes; leave it out, and ask a Predictor"
        )
    if online_history is not None and not online:
        raise DeclarationError(f"{what}: online_history is of the online store; give online=True with it")
    return BatchPredictions(
        name=name,
        version=version,
        model=model,
        schema=None if schema is None else pandera_schema(schema, what=what),
        catch_up=model.catch_up if catch_up is None else checked_catch_up(catch_up, what=what),
        online=online,
        online_history=DEFAULT_ONLINE_HISTORY
        if online_history is None
        else duration(online_history, what=f"online_history of {name!r}"),
        options=options,
        to_asset=predictions_asset,
    )
