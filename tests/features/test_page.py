"""What a run of a group shows: statistics, numbers by partition, freshness and the measured delay."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.testing import Materialized

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-02-01")


@fti.feature_group(
    keys=["k"], event_time="t", ttl="6h", serving_delay="1h", partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)  # fmt: skip
def readings(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """A row every six hours of each day; x is null in the first of each day, y on the second day."""
    times = [pd.Timestamp(day) + pd.Timedelta(hours=hour) for day in context.partition_keys for hour in (0, 6, 12, 18)]
    return pd.DataFrame(
        {
            "k": ["a"] * len(times),
            "t": times,
            "x": [None if time.hour == 0 else float(time.hour) for time in times],
            "y": [None if time.day == 2 else "text" for time in times],
        }
    )


@pytest.fixture
def stores(tmp_path: Path) -> fti.Stores:
    return testing.stores_in(tmp_path)


def events(done: Materialized) -> dict[str | None, dict[str, Any]]:
    """The metadata of each partition's newest event."""
    (result,) = done.runs.values()
    results = result.get_asset_materialization_events()
    return {event.partition: {k: v.value for k, v in event.materialization.metadata.items()} for event in results}


def check(done: Materialized, name: str) -> dg.AssetCheckEvaluation:
    (result,) = done.runs.values()
    (results,) = [one for one in result.get_asset_check_evaluations() if one.check_name == name]
    return results


def test_run_shows_statistics_and_numbers_of_each_partition(stores: fti.Stores) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        done = testing.materialize(readings, stores=stores, partition=("2013-01-01", "2013-01-02"), instance=instance)
        records = instance.fetch_materializations(readings.key, limit=2).records
    displayed = {
        record.partition_key: {name: value.value for name, value in record.asset_materialization.metadata.items()}
        for record in records
        if record.asset_materialization is not None
    }
    first, second = displayed["2013-01-01"], displayed["2013-01-02"]
    numbers = ("null_rate", "null_rate/x", "null_rate/y", "newest_event_age_s", "dagster/partition_row_count")
    assert {name: first[name] for name in numbers} == {
        "null_rate": 0.125, "null_rate/x": 0.25, "null_rate/y": 0.0, "newest_event_age_s": 30 * 3600.0,
        "dagster/partition_row_count": 4,
    }  # fmt: skip
    assert {name: second[name] for name in numbers} == {
        "null_rate": 0.625, "null_rate/x": 0.25, "null_rate/y": 1.0, "newest_event_age_s": 6 * 3600.0,
        "dagster/partition_row_count": 4,
    }  # fmt: skip
    assert "statistics" not in first
    rows = {record.data["column"]: record.data for record in second["statistics"].records}
    assert list(rows) == ["k", "t", "x", "y"]
    assert rows["x"] == {
        "column": "x", "type": "number", "null_rate": 0.25, "min": "6", "max": "18", "mean": 12.0, "std": 5.36656,
        "distinct_about": 3,
    }  # fmt: skip
    assert (rows["t"]["min"], rows["t"]["max"]) == ("2013-01-01 00:00:00", "2013-01-02 18:00:00")
    assert second["measured_delay_p95_s"] == pytest.approx(46.2 * 3600 - 0.3 * 3600, rel=0.01)
    assert len(second["preview"].records) == 5
    assert done.success


def test_the_measured_delay_stands_beside_the_stated_one(stores: fti.Stores) -> None:
    done = testing.materialize(readings, stores=stores, partition="2013-01-01", now="2013-01-01T18:30")
    results = check(done, "rows_in_time")
    assert {name: value.value for name, value in results.metadata.items() if name.endswith("_s")} == {
        "measured_delay_p50_s": 9.5 * 3600, "measured_delay_p95_s": pytest.approx(17.6 * 3600),
        "measured_delay_max_s": 18.5 * 3600, "stated_delay_s": 3600.0,
    }  # fmt: skip
    assert results.metadata["new_rows"].value == 4
    assert not results.passed
    again = testing.materialize(readings, stores=stores, partition="2013-01-01", now="2013-01-01T19:30")
    assert check(again, "rows_in_time").metadata["new_rows"].value == 0  # known rows are not late again
    assert "measured_delay_p95_s" not in events(again)["2013-01-01"]


