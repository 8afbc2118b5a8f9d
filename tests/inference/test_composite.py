"""Composites: models that answer one request together, in batch and online, against their own predictors asked one after another."""

import dataclasses
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.records import to_json
from fti_assets.errors import (
    DamagedError,
    DeclarationError,
    ExportError,
    ModelError,
    NoChampionError,
    PredictionError,
    RequestError,
)
from fti_assets.inference.log.take_in import take_in
from fti_assets.inference.server import serving_app
from fti_assets.stores.models.store import ModelStore
from fti_assets.testing import assert_parity
from fti_assets.training.composites import build as building
from fti_assets.training.composites.build import build_composite_at
from fti_assets.why import why
from tests.on_demand import missing_stake, stake, worded
from tests.support.serving import ask
from tests.support.visits import BUYER, DAYS, LATER, LEAN, SCORER, SORTER, Bench, in_day, model, run, stores_in

TOGETHER = fti.composite(name="together", models=[BUYER, SORTER, LEAN])
STAKE = fti.composite(name="stakes", models=[BUYER, SORTER, SCORER], combine=stake)
ANSWERS = fti.batch_predictions(name="answers", model=STAKE, partitions_def=DAYS)
AT = "2013-01-06T12:00:00"


@pytest.fixture(scope="module")
def composed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The week of visits, with a build of each composite at the cutoff on the fifth."""
    root = tmp_path_factory.mktemp("composed")
    shutil.copytree(trained, root, dirs_exist_ok=True)
    with clock.at("2013-01-09T00:00:00"), dg.DagsterInstance.ephemeral() as instance:
        run(TOGETHER, STAKE, stores=stores_in(root), instance=instance, partition_key="2013-01-05")
    return root


@pytest.fixture
def bench(composed: Path, tmp_path: Path) -> Iterator[Bench]:
    shutil.copytree(composed, tmp_path, dirs_exist_ok=True)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Bench(tmp_path, instance)


def predictor(root: Path, name: str, **options: Any) -> fti.Predictor:
    return fti.Predictor.load(name, models=root / "models", online=root / "online", **options)


def requests(rows: pd.DataFrame, loaded: fti.Predictor) -> list[dict[str, Any]]:
    fields = [field.name for field in loaded.serving.fields]
    return [
        {name: None if value != value else value for name, value in row.items()}
        for row in rows[fields].to_dict("records")
    ]


def own_answers(root: Path, name: str, rows: pd.DataFrame) -> list[Any]:
    """The oracle: what a model's own predictor answers."""
    with clock.at(LATER), predictor(root, name) as loaded:
        return [one.value for one in loaded.predict(requests(rows, loaded), at=AT)]


def close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-6


def test_a_composite_answers_what_its_models_answer(composed: Path) -> None:
    rows = in_day(6)
    with clock.at(LATER), predictor(composed, "together") as loaded:
        questions = requests(rows, loaded)
        assert {*questions[0]} == {"visit_id", "shop", "member", "x"}
        answers = [one.value for one in loaded.predict(questions, at=AT)]
        alone = [loaded.predict(one, at=AT).value for one in questions]
    expected = [
        {"buyer": buyer, **{f"sorter.{name}": value for name, value in sorter.items()}, "lean": lean}
        for buyer, sorter, lean in zip(
            *(own_answers(composed, name, rows) for name in ("buyer", "sorter", "lean")), strict=True
        )
    ]
    for results in (answers, alone):
        assert [list(one) for one in results] == [list(one) for one in expected]
        assert all(
            close(one[name], other[name]) for one, other in zip(results, expected, strict=True) for name in other
        )


