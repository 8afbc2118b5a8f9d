"""A spine with corrections: dataset, batch, ad-hoc join, leak test and parity take the same version of each row."""

import random
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.core import clock
from fti_assets.core.manifest import DatasetManifest
from fti_assets.core.records import from_json
from fti_assets.errors import DataError
from fti_assets.features import spine_rows
from fti_assets.testing import join_leaks
from tests.features import oracles
from tests.features.oracles import Row
from tests.support.records import view_record

HOUR = timedelta(hours=1)
START = datetime(2025, 1, 1)
NOW = "2025-01-07T18:00"


def corrected(seed: int) -> list[Row]:
    """An order an hour; half of them have versions before and after their prediction time, some only after it, some two at once."""
    rng, rows = random.Random(seed), []
    for id in range(120):
        t = START + id * HOUR
        delays = rng.sample(range(-5, 40), rng.choice([1, 1, 2, 4]))
        for known in delays:
            for turn in range(rng.choice([1, 1, 1, 2])):
                row = {"id": id, "t": t, "known": t + known * HOUR, "turn": turn}
                rows.append({**row, "amount": rng.choice([None, rng.randrange(-4, 5)]), "paid": rng.randrange(2)})
    rng.shuffle(rows)
    return rows


ROWS: list[Row] = []


@fti.feature_group(keys=["id"], event_time="t", available_at="known", tie_break="turn")
def orders() -> pd.DataFrame:
    return pd.DataFrame(ROWS).astype({"amount": "Int64"})


@fti.feature_group(keys=["id"], event_time="t", available_at="known")
def payments() -> pd.DataFrame:
    """What orders came to, long after them."""
    t = START + HOUR * 40 + pd.to_timedelta(range(120), "h")
    return pd.DataFrame({"id": range(120), "t": t, "known": t, "settled": True})


view = fti.FeatureView(name="paying", spine=orders, label=fti.Label(orders["paid"]), features=[orders["amount"]])
apart = fti.FeatureView(
    name="settling", spine=orders, label=fti.Label(payments["settled"]), features=[orders["amount"]]
)
dataset = fti.training_dataset(name="paying_rows", view=view, split=fti.TimeSplit(validation="1h", test="3d"))


@fti.model(dataset=dataset, task="regression")
def payer(data: fti.TrainingData) -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(data.train.X, data.train.X.sum(axis=1))


answers = fti.batch_predictions(name="answers", model=payer)


def of_rows() -> list[list[Row]]:
    return [[row for row in ROWS if row["id"] == id] for id in range(120)]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    return testing.stores_in(tmp_path_factory.mktemp("orders"))


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_every_reader_takes_the_version_of_the_prediction_time(stores: fti.Stores, seed: int) -> None:
    ROWS[:] = corrected(seed)
    best = [oracles.spine_version(versions, versions[0]["t"], "known", "turn") for versions in of_rows()]
    amounts = {row["id"]: row["amount"] for row in best}
    breaches = sum(row["known"] > row["t"] for row in best)
    assert 0 < breaches < len(best)
    with clock.at(NOW):
        done = testing.materialize(orders, dataset, payer, stores=stores)
        batch = testing.materialize(
            answers, stores=stores, run_config={"ops": {answers.table_name: {"config": {"predict_again": True}}}}
        )
        stored = done.rows(dataset).astype(object).to_dict("records")
        assert {row["id"]: None if pd.isna(row["amount"]) else row["amount"] for row in stored} == amounts
        latest = [max(versions, key=lambda row: (row["known"], row["turn"])) for versions in of_rows()]
        assert {row["id"]: row["paid"] for row in stored} == {row["id"]: row["paid"] for row in latest}

        requests = pd.DataFrame([{"id": row["id"], "t": row["t"]} for row in best])
        features = view.features_for(requests, stores=stores, as_="dicts")
        assert {row["id"]: row["amount"] for row in features} == amounts

        testing.materialize(payments, stores=stores)
        testing.assert_no_leak(apart, stores=stores, sample=120)
        with pytest.raises(testing.LeakFound, match="'paid' .* it is on the spine row of orders_v1 itself") as results:
            testing.assert_no_leak(view, stores=stores, sample=1)
        observed = [row for row in ROWS if row["known"] <= row["t"]]
        assert len(results.value.rows) == len(observed)
        assert testing.assert_parity(payer, stores=stores, sample=120).rows == 120
        inputs = batch.rows(answers).set_index("id")["value"]
        assert sorted(inputs.index) == sorted(amounts)
        predictor = fti.Predictor.load("payer", models=stores.model_store().root, online=stores.online)
        for row in best:
            answer = predictor.predict({"id": row["id"], "amount": row["amount"]}, at=row["t"])
            assert answer.value == pytest.approx(inputs[row["id"]], abs=1e-5)

    for result, key in ((done.runs[dataset.table_name], dataset.key), (batch.runs[answers.table_name], answers.key)):
        assert result.asset_materializations_for_node(key.path[-1])[0].metadata["delay_breaches"].value == breaches
    with stores.offline_store().connect() as lake:
        record = lake.ledger(dataset.table)["all"].record
    assert from_json(DatasetManifest, record, what="manifest").delay_breaches == breaches
    models = stores.model_store()
    card = (models.root / "payer" / models.champion("payer").reference / "card.md").read_text()
    assert f"**delay breaches**: of {breaches} rows the spine row was not available at its prediction time" in card


