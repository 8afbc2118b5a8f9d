"""The flagship's functions on a few rows: as a user's own unit tests would have them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from examples.flight_delays import features, sources
from examples.flight_delays.training import (
    BoostingConfig,
    NetConfig,
    arrival_delay,
    delay_boosting,
    delay_net,
)
from fti_assets import testing

DAY = "2013-01-02"


def landed(*flights: tuple[str, str, bool]) -> pd.DataFrame:
    """Flights from JFK to LAX: the carrier, when it landed, whether it was late."""
    carriers, times, late = zip(*flights, strict=True)
    return pd.DataFrame(
        {"carrier": carriers, "flight_number": "UA1", "origin": "JFK", "dest": "LAX", "tailnum": "N1",
         "arrived_at": pd.to_datetime(list(times)), "arrival_delay": [30.0 if one else 0.0 for one in late], "is_late": late}
    )  # fmt: skip


def computed(group: fti.FeatureGroup, arrivals: pd.DataFrame) -> pd.DataFrame:
    """A group's rows of the day from some arrivals; the other groups that it reads have no rows."""
    nothing = {name: pd.DataFrame(columns=list(source.columns or ())) for name, source in group.inputs.items()}
    return testing.rows(group, partition=DAY, **{**nothing, "arrivals": arrivals})


def test_carrier_late_rate_counts_flights_landed_by_then() -> None:
    arrivals = landed(("UA", f"{DAY} 04:30", True), ("UA", f"{DAY} 05:30", False), ("AA", f"{DAY} 05:00", False))
    made = computed(features.carrier_delays, arrivals).set_index(["carrier", "hour"])
    rates = made["late_rate_3h"]
    assert rates["UA", pd.Timestamp(f"{DAY} 05:00")] == 1.0
    assert rates["UA", pd.Timestamp(f"{DAY} 06:00")] == 0.5
    assert rates["AA", pd.Timestamp(f"{DAY} 05:00")] == 0.0  # it landed at that very instant
    assert ("UA", pd.Timestamp(f"{DAY} 04:00")) not in rates.index


def test_an_arrival_counts_for_both_of_its_airports() -> None:
    made = computed(features.airport_delays, landed(("UA", f"{DAY} 04:30", True)))
    assert set(made["airport"]) == {"JFK", "LAX"}


def test_weather_of_day_comes_from_landing_zone(landing: sources.LandingZone) -> None:
    made = testing.rows(features.weather, partition=DAY, landing=landing)
    assert len(made) == 72
    assert made["observed_at"].dt.strftime("%Y-%m-%d").unique().tolist() == [DAY]


def test_a_station_that_measures_nonsense_is_refused() -> None:
    class RuleFailure:
        def read(self, source: str, days: Any) -> pd.DataFrame:
            hours = pd.to_datetime([f"{DAY} 05:00"])
            rows = {name: [0.0] for name in ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "visib")}
            times = {"observed_at": hours, "known_at": hours + pd.Timedelta("1h")}
            return pd.DataFrame({"origin": ["JFK"], **times, **rows, "precip": [-1.0], "pressure": [1000.0]})

    with pytest.raises(testing.RowsRefused, match="weather_v1: nothing would be stored, because precip") as refused:
        testing.rows(features.weather, partition=DAY, landing=RuleFailure())
    assert refused.value.rows["precip"].tolist() == [-1.0]


def test_network_trains_on_tiny_data_and_matches_its_graph() -> None:
    made = testing.train_tiny(delay_net, config=NetConfig(epochs=1, batch_size=32))
    assert made.outputs.shape == (20,)
    assert np.isfinite(made.outputs).all()
    assert list(made.data.train.columns) == arrival_delay.feature_names
    assert type(made.trained).__name__ == "DelayNet"


def test_boosting_trains_on_tiny_data_and_matches_its_graph() -> None:
    made = testing.train_tiny(delay_boosting, config=BoostingConfig(trees=3))
    assert made.outputs.shape == (20,)
    assert set(made.trained.feature_name_) == set(arrival_delay.feature_names)
