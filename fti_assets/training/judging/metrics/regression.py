"""Metrics of regressions. Source: scikit-learn's definitions, with which the tests compare them."""

import numpy as np

from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.metric import mean_of, ratio, undefined
from fti_assets.training.judging.resampling.bootstrap import Statistic


def rmse(answers: Answers) -> Statistic:
    """The root of the mean squared error."""
    squared = mean_of(_error(answers) ** 2)
    return lambda weights: np.sqrt(squared(weights))


def mae(answers: Answers) -> Statistic:
    """The mean absolute error."""
    return mean_of(np.abs(_error(answers)))


def mape(answers: Answers) -> Statistic:
    """The mean of the absolute error relative to the label, 0.1 for a tenth; undefined where a label is 0."""
    labels = np.abs(np.asarray(answers.y, dtype=np.float64))
    return mean_of(np.abs(_error(answers)) / labels) if labels.all() else undefined


def r2(answers: Answers) -> Statistic:
    """The share of the labels' variance that is predicted; undefined where all labels are equal."""
    y = np.asarray(answers.y, dtype=np.float64)
    centered, squared = y - y.mean(), _error(answers) ** 2
    _, positions = np.unique(y, return_inverse=True)
    terms = np.stack([centered, centered**2, squared], axis=1)

    def statistic(weights: np.ndarray) -> np.ndarray:
        first, second, error = (weights @ terms).T
        drawn = weights > 0
        # Of equal labels rounding leaves a variance that is not 0.
        differ = np.where(drawn, positions, -1).max(axis=1) > np.where(drawn, positions, len(y)).min(axis=1)
        variance = np.where(differ, second - ratio(first**2, weights.sum(axis=1)), 0.0)
        return 1 - ratio(error, variance)

    return statistic


def _error(answers: Answers) -> np.ndarray:
    return np.asarray(answers.predictions - answers.y.astype(np.float64))
