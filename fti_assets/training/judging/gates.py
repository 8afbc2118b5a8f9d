"""Gates: what a challenger must do on the test part before it may be the champion."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import GateVerdict
from fti_assets.errors import DeclarationError, ModelError, excerpt, one_of
from fti_assets.training.judging.evaluation import metric_named

_SLACK = 1e-12  # what is lost in the last digits of a difference
_TIE = 1e-6

Slices = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Column to value to metrics and ``rows``, as ``evaluate_slices`` gives them."""


@dataclass(frozen=True)
class ChampionScores:
    """A champion and its challenger on the test rows that the champion has not trained on.

    Args:
        build: names the champion for the verdict.
        metrics: the champion's metrics on those rows.
        challenger: the challenger's metrics on the same rows.
        problem: why the two cannot be compared, if they cannot; there are no metrics then.
    """

    build: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    challenger: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Scores:
    """All that a gate judges by: what was measured of a challenger on the test split.

    Args:
        metrics: the challenger's metrics on all test rows; one that is undefined is left out.
        baseline: those of the train prior or train mean.
        slices: the challenger's, by the columns and values of the evaluation's slices.
        champion: the champion beside it, or None if there is no champion.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    slices: Slices = field(default_factory=dict)
    champion: ChampionScores | None = None


class Gate(Protocol):
    """What any gate can do: a class of your own with these three is one, a frozen dataclass for example."""

    @property
    def name(self) -> str:
        """The gate's name in verdicts and checks."""

    @property
    def metric(self) -> str:
        """The metric it looks at."""

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger by its scores."""


@runtime_checkable
class SlicedGate(Gate, Protocol):
    """A gate that looks at slices as well."""

    @property
    def by(self) -> str:
        """The slice column, which the evaluation must have."""


def verdict_of(gate: Gate, scores: Scores) -> GateVerdict:
    """What a gate says of a challenger.

    Raises:
        ModelError: it gave no verdict, or one that is neither passed nor not.
    """
    verdict = gate.judge(scores)
    if not isinstance(verdict, GateVerdict) or not isinstance(verdict.passed, bool | np.bool_):
        raise ModelError(
            f"gate {excerpt(gate)} gave {excerpt(verdict)}: return fti.GateVerdict(gate, passed, reason), with passed True or False"
        )
    return replace(verdict, gate=str(verdict.gate), passed=bool(verdict.passed), reason=str(verdict.reason))


@checked_arguments()
@dataclass(frozen=True)
class BeatsBaseline:
    """Pass a challenger that is better than the train prior or train mean; as good is not better.

    Scores that agree to six digits are as good: a constant answer in float32 differs by that much.

    Args:
        metric: a metric's name.

    Raises:
        DeclarationError: there is no such metric.

    >>> BeatsBaseline("log_loss").judge(Scores({"log_loss": 0.48}, baseline={"log_loss": 0.57}))
    GateVerdict(gate='beats_baseline_log_loss', passed=True, reason='log_loss 0.48 is better than the baseline 0.57')
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
        score, floor = _defined_value(scores.metrics, self.metric), _defined_value(scores.baseline, self.metric)
        if score is None or floor is None:
            whose = "the model" if score is None else "the baseline"
            return GateVerdict(self.name, False, _undefined_text(self.metric, whose))
        better = _lead(self.metric, score, floor) > 0 and not math.isclose(score, floor, rel_tol=_TIE)
        than = "is better than" if better else "is not better than"
        return GateVerdict(self.name, better, f"{self.metric} {score:.6g} {than} the baseline {floor:.6g}")


