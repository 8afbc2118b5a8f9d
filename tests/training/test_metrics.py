"""Every metric on weighted rows, as scikit-learn has it, or the formula written out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from fti_assets.errors import DeclarationError, ModelError
from fti_assets.training.judging.evaluation import Evaluation, evaluate
from fti_assets.training.judging.metrics.answers import Answers, answers_of
from fti_assets.training.judging.metrics.classification import ECE_BINS
from fti_assets.training.judging.metrics.own import Metric
from fti_assets.training.judging.metrics.registry import METRICS, metric_named
from tests.support.examples import examples

TIED = st.sampled_from([0.0, 0.1, 0.2, 0.4, 0.5, 0.75, 1.0])
WEIGHT = st.integers(0, 3)


def close(ours: float, theirs: float | None) -> bool:
    if theirs is None or math.isnan(theirs):
        return math.isnan(ours)
    return ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def weighted(name: str, answers: Answers, weights: np.ndarray) -> float:
    others = np.ones((1, len(weights)))  # beside it, as in a block of draws
    return float(METRICS[name].statistic(answers)(np.concatenate([others, weights[None, :]]))[1])


def brute_ece(truth: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> float:
    total = 0.0
    for low in range(ECE_BINS):
        inside = [
            at
            for at, one in enumerate(probability.tolist())
            if low / ECE_BINS <= one < (low + 1) / ECE_BINS or (one == 1 and low == ECE_BINS - 1)
        ]
        total += abs(sum(weights[at] * (probability[at] - truth[at]) for at in inside))
    return total / weights.sum()


@settings(max_examples=examples(180))
@given(
    st.lists(st.tuples(TIED, st.booleans(), WEIGHT), min_size=1, max_size=12).filter(
        lambda rows: any(row[2] for row in rows)
    ),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
def test_binary_metrics_are_scikit_learns_on_weighted_rows(rows, threshold):
    probability, y, weights = (np.array(values, dtype=np.float64) for values in zip(*rows, strict=True))
    answers = Answers(y, probability, threshold)
    drawn = {"sample_weight": weights, "zero_division": np.nan}
    both, result = len(np.unique(y[weights > 0])) == 2, probability >= threshold
    theirs = {
        "roc_auc": sklearn.roc_auc_score(y, probability, sample_weight=weights) if both else None,
        "pr_auc": sklearn.average_precision_score(y, probability, sample_weight=weights)
        if y[weights > 0].any()
        else None,
        "brier": np.average((probability - y) ** 2, weights=weights),
        "accuracy": sklearn.accuracy_score(y, result, sample_weight=weights),
        "precision": sklearn.precision_score(y, result, **drawn),
        "recall": sklearn.recall_score(y, result, **drawn),
        "f1": sklearn.f1_score(y, result, **drawn),
        "ece": brute_ece(y, probability, weights),
    }
    ours = {name: weighted(name, answers, weights) for name in theirs}
    assert all(close(ours[name], theirs[name]) for name in theirs), (ours, theirs)
    clipped = np.clip(probability, np.finfo(np.float32).eps, 1 - np.finfo(np.float32).eps)
    assert close(
        weighted("log_loss", answers, weights), sklearn.log_loss(y, clipped, labels=[0, 1], sample_weight=weights)
    )


@settings(max_examples=examples(120))
@given(st.lists(st.tuples(st.tuples(TIED, TIED, TIED), st.integers(0, 2), WEIGHT), min_size=1, max_size=10))
def test_multiclass_metrics_are_scikit_learns_on_weighted_rows(rows):
    raw, y, weights = (np.array(values, dtype=np.float64) for values in zip(*rows, strict=True))
    if not weights.any():
        weights[:] = 1
    answers = answers_of("multiclass", {"probabilities": raw + 0.01}, y.astype(np.int64), ["a", "b", "c"])
    likeliest = answers.predictions.argmax(axis=1)
    rows = weights > 0
    drawn = {"average": "macro", "sample_weight": weights[rows], "zero_division": 0}
    complete = len(np.unique(y[weights > 0])) == 3
    truth = np.eye(3)[y.astype(np.int64)]
    theirs = {
        "roc_auc": sklearn.roc_auc_score(truth, answers.predictions, average="macro", sample_weight=weights)
        if complete
        else None,
        "pr_auc": sklearn.average_precision_score(truth, answers.predictions, average="macro", sample_weight=weights)
        if complete
        else None,
        "log_loss": sklearn.log_loss(y, answers.predictions, labels=[0, 1, 2], sample_weight=weights),
        "brier": np.average(((answers.predictions - truth) ** 2).sum(axis=1), weights=weights),
        "accuracy": sklearn.accuracy_score(y, likeliest, sample_weight=weights),
        "precision": sklearn.precision_score(y[rows], likeliest[rows], **drawn),
        "recall": sklearn.recall_score(y[rows], likeliest[rows], **drawn),
        "f1": sklearn.f1_score(y[rows], likeliest[rows], **drawn),
        "ece": brute_ece((likeliest == y).astype(np.float64), answers.predictions.max(axis=1), weights),
    }
    ours = {name: weighted(name, answers, weights) for name in theirs}
    assert all(close(ours[name], theirs[name]) for name in theirs), (ours, theirs)


@settings(max_examples=examples(60))
@given(st.lists(st.sampled_from([(1, 8, 1), (1, 3, 6), (4, 5, 1), (3, 3, 4)]), min_size=3, max_size=12))
def test_multiclass_areas_keep_the_ties_of_a_graph(tenths):
    graph = (np.array(tenths) / 10).astype(np.float32)
    graph[:, 2] = 1 - graph[:, 0] - graph[:, 1]
    y = np.arange(len(graph)) % 3
    truth = np.eye(3)[y]
    ours = evaluate("multiclass", ["roc_auc", "pr_auc"], {"probabilities": graph}, y, ["a", "b", "c"])
    assert close(ours["roc_auc"], sklearn.roc_auc_score(truth, graph, average="macro"))
    assert close(ours["pr_auc"], sklearn.average_precision_score(truth, graph, average="macro"))


def test_a_part_of_the_answers_keeps_their_ties():
    graph = np.array([[0.1, 0.7, 0.2], [0.1, 0.3, 0.6], [0.4, 0.5, 0.1]], dtype=np.float32)
    answers = answers_of("multiclass", {"probabilities": graph}, np.arange(3), ["a", "b", "c"])
    assert answers.part(np.array([1, 0])).ranking[:, 0].tolist() == [graph[1, 0], graph[0, 0]]
    np.testing.assert_allclose(answers.predictions.sum(axis=1), 1, rtol=1e-15)


def test_a_class_that_is_never_predicted_counts_zero():
    y = np.repeat([0, 1, 2], [9, 9, 2])
    result = np.where(y == 2, 0, y)
    outputs = {"probabilities": np.eye(4)[result]}
    metrics = evaluate("multiclass", ["precision", "recall", "f1"], outputs, y, ["a", "b", "c", "unseen"])
    assert metrics["precision"] == pytest.approx((9 / 11 + 1 + 0) / 3)
    assert metrics["recall"] == pytest.approx(2 / 3)
    assert metrics["f1"] == pytest.approx(sklearn.f1_score(y, result, average="macro", zero_division=0))


@settings(max_examples=examples(120))
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-9, 9), WEIGHT), min_size=1, max_size=10).filter(
        lambda rows: any(row[2] for row in rows)
    )
)
def test_regression_metrics_are_scikit_learns_on_weighted_rows(rows):
    y, value, weights = (np.array(values, dtype=np.float64) for values in zip(*rows, strict=True))
    value = value / 3
    answers = Answers(y.astype(np.float32), value)
    differ = len(np.unique(y[weights > 0])) > 1
    theirs = {
        "rmse": sklearn.root_mean_squared_error(y, value, sample_weight=weights),
        "mae": sklearn.mean_absolute_error(y, value, sample_weight=weights),
        "mape": sklearn.mean_absolute_percentage_error(y, value, sample_weight=weights) if y.all() else None,
        "r2": sklearn.r2_score(y, value, sample_weight=weights) if differ else None,
    }
    ours = {name: weighted(name, answers, weights) for name in theirs}
    assert all(close(ours[name], theirs[name]) for name in theirs), (ours, theirs)


def test_metrics_of_no_weight_are_undefined():
    answers = {
        "binary": Answers(np.array([0, 1]), np.array([0.2, 0.7])),
        "multiclass": Answers(np.array([0, 1]), np.array([[0.2, 0.8], [0.5, 0.5]])),
        "regression": Answers(np.array([1.0, 2.0]), np.array([0.2, 0.7])),
        "quantile": Answers(np.array([1.0, 2.0]), np.array([[0.2, 0.7], [1.0, 2.0]]), levels=(0.1, 0.9)),
        "ranking": Answers(np.array([1.0, 2.0]), np.array([0.2, 0.7]), queries=np.zeros(2)),
        "multilabel": Answers(np.eye(2), np.array([[0.2, 0.7], [0.5, 0.5]]), labels=("a", "b"), task="multilabel"),
    }
    nothing = np.zeros((1, 2))
    for metric in METRICS.values():
        for task in metric.tasks:
            assert np.isnan(metric.statistic(answers[task])(nothing)).all(), (metric.name, task)


def test_large_equal_labels_have_no_r2():
    y = np.full(3, 0.1)
    assert evaluate("regression", ["r2"], {"value": np.zeros(3)}, y) == {}


def missed(y, probability):
    return 5.0 * y[probability < 0.5].sum() / len(y)


def test_a_metric_of_ones_own_counts_each_draw():
    Metric("missed", missed, higher_is_better=False, tasks=["binary"])
    y, probability = np.array([1, 0, 1, 1]), np.array([0.2, 0.1, 0.9, 0.4])
    assert evaluate("binary", ["missed"], {"probability": probability}, y) == {"missed": 2.5}
    statistic = metric_named("missed").statistic(Answers(y, probability))
    assert statistic(np.array([[2.0, 0, 2, 0], [0, 4, 0, 0]])).tolist() == [2.5, 0.0]


def test_a_metric_of_ones_own_gets_what_the_graph_gives():
    observed = []

    def watched(y, probabilities):
        observed.append(probabilities)
        return 0.0

    Metric("watched", watched, higher_is_better=True, tasks=["multiclass"])
    graph = np.array([[0.1, 0.2, 0.7000001], [1 / 3, 1 / 3, 1 / 3]], dtype=np.float32)
    answers = answers_of("multiclass", {"probabilities": graph}, np.arange(2), ["a", "b", "c"])
    metric_named("watched").statistic(answers)(np.array([[1.0, 1.0]]))
    assert (observed[0] == graph).all(), "not divided by their sum"
    assert (answers.predictions != graph).any()


def test_a_metric_of_ones_own_may_be_undefined():
    Metric("never", lambda y, value: None, higher_is_better=True, tasks=["regression"])
    assert evaluate("regression", ["never", "mae"], {"value": np.ones(2)}, np.ones(2)) == {"mae": 0.0}


def test_a_metric_of_ones_own_that_fails_is_named():
    Metric("broken", lambda y, value: {}["a"], higher_is_better=True, tasks=["regression"])
    with pytest.raises(ModelError, match="the metric 'broken' fails on 2 rows: KeyError"):
        evaluate("regression", ["broken"], {"value": np.ones(2)}, np.ones(2))


def test_metrics_of_ones_own_that_cannot_be_are_refused():
    kind = {"higher_is_better": True, "tasks": ["binary"]}
    with pytest.raises(DeclarationError, match="there is a metric 'roc_auc' already"):
        Metric("roc_auc", missed, **kind)
    with pytest.raises(DeclarationError, match="'rows' already"):
        Metric("rows", missed, **kind)
    with pytest.raises(DeclarationError, match="not a name"):
        Metric("My Metric", missed, **kind)
    with pytest.raises(DeclarationError, match="has the task 'ternary'"):
        Metric("tern", missed, higher_is_better=True, tasks=["ternary"])
    with pytest.raises(DeclarationError, match="for no task"):
        Metric("none_at_all", missed, higher_is_better=True, tasks=[])
    Metric("twice", missed, **kind)
    Metric("twice", missed, **kind)  # as when its module is loaded again
    with pytest.raises(DeclarationError, match=r"'twice' already, made of .*missed: give the one of .*close"):
        Metric("twice", close, **kind)


def test_an_evaluations_text_has_the_source_of_own_metrics():
    cost = Metric("cost_of_two", lambda y, value: 1.0, higher_is_better=True, tasks=["regression"])
    text = repr(Evaluation(metrics=[cost, "mae"], slices=["o"]))
    assert text == f"Evaluation(metrics=('cost_of_two', 'mae'), slices=('o',), own=[{cost!r}])"
    assert "0x" not in text
    assert cost.source in text
