"""All that gates judge a challenger by."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np

from fti_assets.core.manifest import FairnessRecord
from fti_assets.core.manifest.intervals import Interval
from fti_assets.training.judging.graph_cost import GraphCost
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.resampling.paired import PairedAnswers

Slices = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Column to value to metrics and ``rows``, as ``measure`` gives them."""


@dataclass(frozen=True)
class ChampionScores:
    """A champion and its challenger on the test rows that the champion has not trained on.

    Args:
        build: names the champion for the verdict.
        metrics: the champion's metrics on those rows.
        challenger: the challenger's metrics on the same rows.
        problem: why the two cannot be compared, if they cannot; there are no metrics then.
        answers: those of the challenger beside the champion's, for intervals of their difference.
    """

    build: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    challenger: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None
    answers: PairedAnswers | None = field(default=None, repr=False, compare=False)

    def difference(self, metric: str, confidence: float = 0.95) -> Interval | None:
        """Where the challenger's metric less the champion's lies; None if nobody can say."""
        return None if self.answers is None else self.answers.difference(metric, confidence)


@dataclass(frozen=True)
class BaselineScores:
    """A baseline's metrics on all test rows, and the challenger's answers beside its own, for intervals of their difference."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    answers: PairedAnswers | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Scores:
    """Everything that a gate may use: the measurements of a challenger on the test split.

    Args:
        metrics: the challenger's metrics on all test rows; one that is undefined is left out.
        baseline: those of the train prior or train mean.
        slices: the challenger's, by the columns and values of the evaluation's slices.
        champion: the champion beside it, or None if there is no champion.
        fairness: how differently the challenger decides for the slices of each column of the evaluation's ``fairness``.
        baselines: each baseline by its name, ``prior`` and those of the gates.
        intervals: the intervals of the challenger's metrics over other test rows.
        answers: what the challenger answers on the test rows, beside the labels.
        graph: what the challenger's graph costs: ``bytes``, and its ``latency`` once it is asked for.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    slices: Slices = field(default_factory=dict)
    champion: ChampionScores | None = None
    fairness: Mapping[str, FairnessRecord] = field(default_factory=dict)
    baselines: Mapping[str, BaselineScores] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    answers: Answers | None = field(default=None, repr=False, compare=False)
    graph: GraphCost | None = field(default=None, repr=False, compare=False)

    def copy(self) -> "Scores":
        """The same in mappings and arrays of their own: a gate of a user's own may write into them, and no other one sees it."""
        champion = self.champion
        if champion is not None:
            champion = replace(champion, metrics=dict(champion.metrics), challenger=dict(champion.challenger))
        return replace(
            self,
            metrics=dict(self.metrics),
            baseline=dict(self.baseline),
            slices=deepcopy(self.slices),
            champion=champion,
            fairness=deepcopy(self.fairness),
            baselines={name: replace(one, metrics=dict(one.metrics)) for name, one in self.baselines.items()},
            intervals=dict(self.intervals),
            answers=None if self.answers is None else self.answers.part(np.arange(len(self.answers.y))),
        )
