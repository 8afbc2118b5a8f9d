"""Metrics of quantiles. Source: Koenker and Bassett, "Regression Quantiles" (1978), for the pinball loss."""

import numpy as np

from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.metric import mean_of, ratio
from fti_assets.training.judging.resampling.bootstrap import Statistic


def pinball(answers: Answers) -> Statistic:
    """The mean pinball loss over rows and levels: what lies above a quantile costs its level, what lies below the rest to 1."""
    above = np.asarray(answers.y, dtype=np.float64)[:, None] - answers.predictions
    levels = np.array(answers.levels)
    return mean_of(np.maximum(levels * above, (levels - 1) * above).mean(axis=1))


def coverage_error(answers: Answers) -> Statistic:
    """How far the share of labels at or below each quantile is from its level, the mean over levels."""
    gaps = _gaps(answers)
    return lambda weights: np.abs(gaps(weights)).mean(axis=1)


def coverage_parts(answers: Answers) -> Statistic:
    """By how much the share of labels at or below each quantile is too high, as a part of the mean: ``[draws, levels]``."""
    gaps = _gaps(answers)
    return lambda weights: gaps(weights) / len(answers.levels)


def _gaps(answers: Answers) -> Statistic:
    below = (np.asarray(answers.y, dtype=np.float64)[:, None] <= answers.predictions).astype(np.float64)
    levels = np.array(answers.levels)
    return lambda weights: ratio(weights @ below, weights.sum(axis=1)[:, None]) - levels
