"""The sensor over new data, tick by tick, on a real instance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.errors import DeclarationError

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")


class Landing(dg.ConfigurableResource[Any]):
    """What has landed, as the test says."""

    folder: str = "landing"

    def versions(self, source: str) -> dict[str, str]:
        return dict(LANDED.get(source, {}))


LANDED: dict[str, dict[str, str]] = {}


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def visits() -> pd.DataFrame:
    raise NotImplementedError


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def orders() -> pd.DataFrame:
    raise NotImplementedError


@fti.feature_group(keys=["id"])
def shops() -> pd.DataFrame:
    raise NotImplementedError


@fti.new_data_sensor(targets=[visits, orders, shops])
def landed(landing: Landing) -> dict[Any, Any]:
    """What lies in the landing folder."""
    return {
        visits: landing.versions("visits"),
        orders: landing.versions("orders"),
        shops: landing.versions("shops").get("all"),
    }


class Ticks:
    """A sensor that is asked again and again, with the cursor that it gave."""

    def __init__(self, instance: dg.DagsterInstance, sensor: dg.SensorDefinition = landed) -> None:
        self.instance, self.sensor, self.cursor = instance, sensor, None
        self.definitions = dg.Definitions(
            [visits.assets_def, orders.assets_def, shops.assets_def],
            resources={"fti": fti.Stores(), "landing": Landing()},
            sensors=[sensor],
        )

    def evaluate(self) -> Any:
        with dg.build_sensor_context(
            self.instance,
            cursor=self.cursor,
            definitions=self.definitions,
            sensor_name=self.sensor.name,
            resources={"landing": Landing()},
        ) as context:
            return self.sensor.evaluate_tick(context)

    def tick(self) -> list[tuple[str, ...]]:
        """The runs that are requested: the assets, and the partition or the range."""
        result = self.evaluate()
        self.cursor = result.cursor
        return [said(request) for request in result.run_requests or []]


def said(request: dg.RunRequest) -> tuple[str, ...]:
    names = "+".join(sorted(key.to_user_string() for key in request.asset_selection or []))
    tags = request.tags
    if "dagster/asset_partition_range_start" in tags:
        return (names, tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"])
    return (names, *filter(None, [request.partition_key]))


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    LANDED.clear()
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ticks(instance)


def test_the_sensor_runs_without_being_turned_on() -> None:
    assert landed.default_status == dg.DefaultSensorStatus.RUNNING
    assert landed.description == "What lies in the landing folder."


def test_nothing_landed_requests_nothing_and_says_so(ticks: Ticks) -> None:
    result = ticks.evaluate()
    assert not result.run_requests
    assert result.skip_message == "nothing new"


def test_two_files_between_ticks_are_two_partitions(ticks: Ticks) -> None:
    LANDED["visits"] = {"2024-01-01": "a", "2024-01-03": "a"}
    assert ticks.tick() == [("visits_v1", "2024-01-01"), ("visits_v1", "2024-01-03")]
    assert ticks.tick() == []


def test_file_landed_again_runs_only_its_day(ticks: Ticks) -> None:
    LANDED["visits"] = {"2024-01-01": "a", "2024-01-02": "a", "2024-01-03": "a"}
    ticks.tick()
    LANDED["visits"]["2024-01-02"] = "b"
    assert ticks.tick() == [("visits_v1", "2024-01-02")]
    LANDED["visits"]["2024-01-02"] = "a"
    assert ticks.tick() == [("visits_v1", "2024-01-02")]
    assert ticks.tick() == []


def test_a_range_that_lands_at_once_is_one_run(ticks: Ticks) -> None:
    days = [f"2024-01-{n:02}" for n in range(1, 11)]
    LANDED.update(visits=dict.fromkeys(days, "a"), orders=dict.fromkeys(days, "a"), shops={"all": "1"})
    assert ticks.tick() == [("orders_v1+visits_v1", "2024-01-01", "2024-01-10"), ("shops_v1",)]
    LANDED["visits"] |= {"2024-01-11": "a", "2024-01-12": "a"}
    LANDED["orders"] |= {"2024-01-11": "a"}
    assert ticks.tick() == [("visits_v1", "2024-01-11", "2024-01-12"), ("orders_v1", "2024-01-11")]


def test_day_that_misses_between_others_is_named_and_holds_up_none(ticks: Ticks) -> None:
    LANDED["visits"] = {"2024-01-01": "a", "2024-01-02": "a", "2024-01-04": "a"}
    assert ticks.tick() == [("visits_v1", "2024-01-01", "2024-01-02"), ("visits_v1", "2024-01-04")]
    assert "visits_v1 2024-01-03, which has not landed though a later one has" in ticks.evaluate().skip_message
    LANDED["visits"]["2024-01-03"] = "a"
    assert ticks.tick() == [("visits_v1", "2024-01-03")]


def test_partition_that_does_not_exist_yet_waits_until_it_does(ticks: Ticks) -> None:
    LANDED["visits"] = {"2024-01-31": "a", "2024-02-01": "a"}
    assert ticks.tick() == [("visits_v1", "2024-01-31")]
    result = ticks.evaluate()
    assert result.skip_message == "nothing new; waiting for 'visits_v1 2024-02-01, which is not a partition yet'"


def test_first_tick_takes_as_seen_what_is_materialized_already(ticks: Ticks) -> None:
    LANDED.update(visits={"2024-01-01": "a", "2024-01-02": "a"}, shops={"all": "1"})
    ticks.instance.report_runless_asset_event(dg.AssetMaterialization(visits.key, partition="2024-01-01"))
    ticks.instance.report_runless_asset_event(dg.AssetMaterialization(shops.key))
    assert ticks.tick() == [("visits_v1", "2024-01-02")]
    LANDED["visits"]["2024-01-01"] = "b"
    assert ticks.tick() == [("visits_v1", "2024-01-01")]


def test_two_daemons_on_one_cursor_ask_for_same_runs(ticks: Ticks) -> None:
    LANDED["visits"] = {"2024-01-01": "a"}
    first, second = ticks.evaluate(), ticks.evaluate()
    assert [request.run_key for request in first.run_requests] == [request.run_key for request in second.run_requests]
    ticks.cursor = first.cursor
    LANDED["visits"] = {"2024-01-01": "b"}
    assert ticks.evaluate().run_requests[0].run_key != first.run_requests[0].run_key


def test_two_daemons_that_saw_other_versions_ask_for_other_runs(ticks: Ticks) -> None:
    LANDED["visits"] = {"2024-01-01": "a"}
    first = ticks.evaluate()
    LANDED["visits"] = {"2024-01-01": "b"}
    assert ticks.evaluate().run_requests[0].run_key != first.run_requests[0].run_key


def test_a_folder_that_lists_nothing_once_runs_nothing_again(ticks: Ticks) -> None:
    LANDED["visits"] = {"2024-01-01": "a", "2024-01-02": "a"}
    ticks.tick()
    LANDED["visits"] = {}
    assert ticks.tick() == []
    LANDED["visits"] = {"2024-01-01": "a", "2024-01-02": "b"}
    assert ticks.tick() == [("visits_v1", "2024-01-02")]


def test_plain_asset_without_single_run_policy_gets_run_a_partition() -> None:
    @dg.asset(partitions_def=DAYS)
    def sales() -> None: ...

    @fti.new_data_sensor(targets=[sales])
    def sales_landed() -> dict[Any, Any]:
        return {sales: {"2024-01-01": "a", "2024-01-02": "a"}}

    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance, sales_landed)
        ticks.definitions = dg.Definitions([sales], sensors=[sales_landed])
        assert ticks.tick() == [("sales", "2024-01-01"), ("sales", "2024-01-02")]


def test_a_function_that_fails_loses_nothing(ticks: Ticks) -> None:
    LANDED["visits"] = {"2024-01-01": "a"}
    ticks.tick()

    @fti.new_data_sensor(targets=[visits, orders, shops], name="landed")
    def broken() -> dict[Any, Any]:
        raise OSError("the folder is not mounted")

    failing = Ticks(ticks.instance, broken)
    failing.cursor = ticks.cursor
    LANDED["visits"]["2024-01-02"] = "a"
    with pytest.raises(OSError, match="not mounted"):
        failing.evaluate()
    assert ticks.tick() == [("visits_v1", "2024-01-02")]


def test_a_cursor_that_somebody_overwrote_starts_anew(ticks: Ticks) -> None:
    LANDED["visits"] = {"2024-01-01": "a"}
    for nonsense in ("yesterday", "[]", json.dumps({"seen": 3})):
        ticks.cursor = nonsense
        assert ticks.tick() == [("visits_v1", "2024-01-01")]


def test_static_partitions_are_requested_one_by_one() -> None:
    regions = dg.StaticPartitionsDefinition(["east", "north", "west"])

    @dg.asset(partitions_def=regions)
    def sales() -> None: ...

    @fti.new_data_sensor(targets=[sales])
    def regions_landed(context: dg.SensorEvaluationContext) -> dict[Any, Any]:
        return {sales: {"north": "a", "west": "a"}}

    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance, regions_landed)
        ticks.definitions = dg.Definitions([sales], sensors=[regions_landed])
        assert ticks.tick() == [("sales", "north"), ("sales", "west")]


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({shops: {"all": "a"}}, "shops_v1 has no partitions: give its version as one text, or None"),
        ({visits: "a"}, "visits_v1 is partitioned: give a mapping of partition to version"),
        ({orders: {}}, "not one of its targets: 'visits_v1' or 'shops_v1'"),
    ],
)
def test_version_of_wrong_shape_is_error_that_says_which(found: dict[Any, Any], problem: str) -> None:
    @fti.new_data_sensor(targets=[visits, shops])
    def wrong() -> dict[Any, Any]:
        return found

    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(DeclarationError) as caught:
        Ticks(instance, wrong).evaluate()
    assert problem in str(caught.value)


def test_a_sensor_needs_targets_that_are_assets() -> None:
    with pytest.raises(DeclarationError, match="needs targets"):
        fti.new_data_sensor(targets=[])
    with pytest.raises(DeclarationError, match="'visits' is neither a feature group nor a Dagster asset"):
        fti.new_data_sensor(targets=["visits"])
    with pytest.raises(DeclarationError, match="most_runs=0 is less than 1"):
        fti.new_data_sensor(targets=[visits], most_runs=0)
