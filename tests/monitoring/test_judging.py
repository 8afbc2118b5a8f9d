"""What rules say of figures: limits, least rows, references that are not there, breaches in a row."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

import fti_assets as fti
from fti_assets.core.manifest.profiles import ColumnProfile
from fti_assets.errors import DeclarationError
from fti_assets.monitoring.drift.judging import Comparison, breaches, check_rules, in_a_row, measured, rule_for
from fti_assets.monitoring.measurement import Measurement

DAY = datetime(2013, 6, 1)
THEN = ColumnProfile("x", "number", 1000, 100, edges=(0.0, 1.0), counts=(300, 300, 300))
NOW = ColumnProfile("x", "number", 600, 90, edges=(0.0, 1.0), counts=(10, 250, 250))
PSI = fti.Drift("psi")


def verdicts(
    now: ColumnProfile = NOW, then: ColumnProfile | None = THEN, *rules: fti.Drift, **more: Any
) -> dict[str, Measurement]:
    comparison = Comparison(DAY, "feature", "x", now, "training", then, "v1/b", **more)
    return {one.statistic: one for one in measured(comparison, rules or (PSI, fti.Drift("null_rate")))}


def test_a_figure_above_its_limit_is_a_warning_and_others_are_only_measured() -> None:
    judged = verdicts()
    assert (judged["psi"].verdict, judged["psi"].threshold, judged["psi"].rows) == ("warning", 0.2, 510)
    assert (judged["ks"].verdict, judged["ks"].threshold) == ("", None)
    assert judged["ks"].value is not None


def test_a_null_rate_is_judged_by_how_much_it_is_above_the_references() -> None:
    judged = verdicts()["null_rate"]
    assert (judged.value, judged.rows, judged.verdict) == (0.15, 600, "ok")
    assert judged.threshold == pytest.approx(0.1 + 0.05)
    assert verdicts(replace(NOW, rows=601, nulls=91))["null_rate"].verdict == "warning"


@pytest.mark.parametrize("most", [1, 20, 50, 60, 100, 120])
def test_what_an_encoder_left_out_is_no_news(most: int) -> None:
    counts = {f"c{number:03}": 12_000 // (number + 1) for number in range(120)}
    rows, learned = sum(counts.values()), list(counts)[:most]
    named, others = dict(list(counts.items())[:50]), list(counts.values())[50:]
    then = ColumnProfile("x", "text", rows, 0, categories=named, rest=sum(others), further_categories=70)
    same = ColumnProfile("x", "text", rows, 0, categories=counts)
    new = rows // 5
    more = ColumnProfile("x", "text", rows + new, 0, categories={**counts, "new": new})
    rule = fti.Drift("unknown_rate")
    judged = verdicts(same, then, rule, learned=learned)["unknown_rate"]
    left_out = sum(count for name, count in counts.items() if name not in {*named, *learned}) / rows
    assert (judged.value, judged.verdict) == (pytest.approx(left_out), "ok")
    assert judged.threshold is not None
    assert left_out <= judged.threshold - 0.05 + 1e-9 <= left_out + 0.05
    assert verdicts(more, then, rule, learned=learned)["unknown_rate"].verdict == "warning"


def test_a_feature_that_becomes_null_warns_by_its_null_rate() -> None:
    judged = verdicts(ColumnProfile("x", "number", 900, 900, edges=(0.0, 1.0), counts=(0, 0, 0)))
    assert (judged["psi"].value, judged["psi"].verdict) == (None, "too_few_rows")
    assert judged["null_rate"].verdict == "warning"


def test_a_feature_that_becomes_constant_warns_by_its_psi() -> None:
    assert verdicts(replace(NOW, counts=(0, 510, 0)))["psi"].verdict == "warning"


def test_a_feature_that_was_constant_has_no_distance_in_deviations() -> None:
    constant = ColumnProfile("x", "number", 900, 0, edges=(1.0,), counts=(900, 0))
    judged = verdicts(ColumnProfile("x", "number", 900, 0, edges=(1.0,), counts=(0, 900)), constant)
    assert "wasserstein" not in judged
    assert judged["psi"].verdict == "warning"


@pytest.mark.parametrize("kind", ["number", "integer", "vector", "text", "boolean", "timestamp"])
def test_values_in_a_column_that_had_none_are_seen(kind: Any) -> None:
    never = ColumnProfile("x", kind, 900, 900)
    categories = {"a": 300.0} if kind in ("text", "boolean") else {}
    some = ColumnProfile("x", kind, 900, 600, categories=categories)
    rules = (PSI, fti.Drift("null_rate"), fti.Drift("unknown_rate", min_rows=200), fti.Drift("ks"))
    judged = verdicts(some, never, *rules)
    shares = (2 / 3 - 1) * math.log(2 / 3) + (1 / 3 - 1e-4) * math.log(1 / 3 / 1e-4)
    assert judged["psi"].value == pytest.approx(shares)
    assert (judged["psi"].rows, judged["psi"].verdict, judged["null_rate"].verdict) == (900, "warning", "ok")
    if categories:
        assert (judged["unknown_rate"].value, judged["unknown_rate"].verdict) == (1.0, "warning")
    if kind in ("number", "integer", "vector"):
        assert judged["ks"].verdict in ("no_reference", "too_few_rows")
    same = verdicts(replace(never, rows=700, nulls=700), never, *rules)
    assert (same["psi"].value, same["psi"].verdict) == (0.0, "ok")
    assert verdicts(replace(some, rows=400, nulls=100), never, *rules)["psi"].verdict == "too_few_rows"
    assert verdicts(some, replace(never, rows=400, nulls=400), *rules)["psi"].verdict == "no_reference"


@pytest.mark.parametrize(
    "then", [None, ColumnProfile("x", "text", 900, 0, categories={"a": 900})], ids=["none", "text"]
)
def test_without_a_reference_of_its_type_only_nulls_are_told(then: ColumnProfile | None) -> None:
    judged = verdicts(NOW, then)
    assert {one.verdict for one in judged.values()} == {"no_reference"}
    assert (judged["psi"].value, judged["null_rate"].value) == (None, 0.15)


def test_of_few_rows_the_figure_is_given_without_a_verdict() -> None:
    few = replace(NOW, rows=499, nulls=0, counts=(9, 245, 245))
    assert verdicts(few)["psi"].verdict == "too_few_rows"
    assert verdicts(few)["psi"].value is not None
    small = replace(THEN, rows=300, nulls=0, counts=(100, 100, 100))
    assert verdicts(NOW, small)["psi"].verdict == "no_reference"


def test_a_new_category_warns_by_the_rate_of_unknown_ones() -> None:
    then = ColumnProfile("x", "text", 900, 0, categories={"a": 450, "b": 450})
    now = ColumnProfile("x", "text", 900, 0, categories={"a": 450, "c": 450})
    judged = verdicts(now, then, fti.Drift("unknown_rate"), fti.Drift("category_churn"))
    assert (judged["unknown_rate"].value, judged["unknown_rate"].verdict) == (0.5, "warning")
    assert judged["category_churn"].value == pytest.approx(2 / 3)


def test_a_rule_for_a_column_comes_before_the_rule_for_all() -> None:
    own = fti.Drift("psi", at_most=9.0, columns=["x"])
    assert rule_for([PSI, own], "psi", "training", "x") is own
    assert rule_for([PSI, own], "psi", "training", "y") is PSI
    assert rule_for([PSI, own], "psi", "weeks_before", "y") is None
    with pytest.raises(DeclarationError, match="by two rules"):
        check_rules([own, fti.Drift("psi", columns=["y", "x"])], what="monitor 'm'")


def on(day: int, value: float, verdict: Any = "", **more: Any) -> Measurement:
    verdict = verdict or ("warning" if value > 0.2 else "ok")
    own = {"subject": "feature", "column_name": "x", "statistic": "psi", "reference": "training", "rows": 600}
    return Measurement(
        partition_start=DAY + timedelta(days=day), value=value, threshold=0.2, verdict=verdict, **(own | more)
    )


def warned(values: list[Measurement], k: int, history: Any = None) -> list[int]:
    rules = [fti.Drift("psi", in_a_row=k)]
    return [
        (one.partition_start - DAY).days for one in in_a_row(values, rules, history or {}) if one.verdict == "warning"
    ]


def test_a_warning_comes_with_the_last_of_breaches_in_a_row() -> None:
    days = [on(0, 0.3), on(1, 0.3), on(2, 0.1), on(3, 0.3), on(4, 0.4), on(5, 0.5)]
    assert warned(days, 1) == [0, 1, 3, 4, 5]
    assert warned(days, 2) == [1, 4, 5]
    assert warned(days, 3) == [5]


def test_days_without_a_verdict_break_no_row() -> None:
    assert warned([on(0, 0.3), on(2, 0.9, "too_few_rows"), on(5, 0.3)], 2) == [5]


def test_days_that_were_measured_before_count_in_a_row() -> None:
    series = on(0, 0.3).series
    assert warned([on(3, 0.3)], 3, {series: {DAY: True, DAY + timedelta(days=1): True}}) == [3]
    assert warned([on(3, 0.3)], 3, {series: {DAY: True, DAY + timedelta(days=1): False}}) == []


def test_one_build_above_the_limit_is_a_breach_of_the_day() -> None:
    days = [on(0, 0.1, build="a"), on(0, 0.3, build="b"), on(1, 0.3, build="b"), on(1, 0.1, build="a")]
    assert list(breaches(days).values()) == [{DAY: True, DAY + timedelta(days=1): True}]
    assert warned(days, 2) == [1]
