"""What a metric is: a number of weighted rows, of many weights at once, so that a bootstrap costs little more than a pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fti_assets.core.manifest import Task
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.resampling.bootstrap import Statistic

OF = ":"
"""What stands between the name of a metric and that of a label."""


class AnyMetric(Protocol):
    """What every metric has, the project's and a user's own."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks it is for."""

    @property
    def higher_is_better(self) -> bool:
        """Which way is better."""

    def statistic(self, answers: Answers) -> Statistic:
        """The metric of some answers, of at least one row, as a function of their weights."""


@dataclass(frozen=True)
class BuiltIn:
    """A metric of the project.

    One that is a sum of absolute values has its ``parts``: of some answers, from weights ``[draws, n]`` to the values ``[draws, parts]``.
    """

    name: str
    tasks: tuple[Task, ...]
    higher_is_better: bool
    weigh: Callable[[Answers], Statistic]
    parts: Callable[[Answers], Statistic] | None = None

    def statistic(self, answers: Answers) -> Statistic:
        """As ``AnyMetric`` has it; of several labels the mean of each, undefined where that of one is."""
        if answers.task is None or answers.task in self.tasks:
            return of_weighted(self.weigh(answers), answers)
        return of_weighted(macro_mean(self.weigh, answers), answers)


@dataclass(frozen=True)
class OfLabel:
    """A metric of one of several labels, ``log_loss:late``."""

    metric: AnyMetric
    label: str

    @property
    def name(self) -> str:
        """The metric's name and the label's."""
        return f"{self.metric.name}{OF}{self.label}"

    @property
    def tasks(self) -> Sequence[Task]:
        """As ``AnyMetric`` has it."""
        return self.metric.tasks

    @property
    def higher_is_better(self) -> bool:
        """As ``AnyMetric`` has it."""
        return self.metric.higher_is_better

    def statistic(self, answers: Answers) -> Statistic:
        """As ``AnyMetric`` has it.

        Raises:
            DeclarationError: the answers have no such label.
        """
        return self.metric.statistic(answers.of_label(self.label))


def base_of(metric: AnyMetric) -> AnyMetric:
    """The metric itself, or that of which it is one label's."""
    return metric.metric if isinstance(metric, OfLabel) else metric


def macro_mean(weigh: Callable[[Answers], Statistic], answers: Answers) -> Statistic:
    """The mean over the labels of what a metric is for each."""
    each = [weigh(answers.of_label(label)) for label in answers.labels]
    return lambda weights: np.mean([one(weights) for one in each], axis=0)


def plain_name(metric: str) -> str:
    """The name of a metric as part of another: ``log_loss_of_late``."""
    return metric.replace(OF, "_of_")


def parts_of(metric: AnyMetric, answers: Answers) -> Statistic | None:
    """The parts of a metric that is a sum of absolute values, from weights ``[draws, n]`` to ``[draws, parts]``; None of another one."""
    if isinstance(metric, OfLabel):
        return parts_of(metric.metric, answers.of_label(metric.label))
    if not isinstance(metric, BuiltIn) or metric.parts is None:
        return None
    if answers.task is None or answers.task in metric.tasks:
        return of_weighted(metric.parts(answers), answers)
    each = [metric.parts(answers.of_label(label)) for label in answers.labels]
    return of_weighted(lambda weights: np.hstack([one(weights) for one in each]) / len(each), answers)


def of_weighted(statistic: Statistic, answers: Answers) -> Statistic:
    """The same of rows that do not count alike: how often a row is drawn, times what it counts."""
    own = answers.weight
    return statistic if own is None else lambda weights: statistic(weights * own)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotients, NaN where a divisor is 0.

    >>> ratio(np.array([1.0, 0.0]), np.array([4.0, 0.0])).tolist()
    [0.25, nan]
    """
    quotients = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=quotients, where=below != 0)
    return quotients


def mean_of(values: np.ndarray) -> Statistic:
    """The weighted mean of a number of each row."""
    return lambda weights: ratio(weights @ values, weights.sum(axis=1))


def undefined(weights: np.ndarray) -> np.ndarray:
    """The statistic that is undefined whatever the weights are."""
    return np.full(len(weights), np.nan)
