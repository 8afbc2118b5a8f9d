"""What a metric is: a number of weighted rows, of many weights at once, so that a bootstrap costs little more than a pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fti_assets.core.manifest import Task
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.resampling.bootstrap import Statistic


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
    """A metric of the project."""

    name: str
    tasks: tuple[Task, ...]
    higher_is_better: bool
    weigh: Callable[[Answers], Statistic]

    def statistic(self, answers: Answers) -> Statistic:
        """As ``AnyMetric`` has it."""
        return self.weigh(answers)


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
