"""The flagship on five weeks of real flights: what was stored, trained and served, against the rows that landed."""

import ast
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

import fti_assets as fti
from examples.flight_delays import features, inference, on_demand, sources, training
from examples.flight_delays.features import (
    LONG_WINDOWS,
    airport_delays,
    airport_now,
    arrivals,
    carrier_delays,
    daily,
    departures,
    flight_number_delays,
    hour_delays,
    plane_legs,
    planes,
    route_delays,
    schedule,
    weather,
)
from examples.flight_delays.training import NetConfig, arrival_delay, delay_net
from fti_assets.core import clock
from fti_assets.core.manifest import DatasetManifest, ViewRecord
from fti_assets.core.records import from_json
from fti_assets.errors import PredictionError
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.stores.models.graphs.graph import Graph
from tests.support import chromium
from tests.support.partitions import range_tags
from tests.support.serving import listening

FIRST, LAST = "2013-01-01", "2013-02-06"
DAYS = [f"{day:%Y-%m-%d}" for day in pd.date_range(FIRST, LAST)]
NOW = "2013-02-07T01:00:00Z"
CUTOFF = "2013-02-06"
MATURITY = pd.Timedelta("36h")
WINDOWS = {"1h": "1h", "3h": "3h", "24h": "24h", "7d": "7D", "30d": "30D"}
GROUPS = [
    schedule,
    departures,
    arrivals,
    weather,
    carrier_delays,
    airport_delays,
    route_delays,
    hour_delays,
    flight_number_delays,
    airport_now,
    plane_legs,
]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
FLIGHTS = 50
PAGE = str(Path(features.__file__).with_name("app.py"))

# Dagster says so of each backfill policy and partition mapping that an asset has.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter .* is currently in beta")

short_view = replace(arrival_delay, name="short_arrival_delay")
short_dataset = fti.training_dataset(
    name="short_dataset",
    view=short_view,
    partitions_def=dg.DailyPartitionsDefinition(start_date="2013-02-01", end_date="2013-03-01"),
    split=fti.TimeSplit(validation="4d", test="4d"),
    window="32d",
)


# Importance shuffles each of 127 features, which is no part of what is asked here.
@fti.model(dataset=short_dataset, task="binary", importance=False)
def short_net(data: fti.TrainingData) -> Any:
    import torch

    from examples.flight_delays.net import DelayNet

    torch.manual_seed(0)
    return data.fit(DelayNet(data.dense_dim, data.cardinalities), epochs=1)


short_predictions = fti.batch_predictions(name="short_predictions", model=short_net, partitions_def=daily)


@dataclass(frozen=True)
class System:
    """The flagship's stores, where they read from and what Dagster remembers of them."""

    home: Path
    landing: Path
    instance: dg.DagsterInstance

    @property
    def stores(self) -> fti.Stores:
        return fti.Stores(**{name: str(self.home / name) for name in ("lake", "models", "online")})

    def materialize(self, *declarations: Any, **where: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [declaration.assets_def for declaration in declarations],
            instance=self.instance,
            resources={"fti": self.stores, "landing": sources.LandingZone(folder=str(self.landing))},
            run_config=QUIET,
            **where,
        )

    def read(self, declaration: Any, **what: Any) -> pd.DataFrame:
        return fti.read(declaration, stores=self.stores, **what)

    def versions(self, groups: list[fti.FeatureGroup]) -> dict[str, dict[str, str]]:
        """The data version of each partition that is stored, by group."""
        with self.stores.offline_store().connect() as lake:
            ledgers = {group.table_name: lake.ledger(group.table) for group in groups}
        return {table: {day: one.data_version for day, one in ledger.items()} for table, ledger in ledgers.items()}

    def features(self, day: str, view: ViewRecord) -> pd.DataFrame:
        """The features of a day's flights as a batch of predictions has them, by flight."""
        with self.stores.offline_store().connect() as lake:
            flights = lake.rows(schedule.table, partitions=[day])
            rows = assemble(lake, view, flights, snapshot=lake.snapshot()).df()
        return rows.set_index("flight_id").sort_index()


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    with clock.at(NOW):
        yield