@fti.feature_group(keys=["k"], event_time="t", available_at="known_at", ttl="9h", partitions_def=DAYS)
def forecasts(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """What is expected every six hours of a day, known the day before."""
    times = pd.Timestamp(context.partition_key) + pd.to_timedelta([0, 6, 12, 18], unit="h")
    return pd.DataFrame({"k": "a", "t": times, "known_at": times - pd.Timedelta("24h"), "x": 1.0})


def test_ages_and_delays_of_events_to_come_are_not_negative(stores: fti.Stores) -> None:
    done = testing.materialize(forecasts, stores=stores, partition="2013-01-02", now="2013-01-01T20:00")
    displayed = events(done)["2013-01-02"]
    assert "newest_event_age_s" not in displayed  # nothing of it has happened
    assert displayed["farthest_event_ahead_s"] == 22 * 3600.0
    results = {name: value.value for name, value in check(done, "rows_in_time").metadata.items()}
    assert {name: results[name] for name in results if name.startswith("measured_delay")} == {
        "measured_delay_p50_s": 0.0, "measured_delay_p95_s": 0.0, "measured_delay_max_s": 0.0,
    }  # fmt: skip
    assert (results["new_rows"], results["new_rows_before_their_event"]) == (4, 4)
    assert displayed["measured_delay_p95_s"] == 0.0


def test_ages_and_delays_of_day_that_is_under_way(stores: fti.Stores) -> None:
    done = testing.materialize(forecasts, stores=stores, partition="2013-01-02", now="2013-01-02T09:00")
    displayed = events(done)["2013-01-02"]
    assert (displayed["newest_event_age_s"], displayed["farthest_event_ahead_s"]) == (3 * 3600.0, 9 * 3600.0)
    results = {name: value.value for name, value in check(done, "rows_in_time").metadata.items()}
    assert (results["measured_delay_p50_s"], results["measured_delay_max_s"]) == (1.5 * 3600, 9 * 3600.0)
    assert results["new_rows_before_their_event"] == 2
    assert check(done, "fresh").metadata["age_s"].value == 3 * 3600.0


@pytest.mark.soak
@pytest.mark.parametrize(
    ("now", "passed", "age"),
    [
        ("2013-01-01T19:00", True, 1.0),  # 18:00 is visible at 19:00, by the stated delay
        ("2013-01-01T18:59", True, 6 + 59 / 60),
        ("2013-01-02T00:00", True, 6.0),
        ("2013-01-02T00:01", False, 6 + 1 / 60),
        ("2013-01-01T00:30", False, None),
    ],
)
def test_freshness_is_judged_by_newest_row_that_can_be_used(
    stores: fti.Stores, now: str, passed: bool, age: float | None
) -> None:
    if now == "2013-01-01T18:59":
        passed = False  # 12:00 is 6:59 old
    result = check(testing.materialize(readings, stores=stores, partition="2013-01-01", now=now), "fresh")
    assert result.passed == passed
    assert not result.blocking
    assert result.severity == dg.AssetCheckSeverity.WARN
    assert result.metadata["ttl_s"].value == 6 * 3600
    if age is None:
        assert "has no row that can be used at 2013-01-01 00:30:00" in (result.description or "")
        return
    assert result.metadata["age_s"].value == pytest.approx(age * 3600)
    assert passed or "older than the ttl of 6:00:00, so it answers nothing" in (result.description or "")


def test_a_backfill_is_not_judged_and_says_so(stores: fti.Stores) -> None:
    done = testing.materialize(readings, stores=stores, partition="2013-01-01", now="2013-01-03T00:01")
    results = check(done, "fresh")
    assert results.passed
    assert "the run is a backfill" in results.metadata["judged"].value
    assert "newest_event_age_s" not in events(done)["2013-01-01"]
    judged = testing.materialize(readings, stores=stores, partition="2013-01-01", now="2013-01-03T00:00")
    assert not check(judged, "fresh").passed


def test_a_group_without_a_ttl_has_no_such_check(stores: fti.Stores) -> None:
    @fti.feature_group(keys=["k"])
    def places() -> pd.DataFrame:
        return pd.DataFrame({"k": ["a", "b"], "size": [1.0, None]})

    assert "fresh" not in {spec.name for spec in places.assets_def.check_specs}
    (displayed,) = events(testing.materialize(places, stores=stores)).values()
    assert (displayed["null_rate"], displayed["null_rate/size"]) == (0.5, 0.5)


def test_of_many_columns_only_all_of_them_are_plotted(stores: fti.Stores) -> None:
    @fti.feature_group(keys=["k"])
    def wide() -> pd.DataFrame:
        return pd.DataFrame({"k": ["a"], **{f"x{number}": [1.0] for number in range(31)}})

    (displayed,) = events(testing.materialize(wide, stores=stores)).values()
    assert [name for name in displayed if name.startswith("null_rate")] == ["null_rate"]
    assert len(displayed["statistics"].records) == 32
