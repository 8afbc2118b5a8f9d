"""Metrics of rankings beside scikit-learn's, and beside the mean over every order of tied rows."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

import fti_assets as fti
from fti_assets.errors import DeclarationError, ModelError
from fti_assets.training.freshness.curves import intervals_of
from fti_assets.training.judging.evaluation import Evaluation, evaluate
from fti_assets.training.judging.measurement import measure
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.registry import check_metrics, metric_named
from fti_assets.training.judging.resampling.bootstrap import resample_counts
from fti_assets.training.judging.resampling.paired import PairedAnswers
from tests.support.examples import SOAK, examples

METRICS = ["ndcg", "ndcg_at_2", "map", "mrr"]

a_row = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2))
"""A query, a label and a score; few of each, so that there are ties, lists of one row, and lists without relevance."""


def orders(scores):
    """Every order of the rows that puts none before one of a higher score."""
    ties = [np.flatnonzero(scores == score) for score in sorted(set(scores), reverse=True)]
    for order in product(*(permutations(rows) for rows in ties)):
        yield np.array([row for rows in order for row in rows])


def of_order(labels):
    """The metrics of labels in the order of their places, from their definitions."""
    best = sorted(labels, reverse=True)

    def gain(values, k):
        return sum(value / np.log2(place + 2) for place, value in enumerate(values[:k]))

    hits = [place for place, label in enumerate(labels, 1) if label > 0]
    return {
        "ndcg": gain(labels, None) / gain(best, None),
        "ndcg_at_2": gain(labels, 2) / gain(best, 2),
        "map": np.mean([number / place for number, place in enumerate(hits, 1)]),
        "mrr": 1 / hits[0],
    }


def brute_force(y, scores, queries):
    lists = [(y[queries == one], scores[queries == one]) for one in np.unique(queries)]
    of_lists = []
    for labels, own in lists:
        if len(labels) > 1 and labels.max() > 0:
            of_orders = [of_order(labels[order]) for order in orders(own)]
            of_lists.append({name: np.mean([one[name] for one in of_orders]) for name in METRICS})
    return {name: np.mean([one[name] for one in of_lists]) for name in METRICS if of_lists}


def scores_of(y, scores, queries, metrics=METRICS):
    return evaluate("ranking", metrics, {"score": scores}, y, queries=queries)


@settings(max_examples=examples(240), deadline=None)
@given(st.lists(a_row, min_size=1, max_size=9 if SOAK else 7))  # nine rows of one score have 362,880 orders
def test_ties_count_as_the_mean_over_their_orders(rows):
    queries, y, scores = (np.array(values, dtype=np.float64) for values in zip(*rows, strict=True))
    assert scores_of(y, scores, queries) == pytest.approx(brute_force(y, scores, queries))


@settings(max_examples=examples(240), deadline=None)
@given(st.lists(st.tuples(st.floats(0, 9), st.integers(-3, 3)), min_size=2, max_size=30), st.integers(1, 12))
def test_ndcg_is_that_of_scikit_learn(rows, k):
    y, scores = (np.array(values, dtype=np.float64) for values in zip(*rows, strict=True))
    name = f"ndcg_at_{k}"
    ours = scores_of(y, scores, np.zeros(len(y)), ["ndcg", name])
    if y.max() == 0:  # of which scikit-learn says 0, as it does of the worst order of others
        assert ours == {}
    elif y.max() > 1e-300:
        assert ours["ndcg"] == pytest.approx(ndcg_score([y], [scores]))
        assert ours[name] == pytest.approx(ndcg_score([y], [scores], k=k))


def test_lists_without_a_better_order_are_left_out():
    y, scores = np.array([1.0, 0, 0, 0, 2, 1]), np.array([0.5, 1, 2, 3, 1, 2])
    queries = np.array([0, 1, 1, 1, 2, 2])  # of one row, of no relevance, and one that counts
    assert scores_of(y, scores, queries) == pytest.approx(brute_force(y[4:], scores[4:], queries[4:]))
    assert scores_of(y[:4], scores[:4], queries[:4]) == {}


def test_rows_of_a_query_need_not_stand_together():
    rng = np.random.default_rng(0)
    y, scores, queries = rng.integers(0, 3, 60), rng.normal(size=60), rng.integers(0, 9, 60)
    order = np.argsort(queries, kind="stable")
    assert scores_of(y, scores, queries) == scores_of(y[order], scores[order], queries[order])


@pytest.mark.parametrize("metric", METRICS)
def test_a_draw_weighs_each_query_as_often_as_it_is_drawn(metric):
    rng = np.random.default_rng(1)
    queries = np.sort(rng.integers(0, 12, 50))
    queries = np.unique(queries, return_inverse=True)[1]
    y, scores = rng.integers(0, 3, 50).astype(float), rng.integers(0, 5, 50).astype(float)
    statistic = metric_named(metric).statistic(Answers(y, scores, queries=queries))
    [counts] = resample_counts(50, number=4, clusters=queries)
    for count, value in zip(counts, statistic(counts), strict=True):
        rows, copies = [], []
        for query in np.unique(queries):
            own = np.flatnonzero(queries == query)
            for _ in range(int(count[own[0]])):  # a query that was drawn twice is two lists
                copies += [len(rows)] * len(own)
                rows += own.tolist()
        drawn = scores_of(y[rows], scores[rows], np.array(copies), [metric])
        assert value == pytest.approx(drawn[metric])


def test_intervals_and_differences_draw_whole_queries():
    rng = np.random.default_rng(2)
    queries = np.repeat(np.arange(40), 5)
    y = rng.integers(0, 2, 200).astype(float)
    answers = Answers(y, y + rng.normal(size=200), queries=queries)
    measurement = measure(Evaluation(metrics=["ndcg"]), answers, {}, queries)
    values = [
        scores_of(y[rows], answers.predictions[rows], queries[rows], ["ndcg"]).get("ndcg", np.nan)
        for rows in np.split(np.arange(200), 40)
    ]
    spread = np.nanstd(values) / np.sqrt(np.isfinite(values).sum())
    interval = measurement.intervals["ndcg"]
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * spread, rel=0.15)
    same = PairedAnswers(answers, answers, queries).difference("ndcg")
    assert (same.low, same.high) == (0, 0)
    of_curves, _ = intervals_of("ndcg", answers, {})
    assert of_curves == interval


def test_a_metric_of_ones_own_sees_one_query_at_a_time():
    observed = []

    def best_first(y, score):
        observed.append(len(y))
        return float(y[score.argmax()] == y.max()) if y.max() else None

    fti.Metric("best_first", best_first, higher_is_better=True, tasks=["ranking"])
    y, scores, queries = np.array([1.0, 0, 0, 1, 0, 0]), np.array([2.0, 1, 2, 1, 5, 4]), np.array([0, 0, 1, 1, 2, 2])
    assert scores_of(y, scores, queries, ["best_first"]) == {"best_first": 0.5}
    assert observed == [2, 2, 2]


def test_only_metrics_of_rankings_judge_one():
    check_metrics("ranking", [*METRICS, "ndcg_at_100"])
    for name in ("ece", "rmse"):
        with pytest.raises(
            DeclarationError, match=f"'{name}' is not one for a ranking model: choose 'ndcg', 'map', 'mrr'"
        ):
            check_metrics("ranking", [name])
    with pytest.raises(DeclarationError, match="there is no metric 'ndcg_at_0'"):
        metric_named("ndcg_at_0")
    with pytest.raises(DeclarationError, match="there is a metric 'ndcg_at_7' already"):
        fti.Metric("ndcg_at_7", min, higher_is_better=True, tasks=["ranking"])
    with pytest.raises(ModelError, match="a ranking is measured by query"):
        evaluate("ranking", ["ndcg"], {"score": np.zeros(2)}, np.ones(2))
