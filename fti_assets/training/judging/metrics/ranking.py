"""Metrics of rankings: of each query on its own, then the mean over queries.

A query of one row, and one without a label above 0, have no order that is better than another: they are left out of the mean. Rows of one
score come in any order, and a metric is its mean over all these orders. Source: Jarvelin and Kekalainen, "Cumulated Gain-Based Evaluation
of IR Techniques" (2002); for ties McSherry and Najork, "Computing Information Retrieval Performance Measures Efficiently in the Presence of
Tied Scores" (2008), with which scikit-learn's ``ndcg_score`` agrees.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fti_assets.errors import ModelError
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.metric import ratio
from fti_assets.training.judging.resampling.bootstrap import Statistic


class _Lists:
    """Answers as lists, one a query, each the best score first.

    Attributes:
        query: ``[n]``, the position of the query of each row of the lists; ``place`` is the row's in its list, from 0 on.
        labels: ``[n]``.
        tie: ``[n]``, the position of the row's tie, the rows of its query with its score; ``size`` is how many those are, and ``within``
            the row's place among them.
        starts: ``[queries]``, where each list begins.
        first: ``[queries]``, a row of each query in the answers.
    """

    def __init__(self, answers: Answers) -> None:
        y, scores = np.asarray(answers.y, dtype=np.float64), answers.predictions
        _, self.first, queries = np.unique(_numbers(answers), return_index=True, return_inverse=True)
        order = np.lexsort((-scores, queries))
        self.query, self.labels, ranked = queries[order], y[order], scores[order]
        rows = np.bincount(queries)
        self.starts = np.cumsum(rows) - rows
        self.place = np.arange(len(y)) - self.starts[self.query]
        is_new = (np.diff(self.query, prepend=-1) > 0) | (np.diff(ranked, prepend=np.nan) != 0)
        self.tie = np.cumsum(is_new) - 1
        self.size = np.bincount(self.tie)[self.tie]
        self.within = np.arange(len(y)) - np.flatnonzero(is_new)[self.tie]
        has_order = (rows > 1) & (self.of_queries(self.labels > 0) > 0)
        self._counts = np.flatnonzero(has_order)

    def of_queries(self, values: np.ndarray) -> np.ndarray:
        """The sum of a number of each row, by query."""
        return np.asarray(np.bincount(self.query, weights=values, minlength=len(self.first)))

    def of_ties(self, values: np.ndarray) -> np.ndarray:
        """The sum of a number of each row over its tie, for each row."""
        return np.asarray(np.bincount(self.tie, weights=values)[self.tie])

    def mean(self, above: np.ndarray, below: np.ndarray) -> Statistic:
        """The mean of quotients over the queries that have an order."""
        return mean_over_queries(self.first[self._counts], above[self._counts] / below[self._counts])


def mean_over_queries(rows: np.ndarray, values: np.ndarray) -> Statistic:
    """The weighted mean of a number of each query, whose weight is that of a row of it, as all of them are drawn together.

    Args:
        rows: ``[queries]``, a row of each.
        values: ``[queries]``.

    >>> mean_over_queries(np.array([0, 2]), np.array([0.5, 1.0]))(np.array([[3.0, 3.0, 1.0]])).tolist()
    [0.625]
    """

    def statistic(weights: np.ndarray) -> np.ndarray:
        of_queries = weights[:, rows]
        return ratio(of_queries @ values, of_queries.sum(axis=1))

    return statistic


def by_query(answers: Answers, of_query: Callable[[np.ndarray, np.ndarray], float]) -> Statistic:
    """The mean over queries of a function of the labels and scores of one; a query is left out for which it gives NaN.

    Raises:
        ModelError: the rows have no queries.
    """
    numbers = _numbers(answers)
    order = np.argsort(numbers, kind="stable")
    lists = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    values = np.array([of_query(answers.y[rows], answers.predictions[rows]) for rows in lists], dtype=np.float64)
    is_defined = np.isfinite(values)
    first = np.array([rows[0] for rows in lists], dtype=np.int64)
    return mean_over_queries(first[is_defined], values[is_defined])


def ndcg(answers: Answers, k: int | None = None) -> Statistic:
    """The normalized discounted cumulative gain: a row at place ``i`` of its list gains its label over ``log2(i + 1)``, and the sum is
    divided by that of the best order; of the first ``k`` places, or of all."""
    lists = _Lists(answers)
    discounts = 1 / np.log2(lists.place + 2)
    if k is not None:
        discounts[lists.place >= k] = 0
    best = lists.labels[np.lexsort((-lists.labels, lists.query))]
    gains = lists.labels * lists.of_ties(discounts) / lists.size  # a row of a tie is as likely in each of its places
    return lists.mean(lists.of_queries(gains), lists.of_queries(best * discounts))


def mean_average_precision(answers: Answers) -> Statistic:
    """The mean over relevant rows, those with a label above 0, of the share of relevant rows down to their place."""
    lists = _Lists(answers)
    relevant = (lists.labels > 0).astype(np.float64)
    in_tie = lists.of_ties(relevant)
    total = np.cumsum(relevant) - relevant
    before = total - total[lists.starts][lists.query]  # in the list, above the row
    of_tie = before[np.arange(len(relevant)) - lists.within]  # above its tie
    # If a place of a tie has a relevant row, each of those above it in the tie has one of the others.
    others = lists.within * np.divide(in_tie - 1, lists.size - 1, out=np.zeros(len(relevant)), where=lists.size > 1)
    precisions = in_tie / lists.size * (of_tie + others + 1) / (lists.place + 1)
    return lists.mean(lists.of_queries(precisions), lists.of_queries(relevant))


def mean_reciprocal_rank(answers: Answers) -> Statistic:
    """One over the place of the first relevant row, one with a label above 0."""
    lists = _Lists(answers)
    relevant = lists.labels > 0
    hits = lists.of_ties(relevant).astype(np.int64)
    total: np.ndarray = np.cumsum(relevant) - relevant
    above = (total - total[lists.starts][lists.query])[np.arange(len(relevant)) - lists.within]
    misses = lists.size - hits
    rows = np.flatnonzero((hits > 0) & (above == 0) & (lists.within <= misses))  # places that may have the first
    logarithms = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(relevant) + 1)))])  # of factorials
    size, missed, within = lists.size[rows], misses[rows], lists.within[rows]
    none_yet = np.exp(
        logarithms[missed] - logarithms[missed - within] - logarithms[size] + logarithms[size - within]
    )  # how likely no row of the tie above the place is relevant
    values = np.zeros(len(relevant))
    values[rows] = none_yet * hits[rows] / (size - within) / (lists.place[rows] + 1)
    return lists.mean(lists.of_queries(values), np.ones(len(lists.first)))


def _numbers(answers: Answers) -> np.ndarray:
    if answers.queries is None:
        raise ModelError("a ranking is measured by query, and the rows have none: give the number of each row's query")
    return np.asarray(answers.queries)
