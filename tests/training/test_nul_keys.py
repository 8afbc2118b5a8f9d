"""Keys whose text has a NUL: a view brings them what is theirs, whoever asks, beside thousands of others."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.core import clock
from tests.support.models import linear_payer

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-01-06")
FIRST, SECOND, LAST = "2025-01-01", "2025-01-02", "2025-01-04"
OTHERS, NAMES = 3_000, ["a", "a\0", "a\0b"]
HOUR = timedelta(hours=1)


def rows_of(day: str) -> pd.DataFrame:
    """Thousands of names on the first day, and on later ones three that differ from a NUL on; ``x`` says which it is."""
    names = [f"n{number}" for number in range(OTHERS)] if day == FIRST else NAMES
    t = pd.date_range(day, periods=len(names), freq="20s")
    return pd.DataFrame({"name": names, "t": t, "x": [float(number) for number in range(len(names))]})


@fti.feature_group(keys=["name"], event_time="t", partitions_def=DAYS)
def visitors(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.concat([rows_of(day).assign(own=lambda rows: rows["x"] + 0.5) for day in context.partition_keys])


@fti.feature_group(keys=["name"], event_time="t", partitions_def=DAYS)
def payments(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.concat([rows_of(day).assign(t=lambda rows: rows["t"] + HOUR) for day in context.partition_keys])


@fti.feature_group(keys=["name"])
def places() -> pd.DataFrame:
    return pd.concat([rows_of(FIRST), rows_of(SECOND)])[["name", "x"]].rename(columns={"x": "place"})


@fti.feature_group(keys=["name"], event_time="t")
def habits() -> pd.DataFrame:
    rows = pd.concat([rows_of(FIRST), rows_of(SECOND)])
    return rows.assign(t=rows["t"] - HOUR).rename(columns={"x": "habit"})


def declared(version: int, *features: Any) -> tuple[fti.FeatureView, Any, Any]:
    view = fti.FeatureView(
        name="paying",
        version=version,
        spine=visitors,
        label=fti.Label(payments["x"]),
        features=[places["place"], habits["habit"], *features],
    )
    dataset = fti.training_dataset(
        name="to_pay", version=version, view=view, split=fti.TimeSplit(validation="12h", test="25h")
    )

    return view, dataset, linear_payer(dataset, version)


view, dataset, payer = declared(1)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fti.Stores]:
    stores = testing.stores_in(tmp_path_factory.mktemp("nul"))
    with clock.at("2025-01-03"):
        testing.materialize(visitors, payments, stores=stores, partition=(FIRST, SECOND))
        testing.materialize(places, habits, stores=stores)
    return stores


@pytest.fixture(scope="module")
def built(stores: fti.Stores) -> fti.Stores:
    with clock.at("2025-01-03"):
        testing.materialize(dataset, payer, stores=stores)
    return stores


@pytest.mark.parametrize("names", [NAMES, ["a\0"], ["a\0b", "a"]], ids=["all", "one", "two"])
def test_brought_rows_take_their_own_stored_columns(stores: fti.Stores, names: list[str]) -> None:
    own = fti.FeatureView(
        name="own",
        spine=visitors,
        label=fti.Label(payments["x"]),
        features=[visitors["own"], places["place"], habits["habit"]],
    )
    rows = rows_of(SECOND)
    spine = rows[rows["name"].isin(names)]
    result = own.features_for(spine[["name", "t"]], stores=stores)
    assert result["name"].tolist() == spine["name"].tolist()
    assert result["own"].tolist() == [x + 0.5 for x in spine["x"]]
    assert result["place"].tolist() == result["habit"].tolist() == spine["x"].tolist()


def test_leak_test_searches_the_rows_of_such_keys(stores: fti.Stores) -> None:
    with clock.at("2025-01-03"):
        testing.assert_no_leak(view, stores=stores, partition=SECOND)


@pytest.mark.soak
def test_champion_of_another_view_is_asked_about_such_keys(built: fti.Stores) -> None:
    with clock.at("2025-01-03T01:00"):
        testing.materialize(*declared(2, visitors["own"])[1:], stores=built)
    first, second = built.model_store().builds("payer")
    assert first.metrics["rmse"] == pytest.approx(0, abs=1e-3)
    [verdict] = second.gates
    assert f"of the champion {first.reference}" in verdict.reason


@pytest.mark.soak
def test_batch_answers_such_keys_once_each(built: fti.Stores) -> None:
    answers = fti.batch_predictions(name="paid", model=payer, partitions_def=DAYS)
    with clock.at("2025-01-05"):
        testing.materialize(visitors, stores=built, partition=LAST)
        for _ in range(2):
            testing.materialize(answers, stores=built, partition=LAST)
    rows = fti.read(answers, stores=built, as_="dicts")
    assert sorted(row["name"] for row in rows) == NAMES
    by_name = {row["name"]: row["value"] for row in rows}
    assert [by_name[name] for name in NAMES] == pytest.approx([0.0, 1.0, 2.0], abs=1e-2)
