"""What counts as a tie: answers and figures that differ by what float32 loses do not differ.

A graph answers in float32. So its answers are known to the last digits of float32, and its figures to some six digits: of a constant answer
rounding alone makes a figure that is a little better or worse than that of the same constant in float64.
"""

from __future__ import annotations

import numpy as np

from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.metric import OF

_DIGITS = 1e-6
"""What two figures that agree to six digits differ by at most, relative to the greater."""

_STEPS = 4
"""By so many steps of float32 answers may differ that are the same: a sigmoid, a softmax and their division lose some."""

_OF_ONE = frozenset({"r2", "ece", "coverage_error"})
"""Figures that are differences of numbers of about 1, so that they are known as these are, however small they are themselves."""

_OF_DECISIONS = frozenset({"accuracy", "precision", "recall", "f1", "exact_match"})


def resolution(metric: str, *figures: float) -> float:
    """What some figures of a metric differ by at most if they are as good as each other.

    >>> resolution("log_loss", 0.5, 0.25), resolution("r2", 1e-9, 0.0)
    (5e-07, 1e-06)
    """
    return _DIGITS * max([*map(abs, figures), 1.0 if metric.partition(OF)[0] in _OF_ONE else 0.0])


def same_answers(metric: str, one: Answers, other: Answers) -> bool:
    """Whether two models' answers to the same rows are the same, but for the last digits of float32.

    A metric of decisions compares what is decided, too: each model decides by its own threshold. That of one of several labels compares
    the answers for this label.

    >>> y, tenth = np.array([1.0, 0.0]), np.full(2, 0.1)
    >>> same_answers("log_loss", Answers(y, tenth.astype(np.float32).astype(np.float64)), Answers(y, tenth))
    True
    >>> same_answers("f1", Answers(y, tenth, threshold=0.05), Answers(y, tenth, threshold=0.2))
    False
    """
    base, _, label = metric.partition(OF)
    if label:
        one, other = one.of_label(label), other.of_label(label)
    if base in _OF_DECISIONS and not np.array_equal(one.decided, other.decided):
        return False
    first, second = one.predictions, other.predictions
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 does not hold has no steps, and is not the same
        step = np.spacing(np.maximum(np.abs(first), np.abs(second)).astype(np.float32)).astype(np.float64)
    return bool((np.abs(first - second) <= _STEPS * step).all())
