"""Datasets and batch predictions on Spark: the rows, the hash and the answers of DuckDB, and what is said of the choice."""

from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.engines import choice
from fti_assets.errors import DeclarationError, EngineError
from tests.support.visits import BUYER, DAYS, SCORER, SORTER, Bench, run

SEVERAL = [BUYER, SCORER, SORTER]


@pytest.fixture
def spark(spark_url: str) -> fti.SparkEngine:
    return fti.SparkEngine(url=spark_url, engine="spark")


def on_spark(bench: Bench, spark: fti.SparkEngine) -> Bench:
    bench.stores = fti.Stores(
        lake=bench.stores.lake, models=bench.stores.models, online=bench.stores.online, spark=spark
    )
    return bench


def version_of(result: dg.ExecuteInProcessResult, declaration: Any) -> str:
    (event,) = result.asset_materializations_for_node(declaration.table_name)
    return str((event.tags or {})["dagster/data_version"])


def plans_of(result: dg.ExecuteInProcessResult, declaration: Any) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(declaration.table_name)
    return event.metadata["engine"].data if "engine" in event.metadata else {}


def test_a_dataset_has_the_version_of_duckdb_and_nothing_is_stale(bench: Bench, spark: fti.SparkEngine) -> None:
    dataset, before = BUYER.dataset, bench.stores.offline_store()
    with before.connect() as lake:
        stored = lake.ledger(dataset.table)["2013-01-05"]
    on_spark(bench, spark)
    with clock.at("2013-01-09T00:00:00"):
        result = run(dataset, stores=bench.stores, instance=bench.instance, partition_key="2013-01-05")
    assert version_of(result, dataset) == stored.data_version
    plans = plans_of(result, dataset)
    assert {name: plan["engine"] for name, plan in plans.items()} == {"crowds_v1": "spark", "shops_v1": "spark"}
    # The spine's first prediction less the ttl is on the first day, its last one on the fourth: of seven days four are read.
    assert plans["crowds_v1"]["files"] == "4 of 7"
    with before.connect() as lake:
        record = lake.ledger(dataset.table)["2013-01-05"]
    assert (record.data_version, record.committed_at) == (
        stored.data_version,
        stored.committed_at,
    )  # no row was written
    assert list((bench.root / "lake" / "scratch").iterdir()) == []


def test_answers_on_spark_are_those_of_duckdb_bit_by_bit(bench: Bench, spark: fti.SparkEngine) -> None:
    predictions = fti.batch_predictions(name="several", model=SEVERAL, partitions_def=DAYS)
    by_duckdb = version_of(bench.predict(predictions, "06"), predictions)
    rows = bench.answers(predictions)
    on_spark(bench, spark)
    result = bench.predict(predictions, "06", again=True)
    assert version_of(result, predictions) == by_duckdb
    assert bench.answers(predictions).equals(rows)
    plans = plans_of(result, predictions)
    assert plans["answers of buyer, scorer, sorter"]["engine"] == "spark"
    # One row alone, as a late one is, and none.
    again = bench.predict(predictions, "06")
    assert version_of(again, predictions) == by_duckdb


@pytest.mark.soak
def test_one_row_on_spark_is_answered_as_among_others(
    bench: Bench, spark: fti.SparkEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = fti.batch_predictions(name="alone", model=BUYER, partitions_def=DAYS)
    bench.predict(predictions, "06")
    rows = bench.answers(predictions).set_index("visit_id")["probability"]
    last = int(rows.index[-1])
    from fti_assets.inference.batch import answers

    whole = answers.spine_as_of
    monkeypatch.setattr(answers, "spine_as_of", lambda *given: whole(*given).filter(f"visit_id = {last}"))
    on_spark(bench, spark)
    bench.predict(predictions, "06", again=True)
    alone = bench.answers(predictions).set_index("visit_id")["probability"]
    assert alone.to_dict() == {last: rows[last]}


def test_auto_stays_with_duckdb_for_few_rows_and_says_why(bench: Bench) -> None:
    on_spark(bench, fti.SparkEngine(url="sc://127.0.0.1:9"))  # nobody is there, and nobody is asked
    predictions = fti.batch_predictions(name="few", model=BUYER, partitions_def=DAYS, engine="auto")
    plans = plans_of(bench.predict(predictions, "06"), predictions)
    assert {plan["engine"] for plan in plans.values()} == {"duckdb"}
    assert "of the" in plans["crowds_v1"]["why"]
    assert "GB that DuckDB has" in plans["crowds_v1"]["why"]


@pytest.mark.soak
def test_auto_takes_spark_for_what_memory_does_not_hold(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_COLUMN_BYTES", 2**30)
    dataset = replace(BUYER.dataset, engine="auto")
    on_spark(bench, fti.SparkEngine(url="sail", engine="duckdb"))
    with clock.at("2013-01-09T00:00:00"):
        result = run(dataset, stores=bench.stores, instance=bench.instance, partition_key="2013-01-05")
    plans = plans_of(result, dataset)
    assert {plan["engine"] for plan in plans.values()} == {"spark"}
    assert "more than the" in plans["crowds_v1"]["why"]


def test_spark_that_nobody_has_named_or_that_is_away_leaves_the_lake_alone(bench: Bench) -> None:
    dataset = replace(BUYER.dataset, engine="spark")
    with bench.stores.offline_store().connect() as lake:
        snapshot = lake.snapshot()
    for stores, problem in (
        (bench.stores, r"buyer_dataset_v1 runs on Spark, and the stores do not say where that is: .*fti.SparkEngine"),
        (
            on_spark(bench, fti.SparkEngine(url="sc://127.0.0.1:9/;token=secret")).stores,
            r"Spark at sc://127.0.0.1:9;\*\*\* cannot be reached: Connection refused. Nothing was stored. Start",
        ),
    ):
        with clock.at("2013-01-09T00:00:00"), pytest.raises(EngineError, match=problem):
            run(dataset, stores=stores, instance=bench.instance, partition_key="2013-01-05")
    with bench.stores.offline_store().connect() as lake:
        assert lake.snapshot() == snapshot


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        ({"url": "spark://host:7077"}, "write 'sc://host:15002'"),
        ({"url": "sail", "cores": 0}, "cores=0"),
        ({"url": "sail", "engine": "hive"}, "engine='hive': there is 'duckdb', 'spark' or 'auto'"),
    ],
)
def test_an_engine_that_cannot_be_is_refused_when_it_is_declared(terms: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem):
        fti.SparkEngine(**terms)
    with pytest.raises(DeclarationError, match="engine='hive'"):
        fti.batch_predictions(name="few", model=BUYER, partitions_def=DAYS, engine="hive")  # type: ignore[arg-type]
