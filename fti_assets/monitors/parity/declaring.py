"""Declaring a parity."""

from __future__ import annotations

from datetime import timedelta
from typing import Unpack

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError, excerpt, list_some
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitors.parity.asset import parity_asset
from fti_assets.monitors.parity.parity import Parity
from fti_assets.orchestration.declaration import record_use
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.partitions import is_timed


@checked_arguments(options=AssetOptions)
def parity(
    *,
    name: str,
    log: PredictionLog | None = None,
    predictions: BatchPredictions | None = None,
    version: int = 1,
    sample: int = 1_000,
    lag: str | timedelta = "1min",
    **options: Unpack[AssetOptions],
) -> Parity:
    """Declare a parity: past requests are replayed through the online path as of their time and compared with the offline join.

    Its requests are the answers of a prediction log, or the spine rows that batch predictions have answered. Each is compared with the
    point-in-time join over the lake's snapshot that was the newest when it was answered, and with the graph on these features:

    - *logged*: what the log says that the model saw and answered; for batch predictions, only the answer;
    - *replayed*: what the build that answered gives now on the online store, as of the prediction time.

    The check ``online_is_offline`` fails if anything differs. If a row came to the lake after the answer, although it says that it
    was available before, the difference is a delay breach, which has its own check that warns. Requests that cannot be compared are
    counted by reason: those before a namespace's ``answers_from``, from a build that is gone, from an expired snapshot, and
    redacted ones.

    The table ``monitoring.<name>_v<version>`` has a row for each difference, which names the feature, the group's key, both values and
    the event times of both rows, and rows that count what was compared and what was not.

    Args:
        name: the name of the parity.
        log: a prediction log, or instead
        predictions: batch predictions whose models' groups are all online.
        version: names the asset and its table.
        sample: how many requests of a partition are compared. They are the same each time: those with the smallest pinned hash.
        lag: how much later than the lake the online store may be loaded. An answer that matches a snapshot from that long before
            counts as ``behind``, not as a difference.
        options: every parameter of ``@dg.asset``, with its own meaning. ``partitions_def`` are time windows over the prediction time, by
            default those of the log or the predictions.

    Raises:
        DeclarationError: the declaration is impossible.

    >>> delay_parity = parity(name="delay_parity", log=delay_log)  # doctest: +SKIP
    """
    what = f"parity {checked_name(name, what='parity')!r}"
    checked_version(version, what=what)
    if (log is None) == (predictions is None):
        raise DeclarationError(f"{what} compares one thing: give either log= or predictions=")
    if isinstance(sample, bool) or not isinstance(sample, int) or sample < 1:
        raise DeclarationError(f"{what} has sample={excerpt(sample)}: give a whole number above 0")
    tolerance = duration(lag, what=f"{what}: lag")
    of = log if log is not None else predictions
    assert of is not None
    if isinstance(of, BatchPredictions):
        _check_predictions(what, of)
    partitions_def = options.get("partitions_def", of.partitions_def)
    if partitions_def is not None and (of.partitions_def is None or not is_timed(partitions_def)):
        raise DeclarationError(
            f"{what}: partitions_def must be time windows over the prediction time of {of.table_name}, which has partitions of time itself"
        )
    result = Parity(
        name=name,
        version=version,
        of=of,
        sample=sample,
        lag=tolerance,
        options={**options, "partitions_def": partitions_def},
        to_asset=parity_asset,
    )
    record_use([of], f"compared_by/{result.asset_name}", result)
    return result


def _check_predictions(what: str, predictions: BatchPredictions) -> None:
    if predictions.top is not None:
        raise DeclarationError(
            f"{what} cannot compare {predictions.table_name}: its rows are lists, not answers to requests. Log the requests, and "
            "give the log"
        )
    offline = [group.table_name for group in predictions.feature_groups if not group.online]
    if offline:
        raise DeclarationError(
            f"{what} cannot replay {predictions.table_name}: {list_some(offline)} is not online, so nothing answers from it. Declare it "
            "with online=True"
        )
