"""Gates that hold a challenger beside another answer: a baseline, or the champion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.intervals import Interval
from fti_assets.core.manifest import GateVerdict
from fti_assets.errors import DeclarationError, one_of
from fti_assets.training.judging.gates.gate import SLACK, defined_value, lead, undefined_text
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.scores import Scores

_TIE = 1e-6

WhenUnsure = Literal["estimate", "pass", "fail"]


@checked_arguments()
@dataclass(frozen=True)
class BeatsBaseline:
    """Pass a challenger that is better than the train prior or train mean; as good is not better.

    Scores that agree to six digits are as good: a constant answer in float32 differs by that much.

    Args:
        metric: a metric's name.

    Raises:
        DeclarationError: there is no such metric.

    >>> BeatsBaseline("log_loss").judge(Scores({"log_loss": 0.48}, baseline={"log_loss": 0.57})).reason
    'log_loss 0.48 is better than the baseline 0.57'
    """

    metric: str

    def __post_init__(self) -> None:
        metric_named(self.metric)

    @property
    def name(self) -> str:
        """``beats_baseline_<metric>``."""
        return f"beats_baseline_{self.metric}"

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger's test metrics; an undefined metric does not pass. The champion does not matter."""
        score, floor = defined_value(scores.metrics, self.metric), defined_value(scores.baseline, self.metric)
        if score is None or floor is None:
            whose = "the model" if score is None else "the baseline"
            return GateVerdict(self.name, False, undefined_text(self.metric, whose))
        ahead = lead(self.metric, score, floor)
        better = ahead > 0 and not math.isclose(score, floor, rel_tol=_TIE)
        than = "is better than" if better else "is not better than"
        reason = f"{self.metric} {score:.6g} {than} the baseline {floor:.6g}"
        return GateVerdict(self.name, better, reason, value=ahead, bound=0.0)


@checked_arguments()
@dataclass(frozen=True)
class NotWorseThanChampion:
    """Pass a challenger at most ``tolerance`` worse than the champion on the same rows, and any without a champion.

    By how much it is worse has an interval, which stands in the verdict. An interval that lies within the tolerance passes, and one beyond
    it fails. For one that includes the tolerance, as few test rows give it, ``when_unsure`` decides.

    Source: champion and challenger evaluation as in TFX's blessing of a candidate against a baseline model; the interval is that of a
    paired bootstrap, of 1,000 draws of the test rows (fewer beyond 100,000 rows); ``when_unsure="fail"`` is a non-inferiority test.

    Args:
        metric: a metric's name.
        tolerance: in the metric's own unit, at least 0; exactly so much worse passes.
        confidence: of the interval.
        when_unsure: ``estimate`` goes by the measured difference alone, whatever its interval; ``pass`` turns down only what the
            whole interval says is worse, ``fail`` all that may be worse.

    Raises:
        DeclarationError: there is no such metric, the tolerance is negative or not finite, the confidence is not between 0 and 1, or
            ``when_unsure`` is none of these.

    >>> from fti_assets.training.judging.scores import ChampionScores
    >>> gate = NotWorseThanChampion("roc_auc", tolerance=0.005)
    >>> champion = ChampionScores("v1/a", {"roc_auc": 0.76}, challenger={"roc_auc": 0.74})
    >>> gate.judge(Scores(champion=champion)).reason
    'roc_auc 0.74 is worse than 0.76 of the champion v1/a by 0.02, more than the tolerance 0.005'
    """

    metric: str
    tolerance: float = 0.0
    confidence: float = 0.95
    when_unsure: WhenUnsure = "estimate"

    def __post_init__(self) -> None:
        metric_named(self.metric)
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise DeclarationError(
                f"NotWorseThanChampion({self.metric!r}, tolerance={self.tolerance!r}): give a finite number, 0 or more"
            )
        if not 0 < self.confidence < 1:
            raise DeclarationError(
                f"NotWorseThanChampion({self.metric!r}, confidence={self.confidence!r}): give a number between 0 and 1, such as 0.95"
            )
        if self.when_unsure not in get_args(WhenUnsure):
            raise DeclarationError(
                f"NotWorseThanChampion({self.metric!r}, when_unsure={self.when_unsure!r}): it is {one_of(get_args(WhenUnsure))}"
            )

    @property
    def name(self) -> str:
        """``not_worse_than_champion_<metric>``."""
        return f"not_worse_than_champion_{self.metric}"

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger beside the champion; an undefined metric does not pass. The baseline does not matter.

        The verdict's value is by how much the challenger is worse, its bound the tolerance.
        """
        champion = scores.champion
        if champion is None:
            return GateVerdict(self.name, True, "there is no champion to compare with")
        if champion.problem is not None:
            return GateVerdict(self.name, False, f"the champion {champion.build} {champion.problem}")
        score, champion_score = (
            defined_value(champion.challenger, self.metric),
            defined_value(champion.metrics, self.metric),
        )
        if score is None or champion_score is None:
            whose = "the model" if score is None else f"the champion {champion.build}"
            return GateVerdict(self.name, False, undefined_text(self.metric, whose))
        behind = -lead(self.metric, score, champion_score)
        interval = _of_loss(self.metric, champion.difference(self.metric, self.confidence))
        passes, because = self._decide(behind, interval)
        against = f"worse than {champion_score:.6g} of the champion {champion.build}"
        where = f" ({interval.text})" if interval is not None else ""
        if behind > 0:
            tolerance = (
                f"{'within' if behind <= self.tolerance + SLACK else 'more than'} the tolerance {self.tolerance:.6g}"
            )
            reason = f"{self.metric} {score:.6g} is {against} by {behind:.6g}{where}, {tolerance}"
        else:
            reason = f"{self.metric} {score:.6g} is not {against}{where and f', worse by {behind:.6g}{where}'}"
        return GateVerdict(self.name, passes, reason + because, value=behind, bound=self.tolerance, interval=interval)

    def _decide(self, behind: float, interval: Interval | None) -> tuple[bool, str]:
        """Whether it passes, and what to add to the reason."""
        if self.when_unsure == "estimate":
            return behind <= self.tolerance + SLACK, ""
        if interval is None:
            return self.when_unsure == "pass", f"; no interval can be told, and when_unsure is {self.when_unsure!r}"
        if interval.high <= self.tolerance + SLACK:
            return True, "; the whole interval is within the tolerance"
        if interval.low > self.tolerance + SLACK:
            return False, "; the whole interval is beyond the tolerance"
        unsure = f"; the interval includes the tolerance {self.tolerance:.6g}, and when_unsure is {self.when_unsure!r}"
        return self.when_unsure == "pass", unsure


def _of_loss(metric: str, difference: Interval | None) -> Interval | None:
    """Where it lies by how much a challenger is worse, of where its metric less the other's lies."""
    if difference is None or not metric_named(metric).higher_is_better:
        return difference
    return Interval(-difference.high, -difference.low, difference.confidence)