def test_a_function_combines_answers_and_features(composed: Path) -> None:
    rows = in_day(6)
    buyer, sorter, scorer = (own_answers(composed, name, rows) for name in ("buyer", "sorter", "scorer"))
    with clock.at(LATER), predictor(composed, "stakes") as loaded:
        answers = loaded.predict(requests(rows, loaded), at=AT)
        columns = loaded.predict_columns(rows[[one.name for one in loaded.serving.fields]], at=AT)
    assert columns.classes == ("stake", "is_certain", "club")
    missing = 0
    for place, answer in enumerate(answers):
        queue = answer.features["queue"]
        missing += queue is None
        assert close(answer.value["stake"], buyer[place] * (1 + scorer[place]) + (queue or 0.0))
        assert answer.value["is_certain"] == float(buyer[place] > 0.9 or buyer[place] < 0.1)
        assert close(answer.value["club"], sorter[place]["club"])
        assert columns[place].value == answer.value
    assert 0 < missing < len(answers)


def test_batch_predictions_are_those_of_the_predictor(bench: Bench) -> None:
    (event,) = bench.predict(ANSWERS, "06").asset_materializations_for_node("answers_v1")
    stored = bench.answers(ANSWERS, "06")
    rows = in_day(6)
    assert stored["visit_id"].tolist() == rows["visit_id"].tolist()
    assert set(stored["build"]) == {bench.store.champion("stakes").reference}
    with clock.at(LATER), predictor(bench.root, "stakes") as loaded:
        for answer, time, questions in zip(stored["answers"], rows["t"], requests(rows, loaded), strict=True):
            online = loaded.predict(questions, at=time.isoformat()).value
            assert dict(answer).keys() == online.keys()
            assert all(close(dict(answer)[name], online[name]) for name in online)
    lineage = event.metadata["dagster/column_lineage"].value.deps_by_column["answers"]
    assert {"people", "queue", "size", "x"} <= {one.column_name for one in lineage}


def test_a_replay_of_past_rows_finds_no_difference(bench: Bench) -> None:
    with clock.at(LATER):
        report = assert_parity("stakes", stores=bench.stores)
    assert report.rows > 0
    assert report.largest_difference < 1e-6


def test_an_explanation_adds_up_for_each_answer(composed: Path) -> None:
    with clock.at(LATER), predictor(composed, "stakes") as loaded:
        [answer] = loaded.predict(requests(in_day(6)[:1], loaded), at=AT, explain=True)
    explanation = answer.explanation
    assert explanation is not None
    for name, value in answer.value.items():
        assert abs(explanation.base[name] + sum(explanation.contributions[name].values()) - value) < 1e-6
    assert "queue" in explanation.contributions["stake"]


def test_overrides_reach_the_models_and_the_function(composed: Path) -> None:
    other = {"queue": 10.0}
    with clock.at(LATER), predictor(composed, "stakes") as loaded:
        answer = loaded.predict(requests(in_day(6)[:1], loaded)[0], at=AT, overrides=other)
        own = {}
        for name in ("buyer", "scorer"):
            with predictor(composed, name) as alone:
                own[name] = alone.predict(requests(in_day(6)[:1], alone)[0], at=AT, overrides=other).value
    assert close(answer.value["stake"], own["buyer"] * (1 + own["scorer"]) + 10.0)
    assert answer.overridden == ("queue",)


def test_a_composite_stays_with_its_builds(bench: Bench) -> None:
    with clock.at(LATER), predictor(bench.root, "together") as loaded:
        questions = requests(in_day(6)[:5], loaded)
        before = [one.value for one in loaded.predict(questions, at=AT)]
        bench.promote(bench.build("2013-01-07T00:00:00"))
        assert [one.value for one in loaded.predict(questions, at=AT)] == before
    members = bench.store.champion("together").composite
    assert members is not None
    assert [one.model for one in members.members] == ["buyer", "sorter", "lean"]
    assert members.members[0].build.startswith("v1/20130105T000000Z-")


def test_made_again_it_takes_the_newest_builds_and_becomes_champion(bench: Bench) -> None:
    newer = bench.build("2013-01-06T00:00:00")
    with clock.at(LATER):
        result = run(TOGETHER, stores=bench.stores, instance=bench.instance, partition_key="2013-01-06")
    [event] = result.asset_materializations_for_node("together_v1")
    assert event.metadata["model/buyer"].value == newer
    assert event.metadata["champion_after_run"].value == bench.store.champion("together").reference
    assert bench.store.champion("together").cutoff == "2013-01-06T00:00:00"
    card = event.metadata["card"].value
    assert "a composite of 3 models" in card
    assert newer in card


