"""Two models' answers to the same rows, and where the difference of a metric of theirs lies."""

from __future__ import annotations

import numpy as np

from fti_assets.core.intervals import Interval
from fti_assets.training.judging.bootstrap import draws_for, percentile_interval, resample
from fti_assets.training.judging.weighted import statistic_of


class PairedAnswers:
    """A model's answers beside another's.

    Args:
        y: ``[n]``: 0 or 1, the class's position, or the value.
        own: ``[n]``, or ``[n, k]`` for a multiclass model.
        other: the other model's, likewise.

    >>> y, own, other = np.array([0.0, 1.0, 2.0]), np.array([0.1, 1.1, 2.1]), np.array([0.5, 1.5, 2.5])
    >>> PairedAnswers(y, own, other).difference("mae").text
    '95% interval -0.4 to -0.4'
    """

    def __init__(self, y: np.ndarray, own: np.ndarray, other: np.ndarray) -> None:
        self._y, self._own, self._other = y, own, other
        self._differences: dict[str, np.ndarray] = {}

    def difference(self, metric: str, confidence: float = 0.95) -> Interval | None:
        """Where this model's metric less the other's lies, by a paired bootstrap; None if too few draws have both.

        Both metrics are computed on the same draws of rows, so what is easy or hard for both falls out of the difference.

        Raises:
            DeclarationError: there is no such metric.
        """
        if not len(self._y):
            return None
        if metric not in self._differences:
            pair = {
                name: statistic_of(metric, self._y, answers)
                for name, answers in (("own", self._own), ("other", self._other))
            }
            values = resample(pair, len(self._y), number=draws_for(len(self._y)))
            self._differences[metric] = values["own"] - values["other"]
        return percentile_interval(self._differences[metric], confidence)
