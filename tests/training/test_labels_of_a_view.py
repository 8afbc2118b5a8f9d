"""Views with several labels: their declaration, the rows of their datasets, and the way of a build to those who ask it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import duckdb
import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputClassifier

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.core.manifest import DatasetManifest
from fti_assets.core.names import PartitionRecord
from fti_assets.core.records import from_json, to_json
from fti_assets.errors import DataError, DeclarationError
from fti_assets.features.stored_partitions import complete_spans
from fti_assets.inference.server import serving_app
from fti_assets.inference.serving.rollout.disagreement import disagreement
from fti_assets.stores.models.builds.differences import differences
from fti_assets.testing import train_tiny
from fti_assets.training.datasets.labels import with_label
from tests.features import oracles
from tests.support.examples import examples
from tests.support.serving import ask
from tests.training import test_dataset_rows as stored_rows
from tests.training.test_dataset_rows import declared, event, events, made, outcome, outcomes, row, spine

BOTH = {"paid": fti.Label(outcomes["v"], maturity="2h"), "again": fti.Label(events["v"], within="3h", maturity="4h")}


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with oracles.connection_to_shared() as connection:
        yield connection


whole_hours = st.integers(0, 12)
outcome_rows = st.builds(outcome, st.integers(0, 4), whole_hours, st.sampled_from([0.0, 1.0, None]))
event_rows = st.builds(event, st.just("x"), whole_hours, st.sampled_from([0.0, 1.0]))


@settings(max_examples=examples(36))
@given(
    st.lists(whole_hours, min_size=1, max_size=5),
    st.lists(outcome_rows, max_size=5, unique_by=lambda one: (one["id"], one["e"])),
    st.lists(event_rows, max_size=3, unique_by=lambda one: one["e"]),
)
def test_rows_are_those_that_have_every_label(
    connection: duckdb.DuckDBPyConnection, times: list[int], known: list[Any], first: list[Any]
) -> None:
    stored = {spine: [row(id, t) for id, t in enumerate(times)], outcomes: known, events: first}
    by_label, counts = {}, {}
    for name, label in {
        "paid": fti.Label(outcomes["v"], maturity="4h"),
        "again": fti.Label(events["v"], within="3h", maturity="4h"),
    }.items():
        try:
            counts[name], by_label[name] = made(connection, declared(label), stored, cutoff=13)
        except DataError:
            by_label[name] = {}
    every = {id for id in by_label["paid"] if id in by_label["again"]}
    try:
        rows, by_id = made(connection, declared(BOTH), stored, cutoff=13)
    except DataError:
        train = {id for id in every if by_label["paid"][id]["split"] == "train"}
        assert not train
        return
    assert set(by_id) == every
    for id, one in by_id.items():
        assert (one["paid"], one["again"]) == (by_label["paid"][id]["v"], by_label["again"][id]["v"])
        assert one["split"] == by_label["paid"][id]["split"]
    assert rows.left_out["immature"] == counts["paid"].left_out["immature"]
    assert rows.missing == {name: counts[name].left_out["unlabelled"] for name in BOTH}


def test_a_mature_row_without_a_label_may_be_a_no(connection: duckdb.DuckDBPyConnection) -> None:
    stored = {spine: [row(1, 0), row(2, 1), row(3, 19)], outcomes: [outcome(1, 2)]}
    label = fti.Label(outcomes["v"], maturity="3h", missing=False)
    rows, by_id = made(connection, declared(label), stored, cutoff=20)
    assert {id: one["v"] for id, one in by_id.items()} == {1: 1.0, 2: 0.0}
    assert rows.left_out == {"immature": 1, "unlabelled": 0, "between splits": 0}
    within = fti.Label(events["v"], within="3h", missing=False)
    stored = {spine: [row(1, 0), row(2, 5)], events: [event("x", 2)]}
    _, by_id = made(connection, declared(within), stored, cutoff=20)
    assert {id: one["v"] for id, one in by_id.items()} == {1: 1.0, 2: 0.0}


def test_no_row_is_a_no_where_the_group_is_complete(connection: duckdb.DuckDBPyConnection) -> None:
    spans = (oracles.START, oracles.START + timedelta(hours=6)), (oracles.START + timedelta(hours=9), None)
    rows = [row(id, id) for id in range(13)]
    known = oracles.relation(connection, stored_rows.OUTCOMES, [outcome(1, 2), outcome(2, 3, None), outcome(7, 8)])
    happened = oracles.relation(connection, stored_rows.EVENTS, [event("x", 2), event("x", 11, None)])
    for label, stored in (
        (fti.Label(outcomes["v"], maturity="2h", missing=False), known),
        (fti.Label(events["v"], within="1h", maturity="2h", missing=False), happened),
    ):
        requests = oracles.relation(connection, stored_rows.SPINE, rows)
        cutoff = oracles.START + timedelta(hours=13)
        labelled = with_label(connection, requests, stored, label, spine, cutoff, complete=spans)
        labels = dict(labelled.project("id, _fti_label").fetchall())
        is_told = {id for id in range(13) if id + 2 <= 6 or 9 <= id <= 11}
        own = {1: 1.0, 2: None} if stored is known else {1: 1.0, 10: None}
        # Row 7 has an outcome, and lies in hours of which not all outcomes are there.
        assert labels == {id: own.get(id, 0.0) if id in is_told else None for id in range(13)}


def test_days_that_were_not_over_or_not_run_say_nothing() -> None:
    days = dg.DailyPartitionsDefinition(start_date="2024-01-01")

    @fti.feature_group(keys=["id"], event_time="t", partitions_def=days, serving_delay="1h")
    def cancelled() -> pd.DataFrame: ...

    day = [datetime(2024, 1, number) for number in range(1, 9)]
    runs = {
        1: 3,
        2: 3,
        4: 5,
        5: 5,
        6: 9,
    }  # the 3rd was never run, the 4th before its delay had passed, the 5th before it was over
    lake: Any = SimpleNamespace(
        ledger=lambda table, snapshot: {
            f"2024-01-0{key}": PartitionRecord("", "", 0, day[0], datetime(2024, 1, at), "", "{}")
            for key, at in runs.items()
        }
    )
    assert complete_spans(lake, cancelled, day[7], snapshot=1) == ((day[0], day[1]), (day[5], day[6]))
    runs |= {2: 4, 3: 5, 4: 6, 5: 8}
    assert complete_spans(lake, cancelled, day[7], snapshot=1) == ((day[0], day[6]),)


def test_a_group_without_partitions_says_no_up_to_its_last_run(connection: duckdb.DuckDBPyConnection) -> None:
    at = oracles.START + timedelta(hours=5)
    lake: Any = SimpleNamespace(ledger=lambda table, snapshot: {"all": PartitionRecord("all", "", 0, at, at, "", "{}")})
    assert complete_spans(lake, outcomes, datetime(2100, 1, 1), snapshot=1) == ((None, at),)
    empty: Any = SimpleNamespace(ledger=lambda table, snapshot: {})
    assert complete_spans(empty, outcomes, datetime(2100, 1, 1), snapshot=1) == ()


def test_each_label_is_judged(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(id, id / 100, y=float(id % 2)) for id in range(300)]
    known = [outcome(id, 5, float(id % 3 == 0)) for id in range(300)]
    tells = {"paid": fti.Label(outcomes["v"]), "told": fti.Label(spine["y"])}
    dataset = declared(tells, features=[spine["own"]])
    judged, by_id = made(connection, dataset, {spine: rows, outcomes: known}, cutoff=10)
    assert {"paid", "told", "own", "split"} <= set(next(iter(by_id.values())))
    assert judged.classes["paid"]["train"]["0"] + judged.classes["paid"]["train"]["1"] == judged.rows["train"]
    verdicts = {verdict.rule.name: verdict for verdict in judged.verdicts}
    assert len(verdicts) == len(judged.verdicts)
    unknown = verdicts["label_unknown_in_time"]
    assert not unknown.passed
    assert "the label 'told' of 300 of 300 rows was visible" in unknown.problem
    assert "'paid'" not in unknown.problem
    assert [one.name for one in judged.profile.labels] == ["paid", "told"]
    assert judged.profile.label == judged.profile.labels[0]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"paid": fti.Label(outcomes["v"])}, "of 1 label: a name each is for several"),
        ({"paid": fti.Label(outcomes["v"]), "own": fti.Label(events["v"], within="1h")}, "label 'own' among its features"),
        ({"paid": fti.Label(outcomes["v"]), "id": fti.Label(events["v"], within="1h")}, "which is a key"),
        ({"paid": fti.Label(outcomes["v"]), "Paid!": fti.Label(events["v"], within="1h")}, "is not a name"),
        ({"one": fti.Label(outcomes["v"]), "two": fti.Label(outcomes["v"], maturity="1h")}, "'one' and 'two' of the same"),
        ({"one": fti.Label(outcomes["v"]), "two": 3}, "two"),
        (fti.Label(spine["y"], missing=False), "a null there is not known"),
    ],
)  # fmt: skip
def test_impossible_labels_are_refused(label: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declared(label)


def test_what_several_labels_cannot_have_is_refused_at_load() -> None:
    with pytest.raises(DeclarationError, match="write missing=False"):
        fti.Label(outcomes["v"], missing=True)
    with pytest.raises(DeclarationError, match=r"keeps a sample of classes, and its view has the labels"):
        declared(BOTH, sample=fti.Sample(negatives=0.5))
    with pytest.raises(DeclarationError, match="names the label 'y'"):
        declared({"paid": fti.Label(outcomes["v"]), "told": fti.Label(spine["y"])}, where="y > 0")


def source() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    size, weight = rng.normal(size=400), rng.normal(size=400)
    return pd.DataFrame(
        {
            "order_id": range(400),
            "size": size,
            "shop": np.array(["a", "b"])[rng.integers(2, size=400)],
            "is_late": size + rng.normal(size=400) / 2 > 0,
            "is_returned": weight - size + rng.normal(size=400) / 2 > 0.5,
            "hours": size * 2 + rng.normal(size=400),
            "weight": weight,
        }
    )


@fti.feature_group(name="orders", keys=["order_id"])
def orders() -> pd.DataFrame:
    return source()[["order_id", "size", "weight", "shop"]]


@fti.feature_group(name="deliveries", keys=["order_id"])
def deliveries() -> pd.DataFrame:
    return source()[["order_id", "is_late", "hours"]].iloc[10:]


@fti.feature_group(name="returns", keys=["order_id"])
def returns() -> pd.DataFrame:
    rows = source()
    return rows.loc[rows.is_returned, ["order_id", "is_returned", "weight"]]


FEATURES = [orders["size", "weight", "shop"]]
ENCODERS = {"shop": fti.OneHot()}
VIEW = fti.FeatureView(
    name="order_outcomes",
    spine=orders,
    label={"late": fti.Label(deliveries["is_late"]), "returned": fti.Label(returns["is_returned"], missing=False)},
    features=FEATURES,
    encoders=ENCODERS,
)
HOURS = fti.FeatureView(
    name="order_hours",
    spine=orders,
    label={"hours": fti.Label(deliveries["hours"]), "late": fti.Label(deliveries["is_late"])},
    features=FEATURES,
    encoders=ENCODERS,
)
ONE = fti.FeatureView(
    name="order_late",
    spine=orders,
    label=fti.Label(deliveries["is_late"]),
    features=FEATURES,
    encoders=ENCODERS,
)


def outcomes_model(**options: Any) -> Any:
    chosen = {"dataset": VIEW, "task": "multilabel", **options}

    @fti.model(name="order_outcomes", **chosen)
    def order_outcomes(data: fti.TrainingData):
        if data.task == "multioutput":
            return Ridge().fit(data.train.X, data.train.y)
        return MultiOutputClassifier(LogisticRegression()).fit(data.train.X, data.train.y)

    return order_outcomes


OUTCOMES = outcomes_model(
    evaluate=fti.Evaluation(
        metrics=["log_loss", "roc_auc", "f1"], slices=["shop"], threshold={"late": "f1", "returned": 0.4}
    ),
    gates=[
        fti.BeatsBaseline("log_loss"),
        fti.BeatsBaseline("log_loss:late", baseline="prior"),
        fti.MetricBounds("roc_auc:returned", at_least=0.6),
        fti.NotWorseThanChampion("log_loss:returned", tolerance=0.01),
        fti.SliceGap("roc_auc", by="shop", at_most=0.5, min_rows=20),
    ],
    calibrate="platt",
)


@fti.model(dataset=HOURS, task="regression")
def order_hours(data: fti.TrainingData) -> Ridge:
    return Ridge().fit(data.train.X, data.train.y)


BATCH = fti.batch_predictions(name="order_answers", model=OUTCOMES)
TOGETHER = fti.composite(name="order_all", models=[OUTCOMES, order_hours])
LOG = fti.prediction_log(name="order_log", model=OUTCOMES)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    root = tmp_path_factory.mktemp("orders")
    stores = fti.Stores(lake=str(root / "lake"), models=str(root / "models"))
    declarations = (
        orders,
        deliveries,
        returns,
        OUTCOMES.dataset,
        order_hours.dataset,
        OUTCOMES,
        order_hours,
        TOGETHER,
        BATCH,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        for assets in (declarations, (OUTCOMES,)):  # the second build meets a champion
            result = dg.materialize(
                [one.assets_def for one in declarations],
                selection=[one.key for one in assets],
                instance=instance,
                resources={"fti": stores},
            )
            assert result.success
    return stores


def test_a_build_says_what_it_is_of_each_label(stores: fti.Stores) -> None:
    store = stores.model_store()
    manifest = store.champion("order_outcomes")
    assert (manifest.task, manifest.classes, manifest.outputs[0].name) == (
        "multilabel",
        ("late", "returned"),
        "probabilities",
    )
    assert {"log_loss", "log_loss:late", "log_loss:returned", "f1:late"} <= set(manifest.metrics)
    assert manifest.metrics["log_loss"] == pytest.approx(
        (manifest.metrics["log_loss:late"] + manifest.metrics["log_loss:returned"]) / 2
    )
    assert (
        manifest.intervals["log_loss:late"].low < manifest.metrics["log_loss:late"] < manifest.baseline["log_loss:late"]
    )
    assert manifest.thresholds["late"].goal == "f1"
    assert manifest.thresholds["returned"].value == pytest.approx(0.4)
    assert manifest.importance is not None
    assert manifest.importance.metric == "log_loss"
    champion = next(gate for gate in manifest.gates if gate.gate == "not_worse_than_champion_log_loss_of_returned")
    assert champion.passed
    card = (store.folder(manifest) / "card.md").read_text()
    assert "- label `late`: `is_late` of `deliveries_v1`; 10 mature rows lack it" in card
    assert "returned` 0.4" in card
    assert "| log_loss:late |" in card
    before, after = store.builds("order_outcomes")
    differ = differences(before, replace(after, metrics={**after.metrics, "log_loss:late": 9.0}))
    assert "test log_loss:late" in [one.name for one in differ if one.section == "metrics"]


def test_a_dataset_has_a_column_for_each_label(stores: fti.Stores) -> None:
    rows = fti.read(OUTCOMES.dataset, stores=stores).set_index("order_id").sort_index()
    expected = source().set_index("order_id").iloc[10:]
    assert rows["late"].tolist() == expected["is_late"].tolist()
    assert rows["returned"].tolist() == expected["is_returned"].tolist()
    with stores.offline_store().connect() as lake:
        [record] = lake.ledger(OUTCOMES.dataset.table).values()
    manifest = from_json(DatasetManifest, record.record, what="it")
    assert [(one.name, one.column, one.group, one.missing) for one in manifest.labels] == [
        ("late", "is_late", "deliveries_v1", 10),
        ("returned", "is_returned", "returns_v1", 0),
    ]
    assert manifest.left_out["unlabelled"] == 10
    assert from_json(DatasetManifest, to_json(manifest), what="it") == manifest


def test_every_way_of_asking_gives_the_same_answer(stores: fti.Stores, tmp_path: Path) -> None:
    models = stores.model_store().root
    predictor = fti.Predictor.load("order_outcomes", models=models)
    fields = source().loc[7, ["order_id", "size", "weight", "shop"]].to_dict()
    value = predictor.predict(fields).value
    assert list(value) == ["late", "returned"]
    assert sum(value.values()) != pytest.approx(1.0, abs=1e-3)
    answers = fti.read(BATCH, stores=stores).set_index("order_id")
    assert dict(answers["probabilities"][7]) == pytest.approx(value, rel=1e-6)
    hours = fti.Predictor.load("order_hours", models=models).predict(fields).value
    assert list(hours) == ["hours", "late"]
    together = fti.Predictor.load("order_all", models=models).predict(fields).value
    assert together == pytest.approx(
        {f"order_outcomes.{name}": one for name, one in value.items()}
        | {f"order_hours.{name}": one for name, one in hours.items()},
        rel=1e-5,
    )
    app = serving_app("order_outcomes", models=models)
    plain = ask(app, "POST", "/predict/order_outcomes", fields).json
    assert plain["value"] == pytest.approx(value, rel=1e-6)
    inputs = [
        {"name": name, "datatype": kind, "shape": [1], "data": [fields[name]]}
        for name, kind in (("order_id", "INT64"), ("size", "FP64"), ("weight", "FP64"), ("shop", "BYTES"))
    ]
    answer = ask(app, "POST", "/v2/models/order_outcomes/infer", {"inputs": inputs}).json
    assert (answer["outputs"][0]["name"], answer["outputs"][0]["shape"]) == ("probabilities", [1, 2])
    assert answer["outputs"][0]["data"] == pytest.approx(list(value.values()), rel=1e-6)
    assert answer["parameters"]["classes"] == ["late", "returned"]
    file = tmp_path / "outcomes.fti"
    arguments = ["bundle", "order_outcomes", "--answers-for", "1d", "--out", str(file), "--models", str(models)]
    assert main(arguments) in (0, None)
    assert fti.Predictor.open_bundle(file).predict(fields).value == value


def test_an_answer_is_explained_for_each_label(stores: fti.Stores) -> None:
    predictor = fti.Predictor.load("order_outcomes", models=stores.model_store().root)
    fields = {"order_id": 1, "size": 1.5, "weight": 0.0, "shop": "a"}
    answer = predictor.predict(fields, explain=True)
    for name, value in answer.value.items():
        own = answer.explanation.contributions[name]
        assert answer.explanation.base[name] + sum(own.values()) == pytest.approx(value, abs=1e-4)
    scored = predictor.predict(fields, explain="score").explanation
    for name, value in answer.value.items():
        total = scored.base[name] + sum(scored.contributions[name].values())
        assert total == pytest.approx(np.log(value / (1 - value)), abs=1e-3)
    assert scored.contributions["late"]["size"] > 0 > scored.contributions["returned"]["size"]


def test_tiny_rows_have_every_label() -> None:
    frame = source().rename(columns={"is_late": "late", "is_returned": "returned"})
    build = train_tiny(OUTCOMES, frame)
    assert build.outputs.shape == (80, 2)
    assert build.metrics["roc_auc"] == pytest.approx(
        (build.metrics["roc_auc:late"] + build.metrics["roc_auc:returned"]) / 2
    )


def test_disagreement_counts_labels_that_are_decided_otherwise() -> None:
    pair = ({"late": 0.25, "gone": 0.75}, {"late": 0.75, "gone": 0.75})
    assert disagreement("multilabel", [pair]) == type(disagreement("multilabel", []))(0.25, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "binary"}, "is a binary model, and its view 'order_outcomes' has the labels"),
        ({"dataset": ONE}, "is a multilabel model, and its view 'order_late' has one label"),
        ({"weights": fti.ClassWeights("balanced")}, "choose a threshold for each label"),
        ({"evaluate": fti.Evaluation(metrics=["rmse"])}, "'rmse' is not one for a multilabel model"),
        ({"evaluate": fti.Evaluation(metrics=["log_loss:gone"])}, "of a label that there is not"),
        ({"evaluate": fti.Evaluation(metrics=["exact_match:late"])}, "is of all labels together"),
        ({"dataset": ONE, "task": "binary", "evaluate": fti.Evaluation(metrics=["brier:late"])}, "write 'brier'"),
        ({"evaluate": fti.Evaluation(metrics=["log_loss"], fairness=["shop"])}, "decides on several labels"),
        ({"evaluate": fti.Evaluation(metrics=["log_loss"], threshold={"gone": 0.5})}, "one of the label 'gone'"),
        ({"gates": [fti.MetricBounds("log_loss:gone", at_most=1)]}, "of a label that there is not"),
        ({"gates": [fti.CalibrationSlope()]}, "judges binary models, and is a multilabel model; MetricBounds"),
        ({"gates": [fti.BeatsBaseline("log_loss", baseline=fti.LastValue("size"))]}, "last value of one label"),
        ({"task": "regression", "calibrate": "platt"}, "but a regression of several labels gives no probabilities"),
        ({"task": "regression", "rollback": "propose"}, "'quantile' models of one label: leave it out"),
        (
            {"task": "regression", "evaluate": fti.Evaluation(metrics=["roc_auc"])},
            "not one for a regression of several labels: choose 'rmse'",
        ),
        (
            {"task": "regression", "evaluate": fti.Evaluation(metrics=["rmse"], threshold=0.3)},
            "a regression of several labels has no threshold, only binary and multilabel ones have",
        ),
        ({"task": "quantile", "levels": [0.5]}, "is a quantile model, and its view"),
    ],
)
def test_impossible_models_of_several_labels_are_refused(options: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        outcomes_model(**options)


def test_a_class_that_answers_one_label_is_refused_at_load() -> None:
    with pytest.raises(DeclarationError, match="returns LGBMClassifier, which answers one label"):

        @fti.model(name="order_outcomes", dataset=VIEW, task="multilabel")
        def order_outcomes(data: fti.TrainingData) -> lightgbm.LGBMClassifier: ...