@pytest.fixture(scope="module")
def system(frozen: None, landing_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Every feature group of the flagship from ``FIRST`` to ``LAST``, the timed ones in one run."""
    with dg.DagsterInstance.ephemeral() as instance:
        made = System(tmp_path_factory.mktemp("flights"), landing_folder, instance)
        made.materialize(planes)
        made.materialize(*GROUPS, tags=range_tags(FIRST, LAST))
        yield made


@pytest.fixture(scope="module")
def trained(system: System) -> System:
    """The same with a dataset and a model at ``CUTOFF``, and the predictions of that day."""
    for declaration in (short_dataset, short_net, short_predictions):
        system.materialize(declaration, partition_key=CUTOFF)
    return system


@pytest.fixture(scope="module")
def dataset(trained: System) -> pd.DataFrame:
    return trained.read(short_dataset).set_index("flight_id").sort_index()


@pytest.fixture(scope="module")
def manifest(trained: System) -> DatasetManifest:
    with trained.stores.offline_store().connect() as lake:
        return from_json(DatasetManifest, lake.ledger(short_dataset.table)[CUTOFF].record, what="the dataset")


@pytest.fixture(scope="module")
def predictor(trained: System) -> fti.Predictor:
    return fti.Predictor.load("short_net", models=trained.home / "models", online=trained.home / "online")


@pytest.fixture(scope="module")
def landed_arrivals(landing: sources.LandingZone) -> pd.DataFrame:
    return landing.read("arrivals", DAYS)


@pytest.fixture(scope="module")
def landed_departures(landing: sources.LandingZone) -> pd.DataFrame:
    return landing.read("departures", DAYS)


@pytest.fixture(scope="module")
def landed_schedule(landing: sources.LandingZone) -> pd.DataFrame:
    return landing.read("schedule", DAYS)


@pytest.fixture(scope="module")
def landed_weather(landing: sources.LandingZone) -> pd.DataFrame:
    return landing.read("weather", DAYS)


def request_of(flight: pd.Series, view: ViewRecord) -> dict[str, Any]:
    """A flight as an app knows it, from its row of the schedule."""
    values = {column.name: flight[column.name] for column in view.request}
    return {
        name: None if pd.isna(value) else getattr(value, "isoformat", lambda v=value: v)()
        for name, value in values.items()
    }


def plain(row: pd.Series, names: list[str]) -> dict[str, Any]:
    """A stored row as the predictor gives features: None where missing."""
    return {name: None if pd.isna(row[name]) else row[name] for name in names}


@pytest.mark.parametrize(
    ("group", "key", "columns"),
    [(carrier_delays, "carrier", ["carrier"]), (airport_delays, "airport", ["origin", "dest"])],
)
def test_late_rates_count_flights_landed_by_the_hour(
    system: System, landed_arrivals: pd.DataFrame, group: fti.FeatureGroup, key: str, columns: list[str]
) -> None:
    stored = system.read(group).set_index([key, "hour"])
    assert stored.index.is_unique
    touched, arrived, is_late = (
        landed_arrivals[columns].to_numpy(dtype=str),
        landed_arrivals["arrived_at"].to_numpy(),
        landed_arrivals["is_late"].to_numpy(),
    )
    hours = pd.date_range(FIRST, f"{LAST} 23:00", freq="1h")
    rng = np.random.default_rng(13)
    sampled = zip(rng.choice(np.unique(touched), 100), rng.choice(hours, 100), strict=True)
    rare = stored.sample(50, random_state=0, weights=1 / stored["arrivals_30d"]).index
    absent = 0
    for name, hour in [*sampled, *rare]:
        ages = np.datetime64(hour) - arrived[(touched == name).any(axis=1)]
        lates = is_late[(touched == name).any(axis=1)]
        expected: dict[str, Any] = {}
        for window, length in WINDOWS.items():
            late = lates[(ages >= np.timedelta64(0)) & (ages < pd.Timedelta(length).to_numpy())].tolist()
            rate = sum(late) / len(late) if late else None
            expected |= {f"late_rate_{window}": rate, f"arrivals_{window}": len(late)}
        if not expected["arrivals_30d"]:
            assert (name, hour) not in stored.index
            absent += 1
            continue
        assert plain(stored.loc[(name, hour)], list(expected)) == expected, (name, hour)
    assert 0 < absent < 100


def test_arrival_counts_for_its_origin_and_for_its_destination(system: System, landed_arrivals: pd.DataFrame) -> None:
    rows = system.read(airport_delays, partitions=[LAST]).set_index("airport")
    last_hour = rows[rows["hour"] == pd.Timestamp("2013-02-06 23:00")]
    landed = landed_arrivals[
        landed_arrivals["arrived_at"].between("2013-01-07 23:00", "2013-02-06 23:00", inclusive="right")
    ]
    counted = pd.concat([landed["origin"], landed["dest"]]).value_counts()
    assert last_hour["arrivals_30d"].to_dict() == counted.to_dict()
    assert last_hour["arrivals_30d"].sum() == 2 * len(landed)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("group", "keys"),
    [
        (carrier_delays, ["carrier"]),
        (airport_delays, ["airport"]),
        (route_delays, ["origin", "dest"]),
        (hour_delays, ["departure_hour"]),
    ],
    ids=lambda value: value.name if isinstance(value, fti.FeatureGroup) else None,
)
def test_rates_and_delays_count_flights_done_by_the_hour(
    system: System,
    landed_arrivals: pd.DataFrame,
    landed_departures: pd.DataFrame,
    group: fti.FeatureGroup,
    keys: list[str],
) -> None:
    outcomes = {
        "late_rate": (landed_arrivals, "arrived_at", "is_late"),
        "delay": (landed_arrivals, "arrived_at", "arrival_delay"),
        "left_late_rate": (landed_departures, "departed_at", "left_late"),
        "left_delay": (landed_departures, "departed_at", "departure_delay"),
    }
    if group is airport_delays:  # a flight counts for both of its airports
        ends = {
            name: pd.concat([flights.assign(airport=flights[end]) for end in ("origin", "dest")])
            for name, (flights, _, _) in outcomes.items()
        }
        outcomes = {name: (ends[name], at, outcome) for name, (_, at, outcome) in outcomes.items()}
    of_key = {name: dict(list(flights.groupby(keys))) for name, (flights, _, _) in outcomes.items()}
    missing, windows = 0, [window for window in WINDOWS if group is not hour_delays or window in LONG_WINDOWS]
    for _, row in system.read(group).sample(60, random_state=3).iterrows():
        for name, (flights, at, outcome) in outcomes.items():
            mine = of_key[name].get(tuple(row[keys]), flights[:0])
            for window in windows:
                ages, length = row["hour"] - mine[at], WINDOWS[window]
                counted = mine.loc[(ages >= pd.Timedelta(0)) & (ages < pd.Timedelta(length)), outcome]
                result = row[f"{name}_{window}"]
                missing += pd.isna(result)
                assert (None if pd.isna(result) else result) == (counted.mean() if len(counted) else None)
    assert missing > 0 or group is hour_delays


def test_flight_numbers_have_rates_of_the_days_before(system: System, landed_arrivals: pd.DataFrame) -> None:
    of_number = dict(list(landed_arrivals.groupby("flight_number")))
    for _, row in system.read(flight_number_delays).sample(60, random_state=5).iterrows():
        mine = of_number[row["flight_number"]]
        ages = row["midnight"] - mine["arrived_at"]
        for days in (7, 30):
            counted = mine[(ages >= pd.Timedelta(0)) & (ages < pd.Timedelta(days=days))]
            expected = [counted["is_late"].mean(), counted["arrival_delay"].mean()]
            assert plain(row, [f"late_rate_{days}d", f"delay_{days}d"]) == {
                f"late_rate_{days}d": None if counted.empty else expected[0],
                f"delay_{days}d": None if counted.empty else expected[1],
            }


def test_an_airport_now_has_the_flights_that_wait(
    system: System, landed_schedule: pd.DataFrame, landed_departures: pd.DataFrame
) -> None:
    rows = system.read(airport_now)
    assert rows["quarter"].dt.minute.isin([0, 15, 30, 45]).all()
    for _, row in rows.sample(60, random_state=6).iterrows():
        now, here = row["quarter"], row["origin"]
        due = now - landed_schedule.loc[landed_schedule["origin"] == here, "scheduled_at"]
        left = landed_departures[landed_departures["origin"] == here]
        removed = now - left["departed_at"]
        for hours in (1, 2, 4):
            spans = [(ages >= pd.Timedelta(0)) & (ages < pd.Timedelta(hours=hours)) for ages in (due, removed)]
            assert row[f"waiting_{hours}h"] == spans[0].sum() - spans[1].sum()
        half = left[(removed >= pd.Timedelta(0)) & (removed < pd.Timedelta("30min"))]
        expected = {
            "left_late_rate_30min": half["left_late"].mean(),
            "left_delay_30min": half["departure_delay"].mean(),
        }
        assert plain(row, list(expected)) == {name: None if half.empty else one for name, one in expected.items()}


def test_a_planes_last_leg_is_known_15_minutes_later(
    dataset: pd.DataFrame,
    landed_schedule: pd.DataFrame,
    landed_arrivals: pd.DataFrame,
    landed_departures: pd.DataFrame,
) -> None:
    legs = pd.concat(
        [
            flights.rename(columns={at: "at", delay: "delay"}).assign(leg=leg)[["tailnum", "at", "delay", "leg"]]
            for flights, at, delay, leg in (
                (landed_departures, "departed_at", "departure_delay", "departed"),
                (landed_arrivals, "arrived_at", "arrival_delay", "landed"),
            )
        ]
    )
    of_plane, tailnums = dict(list(legs.groupby("tailnum"))), landed_schedule.set_index("flight_id")["tailnum"]
    observed = []
    for flight_id, row in dataset.sample(300, random_state=4).iterrows():
        at = row["predict_at"]
        mine = of_plane.get(tailnums[flight_id], legs[:0])
        mine = mine[(mine["at"] <= at - pd.Timedelta("15min")) & (mine["at"] >= at - pd.Timedelta("24h"))]
        last = mine.loc[mine["at"] == mine["at"].max(), ["leg", "delay"]].to_numpy().tolist()
        results = None if pd.isna(row["last_leg"]) else [row["last_leg"], row["last_leg_delay"]]
        assert results in last if last else results is None, flight_id
        since = at + pd.Timedelta("1h") - mine["at"].max()
        assert (
            pd.isna(row["since_last_leg"]) if results is None else row["since_last_leg"] == since.total_seconds() / 60
        )
        observed.append(results[0] if results else None)
    assert set(observed) == {"departed", "landed", None}


@pytest.mark.soak
def test_a_retrain_that_learns_nothing_is_rejected(trained: System) -> None:
    @fti.model(
        name="retrained_net",
        dataset=short_dataset,
        task="binary",
        evaluate=delay_net.evaluate,
        gates=delay_net.gates,
        importance=False,
    )
    def retrained_net(context: dg.AssetExecutionContext, config: NetConfig, data: fti.TrainingData) -> Any:
        return delay_net(context, config, data)

    def train(cutoff: str, **config: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [retrained_net.assets_def],
            instance=trained.instance,
            resources={"fti": trained.stores},
            run_config={**QUIET, "ops": {"retrained_net_v1": {"config": config}}},
            partition_key=cutoff,
            raise_on_error=False,
        )

    trained.materialize(short_dataset, partition_key="2013-02-05")
    store = trained.stores.model_store()
    assert train("2013-02-05", epochs=6).success
    champion = store.aliases("retrained_net").champion
    assert not train(CUTOFF, learning_rate=1e-7, epochs=1).success
    accepted, rejected = store.builds("retrained_net")
    assert (accepted.status, rejected.status) == ("accepted", "rejected")
    assert store.aliases("retrained_net").champion == champion == accepted.reference
    assert trained.instance.get_materialized_partitions(retrained_net.key) == {"2013-02-05"}
    verdicts = {verdict.gate: verdict for verdict in rejected.gates}
    assert list(verdicts) == [
        "beats_logistic_log_loss",
        "not_worse_than_champion_roc_auc",
        "slice_gap_roc_auc_by_origin",
    ]
    assert not verdicts["beats_logistic_log_loss"].passed
    assert not verdicts["not_worse_than_champion_roc_auc"].passed
    assert f"of the champion {champion}" in verdicts["not_worse_than_champion_roc_auc"].reason
    assert "of origin '" in verdicts["slice_gap_roc_auc_by_origin"].reason


def test_weather_is_seen_from_when_it_is_known(dataset: pd.DataFrame, landed_weather: pd.DataFrame) -> None:
    known = landed_weather.sort_values("known_at").rename(columns={"origin": "airport"})
    flights = dataset.reset_index().sort_values(["predict_at", "flight_id"])
    expected = pd.merge_asof(
        flights[["flight_id", "predict_at", "origin"]],
        known,
        left_on="predict_at",
        right_on="known_at",
        left_by="origin",
        right_by="airport",
    )
    expected = expected.set_index("flight_id").sort_index()
    measured = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
    expected.loc[expected["observed_at"] < expected["predict_at"] - pd.Timedelta("6h"), measured] = np.nan
    pd.testing.assert_frame_equal(dataset[measured], expected[measured])
    assert (expected["known_at"] == expected["predict_at"]).sum() > 100  # some are predicted at that very instant


def test_online_weather_changes_at_instant_at_which_it_is_known(
    predictor: fti.Predictor,
    trained: System,
    landed_schedule: pd.DataFrame,
    landed_weather: pd.DataFrame,
    manifest: DatasetManifest,
) -> None:
    jfk = (
        landed_weather[landed_weather["origin"] == "JFK"]
        .set_index("observed_at")["temp"]
        .loc["2013-02-04":"2013-02-05"]
    )
    changes = jfk.index[jfk.diff().fillna(0) != 0]
    request = request_of(landed_schedule.query("origin == 'JFK'").iloc[0], manifest.view)
    for observed in changes[:5]:
        known = observed.to_pydatetime() + timedelta(hours=1)
        before = predictor.features(request, at=known - timedelta(microseconds=1))["temp"]
        assert (before, predictor.features(request, at=known)["temp"]) == (
            jfk[observed - pd.Timedelta("1h")],
            jfk[observed],
        )


@pytest.mark.soak
def test_day_run_alone_has_data_versions_that_it_has_in_range(system: System) -> None:
    day, groups = "2013-01-31", GROUPS
    in_range = system.versions(groups)
    assert {table: len(set(versions.values())) for table, versions in in_range.items()} == dict.fromkeys(
        in_range, len(DAYS)
    )
    alone = system.materialize(*groups, partition_key=day)
    for group in groups:
        [event] = alone.asset_materializations_for_node(group.table_name)
        assert (event.tags or {})["dagster/data_version"] == in_range[group.table_name][day]
    assert system.versions(groups) == in_range


@pytest.mark.soak
def test_spark_gives_the_dataset_and_the_answers_that_duckdb_gave(trained: System) -> None:
    """Every join of the flagship, and its net, on Sail: the same data versions, so nothing is stale."""
    table, answers = short_dataset.table, short_predictions.table
    with trained.stores.offline_store().connect() as lake:
        before = [lake.ledger(one)[CUTOFF].data_version for one in (table, answers)]
    places = {name: str(trained.home / name) for name in ("lake", "models", "online")}
    stores = fti.Stores(**places, spark=fti.SparkEngine(url="sail", engine="spark"))
    again = {"ops": {answers.name: {"config": {"predict_again": True}}}}
    for declaration, config in ((short_dataset, {}), (short_predictions, again)):
        result = dg.materialize(
            [declaration.assets_def],
            instance=trained.instance,
            resources={"fti": stores},
            run_config=QUIET | config,
            partition_key=CUTOFF,
        )
        (event,) = result.asset_materializations_for_node(declaration.table_name)
        engines = {plan["engine"] for plan in event.metadata["engine"].data.values()}
        assert engines == {"spark"}
    with trained.stores.offline_store().connect() as lake:
        assert [lake.ledger(one)[CUTOFF].data_version for one in (table, answers)] == before


@pytest.mark.soak
def test_no_feature_knows_outcome_that_is_after_its_prediction(
    trained: System, manifest: DatasetManifest, tmp_path: Path
) -> None:
    """Had every flight that left or landed after noon been late when it was not and the other way round, nothing that
    was predicted up to noon would be different."""
    day, noon = "2013-01-31", pd.Timestamp("2013-01-31 12:00")
    changed = replace(trained, home=tmp_path, landing=tmp_path / "landing")
    shutil.copytree(trained.home / "lake", tmp_path / "lake")
    flipped: set[str] = set()
    for source, at, late, delay in (
        ("arrivals", "arrived_at", "is_late", "arrival_delay"),
        ("departures", "departed_at", "left_late", "departure_delay"),
    ):
        (changed.landing / source).mkdir(parents=True)
        rows = pq.read_table(trained.landing / source / f"{day}.parquet")
        frame = rows.to_pandas()
        after = frame[at] > noon
        flipped |= set(frame.loc[after, "flight_id"])
        frame[late] ^= after
        frame[delay] += 60.0 * after
        pq.write_table(type(rows).from_pandas(frame, rows.schema), changed.landing / source / f"{day}.parquet")
    outcomes = [group for group in GROUPS if group not in (schedule, weather)]
    with dg.DagsterInstance.ephemeral() as instance:
        replace(changed, instance=instance).materialize(*outcomes, partition_key=day)

    was, would_be = trained.features(day, manifest.view), changed.features(day, manifest.view)
    early = was["predict_at"] <= noon
    pd.testing.assert_frame_equal(was[early], would_be[early])
    an_hour_before = was.index[early & (was["predict_at"] > noon - pd.Timedelta("1h"))]
    assert len(flipped & set(an_hour_before)) > 20  # their own outcomes are among the changed ones
    assert not was[~early].equals(would_be[~early])


def test_dataset_holds_every_mature_flight_that_landed(
    dataset: pd.DataFrame, manifest: DatasetManifest, landed_schedule: pd.DataFrame, landed_arrivals: pd.DataFrame
) -> None:
    cutoff, predict_at = pd.Timestamp(CUTOFF), landed_schedule.set_index("flight_id")["predict_at"]
    end = cutoff - MATURITY
    splits = pd.Series(None, index=predict_at.index, dtype=object)
    splits[(predict_at >= end - pd.Timedelta("4D")) & (predict_at <= end)] = "test"
    end -= pd.Timedelta("4D") + MATURITY
    splits[(predict_at >= end - pd.Timedelta("4D")) & (predict_at < end)] = "validation"
    splits[(predict_at >= cutoff - pd.Timedelta("32D")) & (predict_at < end - pd.Timedelta("4D") - MATURITY)] = "train"
    landed = landed_arrivals.set_index("flight_id")["is_late"]
    expected = splits[splits.notna() & splits.index.isin(landed.index)].sort_index()
    assert dataset["split"].to_dict() == expected.to_dict()
    assert dataset["is_late"].to_dict() == landed[expected.index].to_dict()
    assert manifest.rows == expected.value_counts().to_dict()


def test_cancelled_flights_never_get_a_label(
    dataset: pd.DataFrame, manifest: DatasetManifest, landed_schedule: pd.DataFrame, landed_arrivals: pd.DataFrame
) -> None:
    known = landed_schedule[landed_schedule["predict_at"] >= pd.Timestamp(CUTOFF) - pd.Timedelta("32D")]
    mature = known[known["predict_at"] <= pd.Timestamp(CUTOFF) - MATURITY]
    cancelled = set(mature["flight_id"]) - set(landed_arrivals["flight_id"])
    assert len(cancelled) > 500
    assert manifest.left_out["unlabelled"] == len(cancelled)
    assert not cancelled & set(dataset.index)


def test_predictor_sees_what_dataset_has_and_gives_graphs_answer(
    predictor: fti.Predictor,
    trained: System,
    dataset: pd.DataFrame,
    manifest: DatasetManifest,
    landed_schedule: pd.DataFrame,
) -> None:
    flights = landed_schedule.set_index("flight_id", drop=False)
    store = trained.stores.model_store()
    build, graph_bytes = store.load("short_net", predictor.build)
    names = [column.name for column in manifest.view.features]
    rows = dataset[dataset["split"] == "test"].sample(FLIGHTS, random_state=1)
    columns = {
        column.name: rows[column.name].fillna("").to_numpy(object)
        if column.type == "text"
        else rows[column.name].to_numpy(float)
        for column in manifest.view.features
    }
    answers = Graph.from_bytes(graph_bytes, build.inputs, what="the champion").run(columns)["probability"]
    for (flight_id, row), answer in zip(rows.iterrows(), answers, strict=True):
        prediction = predictor.predict(
            request_of(flights.loc[flight_id], manifest.view), at=row["predict_at"].to_pydatetime()
        )
        assert prediction.features == plain(row, names), flight_id
        assert prediction.value == pytest.approx(answer, abs=1e-5)
    assert len(set(answers.round(3))) > FLIGHTS / 2  # it learned more than the prior


def test_the_predictor_sees_and_answers_what_the_batch_does(
    predictor: fti.Predictor, trained: System, manifest: DatasetManifest, landed_schedule: pd.DataFrame
) -> None:
    flights = landed_schedule.set_index("flight_id", drop=False)
    batch = trained.read(short_predictions).set_index("flight_id")
    offline = trained.features(CUTOFF, manifest.view)
    assert sorted(batch.index) == sorted(flights.index[flights["predict_at"] >= CUTOFF])
    assert set(batch["build"]) == {predictor.build}
    names = [column.name for column in manifest.view.features]
    for flight_id, row in batch.sample(FLIGHTS, random_state=2).iterrows():
        prediction = predictor.predict(
            request_of(flights.loc[flight_id], manifest.view), at=row["predict_at"].to_pydatetime()
        )
        assert prediction.features == plain(offline.loc[flight_id], names), flight_id
        assert prediction.value == pytest.approx(row["probability"], abs=1e-5)


def test_a_replay_from_before_the_online_history_is_refused(
    predictor: fti.Predictor, landed_schedule: pd.DataFrame, manifest: DatasetManifest
) -> None:
    first = datetime.fromisoformat(NOW).replace(tzinfo=None) - timedelta(days=7)
    request = request_of(landed_schedule.iloc[0], manifest.view)
    assert predictor.predict(request, at=first).at == first
    with pytest.raises(PredictionError, match="answers from 2013-01-31T01:00:00"):
        predictor.predict(request, at=first - timedelta(microseconds=1))


@pytest.fixture
def served(trained: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of the model, which the page of the example is told of; the page reads these stores."""
    app = fti.serving_app("short_net", models=trained.home / "models", online=trained.home / "online")
    with listening(app) as address:
        for name, value in {
            "FTI_HOME": str(trained.home),
            "FLIGHTS_SERVER": f"http://{address}",
            "FLIGHTS_MODEL": "short_net",
        }.items():
            monkeypatch.setenv(name, value)
        yield address


def drawn_page() -> AppTest:
    streamlit.cache_data.clear()
    page = AppTest.from_file(PAGE, default_timeout=120).run()
    assert not page.exception
    return page


def test_page_shows_the_risk_that_the_predictor_tells(
    served: str, trained: System, predictor: fti.Predictor, landed_schedule: pd.DataFrame, manifest: DatasetManifest
) -> None:
    trained.materialize(schedule, partition_key="2014-01-02")  # a day without flights
    page = drawn_page()
    assert page.selectbox(key="day").options == ["2013-02-06", "2013-02-05", "2013-02-04", "2013-02-03"]
    page = page.selectbox(key="origin").set_value("LGA").run()
    page = page.selectbox(key="flight").set_value(3).run()
    day = landed_schedule[landed_schedule["predict_at"].between("2013-02-06", "2013-02-06 23:59:59")]
    flight = day[day["origin"] == "LGA"].sort_values(["scheduled_at", "flight_id"]).iloc[3]
    request, at = request_of(flight, manifest.view), flight["predict_at"].to_pydatetime()
    risk = predictor.predict(request, at=at)
    assert page.metric[0].value == f"{risk.value:.0%}"
    assert flight["tailnum"] in page.subheader[0].value
    observed = page.dataframe[0].value.set_index("feature")["value"]
    assert list(observed.index) == list(risk.features)
    assert observed["dest"] == flight["dest"]

    page = page.number_input(key=f"what_if_last_leg_delay_{flight['flight_id']}").set_value(240.0).run()
    other = predictor.predict(request, at=at, overrides={"last_leg_delay": 240.0})
    assert other.value != risk.value
    assert page.metric[1].value == f"{other.value:.0%}"
    # What the page showed of another flight before is no change of this one.
    assert page.metric[1].delta == f"{(other.value - risk.value) * 100:+.1f} points"


@pytest.mark.soak
def test_page_says_why_it_has_no_answer(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTS_MODEL", "other_net")
    assert "other_net" in drawn_page().error[0].value
    monkeypatch.setenv("FLIGHTS_SERVER", "http://127.0.0.1:9")
    assert "`make serve` starts one" in drawn_page().error[0].value


@pytest.mark.soak
@pytest.mark.skipif(chromium.CHROMIUM is None, reason=chromium.ABSENT)
def test_a_browser_shows_risk_reasons_and_ages(served: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "server.port": port,
        "server.address": "127.0.0.1",
        "server.headless": True,
        "server.fileWatcherType": "none",
    }
    options |= {"browser.gatherUsageStats": False}
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        PAGE,
        *(f"--{name}={value}" for name, value in options.items()),
    ]
    with (tmp_path / "log").open("w") as log:
        page = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": "."}, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while b"ok" not in answered(f"http://127.0.0.1:{port}/_stcore/health"):
            assert page.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.2)
        with chromium.opened(f"http://127.0.0.1:{port}/", tmp_path) as browser:
            browser.wait_for("Risk of arriving 15 minutes late", "short_net v1/", "Shapley values")
            browser.click("What if")
            browser.wait_for("Change a value to see")
    finally:
        page.terminate()
        page.wait(30)


def answered(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bytes(response.read())
    except OSError:
        return b""


@pytest.mark.parametrize(
    "module", [features, training, inference, on_demand], ids=lambda module: module.__name__.rpartition(".")[2]
)
def test_no_file_of_example_names_format_store_or_path(module: Any) -> None:
    source = Path(module.__file__).read_text()
    assert not [word for word in ("ducklake", "duckdb", "onnx", "parquet", "sqlite", "redis") if word in source.lower()]
    texts = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [text for text in texts if "/" in text or "\\" in text]
    assert not [name for name in ("Path(", "open(", "os.path", "pathlib") if name in source]
