import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.errors import DeclarationError, ModelError
from fti_assets.training.judging.evaluation import Evaluation, evaluate
from fti_assets.training.judging.measurement import measure
from fti_assets.training.judging.metrics.answers import answers_of
from fti_assets.training.judging.metrics.registry import METRICS, check_metrics, metric_named
from fti_assets.training.judging.slices import LARGEST_SLICES, slice_rows

CLASSIFICATION = ["roc_auc", "log_loss", "brier", "accuracy"]
REGRESSION = ["rmse", "mae", "r2"]


def evaluate_slices(task, evaluation, columns, outputs, y, classes=()):
    return measure(evaluation, answers_of(task, outputs, y, classes), columns).slices


def test_binary_metrics_by_hand():
    scores = evaluate("binary", CLASSIFICATION, {"probability": np.array([0.9, 0.6, 0.2, 0.4])}, np.array([1, 0, 0, 1]))
    assert scores == pytest.approx(
        {
            "roc_auc": 3 / 4,
            "log_loss": -np.log([0.9, 0.4, 0.8, 0.4]).mean(),
            "brier": np.mean([0.01, 0.36, 0.04, 0.36]),
            "accuracy": 0.5,
        }
    )


def test_multiclass_metrics_by_hand():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.4, 0.5, 0.1]])
    scores = evaluate(
        "multiclass", CLASSIFICATION, {"probabilities": probabilities}, np.array([0, 1, 2]), ["a", "b", "c"]
    )
    assert scores["log_loss"] == pytest.approx(-np.log([0.5, 0.8, 0.1]).mean())
    assert scores["brier"] == pytest.approx(((probabilities - np.eye(3)) ** 2).sum(axis=1).mean())
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["roc_auc"] == pytest.approx((1 + 1 + 0.25) / 3)


def test_regression_metrics_by_hand():
    scores = evaluate("regression", REGRESSION, {"value": np.array([1.0, 2.0, 5.0])}, np.array([1.0, 2.0, 3.0]))
    assert scores == pytest.approx({"rmse": np.sqrt(4 / 3), "mae": 2 / 3, "r2": 1 - 4 / 2})


def test_roc_auc_is_left_out_where_one_class_occurs():
    scores = evaluate("binary", CLASSIFICATION, {"probability": np.array([0.5, 0.5])}, np.array([1, 1]))
    assert scores == pytest.approx({"log_loss": np.log(2), "brier": 0.25, "accuracy": 1.0})
    some = {"probabilities": np.full((2, 3), 1 / 3)}
    assert set(evaluate("multiclass", CLASSIFICATION, some, np.array([0, 1]), ["a", "b", "c"])) == {
        "log_loss",
        "brier",
        "accuracy",
    }


def test_r2_is_left_out_where_all_labels_are_equal():
    assert evaluate("regression", REGRESSION, {"value": np.array([1.0])}, np.array([3.0])) == {"rmse": 2.0, "mae": 2.0}


@pytest.mark.parametrize(
    ("task", "outputs"), [("binary", {"probability": np.empty(0)}), ("regression", {"value": np.empty(0)})]
)
def test_no_rows_have_no_metrics(task, outputs):
    assert evaluate(task, [name for name in METRICS if task in METRICS[name].tasks], outputs, np.empty(0)) == {}


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=20))
def test_metrics_are_finite_json_for_any_probabilities(rows):
    probability = np.array([row[0] for row in rows], np.float32)
    scores = evaluate("binary", CLASSIFICATION, {"probability": probability}, np.array([int(row[1]) for row in rows]))
    json.dumps(scores, allow_nan=False)
    assert scores["log_loss"] < 16


def test_outputs_that_are_not_finite_are_refused():
    with pytest.raises(ModelError, match="not finite for 1 of 2 rows, such as row 1"):
        evaluate("binary", ["brier"], {"probability": np.array([0.5, np.nan])}, np.array([1, 0]))


@pytest.mark.parametrize(
    ("task", "outputs", "message"),
    [
        ("binary", {"value": np.zeros(2)}, "'probability', but there is 'value'"),
        ("binary", {"probability": np.zeros((2, 1))}, r"\[2, 1\], not \[2\]"),
        ("multiclass", {"probabilities": np.zeros((2, 3))}, r"\[2, 3\], not \[2, 0\]"),
    ],
)
def test_outputs_of_another_shape_are_refused(task, outputs, message):
    with pytest.raises(ModelError, match=message):
        evaluate(task, ["brier"], outputs, np.array([1, 0]))


def test_slices_are_scored_apart_the_largest_first():
    columns = {
        "origin": np.array(["JFK", "EWR", "JFK", "", "JFK"], dtype=object),
        "day": np.array([1.0, 1.0, np.nan, 2.5, 1.0]),
    }
    probability = np.array([0.9, 0.5, 0.2, 0.5, 0.8])
    sliced = evaluate_slices(
        "binary",
        Evaluation(metrics=["roc_auc", "accuracy"], slices=["origin", "day"]),
        columns,
        {"probability": probability},
        np.array([1, 1, 0, 0, 1]),
    )
    assert list(sliced["origin"].items()) == [
        ("JFK", {"roc_auc": 1.0, "accuracy": 1.0, "rows": 3.0}),
        ("", {"accuracy": 0.0, "rows": 1.0}),
        ("EWR", {"accuracy": 1.0, "rows": 1.0}),
    ]
    assert list(sliced["day"]) == ["1", "2.5", ""]


