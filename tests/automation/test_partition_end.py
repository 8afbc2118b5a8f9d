"""The last run of a partition: when it is requested, and again if it fails; what predictions wait for, and for whom."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from tests.automation.test_conditions import DAYS, WEEKS, System, launched, report, ticks_of

DAY = "2024-01-03"
FAILURE, CANCELED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


class Ticks:
    """The ticks of one group's conditions, whose requests come to a status in a step."""

    def __init__(self, instance: dg.DagsterInstance, group: Any) -> None:
        self.instance, self.group, self.defs = instance, group, fti.build_definitions([group])
        self.cursor: Any = None

    def __call__(self, moment: str | datetime, status: dg.DagsterRunStatus = FAILURE) -> set[Any]:
        at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        with clock.at(at):
            result: Any = dg.evaluate_automation_conditions(
                self.defs,
                self.instance,
                dg.AssetSelection.assets(self.group.key),
                evaluation_time=at.replace(tzinfo=UTC),
                cursor=self.cursor,
            )
        self.cursor = result.cursor
        requested = set(result.get_requested_partitions(self.group.key))
        if requested:
            run = launched(self.instance, {self.group.key: requested}, status)
            step = dg.DagsterEvent("STEP_START", "job", step_key="seen_v1")
            self.instance.report_dagster_event(step, run)
        return requested


@pytest.fixture
def ticks(instance: dg.DagsterInstance) -> Ticks:
    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def seen() -> pd.DataFrame: ...

    report(instance, seen.key, DAY, early=True)
    return Ticks(instance, seen)


def test_a_last_run_that_fails_is_requested_again_three_times(ticks: Ticks, caplog: pytest.LogCaptureFixture) -> None:
    start = datetime(2024, 1, 4, 0, 10)
    requests = []
    with caplog.at_level(logging.WARNING):
        for minutes in range(0, 60 * 16, 20):
            if ticks(start + timedelta(minutes=minutes)):
                requests.append(minutes // 60)
    assert requests == [0, 1, 3, 8], "one hour, two and four after the tick that has seen each"
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3 + ["ERROR"]
    assert "seen_v1 2024-01-03, after its end, has failed 4 times" in caplog.text


def test_a_last_run_that_comes_right_ends_it(ticks: Ticks, instance: dg.DagsterInstance) -> None:
    assert ticks("2024-01-04T00:10") == {DAY}
    assert ticks("2024-01-04T00:11") == set()
    report(instance, ticks.group.key, DAY)
    assert ticks("2024-01-04T05:00") == set()


def test_a_cancelled_last_run_stays_so(ticks: Ticks) -> None:
    assert ticks("2024-01-04T00:10", CANCELED) == {DAY}
    assert ticks("2024-01-04T00:11") == set()
    assert ticks("2024-01-04T05:00") == set()


def test_a_window_far_back_gets_its_last_run(instance: dg.DagsterInstance) -> None:
    hours = dg.HourlyPartitionsDefinition(start_date="2024-01-01-00:00", end_offset=1)

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=hours, serving_delay="14d")
    def seen() -> pd.DataFrame: ...

    ticks = Ticks(instance, seen)
    report(instance, seen.key, "2024-01-02-05:00", early=True)
    assert ticks("2024-01-10T00:00") == set()
    report(instance, seen.key, "2024-01-02-06:00", early=True)
    assert ticks("2024-01-16T06:30") == {"2024-01-02-05:00"}, "337 windows back"
    assert ticks("2024-01-16T07:30") == {"2024-01-02-06:00"}


@pytest.mark.soak
def test_ticks_within_a_ranges_rerun_see_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        system = System(tmp_path, instance)
        sources = [system.visits, system.outcomes]
        system.tick("2024-01-05T12:00")
        assert system.run("2024-01-05T12:00", sources, "2024-01-01", "2024-01-03")
        assert "rates_v1" in system.tick("2024-01-05T12:01")
        assert system.run("2024-01-05T12:02", [system.rates], "2024-01-01", "2024-01-03")
        system.tick("2024-01-05T12:03")
        log, observed = dg.AssetExecutionContext.log_event, []

        def log_and_tick(context: Any, event: Any) -> None:
            log(context, event)
            observed.append(system.tick("2024-01-05T12:04").get("rates_v1"))

        monkeypatch.setattr(dg.AssetExecutionContext, "log_event", log_and_tick)
        assert system.run("2024-01-05T12:04", [system.outcomes], "2024-01-01", "2024-01-03")
        assert observed == [None, None, None]
        assert "rates_v1" not in system.tick("2024-01-05T12:05")


def answering(instance: dg.DagsterInstance, promote: Any = "automatic") -> tuple[dict[str, Any], dg.Definitions]:
    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def seen() -> pd.DataFrame: ...

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS, ttl="5d")
    def rates() -> pd.DataFrame: ...

    view = fti.FeatureView(name="view", spine=seen, label=fti.Label(seen["y"]), features=[rates["x"]])
    split = fti.TimeSplit(validation="1d", test="2d")
    rows = fti.training_dataset(name="rows", view=view, partitions_def=WEEKS, split=split)

    @fti.model(dataset=rows, task="binary", promote=promote)
    def net(data: fti.TrainingData) -> Any: ...

    answers = fti.batch_predictions(name="answers", model=net, partitions_def=DAYS)
    assets = {"seen": seen, "rates": rates, "rows": rows, "net": net, "answers": answers}
    return assets, fti.build_definitions([answers])


def days(first: int, last: int) -> list[str]:
    return [f"2024-01-{day:02}" for day in range(first, last + 1)]


def test_predictions_wait_for_no_gap_within_the_ttl(instance: dg.DagsterInstance) -> None:
    assets, defs = answering(instance)
    report(instance, assets["net"].key, "2024-01-14")
    report(instance, assets["seen"].key, *days(1, 16))
    report(instance, assets["rates"].key, *days(1, 12), *days(14, 15))
    [requests] = ticks_of(defs, instance, ["2024-01-17T06:00"])
    assert requests["answers_v1"] == days(14, 15), "not for the 13th, which has never come, but for the 16th, which may"
    report(instance, assets["rates"].key, *days(16, 16))
    assert ticks_of(defs, instance, ["2024-01-17T06:00"])[0]["answers_v1"] == days(14, 16)


def test_an_open_partition_waits_for_a_person_who_promotes(instance: dg.DagsterInstance) -> None:
    assets, defs = answering(instance, promote="by_hand")
    report(instance, assets["seen"].key, *days(1, 16))
    report(instance, assets["rates"].key, *days(1, 16))
    build = dg.AssetMaterialization(
        assets["net"].key,
        partition="2024-01-14",
        metadata={"champion_after_run": "none"},
        tags={"dagster/data_version": "1"},
    )
    instance.report_runless_asset_event(build)
    now = "2024-01-16T12:00"
    assert ticks_of(defs, instance, [now])[0]["answers_v1"] == days(14, 15), "builds of their time answer those"
    instance.report_runless_asset_event(
        dg.AssetObservation(assets["net"].key, partition="2024-01-14", metadata={"rejected/build": "v1/x"})
    )
    assert ticks_of(defs, instance, [now])[0]["answers_v1"] == days(14, 15), "a rejected build is no promotion"
    instance.report_runless_asset_event(
        dg.AssetObservation(assets["net"].key, partition="2024-01-14", metadata={"champion": "v1/y"})
    )
    assert ticks_of(defs, instance, [now])[0]["answers_v1"] == days(14, 16)
