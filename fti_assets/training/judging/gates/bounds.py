"""Gates that hold one figure of a challenger within bounds: a metric, its calibration, its fairness."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.concise import Concise
from fti_assets.core.manifest import CLASSIFIES, FairnessRecord, GateVerdict, Task, model_of
from fti_assets.errors import DeclarationError, ModelError, excerpt, one_of
from fti_assets.training.judging.evaluation import Evaluation
from fti_assets.training.judging.fairness import FIGURES, lacking
from fti_assets.training.judging.gates.gate import defined_value, undefined_text
from fti_assets.training.judging.metrics.calibration_slope import calibration_slope
from fti_assets.training.judging.metrics.metric import plain_name
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.scores import Scores
from fti_assets.training.judging.slices import slices_key
from fti_assets.training.judging.ties import resolution


@checked_arguments()
@dataclass(frozen=True, repr=False)
class MetricBounds(Concise):
    """Pass a challenger whose metric lies within bounds, both included.

    Args:
        metric: a metric's name, such as ``ece``, the expected calibration error.
        at_least: the lower bound.
        at_most: the upper bound.

    Raises:
        DeclarationError: there is no such metric or no bound, or no number can satisfy the bounds.

    >>> MetricBounds("ece", at_most=0.03).judge(Scores({"ece": 0.041})).reason
    'ece 0.041 is not at most 0.03'
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        metric_named(self.metric)
        check_bounds(f"MetricBounds({self.metric!r})", self.at_least, self.at_most)

    @property
    def name(self) -> str:
        """``bounds_of_<metric>``."""
        return f"bounds_of_{plain_name(self.metric)}"

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger's test metric; an undefined one does not pass."""
        value = defined_value(scores.metrics, self.metric)
        if value is None:
            return GateVerdict(self.name, False, undefined_text(self.metric, "the model"))
        verdict = within(self.name, self.metric, value, self.at_least, self.at_most)
        return replace(verdict, interval=scores.intervals.get(self.metric))


