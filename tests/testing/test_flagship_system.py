"""Eight days of the flagship: no feature knows the future, and online is offline."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from examples.flight_delays import sources
from examples.flight_delays.definitions import defs
from examples.flight_delays.features import arrivals, daily
from examples.flight_delays.training import arrival_delay
from fti_assets import testing

FIRST, LAST = "2013-01-01", "2013-01-07"
CUTOFF = "2013-01-08"

eight_days = fti.training_dataset(
    name="eight_days",
    view=replace(arrival_delay, name="eight_days_of_delays"),
    partitions_def=dg.DailyPartitionsDefinition(start_date=CUTOFF, end_date="2013-01-20"),
    split=fti.TimeSplit(validation="12h", test="1d"),
)


@fti.model(dataset=eight_days, task="binary")
def quick_model(data: fti.TrainingData) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=2_000).fit(data.train.X, data.train.y)


def in_order(groups: list[fti.FeatureGroup]) -> Iterator[fti.FeatureGroup]:
    """Groups after those that they read."""
    for group in groups:
        yield from in_order(list(group.inputs.values()))
        yield group


pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def stores(landing: sources.LandingZone, tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    made = testing.stores_in(tmp_path_factory.mktemp("flights"))
    groups = list(dict.fromkeys(in_order(arrival_delay.groups)))
    own = {name: resource for name, resource in (defs.resources or {}).items() if name != "fti"}
    resources = {**own, "landing": landing}
    testing.materialize(*groups, stores=made, partition=(FIRST, LAST), resources=resources)
    testing.materialize(eight_days, quick_model, stores=made, partition=CUTOFF, resources=resources)
    return made


def test_no_feature_of_the_flagship_knows_the_future(stores: fti.Stores) -> None:
    testing.assert_no_leak(arrival_delay, stores=stores, partition="2013-01-05", sample=4)


def test_same_days_aggregate_that_flatters_model_is_found(stores: fti.Stores) -> None:
    """What the carrier's flights of the day came to, said to be known when the day begins."""

    @fti.feature_group(keys=["carrier"], event_time="day", partitions_def=daily)
    def carrier_days(arrivals: fti.Table) -> Any:
        days = arrivals.relation.filter("arrived_at >= TIMESTAMP '2013-01-05'")
        return days.aggregate("carrier, date_trunc('day', arrived_at) AS day, avg(is_late::INT) AS late_rate")

    assert carrier_days.inputs["arrivals"] is arrivals
    with pytest.raises(testing.LeakFound, match="carrier_days_v1 knows the future") as results:
        testing.assert_no_leak(carrier_days, stores=stores, partition="2013-01-05")
    assert set(results.value.rows["column"]) == {"late_rate"}
    assert set(results.value.rows["day"]) == {pd.Timestamp("2013-01-05")}


def test_past_flights_are_answered_online_as_they_are_offline(stores: fti.Stores) -> None:
    report = testing.assert_parity(quick_model, stores=stores, partitions=["2013-01-06", "2013-01-07"], sample=40)
    assert report.rows == 40
    assert report.features == tuple(arrival_delay.feature_names)
    assert report.largest_difference < 1e-5