@pytest.mark.soak
def test_a_version_that_landed_in_another_partition_counts(tmp_path: Any) -> None:
    days = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-01-04")
    versions = pd.DataFrame(
        [
            {"id": 1, "t": START + 30 * HOUR, "known": START, "amount": 1},
            {"id": 1, "t": START + 30 * HOUR, "known": START + 50 * HOUR, "amount": 2},
        ]
    )

    @fti.feature_group(keys=["id"], event_time="t", available_at="known", partition_by="known", partitions_def=days)
    def landed(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return versions[versions["known"].dt.strftime("%Y-%m-%d") == context.partition_key]

    stores = testing.stores_in(tmp_path)
    for day in days.get_partition_keys():
        testing.materialize(landed, stores=stores, partition=day)
    record = view_record(spine="landed", prediction_time="t", spine_times=spine_rows.spine_times(landed))
    with stores.offline_store().connect() as lake:
        of_days = [
            spine_rows.stored_spine(lake, record, partitions=[day]).project("amount, _fti_late").fetchall()
            for day in days.get_partition_keys()
        ]
    assert of_days == [[(1, False)], [], []]


def test_a_leak_through_the_spines_own_columns_is_found(stores: fti.Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for the version of a row does not rest on the rule that it checks."""
    ROWS[:] = corrected(3)
    testing.materialize(orders, stores=stores, now=NOW)

    def latest(lake: Any, view: Any, **_: Any) -> Any:
        return lake.connection.sql(
            f"SELECT *, false AS {spine_rows.LATE} FROM {orders.table.sql} "
            "QUALIFY row_number() OVER (PARTITION BY id ORDER BY known DESC) = 1"
        ).project("* EXCLUDE (_partition)")

    monkeypatch.setattr(join_leaks, "stored_spine", latest)
    with pytest.raises(
        testing.LeakFound, match="takes columns of its spine orders_v1 that are not .*: amount"
    ) as results:
        testing.assert_no_leak(view, stores=stores, sample=120)
    assert {"id", "t", "joined", "known"} <= set(results.value.rows)


def test_features_of_rows_that_the_spine_lacks_are_refused(stores: fti.Stores) -> None:
    ROWS[:] = corrected(4)
    testing.materialize(orders, stores=stores, now=NOW)
    with pytest.raises(DataError, match="has no column 'amount': it needs 'id', 'amount' or 't' and has 'id' or 't'"):
        view.features_for([{"id": 1, "t": START + HOUR}, {"id": 1, "t": START}], stores=stores)
    with pytest.raises(DataError, match="has no column 'id' and 'amount'"):
        view.features_for([{"t": START}], stores=stores)
