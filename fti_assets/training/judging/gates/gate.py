"""Gates: what a challenger must do on the test part before it may be the champion."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from fti_assets.core.manifest import GateVerdict, Task
from fti_assets.errors import ModelError, excerpt
from fti_assets.training.judging.baselines.baseline import Baseline
from fti_assets.training.judging.evaluation import Evaluation
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.scores import Scores


class Gate(Protocol):
    """What any gate can do: a class of your own with these two is one, a frozen dataclass for example, and so is a ``fti.gate`` function.

    One that looks at a metric has it as ``metric``, and one that looks at the slices of a column has that as ``by``: both must be
    evaluated, which is said when the code loads.
    """

    @property
    def name(self) -> str:
        """The gate's name in verdicts and checks."""

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger by its scores."""


@runtime_checkable
class MetricGate(Gate, Protocol):
    """A gate that looks at a metric, which the evaluation must have."""

    @property
    def metric(self) -> str:
        """The metric's name."""


@runtime_checkable
class SlicedGate(Gate, Protocol):
    """A gate that looks at slices, which the evaluation must have."""

    @property
    def by(self) -> str:
        """The slice column."""


@runtime_checkable
class BaselineGate(Gate, Protocol):
    """A gate that compares with a baseline, which is then trained and scored for it."""

    @property
    def rival(self) -> Baseline:
        """The baseline."""


@runtime_checkable
class CheckedGate(Gate, Protocol):
    """A gate that can say when the code loads that a model is none for it."""

    def check(self, task: Task, evaluation: Evaluation, *, what: str) -> None:
        """Raise a DeclarationError if so."""


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
    return replace(
        verdict,
        gate=str(verdict.gate),
        passed=bool(verdict.passed),
        reason=str(verdict.reason),
        value=_finite(verdict.value),
        bound=_finite(verdict.bound),
    )


def _finite(value: float | None) -> float | None:
    """A figure as a manifest holds it: JSON has no other numbers, and what is infinite stands in the reason."""
    return float(value) if value is not None and math.isfinite(value) else None


def defined_value(metrics: Mapping[str, float], metric: str) -> float | None:
    score = metrics.get(metric)
    return score if score is not None and math.isfinite(score) else None


def lead(metric: str, score: float, other: float) -> float:
    return score - other if metric_named(metric).higher_is_better else other - score


def undefined_text(metric: str, whose: str) -> str:
    return f"{metric} of {whose} is undefined on these test rows, or was not evaluated: nothing to judge by"