@checked_arguments()
@dataclass(frozen=True, repr=False)
class CalibrationSlope(Concise):
    """Pass a binary challenger whose probabilities are neither too extreme nor too timid.

    The slope is that of a logistic regression of the labels on the log odds of the probabilities. 1 is right; below 1 the probabilities
    are too extreme, as in an overfitted model, and above 1 they are too timid. Source: Cox, "Two further applications of a model for
    binary regression"
    (1958); Van Calster et al., "Calibration: the Achilles heel of predictive analytics" (2019).

    Args:
        at_least: the lower bound.
        at_most: the upper bound.

    Raises:
        DeclarationError: there is no bound, or no number can satisfy the bounds.

    >>> CalibrationSlope().name
    'calibration_slope'
    """

    at_least: float | None = 0.8
    at_most: float | None = 1.25

    def __post_init__(self) -> None:
        check_bounds("CalibrationSlope", self.at_least, self.at_most)

    @property
    def name(self) -> str:
        """``calibration_slope``."""
        return "calibration_slope"

    def check(self, task: Task, evaluation: Evaluation, *, what: str) -> None:
        """Raise a DeclarationError if the model is not a binary one."""
        if task != "binary":
            other = "; MetricBounds('ece', at_most=) judges its calibration" if task in CLASSIFIES else ": leave it out"
            raise DeclarationError(
                f"{what} has CalibrationSlope(), which judges binary models, and is {model_of(task)}{other}"
            )

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge the challenger's answers; an undefined slope does not pass.

        Raises:
            ModelError: there are no answers to judge.
        """
        if scores.answers is None:
            raise ModelError(f"the gate {self.name} needs the answers of the test rows, Scores(answers=...)")
        slope = calibration_slope(scores.answers)
        if slope is None:
            return GateVerdict(
                self.name,
                False,
                "the calibration slope is undefined: one class alone, equal answers, or answers that separate the classes",
            )
        return within(self.name, "the calibration slope", slope, self.at_least, self.at_most)


@checked_arguments(itself=["column"])
@dataclass(frozen=True, repr=False)
class FairnessBounds(Concise):
    """Pass a binary challenger whose decisions are about equally frequent, or equally good, in all slices of a column.

    A slice with fewer rows than the evaluation's ``min_rows``, or without the rows that the figure's rate needs, does not count,
    and the verdict names it. At least two slices must count.

    Args:
        figure: such as ``demographic_parity_difference`` or ``equalized_odds_ratio``: differences are best at 0, ratios at 1.
        column: a column of the evaluation's ``fairness``, or several crossed columns.
        at_least: the lower bound, for ratios.
        at_most: the upper bound, for differences.

    Raises:
        DeclarationError: there is no such figure or no bound, or no number can satisfy the bounds.

    >>> FairnessBounds("demographic_parity_difference", "origin", at_most=0.1).name
    'demographic_parity_difference_by_origin'
    """

    figure: str
    column: str | tuple[str, ...]
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if self.figure not in FIGURES:
            raise DeclarationError(f"there is no figure of fairness {excerpt(self.figure)}: choose {one_of(FIGURES)}")
        if not isinstance(self.column, str):
            object.__setattr__(self, "column", tuple(self.column))
        check_bounds(f"FairnessBounds({self.figure!r})", self.at_least, self.at_most)

    @property
    def _key(self) -> str:
        return slices_key(self.column)

    @property
    def name(self) -> str:
        """``<figure>_by_<column>``."""
        columns = (self.column,) if isinstance(self.column, str) else self.column
        return f"{self.figure}_by_{'_and_'.join(columns)}"

    def check(self, task: Task, evaluation: Evaluation, *, what: str) -> None:
        """Raise a DeclarationError if the evaluation does not compare the column's slices."""
        compared = [slices_key(one) for one in evaluation.compared_by]
        if self._key not in compared:
            raise DeclarationError(
                f"{what} has a gate on the fairness by {self._key!r}, but compares {one_of(compared)}: add it to Evaluation(fairness=[...])"
            )

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a figure; one that is undefined, as with one slice alone, does not pass.

        Raises:
            ModelError: the evaluation did not compare the column's slices.
        """
        if self._key not in scores.fairness:
            raise ModelError(
                f"the gate {self.name} needs the fairness by {self._key!r}: there is {one_of(scores.fairness)}"
            )
        record = scores.fairness[self._key]
        value = defined_value(record.figures, self.figure)
        if value is None:
            reason = f"{self.figure} by {self._key} is undefined: {_why_undefined(record, self.figure)}"
            return GateVerdict(self.name, False, reason + lacking(record, self.figure))
        verdict = within(self.name, f"{self.figure} by {self._key}", value, self.at_least, self.at_most)
        return replace(verdict, reason=verdict.reason + lacking(record, self.figure))


def _why_undefined(record: FairnessRecord, figure: str) -> str:
    if figure.endswith("_ratio") and figure.replace("_ratio", "_difference") in record.figures:
        return "the rates of all slices are 0"
    return "it compares two slices at least"


def check_bounds(what: str, at_least: float | None, at_most: float | None) -> None:
    """Raise a DeclarationError if there is no bound, or no number between them."""
    if at_least is None and at_most is None:
        raise DeclarationError(f"{what} has no bound: give at_least=, at_most= or both")
    for name, bound in (("at_least", at_least), ("at_most", at_most)):
        if bound is not None and not math.isfinite(bound):
            raise DeclarationError(f"{what} has {name}={bound!r}: give a finite number")
    if at_least is not None and at_most is not None and at_least > at_most:
        raise DeclarationError(
            f"{what} has at_least={at_least!r} above at_most={at_most!r}: no number lies between them"
        )


def within(gate: str, figure: str, value: float, at_least: float | None, at_most: float | None) -> GateVerdict:
    """The verdict on a figure; its bound is the one that is not kept, else the nearer one."""
    bounds = {name: bound for name, bound in (("at least", at_least), ("at most", at_most)) if bound is not None}
    room = {name: value - bound if name == "at least" else bound - value for name, bound in bounds.items()}
    nearest = min(room, key=lambda name: room[name])
    passes = room[nearest] >= -resolution(figure, value, bounds[nearest])
    verdict = f" is {'' if passes else 'not '}"
    words = (
        " and ".join(f"{name} {bound:.6g}" for name, bound in bounds.items())
        if passes
        else f"{nearest} {bounds[nearest]:.6g}"
    )
    return GateVerdict(gate, passes, f"{figure} {value:.6g}{verdict}{words}", value=value, bound=bounds[nearest])
