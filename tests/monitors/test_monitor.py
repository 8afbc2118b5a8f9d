"""A monitor as a Dagster asset: what it stores, what may rest on it, and what a rerun changes."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.describe.system import describe
from fti_assets.errors import DeclarationError
from fti_assets.reset.plan import plan_reset
from tests.automation.test_conditions import launched, report
from tests.support.visits import BUYER, DAYS, LATER, SCORES, Bench, in_day, run

watch = fti.monitor(name="watch", predictions=SCORES)


@fti.feature_group(keys=["column_name"], event_time="partition_start", partitions_def=DAYS)
def worst(watch: fti.Table) -> Any:
    return watch.relation.aggregate("column_name, partition_start, max(value) AS worst")


def measure(bench: Bench, monitor: Any = watch, day: str = "06", now: str = LATER) -> dg.ExecuteInProcessResult:
    with clock.at(now):
        return run(monitor, stores=bench.stores, instance=bench.instance, partition_key=f"2013-01-{day}")


def figures(bench: Bench, monitor: Any = watch) -> pd.DataFrame:
    rows: pd.DataFrame = fti.read(monitor, stores=bench.stores)
    return rows


def test_a_day_is_measured_read_rested_on_and_the_same_again(bench: Bench) -> None:
    bench.predict(day="06")
    (first,) = measure(bench).asset_materializations_for_node("watch_v1")
    rows = figures(bench)
    rates = rows[(rows["statistic"] == "null_rate") & (rows["reference"] == "training")].set_index("column_name")[
        "value"
    ]
    assert rates["x"] == in_day(6)["x"].isna().mean()
    assert set(rows["partition_start"]) == {pd.Timestamp("2013-01-06")}
    assert set(rows["measured_at"]) == {pd.Timestamp(LATER)}
    (again,) = measure(bench, now="2013-01-21").asset_materializations_for_node("watch_v1")
    pd.testing.assert_frame_equal(figures(bench), rows)
    version = "dagster/data_version"
    assert first.tags[version] == again.tags[version]
    assert run(worst, stores=bench.stores, instance=bench.instance, partition_key="2013-01-06").success
    taken = fti.read(worst, stores=bench.stores).set_index("column_name")["worst"]
    assert taken["x"] == rows[rows["column_name"] == "x"]["value"].max()


def test_definitions_know_a_monitor_and_what_it_rests_on() -> None:
    definitions = fti.build_definitions([worst])
    (facts,) = describe(definitions)["monitors"]
    assert facts["watches"] == "scores_v1"
    assert facts["upstream"] == ["scores_v1"]
    assert [(one.kind, one.name) for one in fti.search("unknown_rate", definitions)] == []
    assert ("monitor", "watch_v1") in [(one.kind, one.name) for one in fti.search("partition_start", definitions)]
    inference = next(one for one in definitions.sensors or () if one.name.endswith("_inference"))
    assert {key.to_user_string() for key in inference.asset_selection.resolve(definitions.resolve_asset_graph())} == {
        "scores_v1",
        "watch_v1",
    }


def test_a_reset_drops_the_table_of_a_monitor(bench: Bench) -> None:
    bench.predict(day="06")
    measure(bench)
    with bench.stores.offline_store().connect():
        plan = plan_reset(fti.build_definitions([watch]), ["watch"], stores=bench.stores)
    (drop,) = plan.drops
    assert (drop.table.full_name, drop.partitions) == ("monitoring.watch_v1", 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "watches nothing"),
        ({"predictions": SCORES, "drift": [fti.Drift("psi", columns=["moood"])]}, "'moood', which is not measured"),
        ({"predictions": SCORES, "weeks": 53}, "from 0 to 52"),
        (
            {"predictions": SCORES, "weeks": 0, "drift": [fti.Drift("psi", reference="weeks_before")]},
            "weeks=0 and the rule",
        ),
        ({"predictions": SCORES, "drift": [fti.Drift("psi"), fti.Drift("psi", at_most=1)]}, "two rules"),
        ({"predictions": SCORES, "partitions_def": dg.StaticPartitionsDefinition(["a"])}, "stretches of time"),
    ],
)
def test_an_impossible_monitor_is_refused_when_it_is_declared(options: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        fti.monitor(name="watch", **options)


def test_a_day_is_measured_once_it_is_over_and_when_its_answers_change_then() -> None:
    log = fti.prediction_log(name="log_of_today", model=BUYER)
    of_log = fti.monitor(name="of_log", log=log)
    defs, cursor, ticks = fti.build_definitions([of_log]), None, []
    moments = {"07T09": None, "07T10": "1", "08T00": None, "08T01": None, "08T02": "2"}
    with dg.DagsterInstance.ephemeral() as instance:
        report(instance, log.key, "2013-01-05")  # before the first tick, which sees no change
        for moment, version in moments.items():
            at = datetime.fromisoformat(f"2013-01-{moment}:00:00")
            if version is not None:
                report(instance, log.key, "2013-01-07", early=version)
            with clock.at(at):
                result = dg.evaluate_automation_conditions(
                    defs,
                    instance,
                    dg.AssetSelection.assets(of_log.key),
                    evaluation_time=at.replace(tzinfo=UTC),
                    cursor=cursor,
                )
            cursor = result.cursor
            ticks.append(set(result.get_requested_partitions(of_log.key)))
            if ticks[-1]:
                launched(instance, {of_log.key: ticks[-1]})
    day = {"2013-01-07"}
    assert ticks == [set(), set(), day, set(), day]
