"""Which rows count and what is measured of them, by task, beside the evaluation of the rows picked by hand."""

from datetime import datetime
from typing import Any

import numpy as np
import pytest

import fti_assets as fti
from fti_assets.core.times import Partition
from fti_assets.errors import ModelError
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitors.quality import calibration
from fti_assets.monitors.quality.answered_rows import AnsweredRows, label_fits
from fti_assets.monitors.quality.figures import SampleFigures
from fti_assets.monitors.quality.measuring import _without_labels
from fti_assets.monitors.quality.sample import Sample, over_all
from fti_assets.training.calibration.calibrators import fit_calibrator
from fti_assets.training.judging.evaluation import evaluate
from tests.support.records import model_manifest

N = 60
RNG = np.random.default_rng(4)
MATURE = RNG.random(N) < 0.8


def rows_of(labels: np.ndarray, answers: np.ndarray, names: tuple[str, ...] = (), **changed: Any) -> AnsweredRows:
    return AnsweredRows(
        **{
            "partition": np.full(N, "day", dtype=object),
            "build": np.full(N, "v1/x", dtype=object),
            "arm": np.full(N, "", dtype=object),
            "mature": MATURE,
            "labels": labels,
            "answers": answers,
            "names": names,
            "columns": {"shop": np.array(["a", "b", "c"] * 20, dtype=object)},
            "clusters": None,
            "queries": None,
            "number": np.arange(N),
            **changed,
        }
    )


def figures(sample: Sample, *rules: fti.Quality, estimate: bool = False) -> dict[tuple[str, str], Measurement]:
    every = SampleFigures(sample, datetime(2025, 1, 1), "", rules, estimate).measurements()
    return {(one.statistic, one.slice): one for one in every}


def test_values_count_where_rows_are_mature_and_have_a_finite_label_and_answer() -> None:
    labels, answers = RNG.normal(size=N), RNG.normal(size=N)
    labels[:5], labels[5], answers[6:8] = np.nan, np.inf, np.nan
    result = figures(
        Sample(rows_of(labels, answers), "regression", (), None), fti.Quality("rmse", at_most=0, min_rows=1)
    )
    counts = MATURE & np.isfinite(labels) & np.isfinite(answers)
    assert (
        result["rmse", ""].value
        == evaluate("regression", ["rmse"], {"value": answers[counts]}, labels[counts].astype(np.float32))["rmse"]
    )
    assert (result["rmse", ""].rows, result["rmse", ""].verdict) == (counts.sum(), "warning")
    assert result["label_rate", ""].value == counts.sum() / MATURE.sum()


def test_share_of_labels_is_judged_over_all_mature_rows_and_by_slice() -> None:
    labels, answers = RNG.normal(size=3 * N), RNG.normal(size=3 * N)
    shops = np.array(["a", "b", "c"] * N, dtype=object)
    labels[(shops == "b") & (np.arange(3 * N) % 2 == 0)] = np.nan
    mature = RNG.random(3 * N) < 0.8
    names = ("partition", "build", "arm")
    rows = rows_of(
        labels,
        answers,
        mature=mature,
        columns={"shop": shops},
        number=np.arange(3 * N),
        **{name: np.full(3 * N, name, dtype=object) for name in names},
    )
    rule = fti.Quality("label_rate", at_least=0.7, min_rows=40, slices=["shop"])
    result = figures(Sample(rows, "regression", (), None), rule, fti.Quality("rmse"))
    has_label = ~np.isnan(labels)
    expected = {"": mature} | {f"shop={shop}": mature & (shops == shop) for shop in "abc"}
    of_labels = {part: one for (statistic, part), one in result.items() if statistic == "label_rate"}
    assert {part: (one.value, one.rows) for part, one in of_labels.items()} == {
        part: (has_label[rows].mean(), rows.sum()) for part, rows in expected.items()
    }
    assert {part: one.verdict for part, one in of_labels.items()} == {
        "": "ok",
        "shop=a": "ok",
        "shop=b": "warning",
        "shop=c": "ok",
    }
    assert set(result) == {("label_rate", part) for part in expected} | {("rmse", "")}


def test_quantiles_are_those_of_the_build_in_its_order() -> None:
    labels, answers = RNG.normal(size=N), np.sort(RNG.normal(size=(N, 3)), axis=1)
    rows = rows_of(labels, answers[:, [1, 2, 0]], ("0.5", "0.9", "0.1")).by_name(("0.1", "0.5", "0.9"))
    result = figures(Sample(rows, "quantile", rows.names, None), fti.Quality("pinball"))
    own = {"quantiles": answers[MATURE]}
    assert (
        result["pinball", ""].value
        == evaluate("quantile", ["pinball"], own, labels[MATURE].astype(np.float32), rows.names)["pinball"]
    )


def test_a_list_counts_once_all_its_rows_are_mature() -> None:
    queries, labels, answers = np.arange(N) // 4, RNG.integers(0, 3, N).astype(float), RNG.random(N)
    sample = Sample(rows_of(labels, answers, queries=queries), "ranking", (), None)
    whole = np.array([MATURE[queries == query].all() for query in queries])
    result = figures(sample, fti.Quality("ndcg"))
    own = evaluate(
        "ranking", ["ndcg"], {"score": answers[whole]}, labels[whole].astype(np.float32), queries=queries[whole]
    )
    assert (result["ndcg", ""].value, result["ndcg", ""].rows) == (own["ndcg"], whole.sum())


