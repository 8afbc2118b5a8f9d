"""How many answers are usual, and what is said of those that are missing."""

from datetime import datetime, timedelta
from statistics import median
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.errors import DeclarationError
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitors.drift.volume import usual_answers, volume_of
from fti_assets.orchestration.partitions import partitions_between, partitions_of
from tests.support.examples import examples

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01")
ABROAD = dg.HourlyPartitionsDefinition(start_date="2024-03-01-00:00", timezone="Europe/Berlin")
MONTHS = dg.MonthlyPartitionsDefinition(start_date="2023-01-01")
RULE = fti.Drift("missing_answers")


def usual(calendar: Any, key: str, answers: dict[str, int], weeks: int = 4) -> float | None:
    (partition,) = partitions_of(calendar, [key])
    assert partition.start is not None
    before = partitions_between(calendar, partition.start - timedelta(weeks=weeks), partition.start)
    return usual_answers(partition, before, answers)


@settings(max_examples=examples(60))
@given(st.dictionaries(st.integers(1, 31), st.integers(0, 50), max_size=31), st.integers(0, 4))
def test_usual_is_the_median_of_the_same_day_of_the_week(counts: dict[int, int], weeks: int) -> None:
    answers = {f"2024-01-{day:02}": count for day, count in counts.items()}
    alike = [counts[day] for day in (31 - 7 * week for week in range(1, weeks + 1)) if day in counts]
    every = [counts[day] for day in range(31 - 7 * weeks, 31) if day in counts]
    expected = alike if len(alike) >= 2 else every
    assert usual(DAYS, "2024-01-31", answers, weeks) == (median(expected) if expected else None)


def test_an_hour_is_compared_with_the_same_hour_across_a_change_of_the_clock() -> None:
    same = {"2024-04-03-12:00": 7, "2024-03-27-11:00": 9, "2024-03-27-12:00": 100}
    assert usual(ABROAD, "2024-04-10-12:00", same) == 8


def test_a_month_is_compared_with_the_one_before() -> None:
    assert usual(MONTHS, "2024-03-01", {"2024-01-01": 5, "2024-02-01": 6, "2024-03-01": 1}) == 6


def judged(count: int | None, usual_count: int | None, rules: Any = (RULE,)) -> Measurement:
    (partition,) = partitions_of(DAYS, ["2024-01-31"])
    before = partitions_of(DAYS, ["2024-01-30"])
    answers = {} if usual_count is None else {"2024-01-30": usual_count}
    answers |= {} if count is None else {"2024-01-31": count}
    first, second = volume_of("value", partition, before, answers, rules)
    assert (first.statistic, first.value, first.verdict) == ("answers", float(count or 0), "")
    return second


@pytest.mark.parametrize(
    ("count", "usual_count", "value", "verdict"),
    [
        (0, 100, 1.0, "warning"),
        (None, 100, 1.0, "warning"),
        (10, 100, 0.9, "ok"),
        (9, 100, 0.91, "warning"),
        (100, 100, 0.0, "ok"),
        (500, 100, 0.0, "ok"),
        (0, 19, 1.0, "too_few_rows"),
        (0, 0, None, "too_few_rows"),
        (0, None, None, "no_reference"),
    ],
)
def test_what_is_said_of_missing_answers(count: Any, usual_count: Any, value: Any, verdict: str) -> None:
    one = judged(count, usual_count)
    assert (one.value, one.verdict, one.rows) == (
        None if value is None else pytest.approx(value),
        verdict,
        usual_count or 0,
    )
    assert judged(count, usual_count, ()).verdict == ("no_reference" if verdict == "no_reference" else "")


def test_nothing_is_usual_where_no_weeks_are_compared_with() -> None:
    (partition,) = partitions_of(DAYS, ["2024-01-31"])
    assert [one.statistic for one in volume_of("value", partition, None, {}, [])] == ["answers"]


def test_the_rule_counts_no_columns_and_knows_the_weeks_before_alone() -> None:
    assert (RULE.name, RULE.min_rows, RULE.reference) == ("missing_answers_weeks_before", 20, "weeks_before")
    for strange in ({"columns": ["x"]}, {"reference": "training"}):
        with pytest.raises(DeclarationError, match="counts the answers of a partition"):
            fti.Drift("missing_answers", **strange)  # type: ignore[arg-type]


def test_missing_answers_ask_for_no_training_unless_they_are_named() -> None:
    from fti_assets.training.triggers.trigger import Breach

    class Told:
        now = datetime(2024, 1, 31)

        def breaches(self, monitor: str) -> list[Breach]:
            return [Breach(self.now, "prediction", "value", "missing_answers", "weeks_before", "", 1.0, 0.9, False)]

    assert fti.OnDrift("watch").cause(Told()) is None  # type: ignore[arg-type]
    assert fti.OnDrift("watch", statistics=["missing_answers"]).cause(Told()) is not None  # type: ignore[arg-type]
