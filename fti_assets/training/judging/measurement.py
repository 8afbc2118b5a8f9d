"""All that is measured of a build's answers to the test rows: metrics, their intervals, slices and fairness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fti_assets.core.manifest import BootstrapRecord, FairnessRecord
from fti_assets.core.manifest.intervals import Interval
from fti_assets.training.judging.evaluation import Evaluation, scores_of
from fti_assets.training.judging.fairness import fairness
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.metric import AnyMetric, base_of
from fti_assets.training.judging.metrics.own import Metric
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.resampling.bootstrap import SEED, draws_for
from fti_assets.training.judging.resampling.draws import draws_of
from fti_assets.training.judging.slices import slice_rows, slices_key

FEWEST_ROWS = 30
"""Slices of fewer rows have no intervals: from so few, nobody can say what others would be like."""

MOST_SLICES = 50
"""Of each slicing so many slices have intervals, those with the most rows."""

_SLICE_DRAWS = 400


@dataclass(frozen=True)
class Measurement:
    """What was measured, as the manifest has it; an interval that nobody can tell is left out."""

    metrics: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    bootstrap: BootstrapRecord | None = None
    slices: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    slice_intervals: dict[str, dict[str, dict[str, Interval]]] = field(default_factory=dict)
    fairness: dict[str, FairnessRecord] = field(default_factory=dict)


def measure(
    evaluation: Evaluation, answers: Answers, columns: Mapping[str, np.ndarray], clusters: np.ndarray | None = None
) -> Measurement:
    """Measure answers as the evaluation says.

    Args:
        evaluation: what is measured.
        answers: those of the exported graph on the test rows.
        columns: each feature's canonical array ``[n]``.
        clusters: ``[n]``, the position of each row's cluster, if rows are drawn by cluster.

    >>> y = np.array([0.0, 1.0] * 20)
    >>> measurement = measure(Evaluation(metrics=["mae"]), Answers(y, y + 0.5), {})
    >>> measurement.intervals["mae"].text, measurement.bootstrap.draws
    ('95% interval 0.5 to 0.5', 1000)
    """
    metrics = [metric_named(name) for name in evaluation.metric_names]
    confidence, rows = evaluation.confidence, len(answers.y)
    intervals: dict[str, Interval] = {}
    bootstrap = None
    if confidence is not None and rows:
        draws = draws_for(rows)
        intervals = intervals_of(metrics, answers, draws, confidence, clusters)
        bootstrap = BootstrapRecord(draws, SEED, evaluation.cluster or "")
    slices: dict[str, dict[str, dict[str, float]]] = {}
    of_slices: dict[str, dict[str, dict[str, Interval]]] = {}
    for by in evaluation.sliced_by:
        positions = slice_rows(by, columns, evaluation.min_rows)
        slices[slices_key(by)] = {
            value: {**scores_of(answers.part(at), metrics), "rows": float(len(at))} for value, at in positions.items()
        }
        if confidence is not None:
            of_slices[slices_key(by)] = _slice_intervals(metrics, answers, positions, confidence, clusters)
    return Measurement(
        metrics=scores_of(answers, metrics),
        intervals=intervals,
        bootstrap=bootstrap,
        slices=slices,
        slice_intervals={by: values for by, values in of_slices.items() if values},
        fairness=fairness(answers, evaluation.compared_by, columns, evaluation.min_rows),
    )


def intervals_of(
    metrics: Sequence[AnyMetric],
    answers: Answers,
    draws: int,
    confidence: float,
    clusters: np.ndarray | None = None,
) -> dict[str, Interval]:
    """Where each metric lies, by a bootstrap; all on the same draws of rows or clusters."""
    measured = {metric.name: (metric, answers) for metric in metrics}
    of_each = draws_of(measured, number=draws, clusters=clusters) if measured else {}
    intervals = {name: one.interval(confidence) for name, one in of_each.items()}
    return {name: interval for name, interval in intervals.items() if interval is not None}


def _slice_intervals(
    metrics: Sequence[AnyMetric],
    answers: Answers,
    slices: Mapping[str, np.ndarray],
    confidence: float,
    clusters: np.ndarray | None,
) -> dict[str, dict[str, Interval]]:
    """Those of the largest slices: the draws are of the slice's own rows. A user's own metrics, called for each draw, have none."""
    fast = [metric for metric in metrics if not isinstance(base_of(metric), Metric)]
    large = [(value, rows) for value, rows in slices.items() if len(rows) >= FEWEST_ROWS][:MOST_SLICES]
    return {
        value: intervals_of(
            fast,
            answers.part(rows),
            min(_SLICE_DRAWS, draws_for(len(rows))),
            confidence,
            None if clusters is None else np.unique(clusters[rows], return_inverse=True)[1],
        )
        for value, rows in large
    }
