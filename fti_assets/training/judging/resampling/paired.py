"""Two models' answers to the same rows, and where the difference of a metric of theirs lies."""

from __future__ import annotations

import numpy as np

from fti_assets.core.manifest.intervals import Interval
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.resampling.bootstrap import draws_for
from fti_assets.training.judging.resampling.draws import Draws, draws_of
from fti_assets.training.judging.ties import same_answers


class PairedAnswers:
    """A model's answers beside another's.

    Args:
        own: its answers to ``n`` rows, and their labels.
        other: the other model's, to the same rows.
        clusters: ``[n]``, what names each row's cluster, as an entity: rows of one are drawn together. By default each is drawn alone.

    >>> y = np.array([0.0, 1.0, 2.0])
    >>> PairedAnswers(Answers(y, y + 0.1), Answers(y, y + 0.5)).difference("mae").text
    '95% interval -0.4 to -0.4'
    """

    def __init__(self, own: Answers, other: Answers, clusters: np.ndarray | None = None) -> None:
        self._own, self._other = own, other
        # From 0 on without a gap, which would be a cluster without rows.
        self._clusters = None if clusters is None else np.unique(clusters, return_inverse=True)[1]
        self._draws: dict[str, dict[str, Draws]] = {}

    def agree(self, metric: str) -> bool:
        """Whether the two are the same to what float32 holds, so that neither is better."""
        return same_answers(metric, self._own, self._other)

    def difference(self, metric: str, confidence: float = 0.95) -> Interval | None:
        """Where this model's metric less the other's lies, by a paired bootstrap; None if too few draws have both.

        Both metrics are computed on the same draws of rows, so what is easy or hard for both falls out of the difference.

        Raises:
            DeclarationError: there is no such metric.
        """
        rows = len(self._own.y)
        if not rows:
            return None
        if metric not in self._draws:
            pair = {name: (metric_named(metric), one) for name, one in (("own", self._own), ("other", self._other))}
            self._draws[metric] = draws_of(pair, number=draws_for(rows), clusters=self._clusters)
        draws = self._draws[metric]
        return draws["own"].difference(draws["other"], confidence)
