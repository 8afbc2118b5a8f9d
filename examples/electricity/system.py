"""Every midnight a forecast of each half hour of the day that begins, and the range that it will be in: the whole system."""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti
from examples.electricity.on_demand import calendar
from examples.electricity.readings import gazetted, metered

Terms = dict[str, Any]
AEST = "Australia/Brisbane"  # the zone of Victoria's standard time without its summer time, as the market keeps it
days = dg.DailyPartitionsDefinition(start_date="2014-01-01", end_date="2015-01-01", timezone=AEST)
mondays = dg.WeeklyPartitionsDefinition(start_date="2014-04-07", end_date="2015-01-05", day_offset=1, timezone=AEST)
half_hourly: Terms = {
    "keys": ["region", "at"],
    "event_time": "at",
    "serving_delay": "30min",
    "ttl": "30d",
    "online": True,
}


class DemandSchema(pa.DataFrameModel):
    """What was used in a half hour, which is known when it is over."""

    region: str
    at: pd.Timestamp
    demand: float = pa.Field(in_range={"min_value": 1, "max_value": 12}, description="gigawatts")


@fti.feature_group(**half_hourly, schema=DemandSchema, partitions_def=days, owners=["team:grid"])
def demand(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The electricity that a region used in each half hour."""
    return metered(context, "demand")


@fti.feature_group(**half_hourly, partitions_def=days, owners=["team:grid"])
def weather(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The temperature of a region in each half hour. Nobody knows tomorrow's."""
    return metered(context, "temperature")


@fti.feature_group(keys=["region", "at"], online=True)
def workdays() -> pd.DataFrame:
    """Whether a half hour is of a working day, gazetted a year ahead: a lookup, known at every instant."""
    return gazetted()


hourly: Terms = {"event_time": "hour", "serving_delay": "0s", "ttl": "3h", "online": True, "online_history": "14d"}


@fti.feature_group(keys=["region"], lookback="8d", **hourly, partitions_def=days)
def recently(demand: fti.Table, weather: fti.Table) -> fti.Table:
    """What a region used and how warm it was in the hours, day and week before, each hour."""
    every: Terms = {"keys": ["region"], "every": "1h", "windows": ["3h", "24h", "7d"]}
    used = fti.window_aggregate(demand, **every, aggregates={"demand": fti.Mean("demand"), "peak": fti.Max("demand")})
    temperature: Terms = {"warmth": fti.Mean("temperature"), "heat": fti.Max("temperature")}
    felt = fti.window_aggregate(weather, **every, aggregates=temperature)
    return used.with_relation(used.relation.join(felt.relation, "region, hour"))


half_hours = fti.prediction_times(
    name="half_hours", every="1d", horizon="24h", step="30min", cross={"region": ["VIC"]}, lags=["1d", "2d", "7d", "14d"],
    partitions_def=days,
)  # fmt: skip

ahead = fti.FeatureView(
    name="ahead",
    spine=half_hours,
    label=fti.Label(demand.on(target_at="at")["demand"], maturity="1d"),
    features=[
        calendar,
        workdays.on(target_at="at")["is_workday"],
        recently["demand_3h", "demand_24h", "demand_7d", "peak_24h"],
        recently["warmth_3h", "warmth_24h", "warmth_7d", "heat_24h"],
        demand.on(target_at_1d_before="at").prefix("day_ago_")["demand"],
        demand.on(target_at_2d_before="at").prefix("two_days_ago_")["demand"],
        demand.on(target_at_7d_before="at").prefix("week_ago_")["demand"],
        demand.on(target_at_14d_before="at").prefix("two_weeks_ago_")["demand"],
        weather.on(target_at_1d_before="at").prefix("day_ago_")["temperature"],
        weather.on(target_at_7d_before="at").prefix("week_ago_")["temperature"],
        workdays.on(target_at_1d_before="at").prefix("day_ago_")["is_workday"],
        workdays.on(target_at_7d_before="at").prefix("week_ago_")["is_workday"],
    ],
)
split = fti.TimeSplit(validation="7d", test="28d")
rows_ahead = fti.training_dataset(name="rows_ahead", view=ahead, split=split, partitions_def=mondays)

SETTINGS: Terms = {"n_estimators": 250, "learning_rate": 0.05, "num_leaves": 15, "n_jobs": 1, "verbose": -1}
WEEKLY: Terms = {"retrain": [fti.OnSchedule("0 6 * * 1", timezone=AEST)], "gates_fail_run": False}
last_week = fti.LastValue("week_ago_demand")


def boosted(data: fti.TrainingData, **terms: Any) -> Any:
    """Gradient boosting of the train rows."""
    from lightgbm import LGBMRegressor

    return LGBMRegressor(**(SETTINGS | terms)).fit(data.train.frame, data.train.y)


def around_last_week(train: Any, test: Any) -> Any:
    """Last week's demand, and how far off it was in train: the simplest range."""
    off: np.ndarray = np.nanquantile(train.y - train.columns["week_ago_demand"], [0.1, 0.5, 0.9])
    return np.add.outer(test.columns["week_ago_demand"], off)


@fti.model(
    dataset=rows_ahead,
    task="regression",
    evaluate=fti.Evaluation(metrics=["mae", "rmse", "mape"], slices=["is_workday"]),
    gates=[fti.BeatsBaseline("mae", baseline=last_week), fti.NotWorseThanChampion("mae", tolerance=0.01)],
    **WEEKLY,
)
def demand_forecast(data: fti.TrainingData) -> Any:
    """What will be used in a half hour."""
    return boosted(data, objective="l1")


@fti.model(
    dataset=rows_ahead,
    task="quantile",
    levels=[0.1, 0.5, 0.9],
    gates=[fti.BeatsBaseline("pinball", baseline=around_last_week), fti.MetricBounds("coverage_error", at_most=0.1)],
    **WEEKLY,
)
def demand_range(data: fti.TrainingData) -> list[Any]:
    """Between what and what it will be, in eight of ten half hours."""
    careful: Terms = {"objective": "quantile", "n_estimators": 120, "num_leaves": 8, "min_child_samples": 200}
    return [boosted(data, alpha=level, **careful) for level in data.levels]


both = [demand_forecast, demand_range]
forecasts = fti.batch_predictions(name="forecasts", model=both, partitions_def=days, online=True)
defs = fti.build_definitions([forecasts], name="electricity")