def test_slices_of_no_rows_are_empty():
    evaluation = Evaluation(metrics=["mae"], slices=["o"])
    empty = np.empty(0)
    assert evaluate_slices("regression", evaluation, {"o": empty}, {"value": empty}, empty) == {"o": {}}


def test_only_the_largest_slices_are_scored():
    many = np.array([str(at) for at in range(LARGEST_SLICES + 50)] + ["7"], dtype=object)
    zeros = np.zeros(len(many))
    sliced = evaluate_slices(
        "regression", Evaluation(metrics=["mae"], slices=["o"]), {"o": many}, {"value": zeros}, zeros
    )
    assert len(sliced["o"]) == LARGEST_SLICES
    assert next(iter(sliced["o"].items())) == ("7", {"mae": 0.0, "rows": 2.0})


def test_a_slice_column_that_is_not_there_is_named():
    with pytest.raises(DeclarationError, match="no column 'plane' to slice by: there are 'o'"):
        evaluate_slices(
            "regression",
            Evaluation(metrics=["mae"], slices=["plane"]),
            {"o": np.zeros(1)},
            {"value": np.zeros(1)},
            np.zeros(1),
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": []}, "no metrics"),
        ({"metrics": ["auc"]}, "no metric 'auc': choose 'roc_auc', 'log_loss'"),
        ({"metrics": ["mae", "mae"]}, "different names"),
        ({"metrics": "mae"}, "a list"),
        ({"metrics": ["mae"], "slices": "origin"}, "slices='origin'"),
    ],
)
def test_evaluations_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(DeclarationError, match=message):
        Evaluation(**arguments)


def test_a_metric_of_another_task_is_refused():
    with pytest.raises(DeclarationError, match="'rmse' is not one for a binary model: choose 'roc_auc'"):
        check_metrics("binary", ["rmse"])
    with pytest.raises(DeclarationError, match="'roc_auc' is not one for a regression model"):
        Evaluation(metrics=["roc_auc"]).check("regression")


def test_directions():
    higher = {name for name in METRICS if metric_named(name).higher_is_better}
    assert higher == {
        "roc_auc",
        "pr_auc",
        "accuracy",
        "f1",
        "precision",
        "recall",
        "r2",
        "ndcg",
        "map",
        "mrr",
        "exact_match",
    }


def test_crossed_slices_are_scored_by_each_pair_of_values():
    columns = {
        "origin": np.array(["JFK", "EWR", "JFK", "JFK", "JFK"], dtype=object),
        "day": np.array([1.0, 1.0, 2.0, np.nan, 1.0]),
    }
    sliced = evaluate_slices(
        "regression",
        Evaluation(metrics=["mae"], slices=["day", ("origin", "day")]),
        columns,
        {"value": np.array([1.0, 2.0, 3.0, 4.0, 5.0])},
        np.zeros(5),
    )
    assert list(sliced) == ["day", "origin, day"]
    assert sliced["origin, day"] == {
        "JFK, 1": {"mae": 3.0, "rows": 2.0},
        "EWR, 1": {"mae": 2.0, "rows": 1.0},
        "JFK, 2": {"mae": 3.0, "rows": 1.0},
        'JFK, ""': {"mae": 4.0, "rows": 1.0},
    }


def test_slice_of_missing_times_has_the_empty_name():
    times = np.array(["2013-05-01", "NaT", "2013-05-01", "NaT", "NaT"], dtype="datetime64[us]")
    slices = {name: rows.tolist() for name, rows in slice_rows("at", {"at": times}).items()}
    assert slices == {"": [1, 3, 4], "2013-05-01T00:00:00.000000": [0, 2]}


@given(st.lists(st.tuples(*[st.sampled_from(["a", "b", "", "a, b", '"a"', '"'])] * 3), min_size=1, max_size=15))
def test_no_two_crossed_slices_have_one_name(rows):
    columns = {
        name: np.array(values, dtype=object) for name, values in zip("xyz", zip(*rows, strict=True), strict=True)
    }
    slices = slice_rows(("x", "y", "z"), columns)
    assert sum(map(len, slices.values())) == len(rows)
    for positions in slices.values():
        assert len({rows[at] for at in positions.tolist()}) == 1
    assert len(slices) == len(set(rows))


def test_slices_of_few_rows_are_left_out():
    columns = {"o": np.array(["a", "b", "a"])}
    evaluation = Evaluation(metrics=["mae"], slices=["o"], min_rows=2)
    sliced = evaluate_slices("regression", evaluation, columns, {"value": np.ones(3)}, np.zeros(3))
    assert sliced == {"o": {"a": {"mae": 1.0, "rows": 2.0}}}


@pytest.mark.parametrize("slices", [[("a", "a")], ["a", ("a",)], [("a", "b"), ("b", "a")], [()], [1], [("a", 1)]])
def test_slices_that_cannot_be_are_refused(slices):
    with pytest.raises(DeclarationError, match="different names"):
        Evaluation(metrics=["mae"], slices=slices)