def test_rollback_goes_to_the_build_before(bench: Bench) -> None:
    first = bench.store.champion("together").reference
    with clock.at(LATER):
        run(TOGETHER, stores=bench.stores, instance=bench.instance, partition_key="2013-01-06")
    bench.store.roll_back("together", reason="by hand")
    with predictor(bench.root, "together") as loaded:
        assert loaded.build == first


def test_a_bundle_holds_a_composite_whole(composed: Path, tmp_path: Path) -> None:
    from fti_assets.inference.serving.bundle.writing import write_bundle

    path = tmp_path / "stakes.zip"
    with clock.at(LATER):
        stores = stores_in(composed)
        write_bundle(
            path, "stakes", models=stores.model_store(), online=stores.online_store(), answers_for=timedelta(days=1)
        )
        with fti.Predictor.open_bundle(path) as bundled, predictor(composed, "stakes") as loaded:
            questions = requests(in_day(6)[:4], loaded)
            results = [one.value for one in bundled.predict(questions, at=LATER)]
            assert results == [one.value for one in loaded.predict(questions, at=LATER)]


@pytest.mark.soak
def test_a_logged_answer_is_told_why_before_and_in_the_table(bench: Bench) -> None:
    log = fti.prediction_log(name="stakes_log", model=STAKE, partitions_def=DAYS)
    stores = fti.Stores(**{name: str(bench.root / name) for name in ("lake", "models", "online", "log")})
    defs = fti.build_definitions([log], resources={"fti": stores})
    with predictor(bench.root, "stakes", log=bench.root / "log") as loaded:
        answer = loaded.predict(requests(in_day(7)[:1], loaded)[0], at="2013-01-07T12:00:00")
    for place in ("in a file", "in the table"):
        [one] = why(defs, answer.request_id, stores=stores)
        assert not one.replay.differences, place
        with stores.offline_store().connect() as lake:
            take_in(log, lake, bench.root / "log" / "stakes", ["2013-01-07"], asset="stakes_log_v1")
    [stored] = fti.read(log, stores=stores)["answers"]
    assert dict(stored) == answer.value


def test_the_server_answers_plainly_and_in_tensors(composed: Path) -> None:
    with clock.at(LATER), predictor(composed, "stakes") as loaded:
        [questions] = requests(in_day(6)[:1], loaded)
        expected = loaded.predict(questions, at=AT).value
        app = serving_app("stakes", models=composed / "models", online=composed / "online")
        assert ask(app, "POST", f"/predict/stakes?at={AT}", questions).json["value"] == expected
        described = ask(app, "GET", "/v2/models/stakes").json
        assert described["outputs"] == [{"name": "answers", "datatype": "FP32", "shape": [-1, 3]}]
        tensors = [
            {"name": one["name"], "datatype": one["datatype"], "shape": [1], "data": [questions[one["name"]]]}
            for one in described["inputs"]
        ]
        answer = ask(app, "POST", "/v2/models/stakes/infer", {"inputs": tensors, "parameters": {"at": AT}}).json
    assert answer["parameters"]["classes"] == list(expected)
    assert np.allclose(answer["outputs"][0]["data"], list(expected.values()), atol=1e-6)


# A chain: the second model takes what the first one answers.


@fti.feature_group(keys=["order_id"])
def orders() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    guess = 1 / (1 + np.exp(-2 * x))  # what an earlier build had answered
    return pd.DataFrame(
        {"order_id": range(400), "x": x, "z": rng.normal(size=400), "guess": guess, "returned": x + rng.normal(size=400) > 0,
         "refund": 10 * guess + rng.normal(size=400)}
    )  # fmt: skip


