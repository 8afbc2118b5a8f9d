"""The electricity of Victoria: its declarations on a few rows, and a forecast of real readings that is the same online as offline."""

from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

import fti_assets as fti
from examples.electricity import app, on_demand, outcome, system
from examples.electricity.on_demand import calendar
from examples.electricity.readings import FILE, STANDARD_TIME
from fti_assets import testing
from fti_assets.core import clock

CUTOFF, DAY = "2014-06-23", "2014-06-24"
NOW = datetime(2014, 6, 23, 15)  # an hour into that day


@pytest.fixture(scope="module")
def readings() -> pd.DataFrame:
    return pd.read_parquet(FILE)


def test_the_declarations_are_at_most_150_lines() -> None:
    files = [Path(str(module.__file__)) for module in (system, on_demand)]
    assert sum(bool(line.strip()) for file in files for line in file.read_text().splitlines()) <= 150


def test_the_file_has_each_half_hour_of_the_year_once(readings: pd.DataFrame) -> None:
    local = readings["at"] + STANDARD_TIME
    expected = pd.date_range("2014-01-01", "2015-01-01", freq="30min", inclusive="left", unit="us")
    assert local.tolist() == expected.tolist()
    assert not readings.isna().any().any()
    # A day is a working day or not as a whole, which holds in this time zone alone.
    assert readings.groupby(local.dt.date)["is_workday"].nunique().max() == 1


def test_the_calendar_is_that_of_standard_time(readings: pd.DataFrame) -> None:
    local = readings["at"] + STANDARD_TIME
    results = calendar(target_at=readings["at"].to_numpy())
    assert (results["half_hour"] == local.dt.hour * 2 + local.dt.minute // 30).all()
    assert (results["weekday"] == local.dt.day_of_week).all()
    assert (results["day_of_year"] == local.dt.day_of_year).all()


def test_a_day_is_forecast_at_its_first_midnight() -> None:
    rows = testing.rows(system.half_hours, partition=DAY)
    midnight = pd.Timestamp(DAY) - STANDARD_TIME
    assert set(rows["predict_at"]) == {midnight}
    assert rows["target_at"].tolist() == pd.date_range(midnight, periods=48, freq="30min", unit="us").tolist()
    assert (rows["target_at"] - rows["target_at_7d_before"] == pd.Timedelta("7D")).all()


def test_recent_demand_is_that_of_half_hours_that_were_over(readings: pd.DataFrame) -> None:
    rows = readings.assign(region="VIC")
    results = testing.rows(
        system.recently,
        partition="2014-01-10",
        demand=rows[["region", "at", "demand"]],
        weather=rows[["region", "at", "temperature"]],
    ).set_index("hour")
    for hour in results.index[[0, 7, 23]]:
        over = rows["at"] + pd.Timedelta("30min")
        day = rows[(over <= hour) & (over > hour - pd.Timedelta("1D"))]
        assert len(day) == 48
        assert results.loc[hour, "demand_24h"] == pytest.approx(day["demand"].mean(), rel=1e-12)
        assert results.loc[hour, "heat_24h"] == day["temperature"].max()


few_rows = fti.training_dataset(
    name="few_rows",
    view=system.ahead,
    split=fti.TimeSplit(validation="2d", test="2d"),
    partitions_def=system.mondays,
)
small: dict[str, Any] = {"dataset": few_rows, "importance": False}
forecast = fti.model(name="demand_forecast", task="regression", **small)(system.demand_forecast.function)
levels = list(system.demand_range.levels)
between = fti.model(name="demand_range", task="quantile", levels=levels, **small)(system.demand_range.function)
forecasts = fti.batch_predictions(name="forecasts", model=[forecast, between], partitions_def=system.days, online=True)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    """The stores after three weeks of readings: both models learned from a few days of them, and have forecast a day."""
    stores = testing.stores_in(tmp_path_factory.mktemp("electricity"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(system.SETTINGS, "n_estimators", 20)
        read, made = [system.demand, system.weather], [system.half_hours, system.recently]
        testing.materialize(system.workdays, stores=stores, now=NOW)
        testing.materialize(*read, stores=stores, partition=("2014-06-02", DAY), now=NOW)
        testing.materialize(*made, stores=stores, partition=("2014-06-11", DAY), now=NOW)
        testing.materialize(few_rows, forecast, between, stores=stores, partition=CUTOFF, now=NOW)
    testing.materialize(forecasts, stores=stores, partition=DAY, now=NOW)
    return stores


@pytest.mark.parametrize("model", [forecast, between], ids=lambda model: model.name)
def test_a_forecast_is_the_same_online(stores: fti.Stores, model: fti.model) -> None:
    with clock.at(NOW):
        report = testing.assert_parity(model, stores=stores, partitions=[DAY], sample=20)
    assert report.rows == 20


def test_the_models_learn_from_no_half_hour_after_the_cutoff(stores: fti.Stores) -> None:
    rows = fti.read(few_rows, stores=stores)
    assert (rows["target_at"] + pd.Timedelta("30min")).max() <= pd.Timestamp(CUTOFF) - STANDARD_TIME


@pytest.mark.soak
def test_stored_forecasts_are_looked_up_and_shown(
    stores: fti.Stores, readings: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTI_HOME", str(Path(str(stores.lake)).parent))
    rows = outcome.outcome()
    assert len(rows) == 48
    used = readings.set_index("at")["demand"]
    noon = rows[rows["local"] == pd.Timestamp(DAY) + pd.Timedelta("12h")].iloc[0]
    assert noon["last_week"] == used[noon["target_at"] - pd.Timedelta("7D")]
    with clock.at(NOW):
        reader = fti.OnlineReader("forecasts_v1", online=stores.online)
        stored = reader.read(("VIC", noon["target_at"]))
    assert stored["demand_forecast_value"] == noon["forecast"]
    assert (stored["demand_range_quantiles"]["0.1"], stored["demand_range_quantiles"]["0.9"]) == (
        noon["low"],
        noon["high"],
    )
    assert (rows["low"] <= rows["high"]).all()
    streamlit.cache_data.clear()
    page = AppTest.from_file(app.__file__, default_timeout=120).run()
    assert not page.exception
    assert page.selectbox(key="day").value == DAY
    assert page.metric[0].value == f"{rows['forecast'].max():.2f} GW"


def test_a_week_is_trained_on_monday_morning_and_the_day_is_forecast_once_its_readings_are_there() -> None:
    names = {sensor.name for sensor in system.defs.sensors}
    assert {"demand_forecast_v1_retraining", "demand_range_v1_retraining"} <= names
    assert isinstance(system.defs, dg.Definitions)


def test_the_page_says_what_the_errors_of_its_rows_are() -> None:
    rows = pd.DataFrame(
        {
            "local": pd.to_datetime(["2014-12-08", "2014-12-15", "2014-12-16"]),
            "forecast": [1.0, 2.0, 2.0],
            "demand": [1.5, 2.0, np.nan],
            "last_week": [2.0, 1.0, 1.0],
            "low": [0.0, 0.0, 0.0],
            "high": [1.0, 3.0, 3.0],
        }
    )
    weeks = outcome.errors_by_week(rows)
    assert weeks["forecast"].to_dict() == {"2014-12-08": 0.5, "2014-12-15": 0.0, "all": 0.25}
    assert weeks["in range"].to_dict() == {"2014-12-08": 0.0, "2014-12-15": 1.0, "all": 0.5}
