"""What a metric is expected to be before labels come, if the probabilities are calibrated: confidence-based performance estimation (CBPE).

Each row counts as a yes by its calibrated probability and as a no by the rest: the metrics of the judging room take these weights as they
are. So accuracy, precision, recall and F1 are those of the expected confusion matrix, ROC-AUC is the area under the expected curve, and
log loss and Brier score are expectations. Where a metric would lie is told by draws: labels are drawn from the probabilities, and the
metric is computed of each draw. It sees that inputs moved to where the model is less sure; that the probabilities themselves became wrong
(concept drift) it cannot see.

Source: NannyML, "Confidence-based Performance Estimation" (its documentation, "How it works", 2022); Białek et al., "Estimating Model
Performance Under Covariate Shift Without Labels" (2024).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fti_assets.core.manifest import Task, each_task
from fti_assets.core.manifest.intervals import Interval
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.metric import OfLabel, base_of
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.resampling.bootstrap import draws_for, percentile_interval

ESTIMATED = ("roc_auc", "pr_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1")
"""The metrics that can be expected. A calibration error of calibrated probabilities is none, and a user's own metric takes no weights."""

SEED = 0
_ENTRIES = 2**21  # of a block of draws, so that it takes 16 MiB
_UNIT = 2.0**-53


@dataclass(frozen=True)
class Estimate:
    """What a metric is expected to be, and where it would lie if the labels came."""

    value: float
    interval: Interval | None


def can_estimate(metric: str, task: Task) -> bool:
    """Whether a metric of a task's answers can be expected: of probabilities, of several labels that of one or the mean over them.

    How several labels come together, as ``exact_match`` asks, nobody knows from the probability of each.

    >>> can_estimate("roc_auc", "binary"), can_estimate("log_loss:late", "multilabel"), can_estimate("rmse", "regression")
    (True, True, False)
    """
    return each_task(task) in ("binary", "multiclass") and base_of(metric_named(metric)).name in ESTIMATED


def estimates(
    metrics: Sequence[str],
    answers: Answers,
    probabilities: np.ndarray,
    *,
    draws: int | None = None,
    confidence: float = 0.95,
) -> dict[str, Estimate]:
    """What metrics are expected to be; those that are undefined are left out.

    Of several labels the expectation of a mean is the mean of theirs, and where it would lie is not told: that depends on how the labels
    come together.

    Args:
        metrics: names, of ``ESTIMATED``; of one of several labels, ``log_loss:late``.
        answers: what was answered of ``n`` rows, at least one; their labels are not looked at.
        probabilities: calibrated, of a yes ``[n]``, of each class ``[n, k]`` with rows that sum to one, or of each of several labels.
        draws: of labels, for the intervals; none for 0, by default as many as a bootstrap of so many rows takes.
        confidence: of the intervals.

    >>> answers = Answers(np.zeros(2), np.array([0.9, 0.2]))
    >>> round(estimates(["accuracy"], answers, answers.predictions)["accuracy"].value, 3)
    0.85
    """
    if answers.labels:
        return _of_labels(metrics, answers, probabilities, draws, confidence)
    shares = probabilities if probabilities.ndim == 2 else np.stack([1 - probabilities, probabilities], axis=1)
    rows, classes = shares.shape
    every = _with_each_label(answers, rows, classes)
    statistics = {name: metric_named(name).statistic(every) for name in metrics}
    weights = shares.T.reshape(1, -1)
    values = {name: float(statistic(weights)[0]) for name, statistic in statistics.items()}
    defined = {name: value for name, value in values.items() if np.isfinite(value)}
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in defined}
    for labels in _drawn_labels(shares, draws_for(rows * classes) if draws is None else draws):
        for name, of_draws in blocks.items():
            of_draws.append(statistics[name](labels))
    intervals = {name: percentile_interval(np.concatenate(one), confidence) for name, one in blocks.items() if one}
    return {name: Estimate(value, intervals.get(name)) for name, value in defined.items()}


def _of_labels(
    metrics: Sequence[str], answers: Answers, probabilities: np.ndarray, draws: int | None, confidence: float
) -> dict[str, Estimate]:
    """The estimates of several labels: of one, or of the mean over all."""
    results: dict[str, Estimate] = {}
    for at, label in enumerate(answers.labels):
        own = {metric.metric.name: name for name, metric in _of_one(metrics).items() if metric.label == label}
        if own:
            of_labels = estimates(
                list(own), answers.of_label(label), probabilities[:, at], draws=draws, confidence=confidence
            )
            results |= {own[name]: one for name, one in of_labels.items()}
    if means := [name for name in metrics if name not in _of_one(metrics)]:
        each = [
            estimates(means, answers.of_label(label), probabilities[:, at], draws=0)
            for at, label in enumerate(answers.labels)
        ]
        defined = [name for name in means if all(name in one for one in each)]
        results |= {name: Estimate(float(np.mean([one[name].value for one in each])), None) for name in defined}
    return {name: results[name] for name in metrics if name in results}


def _of_one(metrics: Sequence[str]) -> dict[str, OfLabel]:
    """Those of the metrics that are of one of several labels."""
    return {name: metric for name in metrics if isinstance(metric := metric_named(name), OfLabel)}


def errors_of(estimate: Mapping[str, Estimate], truth: Mapping[str, float]) -> dict[str, float]:
    """By how much each metric was expected to be higher than it is."""
    return {name: one.value - truth[name] for name, one in estimate.items() if name in truth}


def _with_each_label(answers: Answers, rows: int, classes: int) -> Answers:
    """The answers once with each label, the first label's rows first."""
    every = answers.part(np.tile(np.arange(rows), classes))
    return replace(every, y=np.repeat(np.arange(classes), rows))


def _drawn_labels(shares: np.ndarray, draws: int) -> Iterator[np.ndarray]:
    """Which label each row is drawn to have, in blocks of draws: 0 and 1, ``[draws, classes * rows]``.

    The draws are the same in every process: they are made of the bits of PCG64, whose stream NumPy promises to keep.
    """
    rows, classes = shares.shape
    bits = np.random.PCG64(SEED)
    until = np.cumsum(shares, axis=1)[:, :-1]
    block = max(1, min(draws, _ENTRIES // (rows * classes)))
    for start in range(0, draws, block):
        number = min(block, draws - start)
        uniform = (bits.random_raw(number * rows) >> np.uint64(11)).astype(np.float64).reshape(number, rows) * _UNIT
        label = (uniform[:, :, None] >= until).sum(axis=2)
        yield (label[:, None, :] == np.arange(classes)[:, None]).astype(np.float64).reshape(number, -1)
