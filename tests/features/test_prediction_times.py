"""Spines of instants that lie ahead: their rows against a loop in Python, their features and labels against a search by hand."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

import fti_assets as fti
from fti_assets import testing
from fti_assets.core import clock
from fti_assets.core.times import Partition
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.schedule import Schedule
from tests.automation.test_partition_end import Ticks
from tests.support.examples import examples

DAYS = dg.DailyPartitionsDefinition(start_date="2025-03-01", end_date="2025-03-25")
HALF = timedelta(minutes=30)


def hours(**changes: Any) -> fti.FeatureGroup:
    terms = {"name": "hours", "every": "1d", "horizon": "6h", "step": "2h", "partitions_def": DAYS}
    return fti.prediction_times(**(terms | changes))


@settings(max_examples=examples(40), deadline=None)
@given(
    every=st.integers(1, 9),
    steps=st.integers(1, 5),
    step=st.integers(1, 4),
    ahead=st.integers(0, 3),
    predictions=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    surplus=st.sampled_from([0, 1, 2]),
    names=st.lists(st.text("abc", max_size=2), max_size=3, unique=True),
)
def test_rows_are_those_of_a_loop(
    every: int, steps: int, step: int, ahead: int, predictions: list[int], surplus: int, names: list[str]
) -> None:
    import pyarrow as pa

    surplus = surplus if every > 2 else 0  # up to an hour, in which no rarer prediction is made
    lengths = [every * number + surplus for number in predictions]
    starts = [datetime(2025, 3, 1) + HALF * sum(lengths[:place]) for place in range(len(lengths))]
    partitions = [Partition(f"{at}", at, at + HALF * length) for at, length in zip(starts, lengths, strict=True)]
    schedule = Schedule(
        HALF * every, HALF * step * steps, HALF * step, HALF * ahead, "t", "to", {"lag": HALF * 3}, {}, {}
    )
    expected = []
    for partition, times in zip(partitions, predictions, strict=True):
        for at in (partition.start + HALF * every * place for place in range(times)):
            for number, name in itertools.product(range(steps), names or [None]):
                target = at + HALF * ahead + HALF * step * number
                row = {"t": at, "to": target, "lag": target - HALF * 3}
                expected.append(row if name is None else {"name": name} | row)
    result = schedule.rows(partitions, pa.table({"name": names} if names else {}))
    assert result.to_pylist() == expected


def test_every_target_of_the_horizon_and_every_combination_has_a_row() -> None:
    cross = {"region": ["s", "n"], "kind": [1, 2]}
    group = hours(cross=cross, lags=["1d", "90min"])
    rows = testing.rows(group, partition="2025-03-04")
    assert group.keys == ("region", "kind", "target_at")
    assert len(rows) == 3 * 4
    assert set(rows["predict_at"]) == {pd.Timestamp("2025-03-04")}
    assert sorted(set(rows["target_at"])) == [pd.Timestamp(f"2025-03-04 0{hour}:00") for hour in (0, 2, 4)]
    assert (rows["target_at"] - rows["target_at_1d_before"] == pd.Timedelta("1D")).all()
    assert (rows["target_at"] - rows["target_at_90min_before"] == pd.Timedelta("90min")).all()


def test_a_range_is_its_days() -> None:
    group = hours(every="6h", ahead="12h", cross={"region": ["n"]})
    days = [testing.rows(group, partition=f"2025-03-0{day}") for day in (2, 3, 4)]
    together = testing.rows(group, partition=("2025-03-02", "2025-03-04"))
    pd.testing.assert_frame_equal(pd.concat(days, ignore_index=True), together)
    assert (together["target_at"] - together["predict_at"]).min() == pd.Timedelta("12h")


@pytest.mark.parametrize(("day", "times"), [("2025-03-29", 24), ("2025-03-30", 23), ("2025-10-26", 25)])
def test_partitions_say_the_time_zone_and_a_short_day_has_fewer_predictions(day: str, times: int) -> None:
    days = dg.DailyPartitionsDefinition(start_date="2025-03-01", timezone="Europe/Berlin")
    rows = testing.rows(hours(every="1h", horizon="1h", step=None, partitions_def=days), partition=day)
    assert len(rows) == times
    assert rows["predict_at"].iloc[0] == pd.Timestamp(day, tz="Europe/Berlin").tz_convert("UTC").tz_localize(None)


@pytest.mark.parametrize("day", ["2025-03-29", "2025-03-30", "2025-10-26"])
@pytest.mark.parametrize(("every", "times"), [("1d", 1), ("12h", 2), ("3h", 8)])
def test_a_long_day_has_no_second_daily_prediction(day: str, every: str, times: int) -> None:
    days = dg.DailyPartitionsDefinition(start_date="2025-03-01", timezone="Europe/Berlin")
    rows = testing.rows(hours(every=every, horizon="1h", step=None, partitions_def=days), partition=day)
    assert rows["predict_at"].nunique() == times


def test_a_long_month_has_a_daily_prediction_a_day() -> None:
    months = dg.MonthlyPartitionsDefinition(start_date="2025-01-01", timezone="Europe/Berlin")
    rows = testing.rows(hours(horizon="1d", step="1d", partitions_def=months), partition="2025-10-01")
    assert rows["predict_at"].nunique() == 31


@pytest.mark.parametrize("every", ["23h", "5h"])
def test_an_hour_short_of_a_day_is_no_part_of_it(every: str) -> None:
    with pytest.raises(DeclarationError, match="make every= a part of it"):
        hours(every=every, horizon="1h", step=None)


def test_it_is_crossed_with_the_keys_of_a_lookup() -> None:
    @fti.feature_group(keys=["region"])
    def regions() -> pd.DataFrame: ...

    group = hours(cross=regions)
    known = pd.DataFrame({"region": ["s", "n"], "people": [3, 4]})
    rows = testing.rows(group, partition="2025-03-04", entities=known)
    assert (list(rows.columns), len(rows), set(rows["region"])) == (
        ["region", "predict_at", "target_at"],
        6,
        {"n", "s"},
    )
    assert group.assets_def.specs_by_key[group.key].deps
    with pytest.raises(Exception, match="regions_v1 has no row, so spine 'hours' has nothing to predict for"):
        testing.rows(group, partition="2025-03-04", entities=known[:0])


@fti.feature_group(keys=["region"], event_time="at")
def moving() -> None: ...


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"every": "0s"}, "every=0:00:00, in which there is no next instant"),
        ({"step": "0min"}, "step=0:00:00"),
        ({"horizon": "5h"}, "no multiple of its step of 2:00:00"),
        ({"every": "7h"}, "every 7:00:00, counted from the start of each partition"),
        ({"every": "7d"}, "make every= a part of it"),
        ({"partitions_def": None}, "has no partitions: give it partitions_def="),
        ({"partitions_def": dg.StaticPartitionsDefinition(["a"])}, "has StaticPartitionsDefinition"),
        ({"cross": {"region": []}}, "crossed with region=\\[\\]"),
        ({"cross": {"region": "north"}}, "region='north': give a list"),
        ({"cross": {"region": ["a", 1]}}, "give a list of texts"),
        ({"cross": {"region": ["a", "a"]}}, "has a value twice"),
        ({"cross": {}}, "cross={}: give the values"),
        ({"cross": moving}, "moving_v1, which has an event time"),
        ({"cross": {"target_at": ["a"]}}, "the column 'target_at' twice"),
        ({"lags": ["0d"]}, "lag '0d', which is the target itself"),
        ({"lags": ["24h", "1d"]}, "of which two are the same"),
        ({"lags": ["soon"]}, "lag of spine 'hours' 'soon' is not a duration"),
    ],
)
def test_an_impossible_schedule_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        hours(**changes)


def test_months_of_several_lengths_are_multiples_of_a_day_and_not_of_a_week() -> None:
    months = dg.MonthlyPartitionsDefinition(start_date="2025-01-01", timezone="Europe/Berlin")
    assert len(testing.rows(hours(horizon="1d", step="1d", partitions_def=months), partition="2025-02-01")) == 28
    with pytest.raises(DeclarationError, match="the partition of 2025-01-01 00:00 is 31 days"):
        hours(every="7d", partitions_def=months)


def demand_of(times: pd.DatetimeIndex) -> pd.DataFrame:
    frames = [
        pd.DataFrame({"region": name, "at": times, "demand": np.arange(len(times)) + add})
        for name, add in (("n", 0.5), ("s", 100.5))
    ]
    return pd.concat(frames, ignore_index=True)


@fti.feature_group(keys=["region", "at"], event_time="at", available_at="known_at", online=True, partitions_def=DAYS)
def demand(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = demand_of(pd.date_range("2025-03-01", "2025-03-25", freq="1h", inclusive="left"))
    # Some hours are metered late, far ones later than the prediction that asks for them.
    rows["known_at"] = rows["at"] + pd.to_timedelta(1 + (rows["demand"].astype(int) * 7) % 40, "h")
    return rows


ahead = hours(horizon="24h", step="1h", cross={"region": ["n", "s"]}, lags=["1d", "2d"], name="ahead")


def view_of(**label: Any) -> fti.FeatureView:
    return fti.FeatureView(
        name="view",
        spine=ahead,
        label=fti.Label(demand.on(target_at="at")["demand"], **label),
        features=[
            demand.on(target_at_1d_before="at").prefix("day_")["demand"],
            demand.on(target_at_2d_before="at").prefix("two_days_")["demand"],
        ],
    )


Known = dict[tuple[str, pd.Timestamp], tuple[float, pd.Timestamp]]
NOTHING = (float("nan"), pd.Timestamp.max)


def known(value: Known, row: dict[str, Any], column: str) -> float:
    """The demand of an instant as it was known at a prediction, by hand."""
    result, known_at = value.get((row["region"], row[column]), NOTHING)
    return result if known_at <= row["predict_at"] else float("nan")


LAGS = {"day_demand": "target_at_1d_before", "two_days_demand": "target_at_2d_before"}
dataset = fti.training_dataset(
    name="ahead_rows", view=view_of(maturity="3d"), split=fti.TimeSplit(validation="1d", test="1d")
)


@fti.model(dataset=dataset, task="regression", gates=[])
def forecaster(data: fti.TrainingData) -> Ridge:
    return Ridge().fit(data.train.X, data.train.y)


forecasts = fti.batch_predictions(name="forecasts", model=forecaster, partitions_def=DAYS, online=True)


def test_a_forecast_rests_on_what_was_known_learns_from_its_target_and_is_the_same_online(tmp_path: Path) -> None:
    metered = demand(None)
    at = zip(metered["region"], metered["at"], strict=True)
    value: Known = dict(zip(at, zip(metered["demand"], metered["known_at"], strict=True), strict=True))
    stores = testing.stores_in(tmp_path)
    testing.materialize(demand, ahead, stores=stores, partition=("2025-03-01", "2025-03-24"))
    now = "2025-03-24T12:00:00Z"
    testing.materialize(dataset, forecaster, stores=stores, now=now)
    rows = fti.read(dataset, stores=stores)
    # By the cutoff the last rows that are three days old, less those whose outcome was metered later than that.
    assert rows["predict_at"].max() == pd.Timestamp("2025-03-21")
    for row in rows.to_dict("records"):
        assert row["demand"] == value[row["region"], row["target_at"]][0]
        assert value[row["region"], row["target_at"]][1] <= pd.Timestamp("2025-03-24 12:00")
    spine = testing.rows(ahead, partition=("2025-03-01", "2025-03-21"))
    both = rows.merge(spine, on=["region", "target_at", "predict_at"], validate="1:1")
    assert len(both) == len(rows)
    for feature, column in LAGS.items():
        expected = pd.Series([known(value, row, column) for row in both.to_dict("records")])
        assert 0 < expected.notna().sum() < len(expected)
        pd.testing.assert_series_equal(both[feature].astype(float), expected, check_names=False)
    testing.materialize(forecasts, stores=stores, partition="2025-03-24", now=now)
    batch = fti.read(forecasts, stores=stores)
    requests = testing.rows(ahead, partition="2025-03-24")
    places = {"models": stores.models, "online": stores.online}
    reader = fti.OnlineReader("forecasts_v1", online=stores.online)
    with fti.Predictor.load("forecaster", **places) as predictor, clock.at(datetime(2025, 3, 24, 12)):
        questions = requests.drop(columns="predict_at").to_dict("records")
        answers = predictor.predict(questions, at="2025-03-24T00:00:00Z")
        for request, answer in zip(questions, answers, strict=True):
            for feature, column in LAGS.items():
                expected = known(value, request | {"predict_at": pd.Timestamp("2025-03-24")}, column)
                np.testing.assert_equal(
                    float("nan") if answer.features[feature] is None else answer.features[feature], expected
                )
            is_of = (batch["region"] == request["region"]) & (batch["target_at"] == request["target_at"])
            assert answer.value == pytest.approx(batch["value"][is_of].item(), rel=1e-6)
            stored = reader.read((request["region"], request["target_at"]))
            assert stored["value"] == batch["value"][is_of].item()


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({}, "predicts up to 23:00:00 ahead, and demand_v1 is known 0:00:00 later.*write maturity='23h' or more"),
        ({"maturity": "22h"}, "a maturity of 22:00:00"),
        ({"within": "2d"}, "says which instant is predicted: leave within= out, and join the label on 'target_at'"),
    ],
)
def test_a_label_that_is_judged_before_the_last_target_is_refused(label: dict[str, Any], words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        view_of(**label)


def test_a_lag_that_the_spine_does_not_have_is_refused_when_the_code_loads() -> None:
    with pytest.raises(DeclarationError, match="'target_at_3d_before'.*target_at_1d_before"):
        fti.FeatureView(
            name="v",
            spine=ahead,
            label=fti.Label(demand.on(target_at="at")["demand"], maturity="1d"),
            features=[demand.on(target_at_3d_before="at").prefix("x_")["demand"]],
        )


def test_another_schedule_is_another_code_version_and_is_shown() -> None:
    def spec(**changes: Any) -> dg.AssetSpec:
        return next(iter(hours(**changes).assets_def.specs))

    assert spec().code_version == spec().code_version
    others = [{"ahead": "1h"}, {"step": "1h"}, {"every": "12h"}, {"cross": {"region": ["n"]}}, {"lags": ["1d"]}]
    assert len({spec(**changes).code_version for changes in [{}, *others]}) == 6
    assert (
        spec(ahead="1h").metadata["schedule"]
        == "every 1 day, 0:00:00 for the next 6:00:00, from 1:00:00 after it, a target each 2:00:00"
    )


@pytest.mark.parametrize("end_offset", [0, 1])
def test_a_partition_is_requested_once_as_soon_as_it_begins(end_offset: int) -> None:
    days = dg.DailyPartitionsDefinition(start_date="2025-03-01", end_offset=end_offset, hour_offset=14)
    moments = ["2025-03-04 13:59:59", "2025-03-04 14:00", "2025-03-04 14:01", "2025-03-05 13:00", "2025-03-05 14:00"]
    expected = [{f"2025-03-0{day}"} if day else set() for day in (3, 4, None, None, 5)]
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance, hours(partitions_def=days))
        results = [ticks(moment, dg.DagsterRunStatus.SUCCESS) for moment in moments]
    # Without an end_offset a partition is one once it is over; then it is requested, too late for its predictions.
    assert results == (
        expected if end_offset else [{f"2025-03-0{int(max(one)[-1]) - 1}"} if one else set() for one in expected]
    )
