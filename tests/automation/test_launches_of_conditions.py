"""Requests of the conditions whose run never began are made again, and no others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from tests.automation.test_conditions import DAYS, WEEKS, launched, report
from tests.support.partitions import range_tags

START = datetime(2024, 1, 18, 12)
DAY = "2024-01-15"


class System:
    """Groups, a dataset, a model and predictions on recorded events, ticked by minutes."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
        def seen() -> pd.DataFrame: ...

        @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
        def derived(seen: fti.Table) -> fti.Table: ...

        view = fti.FeatureView(name="view", spine=seen, label=fti.Label(seen["y"]), features=[derived["x"]])
        rows = fti.training_dataset(
            name="rows", view=view, partitions_def=WEEKS, split=fti.TimeSplit(validation="1d", test="2d")
        )

        @fti.model(dataset=rows, task="binary")
        def net(data: fti.TrainingData) -> Any: ...

        answers = fti.batch_predictions(name="answers", model=net, partitions_def=DAYS)
        self.instance, self.cursor = instance, None
        self.groups = {"derived": derived, "rows": rows, "net": net, "answers": answers}
        self.seen = seen
        self.defs = fti.build_definitions([answers])

    def tick(self, minute: float, name: str) -> set[str]:
        asset = self.groups[name]
        at = START + timedelta(minutes=minute)
        with clock.at(at):
            result: Any = dg.evaluate_automation_conditions(
                self.defs,
                self.instance,
                dg.AssetSelection.assets(asset.key),
                evaluation_time=at.replace(tzinfo=UTC),
                cursor=self.cursor,
            )
        self.cursor = result.cursor
        return set(result.get_requested_partitions(asset.key))

    def request(self, name: str) -> set[str]:
        """Bring about a first request of one asset, at the start."""
        days = [day.strftime("%Y-%m-%d") for day in pd.date_range("2024-01-01", "2024-01-17")]
        if name == "derived":
            report(self.instance, self.seen.key, *days)
            assert self.tick(-1, name) == set()
            report(self.instance, self.seen.key, DAY, early=True)
        else:
            for group in (self.seen, self.groups["derived"]):
                report(self.instance, group.key, *days)
            if name in ("net", "answers"):
                report(self.instance, self.groups["rows"].key, "2024-01-14")
            if name == "answers":
                report(self.instance, self.groups["net"].key, "2024-01-14")
        return self.tick(0, name)


@pytest.fixture
def system() -> Iterator[System]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield System(instance)


REQUESTS = {
    "derived": {DAY},
    "rows": {"2024-01-14"},
    "net": {"2024-01-14"},
    "answers": {"2024-01-14", "2024-01-15", "2024-01-16", "2024-01-17"},
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("failed", [True, False], ids=["failed before its step", "no run at all"])
def test_request_that_never_began_is_made_again_with_backoff(
    system: System, name: str, failed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    requests, key = system.request(name), system.groups[name].key
    assert requests == REQUESTS[name]
    with caplog.at_level(logging.WARNING):
        for early, minute in [(0.9, 1), (2.9, 3), (6, 7), (14, 15), (30, 31)]:
            if failed:
                launched(system.instance, {key: requests}, dg.DagsterRunStatus.FAILURE)
            assert system.tick(early, name) == set(), "it waits"
            assert system.tick(minute, name) == requests
        if failed:
            launched(system.instance, {key: requests}, dg.DagsterRunStatus.FAILURE)
        assert system.tick(100, name) == set(), "it is given up after five"
        assert system.tick(1000, name) == set()
    messages = [record.getMessage() for record in caplog.records]
    assert sum("never began: requested again" in text for text in messages) >= 5
    assert any("never began, 6 times; not requested again" in text for text in messages)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED])
def test_a_request_that_ended_is_not_made_again(system: System, status: dg.DagsterRunStatus) -> None:
    requests = system.request("derived")
    launched(system.instance, {system.groups["derived"].key: requests}, status)
    assert [system.tick(minute, "derived") for minute in (1, 5, 60)] == [set(), set(), set()]


def test_a_request_whose_step_failed_is_not_made_again(system: System) -> None:
    requests = system.request("derived")

    @dg.asset
    def broken() -> None:
        raise ValueError("broken")

    run = dg.materialize([broken], instance=system.instance, raise_on_error=False)
    key = system.groups["derived"].key
    planned = dg.DagsterEvent.build_asset_materialization_planned_event("job", "derived_v1", _planned(key, *requests))
    system.instance.report_dagster_event(planned, run.run_id)
    assert [system.tick(minute, "derived") for minute in (1, 5, 60)] == [set(), set(), set()]


def test_of_request_only_what_never_began_is_made_again(system: System) -> None:
    requests = system.request("answers")
    key = system.groups["answers"].key
    launched(system.instance, {key: {"2024-01-14"}}, dg.DagsterRunStatus.FAILURE)
    launched(system.instance, {key: {"2024-01-15"}}, dg.DagsterRunStatus.SUCCESS)
    launched(system.instance, {key: {"2024-01-16"}}, dg.DagsterRunStatus.STARTED)
    assert system.tick(1, "answers") == requests - {"2024-01-15", "2024-01-16"}


def test_long_range_whose_run_never_began_is_made_again_together(system: System) -> None:
    days = [day.strftime("%Y-%m-%d") for day in pd.date_range("2023-06-01", "2024-01-17")]
    calendar = dg.DailyPartitionsDefinition(start_date=days[0], end_offset=1)

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=calendar)
    def seen() -> pd.DataFrame: ...

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=calendar)
    def derived(seen: fti.Table) -> fti.Table: ...

    system.groups["derived"], system.defs = derived, fti.build_definitions([derived])
    report(system.instance, seen.key, *days)
    system.tick(-1, "derived")
    report(system.instance, seen.key, *days, early=True)
    assert system.tick(0, "derived") == set(days)
    tags = range_tags(days[0], days[-1])
    launched(system.instance, {derived.key: set(days)}, dg.DagsterRunStatus.FAILURE, tags)
    assert system.tick(1, "derived") == set(days)


def _planned(key: dg.AssetKey, partition: str) -> Any:
    from dagster._core.events import AssetMaterializationPlannedData

    return AssetMaterializationPlannedData(key, partition=partition)
