"""What rules of quality say of figures, alone and in a row."""

from dataclasses import replace
from datetime import datetime

import pytest

import fti_assets as fti
from fti_assets.errors import DeclarationError
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitoring.quality.judging import Judged, judged, note, quality_in_a_row

RULE = fti.Quality("roc_auc", at_least=0.7, min_rows=10, in_a_row=2)
FIGURE = Measurement(partition_start=datetime(2025, 1, 1), subject="quality", statistic="roc_auc", value=0.6, rows=10)


def on(
    day: int, value: float | None, rows: int = 10, *, estimated: bool = False, rule: fti.Quality = RULE
) -> Measurement:
    one = replace(FIGURE, partition_start=datetime(2025, 1, day), value=value, rows=rows, estimated=estimated)
    return judged(one, rule, None)


def verdicts(*measurements: Measurement, rule: fti.Quality = RULE) -> list[str]:
    return [one.verdict for one in quality_in_a_row(measurements, [rule], {})]


def test_a_breach_warns_once_it_comes_in_a_row() -> None:
    assert verdicts(on(1, 0.6), on(2, 0.8), on(3, 0.6), on(4, 0.69)) == ["ok", "ok", "ok", "warning"]
    # Few rows, and a metric that is undefined, are judged by nobody and break no row.
    assert verdicts(on(1, 0.6), on(2, 0.9, 9), on(3, None), on(4, 0.6)) == ["ok", "too_few_rows", "", "warning"]


def test_earlier_partitions_count() -> None:
    history: dict[tuple[str, ...], Judged] = {}
    note(history, [on(1, 0.6)], {"roc_auc": RULE})
    [one] = quality_in_a_row([on(2, 0.6)], [RULE], history)
    assert one.verdict == "warning"


def test_an_estimate_follows_on_labels_where_they_have_come() -> None:
    fine, bad = on(1, 0.8), on(1, 0.6)
    estimates = [on(1, 0.6, estimated=True), on(2, 0.6, estimated=True)]
    assert verdicts(fine, *estimates)[-1] == "ok"
    assert verdicts(bad, *estimates)[-1] == "warning"


def test_a_drop_is_counted_from_the_builds_own_figure() -> None:
    loss = fti.Quality("log_loss", drop=0.1, min_rows=1)
    figure = replace(FIGURE, statistic="log_loss")
    assert judged(replace(figure, value=0.61), loss, 0.5).verdict == "warning"
    assert judged(replace(figure, value=0.59), loss, 0.5).threshold == 0.6
    assert judged(replace(figure, value=0.59), loss, None).verdict == "no_reference"
    area = fti.Quality("roc_auc", drop=0.1, min_rows=1)
    assert judged(replace(FIGURE, value=0.65), area, 0.8).verdict == "warning"


def test_a_metric_without_a_bound_is_not_judged() -> None:
    assert judged(FIGURE, fti.Quality("roc_auc"), 0.9).verdict == ""


def test_rules_are_told_in_words() -> None:
    assert fti.Quality("log_loss", drop=0.1).text == "log_loss worse by at most 0.1 than on the build's test rows"
    assert (RULE.text, RULE.name) == ("roc_auc at least 0.7", "quality_roc_auc")
    assert fti.Quality("log_loss:late").name == "quality_log_loss_of_late"


@pytest.mark.parametrize("bound", ["at_most", "drop"])
def test_share_of_labels_can_only_be_too_low(bound: str) -> None:
    with pytest.raises(DeclarationError, match=f"has {bound}: a share of labels can only be too low"):
        fti.Quality("label_rate", **{bound: 0.5})
