"""Metrics of weighted rows, of many weightings at once, as a bootstrap asks for them.

With weights of 1 each is the metric itself; with counts it is that of the rows repeated so many times.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fti_assets.core.extras import require
from fti_assets.training.judging.bootstrap import Statistic
from fti_assets.training.judging.evaluation import metric_named

_EPSILON = float(np.finfo(np.float32).eps)
_EQUAL = 1e-12  # of squares beside each other: what is left of equal labels


def statistic_of(metric: str, y: np.ndarray, outputs: np.ndarray) -> Statistic:
    """A metric of a model's answers, as a function of the weights of their rows.

    A metric without a weighted form of its own is computed draw by draw from repeated rows, whose weights are whole numbers.

    Args:
        metric: a metric's name.
        y: ``[n]``: 0 or 1, the class's position, or the value.
        outputs: ``[n]``, or ``[n, k]`` for a multiclass model, rows that sum to one.

    Raises:
        DeclarationError: there is no such metric.

    >>> accuracy = statistic_of("accuracy", np.array([1, 0]), np.array([0.9, 0.8]))
    >>> accuracy(np.array([[1.0, 1.0], [2.0, 0.0]]))
    array([0.5, 1. ])
    """
    y, outputs = np.asarray(y), np.asarray(outputs, dtype=np.float64)
    make = _WEIGHTED.get(metric)
    return _repeated(metric, y, outputs) if make is None else make(y, outputs)


def _mean_of(losses: np.ndarray) -> Statistic:
    return lambda weights: weights @ losses / weights.sum(axis=1)


def _roc_auc(y: np.ndarray, outputs: np.ndarray) -> Statistic:
    if outputs.ndim == 1:
        return _area(np.asarray(y) == 1, outputs)
    areas = [_area(y == position, outputs[:, position]) for position in range(outputs.shape[1])]
    return lambda weights: np.mean([area(weights) for area in areas], axis=0)


def _area(positive: np.ndarray, scores: np.ndarray) -> Statistic:
    """Of each positive row, the weight of the negatives below it, and half of those beside it."""
    hits, misses = np.flatnonzero(positive), np.flatnonzero(~positive)
    misses = misses[np.argsort(scores[misses], kind="stable")]
    low, high = (np.searchsorted(scores[misses], scores[hits], side) for side in ("left", "right"))

    def area(weights: np.ndarray) -> np.ndarray:
        below = np.zeros((len(weights), len(misses) + 1))
        np.cumsum(weights[:, misses], axis=1, out=below[:, 1:])
        of_hits = weights[:, hits]
        pairs = of_hits.sum(axis=1) * below[:, -1]
        halves = below[:, low]
        halves += below[:, high]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, np.einsum("dn,dn->d", of_hits, halves) / 2 / pairs, np.nan)

    return area


def _log_loss(y: np.ndarray, outputs: np.ndarray) -> Statistic:
    outputs = np.clip(outputs, _EPSILON, 1 - _EPSILON)
    if outputs.ndim == 1:
        return _mean_of(-np.log(np.where(y == 1, outputs, 1 - outputs)))
    outputs = outputs / outputs.sum(axis=1, keepdims=True)
    return _mean_of(-np.log(outputs[np.arange(len(y)), y.astype(np.int64)]))


def _brier(y: np.ndarray, outputs: np.ndarray) -> Statistic:
    if outputs.ndim == 1:
        return _mean_of((outputs - y) ** 2)
    truth = np.eye(outputs.shape[1])[y.astype(np.int64)]
    return _mean_of(((outputs - truth) ** 2).sum(axis=1))


def _accuracy(y: np.ndarray, outputs: np.ndarray) -> Statistic:
    answers = outputs >= 0.5 if outputs.ndim == 1 else outputs.argmax(axis=1)
    return _mean_of((answers == y).astype(np.float64))


def _rmse(y: np.ndarray, outputs: np.ndarray) -> Statistic:
    mean = _mean_of((outputs - y) ** 2)
    return lambda weights: np.sqrt(mean(weights))


def _r2(y: np.ndarray, outputs: np.ndarray) -> Statistic:
    centred = y - y.mean(dtype=np.float64)
    errors, squares = (outputs - y) ** 2, centred**2

    def r2(weights: np.ndarray) -> np.ndarray:
        of_mean = (weights @ centred) ** 2 / weights.sum(axis=1)
        around_mean = weights @ squares
        spread = around_mean - of_mean
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(spread > _EQUAL * around_mean, 1 - weights @ errors / spread, np.nan)

    return r2


def _repeated(metric: str, y: np.ndarray, outputs: np.ndarray) -> Statistic:
    score, rows = metric_named(metric).score, np.arange(len(y))

    def repeated(weights: np.ndarray) -> np.ndarray:
        metrics, values = require("sklearn.metrics"), np.full(len(weights), np.nan)
        for draw, counts in enumerate(weights):
            chosen = np.repeat(rows, counts.astype(np.int64))
            if (value := score(metrics, y[chosen], outputs[chosen])) is not None:
                values[draw] = value
        return values

    return repeated


_WEIGHTED: dict[str, Callable[[np.ndarray, np.ndarray], Statistic]] = {
    "roc_auc": _roc_auc,
    "log_loss": _log_loss,
    "brier": _brier,
    "accuracy": _accuracy,
    "rmse": _rmse,
    "mae": lambda y, outputs: _mean_of(np.abs(outputs - y)),
    "r2": _r2,
}
