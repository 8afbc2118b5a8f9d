"""Baselines against scikit-learn and counting by hand; they learn from train alone and see no test label."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fti_assets as fti
from fti_assets.errors import DeclarationError, ModelError
from fti_assets.training.judging.baselines.function import FunctionBaseline
from fti_assets.training.judging.baselines.last_value import LastValue
from fti_assets.training.judging.baselines.linear import Linear
from fti_assets.training.judging.baselines.named import Prior
from fti_assets.training.judging.baselines.scored import baseline_scores
from fti_assets.training.judging.scores import Scores


def part(y, columns=None, dense=None, codes=None, undo=None):
    """Rows with their labels, as a part of training data has them."""
    inputs = {"dense": np.zeros((len(y), 0), np.float32) if dense is None else np.asarray(dense, np.float32)}
    if codes is not None:
        inputs["carrier"] = np.asarray(codes)[:, None]
    rows = SimpleNamespace(
        y=np.asarray(y), rows=len(y), columns=columns or {}, inputs=inputs, X=inputs["dense"], frame=None, undo=undo
    )
    rows.counts = None
    rows.copy = lambda: deepcopy(rows)
    return rows


def test_prior_is_the_train_share_or_mean():
    test = part([1, 0])
    assert Prior().answers("binary", 0, part([0, 0, 1, 0]), test).tolist() == [0.25, 0.25]
    assert Prior().answers("multiclass", 3, part([0, 2, 2, 2]), test).tolist() == [[0.25, 0, 0.75]] * 2
    assert Prior().answers("regression", 0, part([1.0, 3.0]), test).tolist() == [2.0, 2.0]


def test_rows_that_stand_for_several_count_as_several():
    """A sample that is undone by weights gives what the rows that were left out would give."""
    y, x, times = np.array([0, 1, 0, 1, 1]), np.array([0.5, 2.0, 1.0, 1.0, 3.0]), np.array([3, 1, 2, 1, 1])
    columns = {"was_late": np.array([0.0, 1.0, 1.0, 1.0, 0.0])}
    sampled = part(y, columns, x[:, None], undo=times.astype(float))
    whole = part(np.repeat(y, times), {"was_late": np.repeat(columns["was_late"], times)}, np.repeat(x, times)[:, None])
    for baseline in (Prior(), LastValue("was_late")):
        kept, of_all = (baseline.answers("binary", 0, train, sampled) for train in (sampled, whole))
        np.testing.assert_allclose(kept, of_all)


def test_baselines_are_scored_as_a_model_is():
    train, test = part([1, 0, 0, 0]), part([1, 0])
    scores = baseline_scores("binary", ["log_loss", "roc_auc"], [], train, test, {"probability": np.zeros(2)})
    assert scores["prior"].metrics == pytest.approx({"log_loss": -np.log([0.25, 0.75]).mean(), "roc_auc": 0.5})


def test_a_baseline_of_no_train_rows_is_refused():
    with pytest.raises(ModelError, match="no rows"):
        baseline_scores("regression", ["mae"], [], part([]), part([0.0]), {"value": np.zeros(1)})


def test_last_value_of_a_regression_is_the_feature():
    train = part([1.0, 3.0], {"before": np.array([0.0, 0.0])})
    test = part([9.0, 9.0, 9.0], {"before": np.array([5.0, np.nan, -1.0])})
    assert LastValue("before").answers("regression", 0, train, test).tolist() == [5.0, 2.0, -1.0]


def test_last_value_of_classes_is_how_often_each_followed():
    train = part([1, 1, 0, 0, 0], {"before": np.array([1.0, 1.0, 1.0, 0.0, np.nan])})
    test = part([0] * 4, {"before": np.array([1.0, 0.0, np.nan, 7.0])})
    answers = LastValue("before").answers("binary", 0, train, test)
    assert answers == pytest.approx([(2 + 0.4) / 4, (0 + 0.4) / 2, (0 + 0.4) / 2, 0.4])
    of_text = LastValue("before").answers(
        "multiclass",
        2,
        part([0, 1, 1], {"before": np.array(["a", "a", "b"], dtype=object)}),
        part([0, 0], {"before": np.array(["b", "zz"], dtype=object)}),
    )
    assert of_text == pytest.approx(np.array([[1 / 6, 5 / 6], [1 / 3, 2 / 3]]))


def test_last_value_of_text_is_no_regression():
    rows = part([1.0], {"before": np.array(["a"], dtype=object)})
    with pytest.raises(ModelError, match="needs a number, and the feature 'before' is text"):
        LastValue("before").answers("regression", 0, rows, rows)


def test_logistic_is_scikit_learns_on_the_encoded_features():
    rng = np.random.default_rng(0)
    dense, codes = rng.normal(3, 5, (300, 2)), rng.integers(0, 4, 300)
    y = ((dense[:, 0] > 3) ^ (codes == 1)).astype(np.int64)
    train, test = (
        part(y[:200], dense=dense[:200], codes=codes[:200]),
        part(y[200:], dense=dense[200:], codes=codes[200:]),
    )
    both = np.column_stack([dense.astype(np.float32), codes]).astype(np.float64)
    model = make_pipeline(
        make_column_transformer((StandardScaler(), [0, 1]), (OneHotEncoder(), [2])), LogisticRegression(max_iter=500)
    ).fit(both[:200], y[:200])
    assert Linear("logistic").answers("binary", 0, train, test) == pytest.approx(
        model.predict_proba(both[200:])[:, 1], abs=1e-3
    )


def test_linear_is_ridge_regression_with_means_for_what_is_missing():
    rng = np.random.default_rng(1)
    dense = rng.normal(size=(120, 3)).astype(np.float32)
    y = dense @ [1.0, 2.0, -1.0] + 5
    filled = dense.copy()
    dense[::7, 1] = np.nan
    filled[::7, 1] = np.nanmean(dense[:100, 1].astype(np.float64))
    model = make_pipeline(StandardScaler(), Ridge()).fit(filled[:100].astype(np.float64), y[:100])
    answers = Linear("linear").answers(
        "regression", 0, part(y[:100], dense=dense[:100]), part(y[100:], dense=dense[100:])
    )
    assert answers == pytest.approx(model.predict(filled[100:].astype(np.float64)), abs=1e-6)


def test_function_sees_no_label_of_the_test_rows():
    def share(train, test):
        assert not hasattr(test, "y")
        return np.full(test.rows, train.y.mean())

    assert FunctionBaseline(share).answers("binary", 0, part([0, 1]), part([1, 1, 1])).tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda train, test: [0.5], r"gave the shape \[1\], not \[2\]"),
        (lambda train, test: [0.5, 1.5], "1.5, which is no probability"),
        (lambda train, test: [0.5, np.nan], "nan, which is no probability"),
        (lambda train: [0.5, 0.5], "the baseline 'lambda' fails: TypeError"),
    ],
)
def test_a_function_without_answers_is_named(function, words):
    with pytest.raises(ModelError, match=words):
        FunctionBaseline(function).answers("binary", 0, part([0, 1]), part([0, 1]))


def test_gate_judges_by_its_own_baseline_with_an_interval():
    rng = np.random.default_rng(0)
    before = rng.integers(0, 2, 600).astype(float)
    y = np.where(rng.random(600) < 0.8, before, 1 - before).astype(np.int64)
    train, test = part(y[:300], {"before": before[:300]}), part(y[300:], {"before": before[300:]})
    outputs = {"probability": np.full(300, 0.5)}
    gates = [fti.BeatsBaseline("log_loss", baseline=fti.LastValue("before"))]
    baselines = baseline_scores("binary", ["log_loss"], gates, train, test, outputs)
    assert list(baselines) == ["prior", "last_value_of_before"]
    verdict = gates[0].judge(Scores({"log_loss": float(np.log(2))}, baselines["prior"].metrics, baselines=baselines))
    assert (verdict.gate, verdict.passed) == ("beats_last_value_of_before_log_loss", False)
    assert "is not better than the baseline last_value_of_before" in verdict.reason
    assert verdict.interval.low <= verdict.value <= verdict.interval.high < 0


@pytest.mark.parametrize(("when_unsure", "passed"), [("estimate", True), ("pass", True), ("fail", False)])
def test_a_lead_that_may_be_none_is_decided_as_declared(when_unsure, passed):
    y = np.array([0, 1, 1, 0, 1, 0])
    outputs = {"probability": np.array([0.6, 0.7, 0.9, 0.4, 0.4, 0.3])}
    gate = fti.BeatsBaseline("brier", when_unsure=when_unsure)
    baselines = baseline_scores("binary", ["brier"], [gate], part(y), part(y), outputs)
    own = float(((outputs["probability"] - y) ** 2).mean())
    verdict = gate.judge(Scores({"brier": own}, baselines["prior"].metrics, baselines=baselines))
    assert verdict.interval.low < 0 < verdict.interval.high
    assert verdict.passed == passed


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        ("median", "it is 'prior', 'logistic' or 'linear'"),
        ("last_value", r"fti.LastValue\('feature'\) names the feature"),
        (dict, "fti.LastValue or a function"),
    ],
)
def test_unknown_baselines_are_refused(baseline, words):
    with pytest.raises(DeclarationError, match=words):
        fti.BeatsBaseline("log_loss", baseline=baseline)


def test_baselines_of_other_tasks_are_refused():
    with pytest.raises(DeclarationError, match="write baseline='linear'"):
        Linear("logistic").check("regression", ["x"], what="gate")
    with pytest.raises(DeclarationError, match="which its view does not have: 'x'"):
        LastValue("y").check("binary", ["x"], what="gate")


def test_text_of_a_gate_names_its_function_and_not_where_it_lies():
    def same_as_now(train, test):
        return test.columns["now"]

    text = repr(fti.BeatsBaseline("rmse", baseline=same_as_now))
    assert text.startswith("BeatsBaseline(metric='rmse', baseline=same_as_now (")
    assert " at 0x" not in text
    assert repr(fti.BeatsBaseline("rmse")) == "BeatsBaseline(metric='rmse')"
