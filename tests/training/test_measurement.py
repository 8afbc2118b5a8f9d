"""What is measured of a build: intervals over slices, draws and clusters."""

import numpy as np
import pytest

from fti_assets.errors import DeclarationError
from fti_assets.training.judging.evaluation import Evaluation, evaluate
from fti_assets.training.judging.measurement import FEWEST_ROWS, measure
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.own import Metric
from fti_assets.training.judging.resampling.bootstrap import resample_counts

RNG = np.random.Generator(np.random.PCG64(5))
Y = RNG.integers(0, 2, 120)
PROBABILITY = np.clip(Y * 0.3 + RNG.random(120) * 0.7, 0, 1).round(2)
ORIGIN = np.where(np.arange(120) < 80, "JFK", np.where(np.arange(120) < 115, "EWR", "LGA"))


def test_intervals_are_the_percentiles_of_metrics_of_redrawn_rows():
    names = ["roc_auc", "log_loss", "f1"]
    measurement = measure(Evaluation(metrics=names, confidence=0.9), Answers(Y, PROBABILITY), {})
    redrawn = [
        evaluate("binary", names, {"probability": PROBABILITY[rows]}, Y[rows])
        for counts in np.concatenate(list(resample_counts(120)))
        for rows in [np.repeat(np.arange(120), counts.astype(int))]
    ]
    for name, interval in measurement.intervals.items():
        ends = np.quantile([scores[name] for scores in redrawn], [0.05, 0.95])
        assert (interval.low, interval.high) == pytest.approx(ends), name
        assert interval.low < measurement.metrics[name] < interval.high
        assert interval.confidence == 0.9
    assert (measurement.bootstrap.draws, measurement.bootstrap.cluster) == (1_000, "")


def test_large_slices_have_intervals_and_small_ones_none():
    evaluation = Evaluation(metrics=["brier"], slices=["origin"])
    measurement = measure(evaluation, Answers(Y, PROBABILITY), {"origin": ORIGIN})
    for origin, scores in measurement.slices["origin"].items():
        own = origin == ORIGIN
        expected = evaluate("binary", ["brier"], {"probability": PROBABILITY[own]}, Y[own])
        assert scores == {**expected, "rows": own.sum()}
    assert list(measurement.slice_intervals["origin"]) == ["JFK", "EWR"]
    jfk = measurement.slice_intervals["origin"]["JFK"]["brier"]
    assert jfk.low < measurement.slices["origin"]["JFK"]["brier"] < jfk.high
    assert measurement.slices["origin"]["LGA"]["rows"] < FEWEST_ROWS


def test_rows_of_a_cluster_widen_the_interval():
    y, clusters = np.tile(Y, 4), np.tile(np.arange(120), 4)
    alone = measure(Evaluation(metrics=["brier"]), Answers(y, np.tile(PROBABILITY, 4)), {})
    together = measure(
        Evaluation(metrics=["brier"], cluster="flight"), Answers(y, np.tile(PROBABILITY, 4)), {}, clusters
    )
    widths = [one.intervals["brier"].high - one.intervals["brier"].low for one in (alone, together)]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.15)
    assert together.bootstrap.cluster == "flight"


def test_a_metric_of_ones_own_has_an_interval_but_not_by_slice():
    share = Metric("share_of_yes", lambda y, probability: y.mean(), higher_is_better=True, tasks=["binary"])
    evaluation = Evaluation(metrics=[share, "brier"], slices=["origin"])
    measurement = measure(evaluation, Answers(Y, PROBABILITY), {"origin": ORIGIN})
    assert measurement.intervals["share_of_yes"].low < Y.mean() < measurement.intervals["share_of_yes"].high
    assert list(measurement.slice_intervals["origin"]["JFK"]) == ["brier"]


def test_without_confidence_there_are_no_intervals():
    evaluation = Evaluation(metrics=["brier"], slices=["origin"], confidence=None)
    measurement = measure(evaluation, Answers(Y, PROBABILITY), {"origin": ORIGIN})
    assert (measurement.intervals, measurement.slice_intervals, measurement.bootstrap) == ({}, {}, None)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidences_that_cannot_be_are_refused(confidence):
    with pytest.raises(DeclarationError, match="above 0 and below 1"):
        Evaluation(metrics=["brier"], confidence=confidence)
