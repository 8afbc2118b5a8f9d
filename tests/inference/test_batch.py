"""Batch predictions as a Dagster asset: which build answers what, and that it is what the predictor answers."""

import shutil
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.errors import DeclarationError, RequestError
from fti_assets.features.online.load import load_online
from fti_assets.features.point_in_time import assemble as assemble_module
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.inference.batch import run as batch_run
from fti_assets.inference.batch import scoring
from tests.support.visits import (
    BUYER,
    DAYS,
    LATER,
    NETWORK,
    SCORER,
    SCORES,
    SORTER,
    SOURCE,
    Bench,
    crowds,
    failure_of,
    in_day,
    run,
    shops,
    stores_in,
    visits,
    warnings_of,
)


def test_each_row_names_its_keys_time_answer_build(bench: Bench) -> None:
    result = bench.predict(day="06", now="2013-01-20T03:00:00")
    rows, champion = bench.answers(), bench.store.champion("buyer").reference
    assert list(rows.columns) == ["visit_id", "t", "probability", "build", "predicted_at"]
    assert rows["visit_id"].tolist() == in_day(6)["visit_id"].tolist()
    assert rows["t"].tolist() == in_day(6)["t"].tolist()
    assert rows["probability"].between(0, 1).all()
    assert set(rows["build"]) == {champion}
    assert set(rows["predicted_at"]) == {pd.Timestamp("2013-01-20 03:00")}
    (event,) = result.asset_materializations_for_node(SCORES.table_name)
    assert event.metadata["builds"].value == champion
    assert event.metadata["dagster/row_count"].value == len(rows)


@pytest.mark.soak
@pytest.mark.parametrize("model", [BUYER, SORTER], ids=["binary", "multiclass"])
def test_rows_scored_a_few_at_a_time_have_the_answers_of_all_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, model: Any
) -> None:
    column = "probabilities" if model is SORTER else "probability"
    answers = []
    for name, size in (("whole", scoring.CHUNK_ROWS), ("few", 7)):
        monkeypatch.setattr(scoring, "CHUNK_ROWS", size)
        monkeypatch.setattr(assemble_module, "CHUNK_ROWS", size)  # of on-demand functions
        predictions = fti.batch_predictions(name=name, model=model, partitions_def=DAYS)
        bench.predict(predictions, "06")
        answers.append(bench.answers(predictions))
    whole, few = answers
    assert few["visit_id"].tolist() == whole["visit_id"].tolist() == in_day(6)["visit_id"].tolist()
    for one, other in zip(few[column], whole[column], strict=True):
        numbers = [sorted(dict(value).items()) if model is SORTER else value for value in (one, other)]
        if model is SORTER:
            assert [name for name, _ in numbers[0]] == [name for name, _ in numbers[1]]
            numbers = [[number for _, number in pairs] for pairs in numbers]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-6)


