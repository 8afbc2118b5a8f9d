"""When a champion is judged worse: at looks that are fixed beforehand, on a paired bootstrap's interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import log_loss, roc_auc_score

from fti_assets.reviews.looks import LEAST_ROWS, MOST_LOOKS, MOST_ROWS, compared, looks_at
from fti_assets.training.judging.metrics.answers import Answers

ROWS = 1_000
TIMES = np.datetime64("2024-01-01", "us") + np.arange(ROWS).astype("timedelta64[h]")


def answers(seed: int, *, noise: tuple[float, float], rows: int = ROWS) -> tuple[Answers, Answers]:
    """Two models whose scores are the truth with more or less noise."""
    draws = np.random.Generator(np.random.PCG64(seed))
    score = draws.normal(size=rows)
    y = (draws.random(rows) < 1 / (1 + np.exp(-2 * score))).astype(np.int64)
    own, other = (1 / (1 + np.exp(-2 * (score + draws.normal(size=rows) * one))) for one in noise)
    return Answers(y, np.clip(own, 1e-5, 1 - 1e-5)), Answers(y, np.clip(other, 1e-5, 1 - 1e-5))


@given(st.integers(0, 2 * MOST_ROWS))
def test_looks_double_and_share_one_error_rate(rows: int) -> None:
    looks = list(looks_at(rows))
    assert [look.rows for look in looks] == [LEAST_ROWS * 2**n for n in range(MOST_LOOKS) if LEAST_ROWS * 2**n <= rows]
    assert sum(1 - look.confidence for look in looks) <= 0.05


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_a_worse_champion_is_told_at_the_first_look(metric: str) -> None:
    own, other = answers(1, noise=(3.0, 0.1))
    result = compared("v1/b", "v1/a", metric, own, other, TIMES)
    assert result is not None
    judge = {"roc_auc": roc_auc_score, "log_loss": log_loss}[metric]
    y = own.y[:LEAST_ROWS]
    expected = [judge(y, one.predictions[:LEAST_ROWS]) for one in (own, other)]
    assert [result.value, result.previous_value] == pytest.approx(expected, rel=1e-6)
    assert result.is_worse
    assert result.rows == LEAST_ROWS
    assert result.behind == pytest.approx(abs(expected[0] - expected[1]), rel=1e-6)
    assert (result.since, result.until) == ("2024-01-01T00:00:00", "2024-01-21T19:00:00")
    assert (
        f"{metric} {result.value:.6g} of v1/b is worse than {result.previous_value:.6g} of its predecessor v1/a"
        in result.text
    )
    more = compared("v1/b", "v1/a", metric, own.part(np.arange(600)), other.part(np.arange(600)), TIMES[:600])
    assert more == result, "whatever day it is computed on"


def test_a_better_champion_is_not_worse_at_any_look() -> None:
    own, other = answers(2, noise=(0.1, 3.0))
    result = compared("v1/b", "v1/a", "log_loss", own, other, TIMES)
    assert result is not None
    assert not result.is_worse
    assert result.rows == ROWS, "the last look that there are rows for"
    assert result.behind < 0


def test_too_few_rows_say_nothing() -> None:
    own, other = answers(3, noise=(3.0, 0.1), rows=LEAST_ROWS - 1)
    assert compared("v1/b", "v1/a", "log_loss", own, other, TIMES[: LEAST_ROWS - 1]) is None


def test_rows_of_one_class_say_nothing() -> None:
    ones, half = np.ones(LEAST_ROWS, dtype=np.int64), np.full(LEAST_ROWS, 0.5)
    one = Answers(ones, half)
    assert compared("v1/b", "v1/a", "roc_auc", one, one, TIMES[:LEAST_ROWS]) is None


def test_rows_of_a_cluster_are_drawn_together() -> None:
    own, other = answers(4, noise=(1.0, 0.5))
    alone = compared("v1/b", "v1/a", "log_loss", own, other, TIMES[:LEAST_ROWS])
    together = compared("v1/b", "v1/a", "log_loss", own, other, TIMES[:LEAST_ROWS], np.arange(ROWS) // 50)
    assert alone is not None
    assert together is not None
    assert alone.interval != together.interval
    assert (alone.value, alone.behind) == (together.value, together.behind)


def test_all_looks_together_call_an_equal_champion_worse_as_rarely_as_is_said() -> None:
    """Differences of a row that are chance alone, at all eight looks of 20,000 champions; at 95% each look would be a trial of its own."""
    champions, looks = 20_000, list(looks_at(MOST_ROWS))
    draws = np.random.Generator(np.random.PCG64(5))
    steps = np.diff([0, *(look.rows for look in looks)])
    sums = np.cumsum(draws.normal(size=(champions, len(looks))) * np.sqrt(steps), axis=1)
    scores = sums / np.sqrt([look.rows for look in looks])

    def share_called_worse(confidences: list[float]) -> float:
        limits = norm.ppf([(1 + one) / 2 for one in confidences])
        return float((scores > limits).any(axis=1).mean())

    assert share_called_worse([look.confidence for look in looks]) <= 0.025
    assert share_called_worse([look.confidence for look in looks]) > 0.01, "and no look is thrown away"
    assert share_called_worse([0.95] * len(looks)) > 0.08, "what looking without a plan would do"


@pytest.mark.soak
def test_equal_models_are_seldom_told_apart() -> None:
    wrong = 0
    for seed in range(300):
        own, other = answers(seed, noise=(0.5, 0.5), rows=2_000)
        times = np.datetime64("2024-01-01", "us") + np.arange(2_000).astype("timedelta64[h]")
        result = compared("v1/b", "v1/a", "log_loss", own, other, times)
        wrong += result is not None and result.is_worse
    assert wrong <= 15, "half of five percent of 300 is 7.5; 15 or more has a chance of one percent"
