"""Gates that hold a challenger beside another answer: a baseline, or the champion."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.concise import Concise
from fti_assets.core.manifest import GateVerdict
from fti_assets.core.manifest.intervals import Interval
from fti_assets.errors import DeclarationError, ModelError, one_of
from fti_assets.training.judging.baselines.baseline import Baseline
from fti_assets.training.judging.baselines.function import FunctionBaseline
from fti_assets.training.judging.baselines.last_value import LastValue
from fti_assets.training.judging.baselines.named import PRIOR, checked_baseline
from fti_assets.training.judging.gates.gate import defined_value, lead, undefined_text
from fti_assets.training.judging.metrics.metric import plain_name
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.scores import Scores
from fti_assets.training.judging.ties import resolution

WhenUnsure = Literal["estimate", "pass", "fail"]


@checked_arguments()
@dataclass(frozen=True, repr=False)
class BeatsBaseline(Concise):
    """Pass a challenger that is better than a baseline; an equally good one does not pass.

    Scores that agree to six digits count as equally good, as do answers that agree to the last digits of float32, whatever
    ``when_unsure`` says: a constant answer in float32 differs by that much. The difference has an interval by a paired bootstrap, as in
    ``NotWorseThanChampion``.

    Args:
        metric: a metric's name.
        baseline: a baseline that learns from the train part alone: ``prior``, the share of each class or the train mean;
            ``logistic`` for classes or ``linear`` for values, scikit-learn's on the encoded features; ``fti.LastValue("feature")``,
            the last known value; or your own function, ``(train, test) -> answers``: ``train`` is ``data.train``, ``test`` has the
            features of the test rows without their labels, and the answers are probabilities ``[n]`` or ``[n, k]``, or values
            ``[n]``.
        confidence: of the interval.
        when_unsure: what decides if the interval includes 0: ``estimate``, the measured difference alone; ``pass`` or ``fail``.

    Raises:
        DeclarationError: there is no such metric or baseline, the confidence is not between 0 and 1, or ``when_unsure`` is none of these.

    >>> BeatsBaseline("log_loss").judge(Scores({"log_loss": 0.48}, baseline={"log_loss": 0.57})).reason
    'log_loss 0.48 is better than the baseline 0.57'
    >>> BeatsBaseline("log_loss", baseline="logistic").name
    'beats_logistic_log_loss'
    """

    metric: str
    baseline: str | LastValue | Callable[..., Any] = "prior"
    confidence: float = 0.95
    when_unsure: WhenUnsure = "estimate"

    def __post_init__(self) -> None:
        metric_named(self.metric)
        what = f"BeatsBaseline({self.metric!r})"
        rival = checked_baseline(self.baseline, what=what)
        _check_interval(what, self.confidence, self.when_unsure)
        if isinstance(rival, FunctionBaseline):
            object.__setattr__(self, "baseline", rival)

    @property
    def rival(self) -> Baseline:
        """The baseline itself."""
        return checked_baseline(self.baseline, what=f"BeatsBaseline({self.metric!r})")

    @property
    def name(self) -> str:
        """``beats_baseline_<metric>``, or ``beats_<baseline>_<metric>`` for a baseline other than the prior."""
        return f"beats_{'baseline' if self.rival.name == PRIOR else self.rival.name}_{plain_name(self.metric)}"

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger's test metrics; an undefined metric does not pass. The champion does not matter.

        The verdict's value is how much better the challenger is, and its bound is 0.

        Raises:
            ModelError: the baseline was not scored.
        """
        beside = scores.baselines.get(self.rival.name)
        if beside is None and self.rival.name != PRIOR:
            raise ModelError(
                f"the gate {self.name} needs the baseline {self.rival.name!r}: there is {one_of(scores.baselines)}"
            )
        metrics = scores.baseline if beside is None else beside.metrics
        score, floor = defined_value(scores.metrics, self.metric), defined_value(metrics, self.metric)
        if score is None or floor is None:
            whose = "the model" if score is None else "the baseline"
            return GateVerdict(self.name, False, undefined_text(self.metric, whose))
        ahead = lead(self.metric, score, floor)
        difference = (
            None
            if beside is None or beside.answers is None
            else beside.answers.difference(self.metric, self.confidence)
        )
        interval = difference if metric_named(self.metric).higher_is_better else _negative(difference)
        slack = resolution(self.metric, score, floor)
        same = beside is not None and beside.answers is not None and beside.answers.agree(self.metric)
        as_good = same or abs(ahead) <= slack
        leads = ahead > 0 and not as_good
        better, because = (
            # Rounding shifts all draws alike: an interval of it may well lie above 0.
            (False, "; as good is not better")
            if as_good
            else _decide(self.when_unsure, leads, interval, bound=0.0, slack=slack, above=True)
        )
        than = "is better than" if leads else "is not better than"
        which = "the baseline" if self.rival.name == PRIOR else f"the baseline {self.rival.name}"
        where = f", better by {ahead:.6g} ({interval.text})" if interval and self.when_unsure != "estimate" else ""
        reason = f"{self.metric} {score:.6g} {than} {which} {floor:.6g}{where}{because}"
        return GateVerdict(self.name, better, reason, value=ahead, bound=0.0, interval=interval)


