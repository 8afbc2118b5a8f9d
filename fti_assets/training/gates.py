"""Gates: what a challenger must do on the test part before it may be the champion."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fti_assets.errors import DeclarationError
from fti_assets.stores.manifest import GateVerdict
from fti_assets.training.evaluation import metric_named

_SLACK = 1e-12
_TIE = 1e-6


@dataclass(frozen=True)
class ChampionScores:
    """The champion's metrics on the challenger's test rows; ``build`` names it for the verdict."""

    build: str
    metrics: Mapping[str, float]


class Gate(Protocol):
    """What any gate can do."""

    @property
    def name(self) -> str:
        """The gate's name in verdicts and checks."""

    @property
    def metric(self) -> str:
        """The metric it looks at."""

    def judge(
        self, metrics: Mapping[str, float], baseline: Mapping[str, float], champion: ChampionScores | None
    ) -> GateVerdict:
        """Judge a challenger's test metrics beside the baseline's and the champion's."""


@dataclass(frozen=True)
class BeatsBaseline:
    """Pass a challenger that is better than the train prior or train mean; as good is not better.

    Scores that agree to six digits are as good: a constant answer in float32 differs by that much.

    Args:
        metric: a metric's name.

    Raises:
        DeclarationError: there is no such metric.

    >>> BeatsBaseline("log_loss").judge({"log_loss": 0.48}, {"log_loss": 0.57}, None)
    GateVerdict(gate='beats_baseline_log_loss', passed=True, reason='log_loss 0.48 is better than the baseline 0.57')
    """

    metric: str

    def __post_init__(self) -> None:
        metric_named(self.metric)

    @property
    def name(self) -> str:
        """``beats_baseline_<metric>``."""
        return f"beats_baseline_{self.metric}"

    def judge(
        self, metrics: Mapping[str, float], baseline: Mapping[str, float], champion: ChampionScores | None
    ) -> GateVerdict:
        """Judge a challenger's test metrics; an undefined metric does not pass. The champion does not matter."""
        score, floor = _defined(metrics, self.metric), _defined(baseline, self.metric)
        if score is None or floor is None:
            whose = "the model" if score is None else "the baseline"
            return GateVerdict(self.name, False, _undefined(self.metric, whose))
        better = _lead(self.metric, score, floor) > 0 and not math.isclose(score, floor, rel_tol=_TIE)
        than = "is better than" if better else "is not better than"
        return GateVerdict(self.name, better, f"{self.metric} {score:.6g} {than} the baseline {floor:.6g}")


@dataclass(frozen=True)
class NotWorseThanChampion:
    """Pass a challenger at most ``tolerance`` worse than the champion on the same rows, and any without a champion.

    Source: champion and challenger evaluation as in TFX's blessing of a candidate against a baseline model.

    Args:
        metric: a metric's name.
        tolerance: in the metric's own unit, at least 0; exactly so much worse passes.

    Raises:
        DeclarationError: there is no such metric, or the tolerance is negative or not finite.

    >>> gate = NotWorseThanChampion("roc_auc", tolerance=0.005)
    >>> gate.judge({"roc_auc": 0.74}, {}, ChampionScores("v1/a", {"roc_auc": 0.76})).reason
    'roc_auc 0.74 is worse than 0.76 of the champion v1/a by 0.02, more than the tolerance 0.005'
    """

    metric: str
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        metric_named(self.metric)
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise DeclarationError(
                f"NotWorseThanChampion({self.metric!r}, tolerance={self.tolerance!r}): give a finite number, 0 or more"
            )

    @property
    def name(self) -> str:
        """``not_worse_than_champion_<metric>``."""
        return f"not_worse_than_champion_{self.metric}"

    def judge(
        self, metrics: Mapping[str, float], baseline: Mapping[str, float], champion: ChampionScores | None
    ) -> GateVerdict:
        """Judge a challenger's test metrics; an undefined metric does not pass. The baseline does not matter."""
        if champion is None:
            return GateVerdict(self.name, True, "there is no champion to compare with")
        score, held = _defined(metrics, self.metric), _defined(champion.metrics, self.metric)
        if score is None or held is None:
            whose = "the model" if score is None else f"the champion {champion.build}"
            return GateVerdict(self.name, False, _undefined(self.metric, whose))
        behind = -_lead(self.metric, score, held)
        against = f"{held:.6g} of the champion {champion.build}"
        if behind > self.tolerance + _SLACK:
            more = f"by {behind:.6g}, more than the tolerance {self.tolerance:.6g}"
            return GateVerdict(self.name, False, f"{self.metric} {score:.6g} is worse than {against} {more}")
        if behind > 0:
            within = f"by {behind:.6g}, within the tolerance {self.tolerance:.6g}"
            return GateVerdict(self.name, True, f"{self.metric} {score:.6g} is worse than {against} {within}")
        return GateVerdict(self.name, True, f"{self.metric} {score:.6g} is not worse than {against}")


def _defined(metrics: Mapping[str, float], metric: str) -> float | None:
    score = metrics.get(metric)
    return score if score is not None and math.isfinite(score) else None


def _lead(metric: str, score: float, other: float) -> float:
    return score - other if metric_named(metric).higher_is_better else other - score


def _undefined(metric: str, whose: str) -> str:
    return f"{metric} of {whose} is undefined on these test rows, or was not evaluated: nothing to judge by"
