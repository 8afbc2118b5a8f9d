"""The bootstrap against scikit-learn on repeated rows, and SciPy's intervals of the same draws."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats._resampling import BootstrapResult

from fti_assets.core.manifest.intervals import Interval
from fti_assets.errors import ModelError
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.resampling.bootstrap import percentile_interval, resample, resample_counts
from tests.support.examples import examples


def _draws(rows: int, **keywords: object) -> np.ndarray:
    return np.concatenate(list(resample_counts(rows, **keywords)))  # type: ignore[arg-type]


def test_draws_are_pinned() -> None:
    assert _draws(5, number=3, seed=1).tolist() == [[1, 0, 2, 1, 1], [0, 2, 0, 0, 3], [0, 2, 1, 1, 1]]


def test_a_draw_does_not_depend_on_how_many_follow() -> None:
    assert np.array_equal(_draws(3_001, number=900)[:5], _draws(3_001, number=5))


@given(rows=st.integers(1, 40), number=st.integers(1, 20), seed=st.integers(0, 2**32))
@settings(max_examples=examples(90))
def test_each_draw_has_as_many_rows(rows: int, number: int, seed: int) -> None:
    counts = _draws(rows, number=number, seed=seed)
    assert counts.shape == (number, rows)
    assert (counts.sum(axis=1) == rows).all()
    assert (counts >= 0).all()


def test_rows_are_drawn_as_often() -> None:
    counts = _draws(7, number=20_000)
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.03)
    assert counts.var(axis=0) == pytest.approx(6 / 7, abs=0.05)


def test_rows_of_a_cluster_are_drawn_together() -> None:
    clusters = np.array([0, 1, 0, 2, 2, 2])
    counts = _draws(6, number=50, clusters=clusters)
    assert np.array_equal(counts[:, [0, 3, 4]], counts[:, [2, 5, 5]])
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_no_rows_have_no_draws() -> None:
    with pytest.raises(ModelError, match="draws from 1 to"):
        next(resample_counts(0))


def test_interval_is_scipys_of_the_same_draws() -> None:
    y = np.random.default_rng(3).normal(size=60)
    values = resample({"mean": lambda weights: weights @ y / weights.sum(axis=1)}, 60, number=400)["mean"]
    drawn = BootstrapResult(None, values, 0.0)
    of_scipy = scipy.stats.bootstrap(
        (y,), np.mean, n_resamples=0, bootstrap_result=drawn, method="percentile", confidence_level=0.9
    ).confidence_interval
    interval = percentile_interval(values, 0.9)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((of_scipy.low, of_scipy.high))


def test_interval_agrees_with_scipys_own_draws() -> None:
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 300)
    mine, theirs = (np.clip(y * shift + rng.normal(0.5, 0.3, 300), 0, 1) for shift in (0.3, 0.2))
    brier = metric_named("brier")
    values = resample({"mine": brier.statistic(Answers(y, mine)), "theirs": brier.statistic(Answers(y, theirs))}, 300)
    ours = percentile_interval(values["mine"] - values["theirs"])
    losses = (mine - y) ** 2 - (theirs - y) ** 2
    of_scipy = scipy.stats.bootstrap((losses,), np.mean, n_resamples=4_000, method="percentile", rng=0)
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx(of_scipy.confidence_interval, abs=0.003)


def test_undefined_draws_are_left_out_unless_many() -> None:
    values = np.arange(100.0)
    values[:5] = np.nan
    assert percentile_interval(values, 0.9) == Interval(*np.quantile(np.arange(5.0, 100.0), [0.05, 0.95]), 0.9)
    values[5] = np.nan
    assert percentile_interval(values, 0.9) is None