@checked_arguments()
@dataclass(frozen=True, repr=False)
class NotWorseThanChampion(Concise):
    """Pass a challenger at most ``tolerance`` worse than the champion on the same rows, and any without a champion.

    The verdict contains an interval of how much worse it is. An interval within the tolerance passes, and one beyond it fails. If
    the interval includes the tolerance, as happens with few test rows, ``when_unsure`` decides. Scores that agree to six digits do
    not differ, and answers that agree to the last digits of float32 are not worse.

    Source: champion and challenger evaluation as in TFX's blessing of a candidate against a baseline model; the interval is that of
    a paired bootstrap with 1,000 draws of the test rows (fewer beyond 100,000 rows); ``when_unsure="fail"`` is a non-inferiority
    test.

    Args:
        metric: a metric's name.
        tolerance: in the metric's own unit, at least 0; exactly this much worse passes.
        confidence: of the interval.
        when_unsure: ``estimate`` uses the measured difference alone, whatever its interval; ``pass`` rejects only what the whole
            interval shows to be worse; ``fail`` rejects everything that may be worse.

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
        _check_interval(f"NotWorseThanChampion({self.metric!r})", self.confidence, self.when_unsure)

    @property
    def name(self) -> str:
        """``not_worse_than_champion_<metric>``."""
        return f"not_worse_than_champion_{plain_name(self.metric)}"

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger beside the champion; an undefined metric does not pass. The baseline does not matter.

        The verdict's value is how much worse the challenger is, and its bound is the tolerance.
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
        behind, slack = -lead(self.metric, score, champion_score), resolution(self.metric, score, champion_score)
        same = champion.answers is not None and champion.answers.agree(self.metric)
        is_within = same or behind <= self.tolerance + slack
        difference = champion.difference(self.metric, self.confidence)
        interval = _negative(difference) if metric_named(self.metric).higher_is_better else difference
        passes, because = (
            (True, "; the answers are the same to the last digits of float32")
            if same
            else _decide(self.when_unsure, is_within, interval, bound=self.tolerance, slack=slack, above=False)
        )
        against = f"worse than {champion_score:.6g} of the champion {champion.build}"
        where = f" ({interval.text})" if interval is not None else ""
        if behind > slack and not same:
            tolerance = f"{'within' if is_within else 'more than'} the tolerance {self.tolerance:.6g}"
            reason = f"{self.metric} {score:.6g} is {against} by {behind:.6g}{where}, {tolerance}"
        else:
            figures = where and f", worse by {behind:.6g}{where}"
            ahead = _negative(interval)
            if (
                ahead is not None and behind < 0 and self.when_unsure == "estimate"
            ):  # else the bound is told on this side
                figures = f", better by {-behind:.6g} ({ahead.text})"
            reason = f"{self.metric} {score:.6g} is not {against}{figures}"
        return GateVerdict(self.name, passes, reason + because, value=behind, bound=self.tolerance, interval=interval)


def _check_interval(what: str, confidence: float, when_unsure: str) -> None:
    if not 0 < confidence < 1:
        raise DeclarationError(f"{what} has confidence={confidence!r}: give a number between 0 and 1, such as 0.95")
    if when_unsure not in get_args(WhenUnsure):
        raise DeclarationError(f"{what} has when_unsure={when_unsure!r}: it is {one_of(get_args(WhenUnsure))}")


def _decide(
    when_unsure: WhenUnsure, estimate: bool, interval: Interval | None, *, bound: float, slack: float, above: bool
) -> tuple[bool, str]:
    """Whether a figure is on the right side of its bound, and what to add to the reason.

    Args:
        when_unsure: what decides if the interval includes the bound.
        estimate: what the figure itself says.
        interval: where the figure lies.
        bound: what it must be above, or must not be above.
        slack: by how much figures may differ that are as good as each other.
        above: which of the two.
    """
    if when_unsure == "estimate":
        return estimate, ""
    if interval is None:
        return when_unsure == "pass", f"; no interval can be told, and when_unsure is {when_unsure!r}"
    below, beyond = interval.high <= bound + slack, interval.low > bound + slack
    if below or beyond:
        return beyond == above, f"; the whole interval is {'above' if beyond else 'at most'} {bound:.6g}"
    return when_unsure == "pass", f"; the interval includes {bound:.6g}, and when_unsure is {when_unsure!r}"


def _negative(interval: Interval | None) -> Interval | None:
    """Where a number lies of whose negative it is known."""
    return None if interval is None else Interval(-interval.high, -interval.low, interval.confidence)