def _order_model(name: str, label: str, features: list[str], task: Any) -> Any:
    view = fti.FeatureView(
        name=f"{name}_view", spine=orders, label=fti.Label(orders[label]), features=[orders[tuple(features)]]
    )

    @fti.model(name=name, dataset=view, task=task)
    def train(data: fti.TrainingData) -> Any:
        estimator = Ridge() if data.task == "regression" else LogisticRegression()
        return estimator.fit(data.train.X, data.train.y)

    return train


RETURNED = _order_model("returned_model", "returned", ["x"], "binary")
REFUND = _order_model("refund_model", "refund", ["z", "guess", "x"], "regression")
CHAIN = fti.composite(name="chain", models=[RETURNED, REFUND], feeds={"guess": RETURNED})


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chained")
    declared = [orders, *(one for member in (RETURNED, REFUND) for one in (member.dataset, member)), CHAIN]
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([one.assets_def for one in declared], instance=instance, resources={"fti": stores_in(root)})
    return root


def test_an_answer_feeds_the_model_behind_it(chained: Path) -> None:
    with (
        predictor(chained, "chain") as loaded,
        predictor(chained, "returned_model") as first,
        predictor(chained, "refund_model") as second,
    ):
        assert [field.name for field in loaded.serving.fields] == ["order_id", "x", "z"]
        for x, z in ((-2.0, 0.5), (0.0, None), (1.5, -1.0), (None, 3.0)):
            answer = loaded.predict({"order_id": 1, "x": x, "z": z})
            guess = first.predict({"order_id": 1, "x": x}).value
            refund = second.predict({"order_id": 1, "z": z, "guess": guess, "x": x}).value
            assert close(answer.value["returned_model"], guess)
            assert abs(answer.value["refund_model"] - refund) < 1e-5
        with pytest.raises(RequestError, match="'guess'"):
            loaded.predict({"order_id": 1, "x": 1.0, "z": 1.0, "guess": 0.5})


def test_batch_answers_of_a_chain_leave_the_spines_column_alone(chained: Path, tmp_path: Path) -> None:
    shutil.copytree(chained, tmp_path, dirs_exist_ok=True)
    predictions = fti.batch_predictions(name="chain_answers", model=CHAIN)
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([predictions.assets_def], instance=instance, resources={"fti": stores_in(tmp_path)})
    stored = fti.read(predictions, stores=stores_in(tmp_path)).sort_values("order_id")
    rows = orders()
    with predictor(chained, "chain") as loaded:
        online = loaded.predict(rows[["order_id", "x", "z"]].to_dict("records"))
    for answer, one in zip(stored["answers"], online, strict=True):
        assert all(abs(dict(answer)[name] - value) < 1e-5 for name, value in one.value.items())


