"""Which days of a monitor a change of labels asks for, and when a day's labels are mature."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.orchestration.conditions.reach import Reach, naive
from fti_assets.orchestration.partitions import partitions_of
from tests.automation.test_changes_within_reach import CALENDARS
from tests.automation.test_conditions import report

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-01-20")


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def trips() -> pd.DataFrame: ...


@fti.feature_group(keys=["id"], event_time="ended", partitions_def=DAYS)
def ends() -> pd.DataFrame: ...


VIEW = fti.FeatureView(
    name="trips_view", spine=trips, label=fti.Label(ends["late"], maturity="36h"), features=[trips["x"]]
)


@fti.model(dataset=VIEW, task="binary")
def lateness(data: fti.TrainingData) -> Any: ...


answers = fti.batch_predictions(name="answers", model=lateness, partitions_def=DAYS)
watch = fti.monitor(name="watch", predictions=answers, quality=[fti.Quality("roc_auc")])


class Ticks:
    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance, self.defs, self.cursor = instance, fti.build_definitions([watch]), None

    def __call__(self, moment: str) -> set[str]:
        at = datetime.fromisoformat(moment)
        with clock.at(at):
            tick: Any = dg.evaluate_automation_conditions(
                self.defs,
                self.instance,
                dg.AssetSelection.assets(watch.key),
                evaluation_time=at.replace(tzinfo=UTC),
                cursor=self.cursor,
            )
        self.cursor = tick.cursor
        return set(tick.get_requested_partitions(watch.key))


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    """All days until the tenth are answered and measured."""
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance)
        days = [f"2025-01-{day:02}" for day in range(1, 11)]
        for one in (answers, ends, watch):
            report(instance, one.key, *days)
        assert ticks("2025-01-16T00:00") == set()
        yield ticks


def test_labels_ask_for_exactly_the_days_that_may_have_them(ticks: Ticks) -> None:
    report(ticks.instance, ends.key, "2025-01-05", early=True)
    # A label of the fifth belongs to a row that is up to 36 hours older: of the fifth, fourth or the second half of the third.
    assert ticks("2025-01-16T00:01") == {"2025-01-03", "2025-01-04", "2025-01-05"}


def test_a_day_is_measured_once_more_when_its_labels_are_mature(ticks: Ticks) -> None:
    report(ticks.instance, watch.key, "2025-01-14", early=True)  # as a run before then says of itself
    assert ticks("2025-01-16T11:59") == set()
    assert ticks("2025-01-16T12:00") == {"2025-01-14"}


def test_answers_are_not_kept_waiting_for_labels(ticks: Ticks) -> None:
    report(ticks.instance, answers.key, "2025-01-11", early=True)
    assert ticks("2025-01-16T00:01") == {"2025-01-11"}


@pytest.mark.parametrize("name", CALENDARS)
@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=1), timedelta(hours=36), timedelta(days=30)])
def test_a_change_reaches_exactly_the_windows_before_it(name: str, ahead: timedelta) -> None:
    calendar, reach = CALENDARS[name], Reach(ahead=ahead)
    windows = [
        (one.start, one.end) for one in partitions_of(calendar, calendar.get_partition_keys()) if one.start and one.end
    ]
    whole = [_window(windows[0][0], windows[-1][1])]
    for hours in (0, 13, 500):  # labels of another calendar begin and end within windows
        first = windows[len(windows) // 2][0] + timedelta(hours=hours)
        last = first + timedelta(hours=5)
        near = reach.near(whole, [_window(first, last)])
        reached = [naive(span) for one in near if (span := reach.span_of(calendar, *one)) is not None]
        ours = {(start, end) for start, end in windows if any(a <= start and end <= b for a, b in reached)}
        assert ours == {(start, end) for start, end in windows if start < last and end + ahead > first}


def _window(start: datetime, end: datetime) -> dg.TimeWindow:
    return dg.TimeWindow(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
