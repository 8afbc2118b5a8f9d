"""Several models that answer in one row: one pass over one join, each by its own build."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core.manifest import Column, JoinedColumn, JoinedGroup, JoinedKey, ModelManifest, ViewRecord
from fti_assets.errors import DeclarationError, NotMaterializedError
from fti_assets.features.point_in_time import join
from fti_assets.inference.batch.passes import passes_of
from tests.support.visits import (
    BUYER,
    DAYS,
    LATER,
    LEAN,
    SCORER,
    SORTER,
    Bench,
    failure_of,
    in_day,
    model,
    shops,
)

BOTH = fti.batch_predictions(name="both", model=[BUYER, LEAN, SCORER], partitions_def=DAYS, online=True)


def alone(bench: Bench, day: str, declared: Any, **options: Any) -> pd.DataFrame:
    """The oracle: the answers of a model that is asked by itself."""
    predictions = fti.batch_predictions(name=f"{declared.name}_alone", model=declared, partitions_def=DAYS)
    bench.predict(predictions, day, **options)
    return bench.answers(predictions, day)


def test_each_model_answers_in_a_row_as_it_does_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    spines: list[Any] = []
    plan = join._Plan.__init__
    monkeypatch.setattr(join._Plan, "__init__", lambda self, *a: spines.append(a) or plan(self, *a))
    (event,) = bench.predict(BOTH, "06").asset_materializations_for_node("both_v1")
    assert len(spines) == 1  # one join for all
    rows = bench.answers(BOTH)
    columns = ["buyer_probability", "buyer_build", "lean_probability", "lean_build", "scorer_value", "scorer_build"]
    assert list(rows.columns) == ["visit_id", "t", *columns, "predicted_at"]
    assert rows["visit_id"].tolist() == in_day(6)["visit_id"].tolist()
    for declared, value in ((BUYER, "probability"), (LEAN, "probability"), (SCORER, "value")):
        expected = alone(bench, "06", declared)
        assert rows[f"{declared.name}_{value}"].tolist() == expected[value].tolist()
        assert rows[f"{declared.name}_build"].tolist() == expected["build"].tolist()
    champions = [f"{name} {bench.store.champion(name).reference}" for name in ("buyer", "lean", "scorer")]
    assert event.metadata["builds"].value == ", ".join(champions)
    deps = event.metadata["dagster/column_lineage"].value.deps_by_column
    assert {one.column_name for one in deps["lean_probability"]} == {"x", "shop", "queue", "rent", "people"}
    assert "rent" not in {one.column_name for one in deps["buyer_probability"]}
    result = fti.read_online("both_v1", rows["visit_id"].tolist(), at=LATER, online=bench.stores.online)
    assert result == rows.drop(columns="visit_id").to_dict("records")


@pytest.mark.soak
def test_each_model_has_the_build_of_its_own_time_and_answers_stay(bench: Bench) -> None:
    newer = bench.build("2013-01-06T00:00:00", name="lean")
    bench.predict(BOTH, span=("05", "06"))
    before = bench.answers(BOTH)
    by_day = {day: set(bench.answers(BOTH, day)["lean_build"]) for day in ("05", "06")}
    assert by_day == {"05": {bench.store.champion("lean").reference}, "06": {newer}}
    assert set(before["buyer_build"]) == {bench.store.champion("buyer").reference}
    bench.build("2013-01-06T00:00:00", name="scorer")
    bench.predict(BOTH, "06", now="2013-01-20T08:00:00")
    pd.testing.assert_frame_equal(bench.answers(BOTH), before)


@pytest.mark.soak
def test_a_build_whose_features_mean_something_else_is_joined_apart(bench: Bench) -> None:
    """The same names, but rows that outlive two hours are gone: each model still sees what it learned from."""
    first = bench.store.builds("lean")[0]
    shorter = [replace(one, ttl_us=None if one.ttl_us is None else 7_200_000_000) for one in first.view.joins]
    bench.build("2013-01-06T00:00:00", name="lean", view=replace(first.view, joins=tuple(shorter)))
    bench.predict(BOTH, "06")
    rows = bench.answers(BOTH)
    assert rows["visit_id"].tolist() == in_day(6)["visit_id"].tolist()
    for declared, value in ((BUYER, "probability"), (LEAN, "probability"), (SCORER, "value")):
        expected = alone(bench, "06", declared)
        assert rows[f"{declared.name}_{value}"].tolist() == expected[value].tolist()
    other = fti.batch_predictions(name="before", model=LEAN, partitions_def=DAYS)
    bench.predict(other, "06", now="2013-01-06T12:00:00")  # by the champion, the longer ttl
    assert bench.answers(other)["probability"].tolist() != rows["lean_probability"].tolist()


def test_a_model_without_a_build_in_time_leaves_all_unanswered(bench: Bench) -> None:
    error = failure_of(bench.predict(BOTH, "04", raise_on_error=False))
    assert "no accepted build of model 'buyer' has a cutoff at or before 2013-01-04" in error
    with bench.stores.offline_store().connect() as lake:
        assert not lake.has(BOTH.table)


def test_a_model_more_asks_for_a_new_version(bench: Bench) -> None:
    bench.predict(BOTH, "06")
    before = bench.answers(BOTH)
    for models in ([BUYER, LEAN], [BUYER, LEAN, SCORER, SORTER]):
        changed = fti.batch_predictions(name="both", model=models, partitions_def=DAYS)
        assert "predictions.both_v1 is stored with another schema" in failure_of(
            bench.predict(changed, "06", raise_on_error=False)
        )
    pd.testing.assert_frame_equal(bench.answers(BOTH), before)


def test_models_that_cannot_answer_in_one_row_are_refused_when_declared() -> None:
    elsewhere = fti.FeatureView(name="of_shops", spine=shops, label=fti.Label(shops["size"]), features=[shops["rent"]])

    @fti.model(dataset=elsewhere, task="regression")
    def sizes(data: fti.TrainingData) -> Any: ...

    for models, message in (
        ([], "model is an empty list: give a model, or models whose views share a spine"),
        (
            [BUYER, "lean"],
            "model is a list, in which 'lean' does not fit; it takes a Model, a Composite or a list of Model or a Composite",
        ),
        ([BUYER, LEAN, BUYER], "model has 'buyer' twice: give each model once"),
        ([BUYER, sizes], "the view of 'buyer' has the spine visits_v1, that of 'sizes' has shops_v1"),
        ([BUYER, model("buyer_probability")], None),
    ):
        if message is None:
            fti.batch_predictions(name="fine", model=models, partitions_def=DAYS)
            continue
        with pytest.raises(DeclarationError, match=message):
            fti.batch_predictions(name="bad", model=models, partitions_def=DAYS)


def test_columns_of_one_name_are_refused_when_declared() -> None:
    @fti.feature_group(keys=["build"], event_time="t", partitions_def=DAYS)
    def builds() -> Any: ...

    view = fti.FeatureView(name="of_builds", spine=builds, label=fti.Label(builds["late"]), features=[builds["size"]])

    @fti.model(dataset=view, task="binary")
    def lateness(data: fti.TrainingData) -> Any: ...

    with pytest.raises(
        DeclarationError, match="two columns 'build', among the keys and time of builds_v1 and the answers of lateness"
    ):
        fti.batch_predictions(name="late", model=lateness, partitions_def=DAYS)
    fti.batch_predictions(name="late", model=[lateness], partitions_def=DAYS)


KEY, X = (JoinedKey("shop", "shop", "text"),), Column("x", "number")
CROWDS = JoinedGroup("crowds", 1, KEY, (JoinedColumn("people", "people", "number"),), event_time="t", ttl_us=5)


def record(*joins: JoinedGroup, spine_version: int = 1) -> ViewRecord:
    features = (X, *(Column(one.feature, one.type) for each in joins for one in each.columns))
    return ViewRecord(
        "view", 1, "visits", spine_version, ("id",), "t", (X, Column("shop", "text")), joins, (), features
    )


def build(name: str, view: ViewRecord) -> ModelManifest:
    made = object.__new__(ModelManifest)
    vars(made).update(model=name, version=1, build="b", view=view)
    return made


def test_views_are_joined_once_where_names_mean_the_same() -> None:
    more = replace(CROWDS, columns=(*CROWDS.columns, JoinedColumn("queue", "queue", "number")))
    (one,) = passes_of([build("a", record(CROWDS)), build("b", record(more))], what="answers")
    assert [build.model for build in one.builds] == ["a", "b"]
    assert one.view.joins == (more,)
    assert [column.name for column in one.view.features] == ["x", "people", "queue"]


@pytest.mark.parametrize(
    "other",
    [
        replace(CROWDS, ttl_us=6),
        replace(CROWDS, version=2),
        replace(CROWDS, columns=(JoinedColumn("People", "people", "number"),)),
        replace(CROWDS, columns=(JoinedColumn("people", "queue", "number"),)),
        replace(CROWDS, columns=(JoinedColumn("x", "x", "number"),)),
    ],
    ids=["ttl", "version", "letters", "column", "request"],
)
def test_views_whose_names_mean_other_things_are_joined_apart(other: JoinedGroup) -> None:
    builds = [build("a", record(CROWDS)), build("b", record(other)), build("c", record(CROWDS))]
    passes = passes_of(builds, what="answers")
    assert [[one.model for one in each.builds] for each in passes] == [["a", "c"], ["b"]]
    assert [each.view for each in passes] == [builds[0].view, builds[1].view]


def test_builds_of_other_spine_versions_are_named() -> None:
    with pytest.raises(NotMaterializedError, match="a v1/b from visits_v1; b v1/b from visits_v2. Materialize each"):
        passes_of([build("a", record(CROWDS)), build("b", record(CROWDS, spine_version=2))], what="answers")