# What is refused.


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"models": [BUYER]}, "give at least two, or one and combine="),
        ({"models": [BUYER, BUYER]}, "'buyer' twice"),
        ({"models": [BUYER, LEAN], "name": "buyer"}, "called like one of its models"),
        ({"models": [BUYER, RETURNED]}, "share a spine"),
        ({"models": [BUYER, LEAN], "combine": stake}, "takes 'scorer' and 'sorter_club', and there is no such answer or feature"),
        ({"models": [BUYER, LEAN], "combine": worded}, "'word' of combine=worded is no number"),
        ({"models": [RETURNED, REFUND], "feeds": {"guess": BUYER}}, "none of its models"),
        ({"models": [REFUND, RETURNED], "feeds": {"guess": RETURNED}}, "put the model that answers first"),
        ({"models": [RETURNED, REFUND], "feeds": {"y": RETURNED}}, "no view of its models takes from the spine"),
        ({"models": [BUYER, LEAN], "promote": "soon"}, "promote='soon'"),
    ],
)  # fmt: skip
def test_an_impossible_composite_is_refused(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        fti.composite(**{"name": "wrong", **declared})


def test_answers_are_looked_up_online_by_name(bench: Bench) -> None:
    declared = fti.batch_predictions(name="online_answers", model=TOGETHER, partitions_def=DAYS, online=True)
    bench.predict(declared, "06")
    rows = bench.answers(declared, "06")
    results = fti.read_online("online_answers_v1", rows["visit_id"].tolist(), at=LATER, online=bench.stores.online)
    stored = [dict(value) for value in rows["answers"]]
    assert [row["answers"] for row in results] == stored
    assert all(len(value) > 2 for value in stored)


def test_a_function_that_gives_no_number_is_named(bench: Bench) -> None:
    declared = fti.composite(name="gap", models=[BUYER, SCORER], combine=missing_stake)
    with clock.at(LATER):
        failed = run(
            declared, stores=bench.stores, instance=bench.instance, partition_key="2013-01-05", raise_on_error=False
        )
    [failure] = failed.get_step_failure_events()
    assert "'missing_stake' gave no number for 'stake'" in str(failure.step_failure_data.error)
    with pytest.raises(NoChampionError):
        bench.store.champion("gap")


def test_a_model_without_a_build_is_named(bench: Bench) -> None:
    with clock.at(LATER):
        failed = run(
            TOGETHER, stores=bench.stores, instance=bench.instance, partition_key="2013-01-04", raise_on_error=False
        )
    [failure] = failed.get_step_failure_events()
    assert "needs a build of model 'buyer', which has none accepted up to that cutoff" in str(
        failure.step_failure_data.error
    )


def test_a_build_that_nobody_promoted_is_not_taken(bench: Bench) -> None:
    careful = model("buyer", promote="by_hand")
    declared = fti.composite(name="careful", models=[careful, SCORER])
    newer = bench.build("2013-01-06T00:00:00")

    def member() -> str:
        manifest = build_composite_at(
            declared,
            "2013-01-07",
            "2013-01-07T00:00:00",
            bench.store,
            code_version="1",
            run_id="",
            asset_key=["careful_v1"],
        )
        assert manifest.composite is not None
        return manifest.composite.members[0].build

    assert member() != newer
    bench.promote(newer)
    assert member() == newer


def test_builds_that_kept_no_rows_are_compared_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.build("2013-01-06T00:00:00")  # without samples

    def build() -> Any:
        return build_composite_at(
            TOGETHER,
            "2013-01-07",
            "2013-01-07T00:00:00",
            bench.store,
            code_version="1",
            run_id="",
            asset_key=["together_v1"],
        )

    with clock.at(LATER), predictor(bench.root, "together", build=build().reference) as loaded:
        [expected] = own_answers(bench.root, "lean", in_day(6)[:1])
        [answer] = loaded.predict(requests(in_day(6)[:1], loaded), at=AT)
        assert close(answer.value["lean"], expected)
    monkeypatch.setattr(building, "_answers_of_each", lambda *_: np.full((2, 5), 0.5))
    with pytest.raises(ExportError, match="the one graph of composite 'together' answers"):
        build()


def test_builds_of_other_meanings_are_not_put_together(bench: Bench) -> None:
    first = bench.store.builds("lean")[0]
    shorter = [
        dataclasses.replace(one, ttl_us=None if one.ttl_us is None else 7_200_000_000) for one in first.view.joins
    ]
    bench.build("2013-01-06T00:00:00", name="lean", view=dataclasses.replace(first.view, joins=tuple(shorter)))
    with pytest.raises(ModelError, match="queue.* means something else in each"):
        build_composite_at(
            TOGETHER,
            "2013-01-06",
            "2013-01-06T00:00:00",
            bench.store,
            code_version="1",
            run_id="",
            asset_key=["together_v1"],
        )


def test_a_manifest_that_contradicts_itself_is_damage(bench: Bench) -> None:
    manifest = bench.store.champion("together")
    assert manifest.composite is not None
    path = bench.store.folder(manifest) / "manifest.json"
    broken = dataclasses.replace(manifest, composite=dataclasses.replace(manifest.composite, feeds={"x": "nobody"}))
    path.write_text(to_json(broken))
    with pytest.raises(DamagedError, match="fills features with the answers of"):
        ModelStore(bench.root / "models").champion("together")
    with pytest.raises((DamagedError, PredictionError)):
        predictor(bench.root, "together")