@pytest.mark.soak
def test_rerun_keeps_stored_answers_and_predicts_only_absent_rows(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.predict(day="06")
    before = bench.answers()
    newer = bench.build("2013-01-06T00:00:00")
    late = pd.DataFrame(
        {"visit_id": [7, 8], "t": pd.Timestamp("2013-01-06 05:00"), "shop": "a", "member": True, "x": [1.0, np.nan]}
    )
    monkeypatch.setattr(
        "tests.support.visits.SOURCE", pd.concat([SOURCE.drop(columns="bought"), late], ignore_index=True)
    )
    run(visits, stores=bench.stores, instance=bench.instance, partition_key="2013-01-06")
    bench.predict(day="06", now="2013-01-20T08:00:00")
    after = bench.answers()
    pd.testing.assert_frame_equal(after[after["visit_id"] > 8].reset_index(drop=True), before.reset_index(drop=True))
    added = after[after["visit_id"] <= 8]
    assert added["visit_id"].tolist() == [7, 8]
    assert set(added["build"]) == {newer}
    assert set(added["predicted_at"]) == {pd.Timestamp("2013-01-20 08:00")}


@pytest.mark.soak
def test_a_rerun_with_nothing_new_changes_nothing(bench: Bench) -> None:
    versions = set()
    for now in (LATER, "2013-01-20T09:00:00"):
        (event,) = bench.predict(day="06", now=now).asset_materializations_for_node(SCORES.table_name)
        versions.add((event.tags or {})["dagster/data_version"])
    assert len(versions) == 1


@pytest.mark.soak
def test_predict_again_answers_stored_rows_anew(bench: Bench) -> None:
    bench.predict(day="06")
    newer = bench.build("2013-01-06T00:00:00")
    bench.predict(day="06", again=True)
    assert set(bench.answers()["build"]) == {newer}
    assert len(bench.answers()) == len(in_day(6))


def test_before_its_window_closed_partition_is_answered_by_champion(bench: Bench) -> None:
    champion = bench.build("2013-01-07T12:00:00")
    bench.build("2013-01-06T00:00:00")
    bench.promote(champion)
    bench.predict(day="06", now="2013-01-06T23:59:59")
    assert set(bench.answers()["build"]) == {champion}


@pytest.mark.soak
def test_a_closed_partition_takes_its_times_newest_build(bench: Bench) -> None:
    of_its_time = bench.build("2013-01-06T00:00:00")  # its cutoff is the partition's start: not after it
    bench.build("2013-01-06T00:00:00", status="rejected")
    bench.promote(bench.build("2013-01-06T00:00:01"))
    bench.predict(day="06", now="2013-01-07T00:00:00")
    assert set(bench.answers()["build"]) == {of_its_time}


def test_rolled_back_build_answers_no_partition_of_its_time(bench: Bench) -> None:
    first = bench.store.champion("buyer").reference
    bench.promote(bench.build("2013-01-05T12:00:00"))
    bench.store.roll_back("buyer", reason="it was wrong")
    bench.predict(day="06")
    assert set(bench.answers()["build"]) == {first}


@pytest.mark.soak
def test_range_is_one_run_with_build_of_each_partitions_time(bench: Bench) -> None:
    first = bench.store.champion("buyer").reference
    second, third = bench.build("2013-01-06T00:00:00"), bench.build("2013-01-06T18:00:00")
    result = bench.predict(span=("05", "07"))
    answered = {day: set(bench.answers(day=day)["build"]) for day in ("05", "06", "07")}
    assert answered == {"05": {first}, "06": {second}, "07": {third}}
    assert [len(bench.answers(day=f"0{day}")) for day in (5, 6, 7)] == [len(in_day(day)) for day in (5, 6, 7)]
    events = result.asset_materializations_for_node(SCORES.table_name)
    assert {event.partition for event in events} == {"2013-01-05", "2013-01-06", "2013-01-07"}


def test_a_range_gives_what_each_partition_alone_gives(bench: Bench) -> None:
    bench.predict(span=("05", "06"))
    together = bench.answers()
    alone = fti.batch_predictions(name="alone", model=BUYER, partitions_def=DAYS)
    for day in ("06", "05"):
        bench.predict(alone, day=day)
    pd.testing.assert_frame_equal(together.reset_index(drop=True), bench.answers(alone).reset_index(drop=True))


def test_answer_does_not_depend_on_how_many_rows_are_due(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    together, apart = (
        fti.batch_predictions(name=name, model=SCORER, partitions_def=DAYS) for name in ("together", "apart")
    )
    bench.predict(together, day="06")
    one = in_day(6)["visit_id"].iloc[1]  # one that is rounded otherwise if it is scored alone
    for rows in (SOURCE[SOURCE["visit_id"] != one], SOURCE):
        monkeypatch.setattr("tests.support.visits.SOURCE", rows)
        run(visits, stores=bench.stores, instance=bench.instance, partition_key="2013-01-06")
        bench.predict(apart, day="06")
    pd.testing.assert_frame_equal(
        bench.answers(apart).reset_index(drop=True), bench.answers(together).reset_index(drop=True), check_exact=True
    )


def test_a_partition_without_spine_rows_is_stored_empty(bench: Bench) -> None:
    run(visits, stores=bench.stores, instance=bench.instance, partition_key="2013-01-12")
    bench.predict(day="12")
    assert len(bench.answers(day="12")) == 0
    with bench.stores.offline_store().connect() as lake:
        assert lake.ledger(SCORES.table)["2013-01-12"].rows == 0


def test_without_early_enough_build_the_error_says_what_there_is(bench: Bench) -> None:
    champion = bench.store.champion("buyer").reference
    error = failure_of(bench.predict(day="04", raise_on_error=False))
    assert "no accepted build of model 'buyer' has a cutoff at or before 2013-01-04" in error
    assert f"the store has {champion} (accepted)" in error


def test_without_a_champion_the_error_says_what_there_is(bench: Bench) -> None:
    bench.store.aliases_file("buyer").unlink()
    error = failure_of(bench.predict(day="06", now="2013-01-06T12:00:00", raise_on_error=False))
    assert "no champion for model 'buyer'" in error
    assert f"it has builds {bench.store.builds('buyer')[0].reference} (accepted)" in error


def test_unpartitioned_predictions_answer_every_spine_row_by_the_champion(bench: Bench) -> None:
    champion = bench.build("2013-01-19T00:00:00")
    bench.promote(champion)
    everything = fti.batch_predictions(name="everything", model=BUYER)
    bench.predict(everything)
    rows = bench.answers(everything)
    assert rows["visit_id"].tolist() == SOURCE[SOURCE["t"] < "2013-01-08"]["visit_id"].sort_values().tolist()
    assert set(rows["build"]) == {champion}


def test_answers_that_break_the_schema_are_not_stored(bench: Bench) -> None:
    schema = pa.DataFrameSchema({"probability": pa.Column(float, pa.Check.lt(0.5))})
    checked = fti.batch_predictions(name="checked", model=BUYER, schema=schema, partitions_def=DAYS)
    result = bench.predict(checked, day="06", raise_on_error=False)
    assert not result.success
    assert not result.asset_materializations_for_node(checked.table_name)
    (file,) = (bench.root / "lake" / "rejected" / checked.table_name).iterdir()
    kept = pd.read_json(file, lines=True)
    assert (kept["probability"] >= 0.5).all()


def test_multiclass_answers_are_a_map_of_class_to_probability(bench: Bench) -> None:
    kinds = fti.batch_predictions(name="kinds", model=SORTER, partitions_def=DAYS)
    bench.predict(kinds, day="06")
    for probabilities in bench.answers(kinds)["probabilities"]:
        assert list(probabilities) == ["cash", "club", "none"]
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("declared", "output"),
    [(BUYER, "probability"), (SORTER, "probabilities"), (SCORER, "value"), (NETWORK, "probability")],
    ids=["binary", "multiclass", "regression", "network"],
)
def test_offline_answers_are_predictors_for_same_rows_and_instants(bench: Bench, declared: Any, output: str) -> None:
    """Parity: one declaration, joined by DuckDB over the lake and read from the online store, bit for bit."""
    predictions = fti.batch_predictions(name="mirror", model=declared, partitions_def=DAYS)
    bench.predict(predictions, span=("06", "07"))
    offline = {row["visit_id"]: row for row in bench.answers(predictions).to_dict("records")}
    manifest = bench.store.champion(declared.name)
    with bench.stores.offline_store().connect() as lake:
        for group in (crowds, shops):
            with clock.at("2013-01-08T00:00:00"):
                load_online(lake, bench.stores.online_store(), group)
        spine = lake.rows(visits.table, partitions=["2013-01-06", "2013-01-07"]).order("visit_id")
        joined = assemble(lake, manifest.view, spine, snapshot=lake.snapshot())
        names = ["visit_id", "t", "shop", *(feature.name for feature in manifest.view.features)]
        features = [dict(zip(names, row, strict=True)) for row in joined.project(", ".join(names)).fetchall()]
    predictor = fti.Predictor.load(declared.name, models=bench.root / "models", online=bench.root / "online")
    assert len(features) == len(offline) == len(in_day(6)) + len(in_day(7))
    observed: set[str] = set()
    for row in features:
        request = {name: row[name] for name in ("visit_id", "shop", "x", "member")}
        answer = predictor.predict(request, at=row["t"])
        expected = {feature.name: missing(row[feature.name]) for feature in manifest.view.features}
        assert answer.features == expected
        if declared is NETWORK:
            assert answer.value == offline[row["visit_id"]][output]
        # onnxruntime's linear operators round one row alone otherwise than the same row among others
        assert answer.value == pytest.approx(offline[row["visit_id"]][output], rel=1e-6)
        assert predictor.predict([request, request], at=row["t"])[0].value == offline[row["visit_id"]][output]
        observed |= {name for name, value in expected.items() if value is None}
    assert observed == {"x", "people", "mood", "queue", "size", "per_size"}  # both sides met every kind of nothing


def missing(value: Any) -> Any:
    return None if value is None or value != value else value


def test_prediction_time_not_run_decides_what_is_visible(bench: Bench) -> None:
    """The same rows run again long after give the same answers, though every late row is there by then."""
    bench.predict(day="06", now="2013-01-06T23:00:00")
    before = bench.answers()
    bench.predict(day="06", now=LATER, again=True)
    np.testing.assert_array_equal(before["probability"], bench.answers()["probability"])


IMPOSSIBLE: Sequence[tuple[dict[str, Any], str]] = [
    ({"name": "Delay Predictions"}, "is not a name"),
    ({"version": 0}, "version is 0"),
    ({"partitions_def": dg.StaticPartitionsDefinition(["a"])}, "must be time windows"),
    ({"schema": "probability > 0"}, "not a pandera"),
]


@pytest.mark.parametrize(("changed", "message"), IMPOSSIBLE)
def test_impossible_predictions_are_refused_when_the_code_loads(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        fti.batch_predictions(**{"name": "scores", "model": BUYER, **changed})


def test_partitioned_predictions_of_a_spine_without_times_are_refused() -> None:
    untimed = fti.FeatureView(name="untimed", spine=shops, label=fti.Label(shops["size"]), features=[shops["rent"]])

    @fti.model(dataset=untimed, task="regression")
    def guess(data: fti.TrainingData) -> Any: ...

    with pytest.raises(DeclarationError, match="the spine shops_v1 has no event time to tell a row's partition by"):
        fti.batch_predictions(name="guesses", model=guess, partitions_def=DAYS)


def test_open_window_in_range_is_answered_by_champion(bench: Bench) -> None:
    first = bench.store.champion("buyer").reference
    champion = bench.build("2013-01-06T06:00:00")
    bench.promote(champion)
    now = datetime(2013, 1, 8) - timedelta(seconds=1)
    bench.predict(span=("06", "07"), now=now.isoformat())
    assert set(bench.answers(day="06")["build"]) == {first}
    assert set(bench.answers(day="07")["build"]) == {champion}


def upstream_complete(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (outcome,) = (each for each in result.get_asset_check_evaluations() if each.check_name == "upstream_complete")
    return outcome


@pytest.mark.parametrize("span", [None, ("07", "09")])
def test_missing_partition_of_spine_is_named(bench: Bench, span: tuple[str, str] | None) -> None:
    result = bench.predict(day=None if span else "08", span=span, raise_on_error=False)
    assert "2013-01-08 has no rows to answer: 'visits_v1 2013-01-08' is not materialized" in failure_of(result)
    with bench.stores.offline_store().connect() as lake:
        assert lake.ledger(SCORES.table) == {}


@pytest.mark.soak
def test_missing_partition_of_feature_warns_and_rows_are_answered(bench: Bench) -> None:
    assert upstream_complete(bench.predict(day="06")).passed
    run(visits, stores=bench.stores, instance=bench.instance, partition_key="2013-01-08")
    result = bench.predict(day="08")
    complete = upstream_complete(result)
    assert result.success
    assert (complete.passed, complete.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "answered without 'crowds_v1 2013-01-08': materialize them" in str(complete.metadata["problem"].value)
    assert len(bench.answers(day="08")) == len(in_day(8))
    run(crowds, stores=bench.stores, instance=bench.instance, partition_key="2013-01-08")
    assert upstream_complete(bench.predict(day="08", again=True)).passed


def strangers(hours: int = 24) -> pd.DataFrame:
    """Visits of a day without a shop that a group knows, a member, or an x."""
    t = pd.date_range("2013-01-08", periods=hours, freq="h")
    return pd.DataFrame({"visit_id": range(hours), "t": t, "shop": "7", "member": None, "x": np.nan})


@pytest.mark.soak
def test_joins_that_find_nothing_and_features_without_value_are_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.visits.SOURCE", strangers().astype({"member": "boolean"}))
    run(visits, stores=bench.stores, instance=bench.instance, partition_key="2013-01-08")
    run(crowds, stores=bench.stores, instance=bench.instance, partition_key="2013-01-08")
    result = bench.predict(day="08", now="2013-01-08T00:00:00")  # whose rows lie ahead, which is no fault
    assert result.success
    assert warnings_of(result) == {
        "joins_find_rows": "no row of 'crowds_v1' and 'shops_v1' was found for any of 24 rows: compare the keys of both "
        "sides, and their times",
        "features_have_values": "of 24 rows, 'x', 'member', 'people', 'mood', 'queue' and 2 more null in every row",
    }
    (event,) = result.asset_materializations_for_node(SCORES.table_name)
    shares = {record.data["share"] for record in event.metadata["coverage"].value.records}
    assert shares == {0.0}
    assert warnings_of(bench.predict(day="08")) == {}  # nothing was due


@pytest.mark.soak
def test_good_inputs_pass_with_coverage_over_all_builds(bench: Bench) -> None:
    for cutoff in ("2013-01-06T00:00:00", "2013-01-07T00:00:00"):
        bench.build(cutoff)
    result = bench.predict(span=("06", "07"))
    assert len(set(bench.answers()["build"])) == 2
    assert warnings_of(result) == {}
    names = {one.check_name for one in result.get_asset_check_evaluations()}
    assert {"joins_find_rows", "features_have_values"} <= names
    table = result.asset_materializations_for_node(SCORES.table_name)[-1].metadata["coverage"].value
    shares = {(one.data["group"], one.data["what"]): one.data["share"] for one in table.records}
    due = SOURCE[SOURCE["t"].dt.day.isin([6, 7])]
    assert shares["shops_v1", "a row"] == round((due["shop"] != "new").mean(), 6)
    assert 0 < shares["crowds_v1", "people"] < shares["crowds_v1", "a row"] < 1


@pytest.mark.soak
@pytest.mark.parametrize(("rows", "told"), [(19, False), (20, True)])
def test_few_late_rows_are_not_judged(bench: Bench, monkeypatch: pytest.MonkeyPatch, rows: int, told: bool) -> None:
    bench.predict(day="06")
    late = strangers(rows).assign(t=pd.Timestamp("2013-01-06 05:00"), member=True)
    monkeypatch.setattr(
        "tests.support.visits.SOURCE", pd.concat([SOURCE.drop(columns="bought"), late], ignore_index=True)
    )
    run(visits, stores=bench.stores, instance=bench.instance, partition_key="2013-01-06")
    result = bench.predict(day="06")
    assert len(bench.answers()) == len(in_day(6)) + rows
    assert set(warnings_of(result)) == ({"joins_find_rows", "features_have_values"} if told else set())


@pytest.mark.parametrize("again", [False, True])
def test_answers_that_another_run_stored_meanwhile_stay(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    judged = batch_run.answers_of
    others: list[bool] = []

    def another_run() -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            others.append(Bench(bench.root, instance).predict(day="06", now="2013-01-20T05:00:00").success)

    def answers(*arguments: Any) -> Any:
        if not others:
            others.append(True)
            other = threading.Thread(target=another_run)
            other.start()
            other.join(60)
        return judged(*arguments)

    monkeypatch.setattr(batch_run, "answers_of", answers)
    result = bench.predict(day="06", now="2013-01-20T07:00:00", again=again, raise_on_error=False)
    assert others == [True, True]
    assert "scores_v1 '2013-01-06' was written by another run meanwhile" in failure_of(result)
    before = bench.answers()
    assert set(before["predicted_at"]) == {pd.Timestamp("2013-01-20 05:00")}
    bench.predict(day="06", now="2013-01-20T07:00:00")  # the remedy of the error
    pd.testing.assert_frame_equal(bench.answers(), before)


def test_corrected_spine_row_is_answered_once_as_of_its_prediction_time(tmp_path: Path) -> None:
    t = pd.date_range("2013-01-01", periods=200, freq="h")
    first = pd.DataFrame(
        {"id": np.arange(200), "t": t, "a": t, "x": np.tile([-1.0, 1.0], 100), "y": np.tile([0, 1], 100)}
    )
    corrected = first.iloc[[4]].assign(a=t[4] + pd.Timedelta("1h"), x=1.0)
    forecast = first.iloc[[6]].assign(a=t[6] - pd.Timedelta("1h"), x=1.0)

    @fti.feature_group(keys=["id"], event_time="t", available_at="a")
    def sightings() -> pd.DataFrame:
        return pd.concat([first, corrected, forecast], ignore_index=True)

    observed = fti.FeatureView(name="seen", spine=sightings, label=fti.Label(sightings["y"]), features=[sightings["x"]])
    dataset = fti.training_dataset(name="seen_rows", view=observed, split=fti.TimeSplit(validation="1d", test="2d"))

    @fti.model(dataset=dataset, task="binary")
    def seer(data: fti.TrainingData) -> Any:
        return LogisticRegression().fit(data.train.X, data.train.y)

    answers = fti.batch_predictions(name="answers", model=seer)
    stores = stores_in(tmp_path)
    with clock.at("2013-01-10"):
        assets = [declaration.assets_def for declaration in (sightings, dataset, seer, answers)]
        assert dg.materialize(assets, resources={"fti": stores}).success
    rows = fti.read(answers, stores=stores).set_index("id")["probability"]
    assert rows.index.is_unique
    assert len(rows) == 200
    assert rows[4] == rows[6] == rows[2] < rows[5]


ONLINE = fti.batch_predictions(name="online_scores", model=BUYER, partitions_def=DAYS, online=True)


def test_answers_are_looked_up_online_by_the_spines_keys(bench: Bench) -> None:
    (event,) = bench.predict(ONLINE, "06").asset_materializations_for_node(ONLINE.table_name)
    rows = bench.answers(ONLINE)
    assert event.metadata["online_keys"].value == len(rows)
    keys = rows["visit_id"].tolist()
    with clock.at(LATER):
        result = fti.read_online("online_scores_v1", [*keys, 1], online=bench.stores.online)
        one = fti.read_online("online_scores_v1", keys[3], online=bench.stores.online)
    expected = rows.drop(columns="visit_id").to_dict("records")
    assert result == [*expected, None]
    assert one == expected[3]


def test_an_answer_is_found_online_from_its_prediction_time_on(bench: Bench) -> None:
    late, lake = "2013-01-06T12:00:00", bench.stores
    with clock.at("2013-01-06T00:00:00"):
        run(ONLINE, stores=lake, instance=bench.instance, partition_key="2013-01-06")
    rows = bench.answers(ONLINE)
    reader = fti.OnlineReader("online_scores_v1", online=lake.online)
    results = reader.read(rows["visit_id"].tolist(), at=late)
    assert [row is not None for row in results] == (rows["t"] <= pd.Timestamp(late)).tolist()
    assert 0 < sum(row is None for row in results) < len(rows)
    with pytest.raises(RequestError, match="at is 'noon', where a datetime or ISO text is expected"):
        reader.read(1, at="noon")


def test_a_rerun_loads_online_what_a_failing_store_did_not_take(bench: Bench) -> None:
    shutil.rmtree(bench.stores.online)
    Path(bench.stores.online).write_text("a file where the folder of the online store belongs")
    result = bench.predict(ONLINE, "06", raise_on_error=False)
    assert not result.success
    assert "online_scores_v1 is in the lake, but not in the online store" in failure_of(result)
    assert not result.asset_materializations_for_node(ONLINE.table_name)
    stored = bench.answers(ONLINE)
    assert stored["visit_id"].tolist() == in_day(6)["visit_id"].tolist()
    Path(bench.stores.online).unlink()
    for _ in range(2):
        bench.predict(ONLINE, "06", now="2013-01-20T09:00:00")
        pd.testing.assert_frame_equal(bench.answers(ONLINE), stored)
        results = fti.read_online("online_scores_v1", stored["visit_id"].tolist(), at=LATER, online=bench.stores.online)
        assert [row["probability"] for row in results] == stored["probability"].tolist()


@pytest.mark.soak
def test_probabilities_of_classes_are_looked_up_online_as_they_are_stored(bench: Bench) -> None:
    kinds = fti.batch_predictions(name="online_kinds", model=SORTER, partitions_def=DAYS, online=True)
    bench.predict(kinds, "06")
    rows = bench.answers(kinds)
    results = fti.read_online("online_kinds_v1", rows["visit_id"].tolist(), at=LATER, online=bench.stores.online)
    stored = [dict(value) for value in rows["probabilities"]]
    assert [row["probabilities"] for row in results] == stored
    assert all(len(value) > 2 for value in stored)
    # A day that is added loads its own keys alone: the maps of both snapshots are compared.
    bench.predict(kinds, "05")
    more = bench.answers(kinds)
    results = fti.read_online("online_kinds_v1", more["visit_id"].tolist(), at=LATER, online=bench.stores.online)
    assert [row["probabilities"] for row in results] == [dict(value) for value in more["probabilities"]]
    assert len(more) > len(rows)


def test_an_online_history_without_an_online_store_is_refused() -> None:
    with pytest.raises(DeclarationError, match="online_history is of the online store; give online=True with it"):
        fti.batch_predictions(name="kept", model=BUYER, partitions_def=DAYS, online_history="3d")