def test_slices_estimates_and_errors_are_of_their_rows() -> None:
    p = RNG.random(N)
    labels = (RNG.random(N) < p).astype(float)
    sample = Sample(rows_of(labels, p), "binary", (), 0.3, probabilities=p)
    rule = fti.Quality("accuracy", slices=["shop"])
    result = figures(sample, rule, estimate=True)
    for shop in "abc":
        own = MATURE & (sample.rows.columns["shop"] == shop)
        scores = evaluate("binary", ["accuracy"], {"probability": p[own]}, labels[own], threshold=0.3)
        assert result["accuracy", f"shop={shop}"].value == scores["accuracy"]
    expected = np.where(p.astype(np.float32) >= np.float32(0.3), p, 1 - p)
    truth = evaluate("binary", ["accuracy"], {"probability": p[MATURE]}, labels[MATURE], threshold=0.3)["accuracy"]
    assert result["accuracy_estimate_error", ""].value == pytest.approx(expected[MATURE].mean() - truth)
    every = list(SampleFigures(sample, datetime(2025, 1, 1), "", [rule], True).measurements())
    [estimate] = [one for one in every if one.estimated]
    assert estimate.value == pytest.approx(expected.mean())
    assert estimate.rows == N


@pytest.mark.parametrize("labels_of_a", [0, 4, 5])
def test_an_estimate_is_judged_until_there_are_labels_enough(labels_of_a: int) -> None:
    p, shops = np.linspace(0.1, 0.9, N), np.array(["a", "b"] * 30, dtype=object)
    labels = np.full(N, np.nan)
    labels[np.flatnonzero(shops == "a")[:labels_of_a]] = 1.0
    rows = rows_of(labels, p, mature=np.ones(N, dtype=bool), columns={"shop": shops})
    rule = fti.Quality("brier", at_most=0.01, min_rows=5, slices=["shop"])
    sample = Sample(rows, "binary", (), 0.5, probabilities=p)
    every = SampleFigures(sample, datetime(2025, 1, 1), "", [rule], True).measurements()
    verdicts = {one.slice: one.verdict for one in every if one.estimated}
    final = "" if labels_of_a >= 5 else "warning"
    assert verdicts == {"": final, "shop=a": final, "shop=b": "warning"}


@pytest.mark.parametrize(
    ("least", "label", "mature", "says"),
    [(5, np.nan, True, 1), (5, np.nan, False, 0), (5, 1, True, 0), (61, np.nan, True, 0)],
)
def test_labels_that_stopped_are_a_problem(least: int, label: float, mature: bool, says: int) -> None:
    labels = np.full(N, np.nan)
    labels[0] = label
    rows = rows_of(labels, np.full(N, 0.5), mature=MATURE | mature)
    sample = Sample(rows, "binary", (), 0.5, "v1/x")
    messages = list(_without_labels(sample, Partition("2025-01-01"), least))
    assert len(messages) == says
    assert all(f"none of the {N} answers of v1/x on 2025-01-01" in one for one in messages)


def test_builds_that_decide_otherwise_are_not_put_together() -> None:
    p = RNG.random(N)
    one = Sample(rows_of(np.ones(N), p), "binary", (), 0.3, "v1/x")
    assert over_all([one, Sample(one.rows, "binary", (), 0.5, "v1/y")]) is None
    halves = [one.part(np.arange(N) % 2 == 1), one.part(np.arange(N) % 2 == 0)]
    together = over_all(halves)
    assert together is not None
    assert together.rows.answers.tolist() == p.tolist()  # in their order, to the last digit of sums


@pytest.mark.parametrize(
    ("task", "labels", "fits"),
    [
        ("binary", np.array([0.0, 1.0, 2.0, np.nan]), [True, True, False, False]),
        ("binary", np.array(["1", "yes", ""], dtype=object), [True, False, False]),
        ("multiclass", np.array(["a", "new", ""], dtype=object), [True, False, False]),
        ("ranking", np.array([0.0, -1.0, np.inf]), [True, False, False]),
        ("regression", np.array([-1.5, np.inf, np.nan]), [True, False, False]),
    ],
)
def test_labels_that_no_build_learned_do_not_fit(task: str, labels: np.ndarray, fits: list[bool]) -> None:
    assert label_fits(labels, task, ("a",)).tolist() == fits


def test_each_of_several_labels_is_calibrated_by_its_own_test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    answers = rng.random((400, 2))
    y = (rng.random((400, 2)) < answers * (0.5, 1.0)).astype(np.int64)
    manifest = model_manifest(b"", task="multilabel", classes=("late", "cancelled"))
    monkeypatch.setattr(calibration, "_on_test_rows", lambda *_: (answers, y))
    made = calibration.calibration_of(None, None, manifest)(answers)  # type: ignore[arg-type]
    for at in range(2):
        alone = fit_calibrator("platt", answers[:, at], y[:, at] == 1)
        assert made[:, at].tolist() == alone(answers[:, at]).tolist()
    assert made.sum(axis=1).max() > 1, "labels are no classes"
    monkeypatch.setattr(calibration, "_on_test_rows", lambda *_: (answers, y * (1, 0)))
    with pytest.raises(ModelError, match="its test rows are all alike in 'cancelled': declare calibrate= on the model"):
        calibration.calibration_of(None, None, manifest)  # type: ignore[arg-type]
