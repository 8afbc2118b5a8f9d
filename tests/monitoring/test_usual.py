"""A figure that is as large as it usually is, as those of a season are each day, is no drift; one that leaves its usual place is."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation

import fti_assets as fti
from fti_assets.errors import DeclarationError
from fti_assets.monitoring.drift.judging import in_a_row
from fti_assets.monitoring.drift.usual import LEAST_PARTITIONS, judged_beside_usual, usual_limit, values_of
from fti_assets.monitoring.measurement import Measurement
from tests.support.examples import examples

RULE = fti.Drift("psi", unusual=True)
FIRST, REACH = datetime(2024, 1, 1), timedelta(weeks=4)


def measured(values: list[float]) -> list[Measurement]:
    """A figure a day, each judged by itself."""
    return [
        Measurement(
            partition_start=FIRST + timedelta(days=day),
            subject="feature",
            column_name="temp",
            statistic="psi",
            reference="training",
            value=value,
            rows=1_000,
            threshold=0.2,
            verdict="warning" if value > 0.2 else "ok",
        )
        for day, value in enumerate(values)
    ]


def judged(values: list[float], rule: fti.Drift = RULE) -> list[str]:
    beside = judged_beside_usual(measured(values), [rule], {}, REACH)
    return [one.verdict for one in in_a_row(beside, [rule], {})]


@settings(max_examples=examples(200))
@given(st.lists(st.floats(0, 10), min_size=1, max_size=40))
def test_limit_is_the_median_and_three_deviations(values: list[float]) -> None:
    expected = np.median(values) + 3 * 1.4826 * median_abs_deviation(values)
    assert usual_limit(values) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=examples(200))
@given(st.lists(st.floats(0, 3), max_size=40), st.data())
def test_verdicts_are_those_of_a_search_and_the_same_day_by_day(values: list[float], data: st.DataObject) -> None:
    expected = []
    for day, value in enumerate(values):
        before = values[max(0, day - 28) : day]
        if len(before) < LEAST_PARTITIONS:
            expected.append("no_reference")
        else:
            limit = max(0.2, np.median(before) + 3 * 1.4826 * median_abs_deviation(before))
            expected.append("warning" if value > limit + 1e-12 else "ok" if value < limit - 1e-12 else None)
    found = judged_beside_usual(measured(values), [RULE], {}, REACH)
    assert all(wanted in (None, one.verdict) for one, wanted in zip(found, expected, strict=True))
    cut = data.draw(st.integers(0, len(values)))
    stored, rest = measured(values)[:cut], measured(values)[cut:]
    assert judged_beside_usual(rest, [RULE], values_of(stored), REACH) == found[cut:]


def test_a_season_is_no_drift_and_a_jump_is_told_until_it_is_usual() -> None:
    draws = np.random.Generator(np.random.PCG64(1))
    weather = list(1.3 * np.exp(draws.normal(0, 0.3, 120)))
    twice = fti.Drift("psi", unusual=True, in_a_row=2)
    raw = [one.verdict for one in measured(weather)]
    assert raw.count("warning") == 120, "PSI of a day against a season is always above the limit"
    assert judged(weather, twice).count("warning") <= 3
    jumped = judged([*weather[:60], *(one + 3 for one in weather[60:])], twice)
    assert jumped[61:70] == ["warning"] * 9
    assert jumped[75:].count("warning") <= 5, "half of four weeks later it is how things are"


def test_a_figure_below_the_limit_is_fine_however_unusual() -> None:
    assert judged([0.01] * 10 + [0.15]) == ["no_reference"] * 7 + ["ok"] * 4
    assert judged([0.01] * 10 + [0.25])[-1] == "warning"


def test_usual_answers_are_not_asked_for_twice() -> None:
    with pytest.raises(DeclarationError, match="it counts beside what is usual anyway"):
        fti.Drift("missing_answers", unusual=True)


def test_a_rule_without_it_is_written_as_it_was() -> None:
    assert repr(fti.Drift("psi")) == (
        "Drift(statistic='psi', at_most=0.2, columns=None, in_a_row=1, min_rows=500, reference='training')"
    ), "or each monitor would be measured anew"
