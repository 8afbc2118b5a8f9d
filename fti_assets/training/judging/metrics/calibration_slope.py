"""The calibration slope of a binary model."""

from __future__ import annotations

import numpy as np

from fti_assets.training.judging.metrics.answers import Answers

_EPSILON = float(np.finfo(np.float32).eps)
_STEPS = 50
_CONVERGED = 1e-10
_STEEPEST = 1e3


def calibration_slope(answers: Answers) -> float | None:
    """The slope of a logistic regression of the labels on the log odds of the probabilities, by Newton's method.

    Probabilities are kept a float32 epsilon away from 0 and 1.

    Args:
        answers: those of a binary model.

    Returns:
        None if there is one class alone, if all answers are equal, or if the answers tell the classes apart, so that no slope is too steep.

    >>> calibration_slope(Answers(np.array([1, 0, 0, 1]), np.array([0.5, 0.5, 0.5, 0.5]))) is None
    True
    """
    y, clipped = np.asarray(answers.y, dtype=np.float64), np.clip(answers.predictions, _EPSILON, 1 - _EPSILON)
    odds = np.log(clipped) - np.log1p(-clipped)
    if len(y) == 0 or y.min() == y.max() or np.ptp(odds) < _CONVERGED:
        return None
    design = np.column_stack([np.ones(len(odds)), odds])
    own = np.ones(len(y)) if answers.weight is None else answers.weight / answers.weight.mean()
    weights = np.zeros(2)
    loss = _loss(design @ weights, y, own)
    for _ in range(_STEPS):
        estimates = 1 / (1 + np.exp(-np.clip(design @ weights, -500, 500)))
        gradient = design.T @ (own * (y - estimates))
        curvature = (design * (own * estimates * (1 - estimates))[:, None]).T @ design
        try:
            step = np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError:
            return None
        while (after := _loss(design @ (weights + step), y, own)) > loss + _CONVERGED and np.abs(
            step
        ).max() > _CONVERGED:
            step /= 2  # a whole step may lead away from far off
        weights, loss = weights + step, after
        if not np.isfinite(weights).all() or abs(weights[1]) > _STEEPEST:
            return None
        if np.abs(step).max() < _CONVERGED * max(1.0, float(np.abs(weights).max())):
            return float(weights[1])
    return None


def _loss(scores: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    return float(np.sum(weight * (np.logaddexp(0, scores) - y * scores)))
