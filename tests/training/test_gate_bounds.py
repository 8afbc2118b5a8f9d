"""Gates that hold one figure within bounds: metrics, calibration, fairness, what a graph costs, and a function of one's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core.manifest import FairnessRecord, GroupRates
from fti_assets.core.manifest.intervals import Interval
from fti_assets.errors import DeclarationError, ModelError
from fti_assets.training.judging.fairness import fairness
from fti_assets.training.judging.gates.gate import verdict_of
from fti_assets.training.judging.graph_cost import GraphCost
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.calibration_slope import calibration_slope
from fti_assets.training.judging.scores import BaselineScores, ChampionScores, Scores
from tests.support.examples import examples


@pytest.mark.parametrize(
    ("bounds", "value", "passed", "bound", "words"),
    [
        ({"at_most": 0.03}, 0.03, True, 0.03, "ece 0.03 is at most 0.03"),
        ({"at_most": 0.03}, 0.031, False, 0.03, "ece 0.031 is not at most 0.03"),
        ({"at_least": 0.1}, 0.05, False, 0.1, "ece 0.05 is not at least 0.1"),
        ({"at_least": 0.1, "at_most": 0.5}, 0.2, True, 0.1, "ece 0.2 is at least 0.1 and at most 0.5"),
        ({"at_least": 0.1, "at_most": 0.5}, 0.6, False, 0.5, "is not at most 0.5"),
    ],
)
def test_metric_is_held_within_its_bounds(bounds, value, passed, bound, words):
    verdict = fti.MetricBounds("ece", **bounds).judge(Scores({"ece": value}))
    assert (verdict.gate, verdict.passed, verdict.value, verdict.bound) == ("bounds_of_ece", passed, value, bound)
    assert words in verdict.reason


def test_an_undefined_metric_keeps_no_bounds():
    assert not fti.MetricBounds("roc_auc", at_least=0.5).judge(Scores({})).passed


@pytest.mark.parametrize("bounds", [{}, {"at_most": float("nan")}, {"at_least": 2.0, "at_most": 1.0}])
def test_impossible_bounds_are_refused(bounds):
    with pytest.raises(DeclarationError, match="MetricBounds"):
        fti.MetricBounds("ece", **bounds)


@given(seed=st.integers(0, 2**32), stretch=st.sampled_from([0.3, 1.0, 3.0]), rows=st.integers(30, 400))
@settings(max_examples=examples(90))
def test_calibration_slope_is_that_of_an_unpenalized_logistic_regression(seed, stretch, rows):
    rng = np.random.default_rng(seed)
    odds = rng.normal(size=rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(int)
    slope = calibration_slope(Answers(y, 1 / (1 + np.exp(-stretch * odds))))
    if slope is None:  # few rows that the answers tell apart
        assert len(np.unique(y)) == 1 or odds[y == 1].min() > odds[y == 0].max()
        return
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000).fit((stretch * odds)[:, None], y)
    assert slope == pytest.approx(oracle.coef_[0, 0], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("y", "probability"),
    [([1, 1, 1], [0.2, 0.5, 0.7]), ([0, 1, 1], [0.5, 0.5, 0.5]), ([0, 0, 1, 1], [0.0, 0.2, 0.8, 1.0])],
)
def test_an_undefined_slope_does_not_pass(y, probability):
    verdict = fti.CalibrationSlope().judge(Scores(answers=Answers(np.array(y), np.array(probability))))
    assert not verdict.passed
    assert "undefined" in verdict.reason


def test_overconfident_answers_fail_the_slope():
    rng = np.random.default_rng(0)
    odds = rng.normal(size=2_000)
    y = (rng.random(2_000) < 1 / (1 + np.exp(-odds))).astype(int)
    answers = {stretch: Scores(answers=Answers(y, 1 / (1 + np.exp(-stretch * odds)))) for stretch in (1, 3)}
    gate = fti.CalibrationSlope()
    assert gate.judge(answers[1]).passed
    verdict = gate.judge(answers[3])
    assert (verdict.passed, verdict.bound) == (False, 0.8)
    assert verdict.value == pytest.approx(1 / 3, abs=0.1)


def test_fairness_is_judged_by_the_column_that_was_compared():
    record = FairnessRecord({}, {"demographic_parity_ratio": 0.7})
    gate = fti.FairnessBounds("demographic_parity_ratio", ["origin", "carrier"], at_least=0.8)
    verdict = gate.judge(Scores(fairness={"origin, carrier": record}))
    assert (gate.name, verdict.passed) == ("demographic_parity_ratio_by_origin_and_carrier", False)
    assert "0.7 is not at least 0.8" in verdict.reason
    with pytest.raises(ModelError, match="there is 'plan'"):
        gate.judge(Scores(fairness={"plan": record}))
    undefined = fti.FairnessBounds("equalized_odds_ratio", ["origin", "carrier"], at_least=0.8)
    assert "is undefined" in undefined.judge(Scores(fairness={"origin, carrier": record})).reason


@pytest.mark.parametrize(
    ("figure", "small_yeses", "min_rows", "words"),
    [
        ("demographic_parity_difference", 5, 100, "left out: 'small' (10 rows, fewer than 100)"),
        ("demographic_parity_ratio", 5, 100, "it compares two slices at least"),
        ("equal_opportunity_difference", 0, 1, "left out: 'small' (no yes among its labels)"),
        ("equalized_odds_difference", 10, 1, "left out: 'small' (no no among its labels)"),
    ],
)
def test_one_slice_alone_is_not_fair(figure, small_yeses, min_rows, words):
    group = np.array(["big"] * 190 + ["small"] * 10)
    y = np.array([1, 0] * 95 + [1] * small_yeses + [0] * (10 - small_yeses))
    record = fairness(Answers(y, np.where(group == "big", 0.9, 0.1)), ["g"], {"g": group}, min_rows)
    bounds = {"at_least": 0.8} if figure.endswith("ratio") else {"at_most": 0.1}
    verdict = fti.FairnessBounds(figure, "g", **bounds).judge(Scores(fairness=record))
    assert not verdict.passed
    assert words in verdict.reason


def test_a_verdict_names_slices_that_do_not_count():
    group = np.array(["a"] * 4 + ["b"] * 4 + ["c"] + [f"d{at}" for at in range(30)])
    y = np.array([1, 0] * 4 + [1] * 31)
    record = fairness(Answers(y, np.full(len(y), 0.9)), ["g"], {"g": group}, min_rows=2)
    verdict = fti.FairnessBounds("equal_opportunity_difference", "g", at_most=0.1).judge(Scores(fairness=record))
    assert verdict.passed
    assert "is at most 0.1; left out: 'c' (1 row, fewer than 2), 'd0' (1 row, fewer than 2)" in verdict.reason
    assert "21 smaller slices" in verdict.reason


def test_fairness_that_is_not_evaluated_is_refused():
    gate = fti.FairnessBounds("equalized_odds_ratio", "plan", at_least=0.8)
    with pytest.raises(DeclarationError, match=r"compares nothing: add it to Evaluation\(fairness="):
        gate.check("binary", fti.Evaluation(metrics=["roc_auc"]), what="model 'm'")
    with pytest.raises(DeclarationError, match="there is no figure of fairness 'fairness'"):
        fti.FairnessBounds("fairness", "plan", at_least=0.8)


def test_slope_of_other_tasks_is_refused():
    with pytest.raises(DeclarationError, match="judges binary models, and is a regression model: leave it out"):
        fti.CalibrationSlope().check("regression", fti.Evaluation(metrics=["rmse"]), what="model 'm'")


def test_latency_is_that_of_the_fastest_run_of_each_row(monkeypatch):
    clock = {"now": 0.0}
    took = {row: iter([9.0, 1.0 + row, *[5.0] * 5]) for row in range(3)}

    def run(row):
        clock["now"] += next(took[row])

    for name in ("perf_counter", "thread_time"):
        monkeypatch.setattr(f"fti_assets.training.judging.graph_cost.time.{name}", lambda: clock["now"])
    cost = Scores(graph=GraphCost(1_000, run, 3))
    verdict = fti.GraphLatency(at_most="2s").judge(cost)
    assert (verdict.passed, verdict.value, verdict.bound) == (True, 2_000.0, 2_000.0)
    verdict = fti.GraphLatency(at_most="2s", over="p95").judge(cost)
    assert (verdict.passed, verdict.value) == (False, pytest.approx(2_900.0))


def test_size_is_held_against_bytes():
    cost = Scores(graph=GraphCost(1_000, lambda row: None, 1))
    assert fti.GraphSize(at_most=1_000).judge(cost).passed
    assert "1,000 bytes, more than 999" in fti.GraphSize(at_most=999).judge(cost).reason


def test_function_is_a_gate():
    @fti.gate(name="large", metric="roc_auc")
    def enough(scores):
        return scores.metrics["roc_auc"] > 0.5

    assert (enough.name, enough.metric) == ("large", "roc_auc")
    assert verdict_of(enough, Scores({"roc_auc": 0.7})) == fti.GateVerdict("large", True, "large says yes")
    assert not verdict_of(enough, Scores({"roc_auc": 0.3})).passed
    assert " at 0x" not in repr(enough)


@pytest.mark.parametrize(("answer", "words"), [(None, "gave None"), ((1, "why"), "gave"), ("yes", "gave 'yes'")])
def test_a_function_without_a_verdict_is_named(answer, words):
    @fti.gate()
    def odd(scores):
        return answer

    with pytest.raises(ModelError, match=rf"the gate 'odd' {words}"):
        verdict_of(odd, Scores())


def test_what_a_gate_writes_no_other_sees():
    y = np.array([0.0, 1.0])

    def scores():
        return Scores(
            {"mae": 1.0},
            {"mae": 2.0},
            {"g": {"a": {"mae": 1.0, "rows": 2.0}}},
            ChampionScores("v1/a", {"mae": 1.0}, challenger={"mae": 2.0}),
            {
                "g": FairnessRecord(
                    {"a": GroupRates(2, 0.5)}, {"demographic_parity_ratio": 0.7}, largest_left_out={"b": 1}
                )
            },
            {"prior": BaselineScores({"mae": 2.0})},
            {"mae": Interval(0.5, 1.5)},
            answers=Answers(y.copy(), y + 0.5),
        )

    own = scores()
    observed = own.copy()
    assert observed == own
    for written in (
        observed.metrics,
        observed.baseline,
        observed.slices["g"]["a"],
        observed.slices["g"],
        observed.champion.metrics,
        observed.champion.challenger,
        observed.fairness["g"].figures,
        observed.fairness["g"].groups,
        observed.fairness["g"].largest_left_out,
        observed.fairness,
        observed.baselines["prior"].metrics,
        observed.baselines,
        observed.intervals,
    ):
        written.clear()
    observed.answers.y[:], observed.answers.predictions[:] = 7, 7
    assert own == scores()
    assert (own.answers.y.tolist(), own.answers.predictions.tolist()) == ([0.0, 1.0], [0.5, 1.5])


def test_a_function_that_raises_is_named():
    @fti.gate()
    def broken(scores):
        return scores.metrics["none"] > 1

    with pytest.raises(ModelError, match="the gate 'broken' fails: KeyError"):
        verdict_of(broken, Scores())
