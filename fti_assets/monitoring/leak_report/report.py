"""A leak report: what each join promises on test rows of its own, and what its model delivers on honest ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from fti_assets.core.manifest.intervals import Interval
from fti_assets.monitoring.leak_report.quick_model import QuickTask
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.resampling.bootstrap import percentile_interval, resample

JoinKind = Literal["honest", "event_time", "same_day"]
JOINS: dict[JoinKind, str] = {
    "honest": "what was known at the prediction time",
    "event_time": "all that had happened by the prediction time, known or not",
    "same_day": "all of the partition, the future included",
}
"""The joins, and what each brings to a row."""

METRICS: dict[QuickTask, tuple[str, ...]] = {
    "binary": ("roc_auc", "log_loss"),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("rmse", "mae"),
}
"""What is measured; the first has the intervals."""


@dataclass(frozen=True)
class Promise:
    """A join, and what comes of a model that learned from it.

    Attributes:
        join: which one.
        promised: by metric, its score on test rows of the same join: what an offline evaluation says.
        delivered: by metric, its score on the same test rows with honest features: what it does when it is served.
        changed: the share of the test rows with another value of some feature than the honest join has.
        gap: where the delivered score less the promised one lies, for the first metric.
        loss: where the delivered score less that of the honest model lies.
    """

    join: JoinKind
    promised: Mapping[str, float]
    delivered: Mapping[str, float]
    changed: float = 0.0
    gap: Interval | None = None
    loss: Interval | None = None


@dataclass(frozen=True)
class LeakReport:
    """What leaks promise of a view.

    Attributes:
        view: its name.
        dataset: the dataset whose rows, labels and parts were taken.
        partition: its partition.
        task: what the quick model answers.
        train_rows, test_rows: how many rows it was trained and judged on.
        promises: of each join, the honest one first.
        notes: what the leaky joins could not move, and what they moved.
    """

    view: str
    dataset: str
    partition: str
    task: QuickTask
    train_rows: int
    test_rows: int
    promises: tuple[Promise, ...]
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured."""
        return METRICS[self.task]

    def plain(self) -> dict[str, Any]:
        """It as JSON has it."""
        return {**asdict(self), "metrics": {name: metric_named(name).higher_is_better for name in self.metrics}}


def promises_of(
    task: QuickTask,
    y: np.ndarray,
    offline: Mapping[JoinKind, np.ndarray],
    served: Mapping[JoinKind, np.ndarray],
    changed: Mapping[JoinKind, float],
) -> tuple[Promise, ...]:
    """What each join promises and delivers, with intervals on the same draws of the test rows.

    Args:
        task: what is answered.
        y: ``[n]`` labels of the test rows.
        offline: by join, the answers of its model to test rows of its own join.
        served: by join, the answers of the same model to the honest test rows.
        changed: by join, the share of the test rows that differ from the honest ones.

    Returns:
        One for each of ``offline``, in its order. Of the honest join both scores are the same.
    """
    names = METRICS[task]
    first = metric_named(names[0])
    statistics = {f"promised/{join}": first.statistic(Answers(y, answers)) for join, answers in offline.items()}
    statistics |= {f"delivered/{join}": first.statistic(Answers(y, answers)) for join, answers in served.items()}
    values = resample(statistics, len(y))
    results = []
    for join, answers in offline.items():
        is_leaky = join != "honest"
        gap = values[f"delivered/{join}"] - values[f"promised/{join}"]
        loss = values[f"delivered/{join}"] - values["delivered/honest"]
        results.append(
            Promise(
                join,
                {name: _score(name, y, answers) for name in names},
                {name: _score(name, y, served[join]) for name in names},
                changed.get(join, 0.0),
                percentile_interval(gap) if is_leaky else None,
                percentile_interval(loss) if is_leaky else None,
            )
        )
    return tuple(results)


def _score(metric: str, y: np.ndarray, answers: np.ndarray) -> float:
    return float(metric_named(metric).statistic(Answers(y, answers))(np.ones((1, len(y))))[0])
