"""The freshness curves of a model: how its quality changes as each group's values come sooner or later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fti_assets.core.manifest.intervals import Interval
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.resampling.bootstrap import RESAMPLES
from fti_assets.training.judging.resampling.draws import draws_of


@dataclass(frozen=True)
class Point:
    """What a model scores with one group's values ``delay`` after their event time.

    ``change`` is how far that is from its score with every group as declared, and ``interval`` where that difference lies on other
    draws of the same test rows. A delay with which no value of the rows is another one is as declared: no change, nothing trained.
    """

    group: str
    delay: timedelta
    score: float
    change: float
    interval: Interval | None
    is_declared: bool


@dataclass(frozen=True)
class Problem:
    """Why there is no model with one group's values ``delay`` after their event time."""

    group: str
    delay: timedelta
    reason: str


@dataclass(frozen=True)
class FreshnessCurves:
    """A model's curves at a cutoff.

    Attributes:
        model: the model's name.
        partition: the cutoff's partition.
        metric: what is measured on the test rows.
        higher_is_better: of the metric.
        score: with every group as declared; ``interval`` says where it lies.
        train_rows, test_rows: how many rows it was trained and judged on.
        points: by group, in the view's order, and by delay.
        problems: of the delays whose training failed, likewise.
    """

    model: str
    partition: str
    metric: str
    higher_is_better: bool
    score: float
    interval: Interval | None
    train_rows: int
    test_rows: int
    points: tuple[Point, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def groups(self) -> dict[str, tuple[Point, ...]]:
        """The points by group."""
        return {
            group: tuple(point for point in self.points if point.group == group)
            for group in dict.fromkeys(point.group for point in self.points)
        }


def intervals_of(
    metric: str, declared: Answers, others: dict[str, Answers]
) -> tuple[Interval | None, dict[str, Interval | None]]:
    """Where a model's score lies, and where the differences of others from it do, all on the same draws of the rows or queries.

    Args:
        metric: a metric's name.
        declared: the model's answers.
        others: the answers of others on the same rows, by name.

    >>> import numpy as np
    >>> y, good, bad = np.array([0, 1] * 50), np.array([0.1, 0.9] * 50), np.array([0.9, 0.1] * 50)
    >>> intervals_of("accuracy", Answers(y, good), {"bad": Answers(y, bad)})[1]["bad"]
    Interval(low=-1.0, high=-1.0, confidence=0.95)
    """
    of_metric = metric_named(metric)
    measured = {"": (of_metric, declared)} | {f"/{name}": (of_metric, answers) for name, answers in others.items()}
    draws = draws_of(measured, number=RESAMPLES, clusters=declared.queries)
    return draws[""].interval(), {name: draws[f"/{name}"].difference(draws[""]) for name in others}
