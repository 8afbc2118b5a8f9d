"""Intervals of calibration errors against worlds in which the true error is known, and of other metrics as they were."""

import numpy as np
import pytest
from scipy.special import expit, logit

import fti_assets as fti
from fti_assets.training.judging.evaluation import Evaluation, scores_of
from fti_assets.training.judging.measurement import measure
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.classification import ECE_BINS
from fti_assets.training.judging.metrics.metric import parts_of
from fti_assets.training.judging.metrics.registry import METRICS, metric_named
from fti_assets.training.judging.resampling.bootstrap import percentile_interval, resample
from fti_assets.training.judging.resampling.draws import draws_of
from fti_assets.training.judging.resampling.paired import PairedAnswers
from fti_assets.training.judging.scores import ChampionScores, Scores
from tests.training.test_ties import answers_for

ROWS, WORLDS = 400, 40


def world(seed, stretch, rows=ROWS):
    """True probabilities, labels, and answers whose log odds are stretched: 1 is calibrated, 2 too extreme."""
    rng = np.random.default_rng(seed)
    true = np.clip(rng.beta(2, 2, rows), 1e-6, 1 - 1e-6)
    return true, (rng.random(rows) < true).astype(float), expit(logit(true) * stretch)


def true_error(stretch):
    """The expected calibration error on rows without end."""
    true, _, result = world(99, stretch, 400_000)
    return np.abs(np.bincount((result * ECE_BINS).astype(int), result - true, minlength=ECE_BINS)).sum() / len(true)


def draws(metric, answers, number=200):
    return draws_of({"it": (metric_named(metric), answers)}, number=number)["it"]


@pytest.mark.parametrize("stretch", [1.0, 1.4, 2.0])
def test_interval_of_ece_holds_the_true_error(stretch):
    true, held, percentile = true_error(stretch), 0, 0
    for seed in range(WORLDS):
        _, y, result = world(seed, stretch)
        of_world = draws("ece", Answers(y, result))
        interval = of_world.interval()
        assert interval.low <= of_world.value <= interval.high
        held += interval.low <= true <= interval.high
        percentiles = percentile_interval(of_world.values)
        percentile += percentiles.low <= true <= percentiles.high
    assert held >= 0.85 * WORLDS
    if stretch == 1.0:
        assert percentile == 0, "no percentile of a mean of absolute values is 0"


@pytest.mark.soak
@pytest.mark.parametrize(("own", "other"), [(1.0, 0.0), (2.0, 1.0), (1.0, 2.0), (1.4, 1.0)])
def test_interval_of_a_difference_holds_the_true_one(own, other):
    true, held = true_error(own) - true_error(other), 0
    for seed in range(WORLDS):
        (_, y, result), (_, _, of_other) = world(seed, own), world(seed, other)
        measured = {name: (METRICS["ece"], Answers(y, one)) for name, one in (("own", result), ("other", of_other))}
        of_both = draws_of(measured, number=200)
        interval = of_both["own"].difference(of_both["other"])
        assert interval.low <= of_both["own"].value - of_both["other"].value <= interval.high
        held += interval.low <= true <= interval.high
    assert held >= 0.8 * WORLDS


def test_of_models_that_are_alike_the_difference_is_narrow():
    _, y, result = world(0, 1.0, 2_000)
    near = expit(logit(result) + 0.01 * np.random.default_rng(0).normal(size=2_000))
    interval = PairedAnswers(Answers(y, near), Answers(y, result)).difference("ece")
    own = draws("ece", Answers(y, result)).interval()
    assert interval.high - interval.low < (own.high - own.low) / 2


def test_calibrated_models_are_not_turned_down():
    gate = fti.NotWorseThanChampion("ece", tolerance=0.01, when_unsure="pass")
    metrics, down = [METRICS["ece"]], 0
    for seed in range(20):
        _, y, result = world(seed, 1.0)
        own, held = Answers(y, result), Answers(y, np.full(ROWS, 0.5))
        scores = ChampionScores(
            "v1/a", scores_of(held, metrics), challenger=scores_of(own, metrics), answers=PairedAnswers(own, held)
        )
        down += not gate.judge(Scores(champion=scores)).passed
    assert down <= 2


def test_interval_of_coverage_holds_its_value_and_zero():
    for seed in range(10):
        y = np.random.default_rng(seed).normal(size=300)
        quantiles = Answers(y, np.tile([-1.2816, 0.0, 1.2816], (300, 1)), levels=(0.1, 0.5, 0.9))
        measured = measure(Evaluation(metrics=["coverage_error", "pinball"]), quantiles, {})
        interval = measured.intervals["coverage_error"]
        assert interval.low <= measured.metrics["coverage_error"] <= interval.high
        assert interval.low < 0.01


@pytest.mark.parametrize("task", ["binary", "multiclass", "quantile"])
def test_parts_sum_to_the_metric(task):
    answers, _ = answers_for(task)
    name = "coverage_error" if task == "quantile" else "ece"
    weights = np.random.default_rng(1).integers(0, 3, (5, len(answers.y))).astype(float)
    parts = parts_of(METRICS[name], answers)(weights)
    assert np.abs(parts).sum(axis=1) == pytest.approx(METRICS[name].statistic(answers)(weights))


def test_parts_of_several_labels_are_those_of_each():
    rng = np.random.default_rng(2)
    answers = Answers(rng.integers(0, 2, (60, 2)), rng.random((60, 2)), labels=("late", "lost"), task="multilabel")
    weights = rng.integers(0, 3, (5, 60)).astype(float)
    for name in ("ece", "ece:late"):
        metric = metric_named(name)
        parts = parts_of(metric, answers)(weights)
        assert np.abs(parts).sum(axis=1) == pytest.approx(metric.statistic(answers)(weights)), name


def test_other_metrics_keep_their_percentiles():
    answers, _ = answers_for("binary")
    for name in ("log_loss", "roc_auc", "f1"):
        values = resample({"it": METRICS[name].statistic(answers)}, len(answers.y), number=200)["it"]
        assert draws(name, answers).interval(0.9) == percentile_interval(values, 0.9)
