"""Which baselines there are by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.manifest import Task
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.training.judging.baselines.baseline import Baseline, Rows, TrainRows, prior_of
from fti_assets.training.judging.baselines.function import FunctionBaseline
from fti_assets.training.judging.baselines.last_value import LastValue
from fti_assets.training.judging.baselines.linear import Linear

PRIOR = "prior"


@dataclass(frozen=True)
class Prior:
    """The answer that knows no features: the share of each class in train, the train mean, or the train quantiles of ``levels``."""

    name: str = PRIOR
    levels: tuple[float, ...] = ()

    def check(self, task: Task, features: Collection[str], *, what: str) -> None:
        """It is one for every task."""

    def answers(self, task: Task, classes: int, train: TrainRows, test: Rows) -> np.ndarray:
        """As ``Baseline`` has it."""
        answer = _quantiles(train, self.levels) if self.levels else prior_of(task, classes, train)
        return np.repeat(answer[None], test.rows, axis=0)


def _quantiles(train: TrainRows, levels: Sequence[float]) -> np.ndarray:
    """The quantiles of the labels; of rows that do not count alike the least label at which so much of what all count is reached."""
    if train.undo is None:
        return np.asarray(np.quantile(train.y, levels))
    order = np.argsort(train.y, kind="stable")
    reached = np.cumsum(train.undo[order])
    at = np.searchsorted(reached, np.array(levels) * reached[-1])
    return np.asarray(train.y[order][np.minimum(at, len(order) - 1)], dtype=np.float64)


_NAMED: Mapping[str, Baseline] = {one.name: one for one in (Prior(), Linear("logistic"), Linear("linear"))}


def checked_baseline(baseline: str | LastValue | Callable[..., Any], *, what: str) -> Baseline:
    """The baseline that somebody named or wrote.

    Raises:
        DeclarationError: there is none of the name, or it is no function.
    """
    if isinstance(baseline, LastValue | FunctionBaseline):
        return baseline
    if isinstance(baseline, str):
        if baseline in _NAMED:
            return _NAMED[baseline]
        more = ""
        if baseline == "last_value":
            more = "; fti.LastValue('feature') names the feature that holds it"
        raise DeclarationError(
            f"{what} has baseline={excerpt(baseline)}: it is {one_of(_NAMED)}, fti.LastValue or a function{more}"
        )
    if not callable(baseline) or isinstance(baseline, type):
        raise DeclarationError(
            f"{what} has baseline={excerpt(baseline)}: it is {one_of(_NAMED)}, fti.LastValue or a function"
        )
    return FunctionBaseline(baseline)