@checked_arguments()
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
    >>> champion = ChampionScores("v1/a", {"roc_auc": 0.76}, challenger={"roc_auc": 0.74})
    >>> gate.judge(Scores(champion=champion)).reason
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

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger beside the champion; an undefined metric does not pass. The baseline does not matter."""
        champion = scores.champion
        if champion is None:
            return GateVerdict(self.name, True, "there is no champion to compare with")
        if champion.problem is not None:
            return GateVerdict(self.name, False, f"the champion {champion.build} {champion.problem}")
        score, champion_score = (
            _defined_value(champion.challenger, self.metric),
            _defined_value(champion.metrics, self.metric),
        )
        if score is None or champion_score is None:
            whose = "the model" if score is None else f"the champion {champion.build}"
            return GateVerdict(self.name, False, _undefined_text(self.metric, whose))
        behind = -_lead(self.metric, score, champion_score)
        passes = behind <= self.tolerance + _SLACK
        against = f"worse than {champion_score:.6g} of the champion {champion.build}"
        if behind > 0:
            tolerance = f"{'within' if passes else 'more than'} the tolerance {self.tolerance:.6g}"
            reason = f"{self.metric} {score:.6g} is {against} by {behind:.6g}, {tolerance}"
        else:
            reason = f"{self.metric} {score:.6g} is not {against}"
        return GateVerdict(self.name, passes, reason)


@checked_arguments(itself=["min_rows"])
@dataclass(frozen=True)
class SliceGap:
    """Pass a challenger whose worst slice is at most ``at_most`` worse than it is on all test rows.

    Slices of fewer than ``min_rows`` test rows are left out, and so are those on which the metric is undefined. With
    none left there is nothing to fail on, and the verdict says so.

    Source: sliced thresholds as in TensorFlow Model Analysis.

    Args:
        metric: a metric's name.
        by: a column of the evaluation's slices.
        at_most: in the metric's own unit, at least 0; a gap of exactly so much passes.
        min_rows: the fewest test rows of a slice that counts.

    Raises:
        DeclarationError: there is no such metric, the gap is negative or not finite, or ``min_rows`` is no whole number
            above 0.

    >>> gate = SliceGap("roc_auc", by="origin", at_most=0.15, min_rows=500)
    >>> slices = {"origin": {"JFK": {"roc_auc": 0.58, "rows": 900.0}, "LGA": {"roc_auc": 0.3, "rows": 5.0}}}
    >>> gate.judge(Scores({"roc_auc": 0.75}, slices=slices)).reason
    "roc_auc 0.58 of origin 'JFK' (900 rows) is worse than 0.75 overall by 0.17, more than 0.15; 1 slice of fewer than \
500 rows left out"
    """

    metric: str
    by: str
    at_most: float
    min_rows: int = 100

    def __post_init__(self) -> None:
        metric_named(self.metric)
        what = f"SliceGap({self.metric!r}, by={self.by!r})"
        if not (math.isfinite(self.at_most) and self.at_most >= 0):
            raise DeclarationError(f"{what} has at_most={self.at_most!r}: give a finite number, 0 or more")
        if not isinstance(self.min_rows, int) or isinstance(self.min_rows, bool) or not 1 <= self.min_rows < 2**63:
            raise DeclarationError(f"{what} has min_rows={excerpt(self.min_rows)}: give a whole number, 1 or more")

    @property
    def name(self) -> str:
        """``slice_gap_<metric>_by_<column>``."""
        return f"slice_gap_{self.metric}_by_{self.by}"

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger's slices; an undefined overall metric does not pass.

        Raises:
            ModelError: the evaluation was not sliced by the column.
        """
        overall = _defined_value(scores.metrics, self.metric)
        if overall is None:
            return GateVerdict(self.name, False, _undefined_text(self.metric, "the model"))
        if self.by not in scores.slices:
            raise ModelError(f"the gate {self.name} needs the slices of {self.by!r}: there is {one_of(scores.slices)}")
        slices = scores.slices[self.by]
        large = {value: match for value, match in slices.items() if match["rows"] >= self.min_rows}
        left_out = _left_out(len(slices) - len(large), f"of fewer than {self.min_rows} rows")
        candidates = {
            value: score for value, match in large.items() if (score := _defined_value(match, self.metric)) is not None
        }
        left_out += _left_out(len(large) - len(candidates), f"without a defined {self.metric}")
        if not candidates:
            return GateVerdict(self.name, True, f"no slice of {self.by} can be judged{left_out}")
        worst = min(candidates, key=lambda value: (_lead(self.metric, candidates[value], overall), value))
        gap = -_lead(self.metric, candidates[worst], overall)
        which = f"{self.metric} {candidates[worst]:.6g} of {self.by} {worst!r} ({large[worst]['rows']:.0f} rows)"
        passes = gap <= self.at_most + _SLACK
        more = f"{'at most' if passes else 'more than'} {self.at_most:.6g}"
        reason = f"{which} is worse than {overall:.6g} overall by {gap:.6g}, {more}"
        if gap <= 0:
            reason = f"{which}, the worst slice, is not worse than {overall:.6g} overall"
        return GateVerdict(self.name, passes, f"{reason}{left_out}")


def _left_out(number: int, why: str) -> str:
    return f"; {number} slice{'s' if number > 1 else ''} {why} left out" if number else ""


def _defined_value(metrics: Mapping[str, float], metric: str) -> float | None:
    score = metrics.get(metric)
    return score if score is not None and math.isfinite(score) else None


def _lead(metric: str, score: float, other: float) -> float:
    return score - other if metric_named(metric).higher_is_better else other - score


def _undefined_text(metric: str, whose: str) -> str:
    return f"{metric} of {whose} is undefined on these test rows, or was not evaluated: nothing to judge by"
