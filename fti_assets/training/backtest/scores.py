"""What a backtest gives: the scores of a model at each cutoff."""

from __future__ import annotations

from dataclasses import dataclass

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.manifest.intervals import Interval


@dataclass(frozen=True)
class AtCutoff:
    """What a model scores on the test rows of one cutoff.

    Attributes:
        partition: the dataset's partition.
        cutoff: its cutoff, ISO text.
        metrics, baseline: of the model, and of the answer that knows no features.
        intervals: where the metrics lie on other draws of the test rows.
        rows: of each part.
        problem: why there are no scores; empty if there are.
    """

    partition: str
    cutoff: str
    metrics: dict[str, float]
    baseline: dict[str, float]
    intervals: dict[str, Interval]
    rows: dict[str, int]
    problem: str = ""

    @staticmethod
    def of(manifest: ModelManifest) -> AtCutoff:
        """The scores of a build."""
        return AtCutoff(
            manifest.dataset.partition,
            manifest.cutoff,
            manifest.metrics,
            manifest.baseline,
            manifest.intervals,
            manifest.dataset.rows,
        )


@dataclass(frozen=True)
class Backtest:
    """A model at several cutoffs, the earliest first, by some of its metrics.

    ``existing`` says whether they are the builds of the model store, in place of models that were trained for it.
    """

    model: str
    metrics: tuple[str, ...]
    points: tuple[AtCutoff, ...]
    existing: bool

    def scores(self, metric: str) -> list[float]:
        """A metric at the cutoffs that have it."""
        return [point.metrics[metric] for point in self.points if metric in point.metrics]
