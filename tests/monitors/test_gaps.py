"""A day that was never answered holds up no week, and is measured by nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd

import fti_assets as fti
from fti_assets.core import clock
from tests.automation.test_conditions import DAYS, WEEKS, report

GAP = "2024-01-09"


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def seen() -> pd.DataFrame: ...


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def outcomes() -> pd.DataFrame: ...


view = fti.FeatureView(name="view", spine=seen, label=fti.Label(outcomes["y"], maturity="1d"), features=[seen["x"]])
rows = fti.training_dataset(
    name="rows", view=view, partitions_def=WEEKS, split=fti.TimeSplit(validation="1d", test="2d")
)


@fti.model(dataset=rows, task="binary")
def net(data: fti.TrainingData) -> Any: ...


answers = fti.batch_predictions(name="answers", model=net, partitions_def=DAYS)
quality = [fti.Quality("roc_auc")]
by_day = fti.monitor(name="by_day", predictions=answers, quality=quality)
by_week = fti.monitor(name="by_week", predictions=answers, partitions_def=WEEKS, quality=quality)
drift_by_week = fti.monitor(name="drift_by_week", predictions=answers, partitions_def=WEEKS)


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, at: str, cursor: Any) -> Any:
    keys = [by_day.key, by_week.key, drift_by_week.key]
    with clock.at(at):
        return dg.evaluate_automation_conditions(
            defs,
            instance,
            dg.AssetSelection.assets(*keys),
            evaluation_time=datetime.fromisoformat(at).replace(tzinfo=UTC),
            cursor=cursor,
        )


def test_a_week_waits_for_what_may_come_and_not_for_a_gap() -> None:
    defs = fti.build_definitions([by_day, by_week, drift_by_week])
    week = [f"2024-01-{day:02}" for day in (7, 8, 10, 11, 12)]
    cursor, requests = None, []
    with dg.DagsterInstance.ephemeral() as instance:
        for at, days in [("2024-01-08T00:05", []), ("2024-01-14T00:05", week), ("2024-01-14T00:05:30", ["2024-01-13"])]:
            report(instance, answers.key, *days)
            report(instance, outcomes.key, *days, GAP)
            result = tick(defs, instance, at, cursor)
            cursor = result.cursor
            requests.append(
                [sorted(result.get_requested_partitions(one.key)) for one in (by_day, by_week, drift_by_week)]
            )
    # The days before the gap and before the last may have labels of these.
    last = ["2024-01-08", "2024-01-12", "2024-01-13"]
    assert requests == [[[], [], []], [week, [], []], [last, ["2024-01-07"], ["2024-01-07"]]]
