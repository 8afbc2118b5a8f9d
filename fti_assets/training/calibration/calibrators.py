"""What makes probabilities of a model's probabilities, fitted on rows that it has not trained on; scikit-learn's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from fti_assets.core.extras import require

Method = Literal["platt", "isotonic"]

EPSILON = float(np.finfo(np.float32).eps)
"""Probabilities are kept so far away from 0 and 1, of which there are no log odds."""

_ROUNDS = 1_000
_PRECISION = 1e-10


class Calibrator(Protocol):
    """A map of probabilities ``[n]``, float64."""

    def __call__(self, probabilities: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Platt:
    """A logistic regression on the log odds of the probabilities: ``sigmoid(slope * log_odds + intercept)``.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines" (1999), with its targets, which are short of 0 and 1.
    """

    slope: float
    intercept: float

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """As ``Calibrator`` has it."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.slope * log_odds(probabilities) + self.intercept, -700, 700))))


@dataclass(frozen=True)
class Isotonic:
    """A line that never falls: straight between its points, level beyond them.

    Source: Zadrozny and Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates" (2002).

    Args:
        points: probabilities in ascending order.
        values: what each becomes.
    """

    points: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """As ``Calibrator`` has it."""
        return np.interp(np.asarray(probabilities, dtype=np.float64), self.points, self.values)


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """``log(p / (1 - p))``, float64."""
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), EPSILON, 1 - EPSILON)
    return np.asarray(np.log(clipped) - np.log(1 - clipped))


def fit_calibrator(
    method: Method, probabilities: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None
) -> Platt | Isotonic:
    """A calibrator of rows that the model has not trained on.

    Args:
        method: which one.
        probabilities: ``[n]``.
        truth: ``[n]``, whether it came true; both occur.
        weight: ``[n]``, what each row counts: a row that counts three is three rows. Weights below 1 on average are brought to 1, since
            Platt's targets would have less than the rows that there are. All count 1 by default.

    >>> fit_calibrator("isotonic", np.array([0.25, 0.375, 0.5, 0.75]), np.array([False, True, False, True])).values
    (0.0, 0.5, 0.5, 1.0)
    """
    probabilities = np.asarray(probabilities, dtype=np.float32).astype(np.float64)  # as a graph answers
    if method == "isotonic":
        regression = require("sklearn.isotonic").IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        regression.fit(probabilities, truth.astype(np.float64), weight)
        return Isotonic(tuple(regression.X_thresholds_.tolist()), tuple(regression.y_thresholds_.tolist()))
    odds = log_odds(probabilities)[:, None]
    own = np.ones(len(truth)) if weight is None else weight
    share = own / own.mean()
    rows = own if own.mean() >= 1 else share
    yes, no = float(rows[truth].sum()), float(rows[~truth].sum())
    target = np.where(truth, (yes + 1) / (yes + 2), 1 / (no + 2))
    # A soft target is a row of each class with its share as the weight.
    model = require("sklearn.linear_model").LogisticRegression(C=np.inf, tol=_PRECISION, max_iter=_ROUNDS)
    model.fit(
        np.concatenate([odds, odds]),
        np.repeat([1, 0], len(odds)),
        sample_weight=np.concatenate([share * target, share * (1 - target)]),
    )
    return Platt(float(model.coef_[0, 0]), float(model.intercept_[0]))


def calibrated_answers(
    calibrators: list[Platt] | list[Isotonic] | list[Platt | Isotonic], answers: np.ndarray
) -> np.ndarray:
    """What probabilities ``[n]`` or ``[n, k]`` become, those of several classes each by its own calibrator and made to sum to one.

    A row of which no class has a probability left is as likely each.
    """
    if answers.ndim == 1:
        return np.asarray(calibrators[0](answers))
    each = calibrated_labels(calibrators, answers)
    total = each.sum(axis=1, keepdims=True)
    return np.where(total > 0, each / np.where(total > 0, total, 1), 1 / len(calibrators))


def calibrated_labels(calibrators: Sequence[Calibrator], answers: np.ndarray) -> np.ndarray:
    """What probabilities ``[n, k]`` of several labels become, each by its own calibrator."""
    return np.stack([one(answers[:, at]) for at, one in enumerate(calibrators)], axis=1)
