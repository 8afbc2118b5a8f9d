"""Timestamps as features, from the lake to a model, and on to the same answers in batches and to requests."""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.stores.models.loaded_build import load_build
from tests.support.partitions import range_tags

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-08")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2013-01-06", end_date="2013-01-08")


def source() -> pd.DataFrame:
    t = pd.date_range("2013-01-01", "2013-01-08", freq="20min", inclusive="left")
    rng = np.random.default_rng(7)
    booked = pd.Series(t - pd.to_timedelta(rng.integers(0, 72 * 3600, len(t)), unit="s"))
    frame = pd.DataFrame({"ride_id": np.arange(len(t)), "requested_at": t, "driver": rng.integers(0, 5, len(t))})
    frame["booked_at"] = booked.mask(rng.random(len(t)) < 0.1)
    frame["late"] = ((t.hour > 12) ^ (booked < t - pd.Timedelta("1D"))).astype(int)
    return frame


SOURCE = source()
HIRED = [pd.Timestamp("2012-12-31 23:59:43") - pd.Timedelta(days=30 * one) for one in range(4)] + [pd.NaT]


def of_run(context: dg.AssetExecutionContext, *columns: str) -> pd.DataFrame:
    window = context.partition_time_window
    start, end = (moment.replace(tzinfo=None) for moment in (window.start, window.end))
    rows = (SOURCE["requested_at"] >= start) & (SOURCE["requested_at"] < end)
    return SOURCE[rows][["ride_id", "requested_at", *columns]]


@fti.feature_group(keys=["ride_id"], event_time="requested_at", partitions_def=DAYS)
def rides(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_run(context, "driver", "booked_at")


@fti.feature_group(keys=["ride_id"], event_time="requested_at", available_at="seen_at", partitions_def=DAYS)
def delays(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = of_run(context, "late")
    return rows.assign(seen_at=rows["requested_at"] + pd.Timedelta("2h"))


@fti.feature_group(keys=["driver"], event_time="changed_at", serving_delay="0s", partitions_def=DAYS, online=True)
def drivers(context: dg.AssetExecutionContext) -> pd.DataFrame:
    start = pd.Timestamp(context.partition_time_window.start.replace(tzinfo=None))
    return pd.DataFrame({"driver": range(5), "changed_at": start, "hired_at": HIRED})


VIEW = fti.FeatureView(
    name="late_rides",
    spine=rides,
    label=fti.Label(delays["late"], maturity="3h"),
    features=[rides["requested_at", "booked_at"], drivers["hired_at"]],
    encoders={
        "requested_at": fti.CalendarParts(["hour", "weekday"]),
        "booked_at": fti.Age("requested_at", unit="1h"),
        "hired_at": fti.Age("requested_at"),
    },
)
DATASET = fti.training_dataset(
    name="late_rides", view=VIEW, split=fti.TimeSplit(validation="1d", test="1d"), partitions_def=CUTOFFS
)


@fti.model(dataset=DATASET, task="binary")
def lateness(data: fti.TrainingData) -> LGBMClassifier:
    return LGBMClassifier(n_estimators=10, num_leaves=7, verbose=-1, n_jobs=1).fit(data.train.frame, data.train.y)


ANSWERS = fti.batch_predictions(name="late_answers", model=lateness, partitions_def=DAYS)


def run(stores: fti.Stores, instance: dg.DagsterInstance, *declared: Any, **options: Any) -> None:
    assets = [one.assets_def for one in declared]
    assert dg.materialize(assets, instance=instance, resources={"fti": stores}, **options).success


def test_times_answer_alike_in_training_batches_and_requests(tmp_path) -> None:
    stores = fti.Stores(lake=str(tmp_path / "lake"), models=str(tmp_path / "models"), online=str(tmp_path / "online"))
    with clock.at("2013-01-08T00:00:00"), dg.DagsterInstance.ephemeral() as instance:
        run(stores, instance, rides, delays, drivers, tags=range_tags("2013-01-01", "2013-01-07"))
        run(stores, instance, DATASET, lateness, partition_key="2013-01-06")
        run(stores, instance, ANSWERS, partition_key="2013-01-07")
    store = stores.model_store()
    manifest, graph = load_build(store, "lateness", store.champion("lateness").reference)
    assert {one.name for one in manifest.inputs} == {"time.requested_at", "age.booked_at", "age.hired_at"}
    assert manifest.metrics["roc_auc"] > 0.85
    assert manifest.importance is not None
    assert set(manifest.importance.features) == {"requested_at", "booked_at", "hired_at"}
    answers = fti.read(ANSWERS, partitions=["2013-01-07"], stores=stores).sort_values("ride_id")
    rows = SOURCE[SOURCE["requested_at"] >= "2013-01-07"].reset_index(drop=True)
    assert answers["ride_id"].tolist() == rows["ride_id"].tolist()
    columns = {name: rows[name].to_numpy("datetime64[us]") for name in ("requested_at", "booked_at")}
    columns["hired_at"] = pd.Series(HIRED).iloc[rows["driver"]].to_numpy("datetime64[us]")
    assert np.array_equal(answers["probability"].to_numpy(), graph.run(columns)["probability"].astype(float))
    with fti.Predictor.load("lateness", models=stores.models, online=stores.online) as predictor:
        for at, probability in list(enumerate(answers["probability"]))[::9]:
            row = rows.iloc[at]
            booked = None if pd.isna(row["booked_at"]) else row["booked_at"].to_pydatetime()
            request = {"ride_id": int(row["ride_id"]), "driver": int(row["driver"]), "booked_at": booked}
            answer = predictor.predict(request, at=row["requested_at"].to_pydatetime(), explain="score")
            assert answer.value == pytest.approx(probability, abs=1e-6)
            assert predictor.predict(request, at=row["requested_at"].to_pydatetime()).value == answer.value
            why = answer.explanation
            assert why is not None
            assert why.exact
            score = np.log(answer.value / (1 - answer.value))
            assert why.base + sum(why.contributions.values()) == pytest.approx(score, abs=1e-4)
