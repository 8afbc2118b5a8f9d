"""Metrics of binary and multiclass models. Source: scikit-learn's definitions, with which the tests compare them.

Multiclass: the areas, precision, recall and F1 are those of each class against the rest, averaged over classes without weights. Of the last
three, a class that no row has and none is predicted to have does not count, and one whose ratio is undefined counts 0.
"""

from collections.abc import Callable

import numpy as np

from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.metric import mean_of, ratio
from fti_assets.training.judging.resampling.bootstrap import Statistic

ECE_BINS = 15
"""Bins of equal width from 0 to 1, each with its lower end."""

_EPSILON = float(np.finfo(np.float32).eps)


def roc_auc(answers: Answers) -> Statistic:
    """The area under the ROC curve: how often a yes has a higher probability than a no, ties by half."""
    return _one_against_rest(answers, _roc_area)


def pr_auc(answers: Answers) -> Statistic:
    """Average precision: the precision at each threshold, weighted by the recall that it adds, without interpolation."""
    return _one_against_rest(answers, _average_precision)


def log_loss(answers: Answers) -> Statistic:
    """The mean of -log of the probability that the right class had, kept a float32 epsilon away from 0 and 1."""
    clipped = np.clip(answers.predictions, _EPSILON, 1 - _EPSILON)
    if answers.classes:
        clipped = clipped / clipped.sum(axis=1, keepdims=True)
        return mean_of(-np.log(clipped[np.arange(len(clipped)), answers.y.astype(np.int64)]))
    return mean_of(-np.log(np.where(answers.y == 1, clipped, 1 - clipped)))


def brier(answers: Answers) -> Statistic:
    """The mean squared distance of the probabilities from 0 and 1."""
    if answers.classes:
        return mean_of(((answers.predictions - np.eye(answers.classes)[answers.y.astype(np.int64)]) ** 2).sum(axis=1))
    return mean_of((answers.predictions - answers.y) ** 2)


def ece(answers: Answers) -> Statistic:
    """Expected calibration error: how far probabilities are from the shares that came true, over ``ECE_BINS`` bins.

    Of a multiclass model it is the probability of the likeliest class. Source: Guo et al., "On Calibration of Modern Neural Networks"
    (2017).
    """
    gaps = _gaps(answers)
    return lambda weights: ratio(np.abs(weights @ gaps).sum(axis=1), weights.sum(axis=1))


def ece_parts(answers: Answers) -> Statistic:
    """By how much the probabilities of each bin are too high, as a share of all rows: ``[draws, ECE_BINS]``."""
    gaps = _gaps(answers)
    return lambda weights: ratio(weights @ gaps, weights.sum(axis=1, keepdims=True))


def _gaps(answers: Answers) -> np.ndarray:
    """By how much the probability of each row is too high, in the column of its bin."""
    confidence = answers.predictions.max(axis=1) if answers.classes else answers.predictions
    truth = answers.decided == answers.y if answers.classes else answers.y
    bins = np.clip((confidence * ECE_BINS).astype(np.int64), 0, ECE_BINS - 1)
    gaps = np.zeros((len(bins), ECE_BINS))
    gaps[np.arange(len(bins)), bins] = confidence - truth
    return gaps


def accuracy(answers: Answers) -> Statistic:
    """The share of rows whose class is the predicted one."""
    return mean_of((answers.decided == answers.y).astype(np.float64))


def exact_match(answers: Answers) -> Statistic:
    """The share of rows of which every label is decided rightly, by its threshold."""
    return mean_of((answers.decided == answers.y).all(axis=1).astype(np.float64))


def precision(answers: Answers) -> Statistic:
    """The share of predicted yeses that are right; undefined where none is predicted, which counts 0 for one of several classes."""
    return _of_counts(answers, lambda hits, predicted, real: ratio(hits, predicted))


def recall(answers: Answers) -> Statistic:
    """The share of yeses that were predicted; undefined where there is none, which counts 0 for one of several classes."""
    return _of_counts(answers, lambda hits, predicted, real: ratio(hits, real))


def f1(answers: Answers) -> Statistic:
    """The harmonic mean of precision and recall; undefined where there is no yes, predicted or not."""
    return _of_counts(answers, lambda hits, predicted, real: ratio(2 * hits, predicted + real))


def _one_against_rest(answers: Answers, area: Callable[[np.ndarray, np.ndarray], Statistic]) -> Statistic:
    """The area of the binary answers, or the mean of those of each class; undefined if that of a class is."""
    if not answers.classes:
        return area(answers.y == 1, answers.predictions)
    areas = [area(answers.y == at, answers.ranking[:, at]) for at in range(answers.classes)]
    return lambda weights: np.mean([one(weights) for one in areas], axis=0)


def _roc_area(truth: np.ndarray, probability: np.ndarray) -> Statistic:
    """Of each yes the weight of the noes below it, and half of those beside it."""
    hits, misses = np.flatnonzero(truth), np.flatnonzero(~truth)
    misses = misses[np.argsort(probability[misses], kind="stable")]
    low, high = (np.searchsorted(probability[misses], probability[hits], side) for side in ("left", "right"))

    def statistic(weights: np.ndarray) -> np.ndarray:
        below, of_hits = _summed(weights[:, misses]), weights[:, hits]
        halves = below[:, low]
        halves += below[:, high]
        return ratio(np.einsum("dn,dn->d", of_hits, halves) / 2, of_hits.sum(axis=1) * below[:, -1])

    return statistic


def _average_precision(truth: np.ndarray, probability: np.ndarray) -> Statistic:
    """Of each yes the share of yeses among the rows with its probability and more."""
    hits, misses = (
        rows[np.argsort(-probability[rows], kind="stable")] for rows in map(np.flatnonzero, (truth, ~truth))
    )
    least = -probability[hits]
    own, others = (np.searchsorted(-probability[rows], least, "right") for rows in (hits, misses))

    def statistic(weights: np.ndarray) -> np.ndarray:
        of_hits = weights[:, hits]
        right = _summed(of_hits)[:, own]
        rows = _summed(weights[:, misses])[:, others]
        rows += right
        # Where no row with so much was drawn there is no precision, and no yes that it would count for.
        precisions = np.divide(right, rows, out=right, where=rows > 0)
        return ratio(np.einsum("dn,dn->d", of_hits, precisions), of_hits.sum(axis=1))

    return statistic


def _summed(weights: np.ndarray) -> np.ndarray:
    """The sums of the first so many, from none to all: ``[draws, n + 1]``."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _of_counts(answers: Answers, of: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Statistic:
    """A ratio of hits, predicted and real yeses; of a multiclass model its mean over the classes that are predicted or real."""
    classes = np.arange(answers.classes) if answers.classes else np.array([1])
    predicted = (answers.decided[:, None] == classes).astype(np.float64)
    real = (np.asarray(answers.y)[:, None] == classes).astype(np.float64)
    columns = np.hstack([predicted * real, predicted, real])

    def statistic(weights: np.ndarray) -> np.ndarray:
        counts = np.split(weights @ columns, 3, axis=1)
        values = of(*counts)
        if not answers.classes:
            return values[:, 0]
        return ratio(np.nan_to_num(values).sum(axis=1), (counts[1] + counts[2] > 0).sum(axis=1))

    return statistic
