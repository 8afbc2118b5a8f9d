"""Declaring monitors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitoring.drift.drift import DEFAULT_RULES, WEEKS_BEFORE, Drift
from fti_assets.monitoring.drift.judging import check_rules
from fti_assets.monitoring.measurement import IDENTITY
from fti_assets.monitoring.quality.quality import Quality
from fti_assets.monitors.asset import monitor_asset
from fti_assets.monitors.monitor import MEASURED_AT, START, Monitor
from fti_assets.monitors.quality.declaring import check_rules_of_quality
from fti_assets.monitors.triggers import unmeasured_columns
from fti_assets.orchestration.declaration import record_use
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.partitions import is_timed

_MOST_WEEKS = 52


@checked_arguments(options=AssetOptions)
def monitor(
    *,
    name: str,
    predictions: BatchPredictions | None = None,
    log: PredictionLog | None = None,
    version: int = 1,
    drift: Sequence[Drift] | None = None,
    weeks: int = 4,
    quality: Sequence[Quality] = (),
    estimate: bool = True,
    **options: Unpack[AssetOptions],
) -> Monitor:
    """Declare a monitor, which measures for each partition how a model's inputs and answers drift and how good the answers were.

    Its table ``monitoring.<name>_v<version>`` has a row for each figure. For each feature (including on-demand features), label and
    answer these are the null rate, unknown categories, PSI, the Kolmogorov-Smirnov, Jensen-Shannon and Wasserstein distances, and
    the churn of categories. They are measured against the train rows of the build that answered, and against the weeks before. The
    features of a batch are joined again, point-in-time, as the batch joined them; a log has what the model saw. The bins were fixed
    with the dataset. ``missing_answers`` says how many of the usual answers of the weeks before are missing. Rules only warn: each
    is a check with its own history.

    For quality it has the metrics of the model's evaluation, with intervals: over all rows, for each build and arm, and by slice,
    on rows that are as old as the label's maturity and have a label. ``label_rate`` says how many rows of that age have one. Before
    labels arrive there are estimates from calibrated probabilities, only for classes and several labels, marked as ``estimated``.
    ``<metric>_estimate_error`` says later by how much they were too high. When partitions of the labels change, they request
    exactly the days whose labels they may hold.

    For a log it also has how the model was served (``service``): requests, latencies, errors, missing values, CPU time and memory.

    A figure that has not changed keeps its ``measured_at``, so a rerun changes nothing.

    Args:
        name: the name of the monitor.
        predictions: the batch predictions that are watched.
        log: the prediction log that is watched, instead of predictions.
        version: names the asset and its table.
        drift: the rules. The defaults are: PSI at most 0.2, or the usual PSI, in two consecutive partitions, against training and
            against the weeks before; nulls at most 0.05 above and unknown categories at most 0.05, against training, each with 500
            rows or more; and at most 0.9 of the usual answers missing, if 20 or more are usual.
        weeks: how many weeks before a partition it is compared with, 0 to 52. Their answers are read and joined again, 28 days of
            them for one day by default: use fewer weeks, or none, if a day has millions of rows.
        quality: the metrics that are measured, each with a bound or without one: ``[fti.Quality("roc_auc", at_least=0.7)]``.
        estimate: whether metrics are estimated until the labels have arrived.
        options: every parameter of ``@dg.asset``, with its own meaning; ``partitions_def`` is by default that of the predictions or
            the log.

    Raises:
        DeclarationError: the declaration is impossible.

    >>> delay_quality = monitor(name="delay_quality", predictions=delay_predictions)  # doctest: +SKIP
    """
    what = f"monitor {checked_name(name, what='monitor')!r}"
    checked_version(version, what=what)
    if predictions is not None and log is not None:
        raise DeclarationError(
            f"{what} is given predictions and a log: it watches one of them, declare a monitor for each"
        )
    answers = predictions if predictions is not None else log
    if answers is None:
        raise DeclarationError(f"{what} watches nothing: give it predictions=, or log= for what servers answered")
    if answers.event_time is None:
        raise DeclarationError(
            f"{what}: {answers.table_name} has no prediction time, so no partition is before another: give the spine an event time"
        )
    partitions_def = options.get("partitions_def") or answers.partitions_def
    if not is_timed(partitions_def):
        raise DeclarationError(
            f"{what} judges stretches of time: give it partitions_def=, such as dg.DailyPartitionsDefinition, since "
            f"{answers.table_name} has {'none' if partitions_def is None else type(partitions_def).__name__}"
        )
    if not 0 <= weeks <= _MOST_WEEKS:
        raise DeclarationError(f"{what} has weeks={weeks}: from 0 to {_MOST_WEEKS}")
    rules = DEFAULT_RULES if drift is None else tuple(drift)
    if not weeks:
        rules = tuple(rule for rule in rules if drift is not None or rule.reference != WEEKS_BEFORE)
        if of_weeks := [rule.name for rule in rules if rule.reference == WEEKS_BEFORE]:
            raise DeclarationError(
                f"{what} has weeks=0 and the rule {one_of(of_weeks)}: say how many weeks it compares with"
            )
    check_rules(rules, what=what)
    _refuse_unknown_columns(rules, answers, what)
    check_rules_of_quality(quality, answers, what=what)
    result = Monitor(
        name=name,
        version=version,
        keys=IDENTITY,
        event_time=START,
        available_at=MEASURED_AT,
        serving_delay=None,
        partition_by=START,
        answers=answers,
        drift=rules,
        weeks=weeks,
        quality=tuple(quality),
        estimate=estimate,
        options={**options, "partitions_def": partitions_def},
        to_asset=monitor_asset,
    )
    record_use([answers, *result.models], f"watched_by/{result.asset_name}", result)
    return result


def _refuse_unknown_columns(rules: Sequence[Drift], answers: BatchPredictions | PredictionLog, what: str) -> None:
    """Refuse a rule for a column that is not measured, as far as schemas tell the columns: it would never warn."""
    unknown, names = unmeasured_columns([name for rule in rules for name in rule.columns or ()], answers)
    if unknown:
        raise DeclarationError(
            f"{what} has rules for {one_of(unknown)}, which is not measured: there is {list_some(names, limit=50)}"
        )
