"""A model on windows at the time of the request: what it learned from is what it is asked with, online and as of the past."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DeclarationError, PredictionError
from fti_assets.inference.serving.bundle.writing import write_bundle
from fti_assets.monitoring.logged import RowTimes, recompute, winning_rows
from fti_assets.monitors.delays.delay_audit import delay_audit
from fti_assets.stores.models.loaded_build import load_build
from tests.stores.online_stores import redis_location
from tests.testing.shop import LAST, SOURCE, outcomes
from tests.testing.windowed_shop import COLUMNS, buying, windowed_buyer, windowed_dataset

NOON = "2025-01-08T12:00:00Z"


@pytest.fixture(scope="module")
def stores(shop_made_once: Path, tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    folder = tmp_path_factory.mktemp("windowed") / "shop"
    shutil.copytree(shop_made_once, folder)
    stores = testing.stores_in(folder)
    testing.materialize(buying, stores=stores, partition=("2025-01-01", LAST))
    testing.materialize(windowed_dataset, windowed_buyer, stores=stores, partition="2025-01-07")
    return stores


def test_past_rows_are_answered_as_offline(stores: fti.Stores) -> None:
    report = testing.assert_parity(windowed_buyer, stores=stores, sample=60)
    assert report.rows == 60
    assert report.features == ("spend", *COLUMNS)


def test_windows_move_with_the_clock(stores: fti.Stores) -> None:
    """Between two requests no row comes, yet the windows have others."""
    predictor = fti.Predictor.load("windowed_buyer", models=stores.models, online=stores.online)
    request = {"visit_id": "new", "customer": 3, "spend": 0.5}
    mine = SOURCE[SOURCE["customer"] == 3]
    for hours in (-30, -20, 0, 5.5, 9):
        at = pd.Timestamp("2025-01-08") + pd.Timedelta(hours=hours)
        begin = (at - pd.Timedelta("6h")).floor("h")
        known = mine[(mine["known"] <= at) & (mine["known"] > begin)]
        features = predictor.predict(request, at=at.to_pydatetime()).features
        assert features["outcomes_6h"] == len(known)
        exact = mine[(mine["known"] <= at) & (mine["known"] > at - pd.Timedelta("50min"))]
        assert features["outcomes_50min"] == len(exact)
        assert features["bought_6h"] == (known["bought"].mean() if len(known) else None)
    many = predictor.predict([request, {**request, "customer": 99}, request], at="2025-01-08T00:30:00Z")
    alone = predictor.predict(request, at="2025-01-08T00:30:00Z")
    assert many[0].features == many[2].features == alone.features
    assert many[1].features["outcomes_6h"] is None
    late = predictor.predict(request, at="2025-01-12T00:00:00Z").features
    assert (late["outcomes_6h"], late["outcomes_2d"]) == (None, None)


def test_an_instant_before_the_history_is_refused(stores: fti.Stores) -> None:
    predictor = fti.Predictor.load("windowed_buyer", models=stores.models, online=stores.online)
    with pytest.raises(PredictionError, match="'buying_lately_v1' answers from 2025-01-01T00:00:00 on"):
        predictor.predict({"visit_id": "new", "customer": 3, "spend": 0.5}, at="2024-12-31T23:59:59Z")


def test_the_rows_online_are_those_that_reading_gives(stores: fti.Stores) -> None:
    results = fti.read(buying, at="2025-01-07T03:07:00Z", stores=stores).set_index("customer")
    reader = fti.OnlineReader("buying_lately_v1", online=stores.online)
    for customer, row in results.iterrows():
        online = reader.read(int(customer), at="2025-01-07T03:07:00Z")
        assert {name: None if pd.isna(value) else value for name, value in row.items()} == pytest.approx(online, abs=0)


@pytest.mark.soak
def test_a_day_that_is_corrected_reaches_the_keys_that_it_changes(stores: fti.Stores, tmp_path: Path) -> None:
    copy = testing.stores_in(shutil.copytree(Path(str(stores.models)).parent, tmp_path / "copy"))

    @fti.feature_group(
        name="outcomes", keys=["visit_id"], event_time="t", available_at="known", schema=outcomes.schema,
        partitions_def=outcomes.partitions_def,
    )  # fmt: skip
    def turned(context: Any) -> Any:
        return outcomes(context).assign(
            bought=lambda rows: (1 - rows["bought"]).where(rows["customer"] == 2, rows["bought"])
        )

    testing.materialize(turned, buying, stores=copy, partition=LAST)
    testing.assert_parity("windowed_buyer", stores=copy, sample=40)
    before = fti.OnlineReader("buying_lately_v1", online=stores.online)
    after = fti.OnlineReader("buying_lately_v1", online=copy.online)
    changed = [
        one
        for one in range(5)
        if before.read(one, at="2025-01-08T00:00:00Z") != after.read(one, at="2025-01-08T00:00:00Z")
    ]
    assert changed == [2]


def test_no_feature_is_known_too_early(stores: fti.Stores) -> None:
    testing.assert_no_leak(windowed_dataset.view, stores=stores, partition=LAST, sample=5)
    with pytest.raises(DeclarationError, match="Check a view that takes them"):
        testing.assert_no_leak(buying, stores=stores, partition=LAST)


def test_delays_are_audited_where_the_rows_are(stores: fti.Stores) -> None:
    with pytest.raises(DeclarationError, match="buying_lately_v1 has no rows of its own.*'outcomes'"):
        delay_audit(buying, stores=stores)


def test_on_redis_as_on_sqlite(stores: fti.Stores) -> None:
    with redis_location() as location:
        on_redis = fti.Stores(lake=stores.lake, models=stores.models, online=location)
        testing.materialize(buying, stores=on_redis, partition=LAST)
        assert testing.assert_parity("windowed_buyer", stores=on_redis, sample=10).rows == 10


def test_a_past_answer_is_recomputed_and_says_which_rows_it_rests_on(stores: fti.Stores) -> None:
    manifest, graph = load_build(
        stores.model_store(), "windowed_buyer", stores.model_store().champion("windowed_buyer").reference
    )
    request, at = {"visit_id": "new", "customer": 3, "spend": 0.5}, datetime(2025, 1, 7, 3, 7)
    predictor = fti.Predictor.load("windowed_buyer", models=stores.models, online=stores.online)
    answer = predictor.predict(request, at=at)
    mine = SOURCE[(SOURCE["customer"] == 3) & (SOURCE["known"] <= at) & (SOURCE["known"] > "2025-01-05 03:00")]
    with stores.offline_store().connect() as lake:
        snapshot = lake.snapshot()
        [again] = recompute(lake, manifest, graph, [request], [at], snapshot=snapshot)
        [row] = winning_rows(lake, manifest, request, at, snapshot=snapshot)
        [nobody] = winning_rows(lake, manifest, {**request, "customer": 99}, at, snapshot=snapshot)
    assert {**again.features} == answer.features
    newest = mine.sort_values("known").iloc[-1]
    assert again.times == {"buying_lately_v1": RowTimes(newest["t"], newest["known"], len(mine))}
    assert (row.table, row.keys, row.age) == ("buying_lately_v1", {"customer": 3}, at - newest["t"])
    assert row.row is not None
    assert row.row["visit_id"] == newest["visit_id"]
    assert nobody.row is None
    assert answer.ages == {"buying_lately_v1": 0.0}


def test_a_bundle_answers_as_the_stores_do(stores: fti.Stores, tmp_path: Path) -> None:
    path = tmp_path / "windowed.fti"
    request = {"visit_id": "new", "customer": 3, "spend": 0.5}
    write_bundle(
        path,
        "windowed_buyer",
        models=stores.model_store(),
        online=stores.online_store(),
        answers_for=timedelta(days=1_000),
    )
    at = "2025-01-07T03:07:00Z"
    on_stores = fti.Predictor.load("windowed_buyer", models=stores.models, online=stores.online).predict(request, at=at)
    assert fti.Predictor.open_bundle(path).predict(request, at=at).features == on_stores.features
