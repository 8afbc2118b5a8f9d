"""The verdict of an experiment: promote, stop or wait.

An experiment is judged at looks that are fixed beforehand by numbers of keys, never at the moment when somebody looks: whatever day it
is computed on, the same answers give the same verdict. What is between looks is an estimate and decides nothing. All looks and arms
share one error rate (Bonferroni), so that none of them, however many there are, promotes an arm that is not better more often than stated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fti_assets.core.rollouts.rollout import CHAMPION
from fti_assets.monitoring.experiments.comparison import ArmComparison, compare
from fti_assets.monitoring.experiments.samples import Sample

Decision = Literal["promote", "stop", "wait"]


@dataclass(frozen=True)
class Terms:
    """What decides, all of it stated before the first answer.

    Args:
        higher_is_better: of the figure.
        least_keys: so many keys with a label each arm has at the last look, the champion's too.
        looks: how many looks there are, at equal steps of keys.
        at_least: an arm is promoted if its improvement is above that: 0 for better, below 0 for no worse than by so much.
        confidence: of all intervals of all looks together.
    """

    higher_is_better: bool
    least_keys: int
    looks: int = 1
    at_least: float = 0.0
    confidence: float = 0.95

    @property
    def steps(self) -> list[int]:
        """How many keys of each arm each look has.

        >>> Terms(True, 1000, looks=3).steps
        [334, 667, 1000]
        """
        return [math.ceil(self.least_keys * number / self.looks) for number in range(1, self.looks + 1)]

    def level(self, arms: int) -> float:
        """The confidence of one interval, so that those of all looks and arms hold together."""
        return 1.0 - (1.0 - self.confidence) / (self.looks * max(1, arms))


@dataclass(frozen=True)
class Verdict:
    """What follows from an experiment.

    Args:
        decision: what.
        reason: why, as a sentence.
        arm: which is promoted.
        look: at which of the looks it fell, or which the last one was; 0 before the first.
        until: the prediction time of the last answer that was judged; None for an estimate from all answers so far.
        arms: the figures that it rests on, or an estimate.
    """

    decision: Decision
    reason: str
    arm: str | None
    look: int
    until: datetime | None
    arms: Mapping[str, ArmComparison]

    @property
    def is_estimate(self) -> bool:
        """Whether the figures decide nothing yet."""
        return self.until is None


def judge(
    terms: Terms,
    shares: Mapping[str, float] | None,
    *,
    horizon: Callable[[int], datetime | None],
    samples: Callable[[datetime | None], Mapping[str, Sample]],
    is_paired: bool = False,
) -> Verdict:
    """The verdict of the first look that decides, or of the last one; before, figures as they are so far, and wait.

    Args:
        terms: what decides.
        shares: what the rollout wants each arm to have; None if that is not to be judged.
        horizon: the instant by which each arm had so many keys; None if it has not.
        samples: what each arm had at an instant, or has by now.
        is_paired: whether both arms answer each request, so that their figures are pairs.
    """
    steps_done, until = 0, None
    for look, keys in enumerate(terms.steps, start=1):
        if (instant := horizon(keys)) is None:
            break
        steps_done, until = look, instant
        arms = _compare(samples(instant), shares, terms, is_paired)
        decision, arm, reason = decide(arms, terms, is_last=look == terms.looks)
        if decision != "wait" or look == terms.looks:
            return Verdict(decision, reason, arm, look, until, arms)
    arms = _compare(samples(None), shares, terms, is_paired)
    least = min(one.keys for one in arms.values())
    reason = (
        f"the arm with the fewest keys has {least} with a label, the "
        f"{'next' if steps_done else 'first'} look is at {terms.steps[steps_done]}, and the last at {terms.least_keys}"
    )
    if problem := mismatch(arms):
        reason = f"{problem}; {reason}"
    return Verdict("wait", reason, None, steps_done, None, arms)


def decide(arms: Mapping[str, ArmComparison], terms: Terms, *, is_last: bool) -> tuple[Decision, str | None, str]:
    """What follows at a look, for which arm, and why."""
    if problem := mismatch(arms):
        return "wait", None, f"{problem}. Nothing is decided by keys that were not assigned by chance"
    challengers = [one for name, one in arms.items() if name != CHAMPION]
    better = [one for one in challengers if _above(one.improvement_interval.low, terms.at_least)]
    if better:
        best = max(better, key=lambda one: one.improvement or 0.0)
        return (
            "promote",
            best.arm,
            f"arm {best.arm!r} improves by {_improvement_text(best)}, which is above {terms.at_least:g}",
        )
    if all(
        one.improvement_interval.high is not None and one.improvement_interval.high <= terms.at_least
        for one in challengers
    ):
        worst = "; ".join(f"arm {one.arm!r} improves by {_improvement_text(one)}" for one in challengers)
        return "stop", None, f"{worst}: no more than {terms.at_least:g}"
    improvements = "; ".join(f"arm {one.arm!r} improves by {_improvement_text(one)}" for one in challengers)
    if is_last:
        return (
            "stop",
            None,
            f"{improvements}: not shown to be above {terms.at_least:g} with the {terms.least_keys} keys that were asked for",
        )
    return "wait", None, f"{improvements}: not decided yet"


def mismatch(arms: Mapping[str, ArmComparison]) -> str:
    """What is wrong with the shares of keys; empty if nothing is."""
    wrong = [
        f"arm {one.arm!r} has {one.share:.2%} of the keys where {one.planned_share:.2%} are planned"
        for one in arms.values()
        if one.is_mismatched
    ]
    return (
        f"keys are not shared out as the rollout says, or lose their labels in one arm more than in another: {', '.join(wrong)}"
        if wrong
        else ""
    )


def estimate(terms: Terms, shares: Mapping[str, float] | None, samples: Mapping[str, Sample], reason: str) -> Verdict:
    """Figures as they are so far, that decide nothing."""
    return Verdict("wait", reason, None, 0, None, _compare(samples, shares, terms, False))


def _compare(
    samples: Mapping[str, Sample], shares: Mapping[str, float] | None, terms: Terms, is_paired: bool
) -> dict[str, ArmComparison]:
    level = terms.level(len(samples) - 1)
    return compare(samples, shares, higher_is_better=terms.higher_is_better, confidence=level, is_paired=is_paired)


def _above(low: float | None, bound: float) -> bool:
    return low is not None and low > bound


def _improvement_text(one: ArmComparison) -> str:
    where = one.improvement_interval
    if one.improvement is None or where.low is None or where.high is None:
        return "an amount that cannot be told (all its keys, or the champion's, have one figure)"
    return f"{one.improvement:.4g} (between {where.low:.4g} and {where.high:.4g})"
