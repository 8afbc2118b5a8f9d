"""What is as good as another: one rule for every gate and metric, of what float32 holds."""

import numpy as np
import pytest

import fti_assets as fti
from fti_assets.training.judging.evaluation import scores_of
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.registry import METRICS, metric_named
from fti_assets.training.judging.resampling.paired import PairedAnswers
from fti_assets.training.judging.scores import BaselineScores, ChampionScores, Scores
from fti_assets.training.judging.ties import same_answers

MODES = ("estimate", "pass", "fail")
ROWS = 200


def answers_for(task, seed=0):
    """Answers of a model in float32, as its graph gives them, and the way in which each would be worse."""
    rng = np.random.default_rng(seed)
    if task == "binary":
        p = rng.beta(2, 2, ROWS)
        y = (rng.random(ROWS) < p).astype(float)
        return Answers(y, single(p)), 1 - 2 * y
    if task == "multiclass":
        p = rng.dirichlet([1, 1, 1], ROWS)
        y = np.array([rng.choice(3, p=row) for row in p])
        return Answers(y, single(p)), 1 - 2 * np.eye(3)[y]
    y = 1000 + rng.normal(size=ROWS)
    if task == "quantile":
        return Answers(y, single(np.tile([998.7, 1000.0, 1001.3], (ROWS, 1))), levels=(0.1, 0.5, 0.9)), 1.0
    if task == "ranking":
        return Answers(rng.integers(0, 3, ROWS), single(rng.random(ROWS)), queries=np.arange(ROWS) // 10), 1.0
    values = single(y + rng.normal(size=ROWS))
    return Answers(y, values), np.sign(values - y)


def single(values):
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def moved(answers, towards):
    """The answers, each moved by one step of float32."""
    stepped = np.nextafter(answers.predictions.astype(np.float32), (np.inf * np.sign(towards)).astype(np.float32))
    return Answers(answers.y, single(stepped), levels=answers.levels, queries=answers.queries)


def verdicts(metric, challenger, other):
    """What both gates say in each mode: whether the challenger beats the other as baseline, and is not worse than it as champion."""
    measured = [metric_named(metric)]
    own, others = scores_of(challenger, measured), scores_of(other, measured)
    pair = PairedAnswers(challenger, other)
    scores = Scores(
        own,
        others,
        baselines={"prior": BaselineScores(others, pair)},
        champion=ChampionScores("v1/a", others, challenger=own, answers=pair),
    )
    return (
        [fti.BeatsBaseline(metric, when_unsure=mode).judge(scores) for mode in MODES],
        [fti.NotWorseThanChampion(metric, when_unsure=mode).judge(scores) for mode in MODES],
    )


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "quantile", "ranking"])
def test_answers_a_step_of_float32_away_are_as_good(task):
    answers, towards = answers_for(task)
    for metric in (name for name, one in METRICS.items() if task in one.tasks):
        for other in (moved(answers, towards), moved(answers, -np.asarray(towards))):
            beats, not_worse = verdicts(metric, other, answers)
            assert not any(verdict.passed for verdict in beats), metric
            assert all(verdict.passed for verdict in not_worse), (metric, not_worse[0].reason)
            assert "is not worse than" in not_worse[0].reason


@pytest.mark.soak
@pytest.mark.parametrize("metric", ["r2", "rmse", "mae", "mape"])
def test_a_constant_in_float32_beats_no_constant(metric):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        train, test = 1000 + rng.normal(size=2000), 1000 + rng.normal(size=100)
        constant, rounded = np.full(100, train.mean()), single(np.full(100, train.mean()))
        beats, not_worse = verdicts(metric, Answers(test, rounded), Answers(test, constant))
        assert not any(verdict.passed for verdict in beats), beats[0].reason
        assert all(verdict.passed for verdict in not_worse)


@pytest.mark.parametrize("metric", ["log_loss", "brier", "rmse", "mae", "r2", "pinball"])
def test_a_real_difference_is_no_tie(metric):
    answers, towards = answers_for(METRICS[metric].tasks[0])
    worse = Answers(answers.y, answers.predictions * (1 + 1e-4 * np.asarray(towards)), levels=answers.levels)
    if metric == "pinball":
        worse = Answers(answers.y, answers.predictions + 1.0, levels=answers.levels)
    better_beats, _ = verdicts(metric, answers, worse)
    assert better_beats[0].passed
    _, not_worse = verdicts(metric, worse, answers)
    assert not not_worse[0].passed


def test_small_r2s_that_agree_at_the_scale_of_one_tie():
    for score, floor in ((1e-9, 0.0), (-1e-12, -2e-12)):
        assert not fti.BeatsBaseline("r2").judge(Scores({"r2": score}, {"r2": floor})).passed
    assert fti.BeatsBaseline("r2").judge(Scores({"r2": 1e-4}, {"r2": 0.0})).passed
    assert fti.BeatsBaseline("log_loss").judge(Scores({"log_loss": 1e-7}, {"log_loss": 2e-7})).passed


def test_decisions_by_another_threshold_are_no_tie():
    y, probability = np.array([1.0, 0.0] * 50), single(np.linspace(0.1, 0.9, 100))
    one, other = Answers(y, probability, threshold=0.3), Answers(y, probability, threshold=0.6)
    assert not same_answers("f1", one, other)
    assert same_answers("log_loss", one, other)


def test_of_one_label_its_own_answers_count():
    rng = np.random.default_rng(0)
    y, result = rng.integers(0, 2, (50, 2)), single(rng.random((50, 2)))
    one = Answers(y, result, labels=("late", "lost"), task="multilabel")
    other = Answers(y, result * [1.0, 0.9], labels=("late", "lost"), task="multilabel")
    assert same_answers("log_loss:late", one, other)
    assert not same_answers("log_loss:lost", one, other)
    assert not same_answers("log_loss", one, other)


def test_a_bound_is_kept_to_six_digits():
    tenth = float(np.float32(0.1))
    assert fti.MetricBounds("mae", at_most=0.1).judge(Scores({"mae": tenth})).passed
    assert not fti.MetricBounds("mae", at_most=0.1).judge(Scores({"mae": 0.10001})).passed
    slices = {"g": {"a": {"mae": 0.1 + tenth, "rows": 500.0}}}
    assert fti.SliceGap("mae", by="g", at_most=0.1).judge(Scores({"mae": 0.1}, slices=slices)).passed
