"""Arms against the champion: means by key with their intervals, and whether keys were shared out as the rollout says.

All intervals are SciPy's: Student's of a mean, Welch's of a difference, Student's of paired differences, Wilson's of a share.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.rollouts.rollout import CHAMPION
from fti_assets.monitoring.experiments.samples import Sample

SHARE_CONFIDENCE = 0.999
"""Of the intervals of all shares together: keys that were shared out as planned look otherwise in one of 1,000 looks."""


@dataclass(frozen=True)
class Interval:
    """Where a number lies; both ends are None where that cannot be told, as of one key, or of keys that are all alike."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ArmComparison:
    """One arm.

    Args:
        arm: its name.
        keys: the keys with a label, each of which counts once.
        sample: what was counted and measured.
        mean: of the figure over keys; None without any.
        mean_interval: where the mean lies.
        improvement: by how much the mean is better than the champion's, in the figure's unit: the effect size. None of the champion.
        improvement_interval: where that lies.
        planned_share: what the rollout wants the arm to have of the keys of all arms.
        share: what it has.
        share_interval: where its share lies.
        is_mismatched: whether the planned share lies outside, of its keys or of those with a label.
    """

    arm: str
    sample: Sample
    mean: float | None
    mean_interval: Interval
    improvement: float | None
    improvement_interval: Interval
    planned_share: float | None
    share: float | None
    share_interval: Interval
    is_mismatched: bool

    @property
    def keys(self) -> int:
        """The keys with a label."""
        return len(self.sample.figures)


def compare(
    samples: Mapping[str, Sample],
    shares: Mapping[str, float] | None,
    *,
    higher_is_better: bool,
    confidence: float,
    is_paired: bool = False,
) -> dict[str, ArmComparison]:
    """Compare the arms with the champion.

    Args:
        samples: what each arm has, the champion among them.
        shares: what the rollout wants each arm to have; None if that is not to be judged.
        higher_is_better: of the figure.
        confidence: that a true improvement lies within its interval.
        is_paired: whether both arms answer each request, so that their figures are pairs.

    >>> rng = np.random.default_rng(0)
    >>> samples = {arm: Sample(200, 200, 0, rng.normal(mean, 1.0, 200)) for arm, mean in (("champion", 1.0), ("challenger", 0.0))}
    >>> arms = compare(samples, {"champion": 0.5, "challenger": 0.5}, higher_is_better=False, confidence=0.95)
    >>> 0.5 < arms["challenger"].improvement_interval.low < 1.0 < arms["challenger"].improvement_interval.high < 1.5
    True
    """
    champion, sign = samples[CHAMPION].figures, 1.0 if higher_is_better else -1.0
    results = {}
    for arm, sample in samples.items():
        improvement, where = None, Interval()
        if arm != CHAMPION and len(sample.figures) and len(champion):
            improvement = sign * float(np.mean(sample.figures) - np.mean(champion))
            where = _difference(sample.figures, champion, sign, confidence, is_paired=is_paired)
        share, within, is_mismatch = _share(samples, arm, shares)
        results[arm] = ArmComparison(
            arm,
            sample,
            float(np.mean(sample.figures)) if len(sample.figures) else None,
            _mean(sample.figures, confidence),
            improvement,
            where,
            None if shares is None else shares[arm],
            share,
            within,
            is_mismatch,
        )
    return results


def _mean(figures: np.ndarray, confidence: float) -> Interval:
    from scipy import stats

    if len(figures) < 2 or np.ptp(figures) == 0.0:
        return Interval()
    return _interval(stats.ttest_1samp(figures, 0.0), confidence, 1.0)


def _difference(arm: np.ndarray, champion: np.ndarray, sign: float, confidence: float, *, is_paired: bool) -> Interval:
    from scipy import stats

    if is_paired:
        differences = arm - champion
        return (
            Interval()
            if len(arm) < 2 or np.ptp(differences) == 0.0
            else _interval(stats.ttest_rel(arm, champion), confidence, sign)
        )
    # Keys that are all alike say nothing of how far others may lie: an arm without one event has no interval of width 0.
    if min(len(arm), len(champion)) < 2 or np.ptp(arm) == 0.0 or np.ptp(champion) == 0.0:
        return Interval()
    return _interval(stats.ttest_ind(arm, champion, equal_var=False), confidence, sign)


def _interval(test: Any, confidence: float, sign: float) -> Interval:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of figures that differ in the last digits alone
        ends = test.confidence_interval(confidence_level=confidence)
    low, high = sorted((sign * float(ends.low), sign * float(ends.high)))
    return Interval(low, high) if np.isfinite(low) and np.isfinite(high) else Interval()


def _share(
    samples: Mapping[str, Sample], arm: str, shares: Mapping[str, float] | None
) -> tuple[float | None, Interval, bool]:
    """The share of the keys that an arm has, where it lies, and whether the planned one lies elsewhere."""
    from scipy import stats

    total = sum(sample.keys for sample in samples.values())
    if shares is None or not total:
        return None, Interval(), False

    def where(keys: int, of: int) -> Interval:
        level = 1.0 - (1.0 - SHARE_CONFIDENCE) / len(samples)
        ends = stats.binomtest(keys, of).proportion_ci(confidence_level=level, method="wilson")
        return Interval(float(ends.low), float(ends.high))

    of_keys = where(samples[arm].keys, total)
    figures = sum(len(sample.figures) for sample in samples.values())
    intervals = [of_keys, *([where(len(samples[arm].figures), figures)] if figures else [])]
    is_mismatch = any(
        not (one.low or 0.0) - 1e-9 <= shares[arm] <= (1.0 if one.high is None else one.high) + 1e-9
        for one in intervals
    )
    return samples[arm].keys / total, of_keys, is_mismatch
