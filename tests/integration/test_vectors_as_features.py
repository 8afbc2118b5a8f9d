"""Embeddings as features, from the lake to a model, and on to the same answers in batches, to requests and over tensors."""

from pathlib import Path
from typing import Annotated, Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.manifest.profiles import PROFILE
from fti_assets.core.types.vectors import vectors
from fti_assets.errors import DataError, DeclarationError, RequestError
from fti_assets.inference.server.endpoints.served_graph import ServedGraph
from fti_assets.inference.server.endpoints.served_predictor import ServedPredictor
from fti_assets.monitors.leak_report.leak_report import leak_report
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.testing import assert_parity
from fti_assets.why.why import why
from tests.on_demand import doubled

NOW, ROWS, AUTHORS, DIM = "2013-03-01T00:00:00", 300, 12, 6
START = pd.Timestamp("2013-01-01")


def singles(size: int) -> Any:
    return Annotated[pd.ArrowDtype, pyarrow.list_(pyarrow.float32(), size)]


class Note(pa.DataFrameModel):
    note_id: int
    written_at: pd.Timestamp
    author: str
    query: singles(3) = pa.Field(nullable=True)  # type: ignore[valid-type]


class Author(pa.DataFrameModel):
    author: str
    known_at: pd.Timestamp
    style: singles(DIM) = pa.Field(nullable=True)  # type: ignore[valid-type]


def notes_frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    queries = [None if place % 11 == 0 else rng.normal(size=3).astype(np.float32) for place in range(ROWS)]
    times = START + pd.to_timedelta(np.sort(rng.integers(0, 50 * 86_400, ROWS)), unit="s")
    authors = [f"a{number}" for number in rng.integers(0, AUTHORS + 1, ROWS)]  # of whom the last has no row
    return pd.DataFrame({"note_id": range(ROWS), "written_at": times, "author": authors, "query": queries})


def authors_frame() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    rows: list[tuple[str, pd.Timestamp, Any]] = []
    for number in range(AUTHORS):
        for version in range(3):
            style: Any = rng.normal(size=DIM).astype(np.float32)
            if (number + version) % 7 == 3:
                style = None
            elif (number + version) % 7 == 5:
                style = [None, *map(float, style[1:])]
            rows.append((f"a{number}", START + pd.Timedelta(days=15 * version), style))
    return pd.DataFrame(rows, columns=["author", "known_at", "style"])


@fti.feature_group(keys=["note_id"], event_time="written_at", schema=Note)
def notes() -> pd.DataFrame:
    return notes_frame()


@fti.feature_group(
    keys=["author"],
    event_time="known_at",
    schema=Author,
    serving_delay="1h",
    ttl="40d",
    online_history="90d",
    online=True,
)
def authors() -> pd.DataFrame:
    return authors_frame()


halves = fti.sql_feature_group(
    name="halves",
    keys=["author"],
    event_time="known_at",
    serving_delay="1h",
    online_history="90d",
    online=True,
    sql="SELECT author, known_at, style[1:2]::DOUBLE[2] AS half FROM authors",
    ins={"authors": authors},
)


@fti.feature_group(keys=["note_id"], event_time="judged_at")
def verdicts() -> pd.DataFrame:
    frame = notes_frame()
    liked = [query is not None and query[0] > 0.2 for query in frame["query"]]
    return pd.DataFrame({"note_id": frame["note_id"], "judged_at": frame["written_at"], "liked": liked})


VIEW = fti.FeatureView(
    name="liked_notes",
    spine=notes,
    label=fti.Label(verdicts["liked"]),
    features=[notes["query"], authors["style"], halves["half"]],
    encoders={"query": fti.Vector(dim=3, flag=True), "style": fti.Vector(dim=DIM), "half": fti.Vector(dim=2)},
)
DATASET = fti.training_dataset(name="liked_notes", view=VIEW, split=fti.TimeSplit(validation=0.2, test=0.2))


@fti.model(dataset=DATASET, task="binary", importance=fti.Importance(repeats=1))
def liking(data: fti.TrainingData) -> LogisticRegression:
    return LogisticRegression().fit(data.train.X, data.train.y)


ANSWERS = fti.batch_predictions(name="liked_answers", model=liking)
MONTHS = dg.MonthlyPartitionsDefinition(start_date="2013-01-01", end_date="2013-03-01")
DRIFT = fti.monitor(name="liked_drift", predictions=ANSWERS, partitions_def=MONTHS)
LOG = fti.prediction_log(name="liking_log", model=liking)


def run(stores: fti.Stores, instance: dg.DagsterInstance, *declared: Any, **options: Any) -> Any:
    assets = [one.assets_def for one in declared]
    return dg.materialize(assets, instance=instance, resources={"fti": stores}, **options)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    root = tmp_path_factory.mktemp("vectors")
    stores = fti.Stores(
        lake=str(root / "lake"), models=str(root / "models"), online=str(root / "online"), log=str(root / "log")
    )
    with clock.at(NOW), dg.DagsterInstance.ephemeral() as instance:
        assert run(stores, instance, notes, authors, halves, verdicts, DATASET, liking, ANSWERS).success
        assert run(stores, instance, DRIFT, partition_key="2013-02-01").success
    return stores


def request_of(row: Any) -> dict[str, Any]:
    return {"note_id": int(row["note_id"]), "author": row["author"], "query": row["query"]}


def test_vectors_answer_alike_in_training_batches_and_requests(stores: fti.Stores) -> None:
    store = stores.model_store()
    manifest, graph = load_build(store, "liking", store.champion("liking").reference)
    assert {one.name: one.dim for one in manifest.inputs} == {"vector.query": 3, "vector.style": DIM, "vector.half": 2}
    assert manifest.importance is not None
    assert set(manifest.importance.features) == {"query", "style", "half"}
    answers = fti.read(ANSWERS, stores=stores).set_index("note_id")["probability"]
    frame, of_authors = notes_frame(), authors_frame()
    columns: dict[str, list[Any]] = {"query": frame["query"].tolist(), "style": [], "half": []}
    for _, row in frame.iterrows():
        past = of_authors[
            (of_authors["author"] == row["author"])
            & (of_authors["known_at"] <= row["written_at"] - pd.Timedelta(hours=1))
        ]
        style = past["style"].tolist()[-1] if len(past) else None
        fresh = len(past) > 0 and row["written_at"] - past["known_at"].tolist()[-1] <= pd.Timedelta(days=40)
        columns["style"].append(style if fresh else None)
        columns["half"].append(None if style is None else list(style)[:2])
    expected = graph.run({name: vectors(values) for name, values in columns.items()})["probability"]
    np.testing.assert_array_equal(answers.loc[frame["note_id"]].to_numpy(), expected.astype(float))
    with fti.Predictor.load("liking", models=stores.models, online=stores.online) as predictor:
        for place, row in list(frame.iterrows())[::23]:
            request, at = request_of(row), row["written_at"].to_pydatetime()
            answer = predictor.predict(request, at=at)
            assert answer.value == pytest.approx(expected[place], abs=1e-6)
            as_list = None if row["query"] is None else row["query"].tolist()
            assert predictor.predict({**request, "query": as_list}, at=at).value == answer.value
            assert predictor.predict([request, request], at=at)[1].features == answer.features
            explanation = predictor.predict(request, at=at, explain="score").explanation
            assert explanation is not None
            assert set(explanation.contributions) == {"query", "style", "half"}


@pytest.mark.soak
def test_parity_profile_and_why_know_vectors(stores: fti.Stores, tmp_path: Path) -> None:
    with clock.at(NOW):
        assert assert_parity(liking, stores=stores, sample=60).features == ("query", "style", "half")
    profile = next(Path(stores.models).rglob(PROFILE)).read_text()
    assert '"type": "vector"' in profile
    row = notes_frame().iloc[-1]
    with (
        clock.at(NOW),
        fti.Predictor.load("liking", models=stores.models, online=stores.online, log=stores.log) as predictor,
    ):
        answer = predictor.predict(request_of(row), at=row["written_at"].to_pydatetime())
    with clock.at(NOW):
        [reason] = why(fti.build_definitions([LOG]), answer.request_id, stores=stores)
    assert reason.replay.problem == ""
    assert list(reason.replay.differences) == []


def test_drift_of_a_vector_is_measured(stores: fti.Stores) -> None:
    figures = fti.read(DRIFT, stores=stores)
    own = figures[(figures["column_name"] == "style") & (figures["reference"] == "training")].set_index("statistic")[
        "value"
    ]
    assert {"null_rate", "psi", "ks"} <= set(own.index)
    assert own[["null_rate", "psi", "ks"]].notna().all()


def test_a_leak_report_learns_from_each_number(stores: fti.Stores) -> None:
    with clock.at(NOW):
        report = leak_report(DATASET, stores=stores)
    honest = next(one for one in report.promises if one.join == "honest")
    assert honest.promised["roc_auc"] > 0.8
    assert honest.changed == 0


def test_features_for_takes_lists_of_any_numbers(stores: fti.Stores) -> None:
    frame = notes_frame().iloc[[1, 2, 3]]
    expected = VIEW.features_for(
        frame.assign(query=[np.float32([1, 2, 3]), np.float32([0.5, 0, 1]), None]), stores=stores
    )
    for queries in (
        [[1, 2, 3], [0.5, 0.0, 1.0], None],
        pd.array([[1.0, 2, 3], [0.5, 0, 1], None], pd.ArrowDtype(pyarrow.list_(pyarrow.float64(), 3))),
    ):
        features = VIEW.features_for(frame.assign(query=queries), stores=stores)
        for name in ("query", "style", "half"):
            for one, other in zip(features[name], expected[name], strict=True):
                assert (
                    one is other
                    or (pd.api.types.is_scalar(one) and pd.isna(one) and pd.isna(other))
                    or np.array_equal(np.asarray(one, float), np.asarray(other, float), equal_nan=True)
                )
    with pytest.raises(DataError, match="'query' as VARCHAR, a list of numbers is expected"):
        VIEW.features_for(frame.assign(query="x"), stores=stores)


def test_tensors_of_vectors_have_the_shape_of_rows_and_dim(stores: fti.Stores) -> None:
    frame = notes_frame().iloc[[1, 2]]
    at = "2013-02-20T00:00:00"
    with fti.Predictor.load("liking", models=stores.models, online=stores.online) as predictor:
        served, graph = ServedPredictor("liking", predictor), ServedGraph.of("liking.graph", predictor)
        assert {one.name: one.shape for one in served.inputs}["query"] == (-1, 3)
        assert {one.name: one.shape for one in graph.inputs}["vector.style"] == (-1, DIM)
        query = np.stack(frame["query"].tolist())
        tensors = {"note_id": frame["note_id"].to_numpy(), "author": frame["author"].to_numpy(object), "query": query}
        values = served.infer(tensors, {"at": at}, most_rows=9).outputs["probability"]
        expected = predictor.predict_columns(tensors, at=at)
        np.testing.assert_array_equal(values, expected.values)
        with pytest.raises(RequestError, match=r"input 'query' has the shape \[2, 2\]: \[n, 3\] is expected"):
            served.infer(tensors | {"query": query[:, :2]}, {}, most_rows=9)
        request = request_of(frame.iloc[0])
        for wrong, problem in (
            ([1.0, 2.0], "it has 2 numbers, 3 are expected"),
            ([1, 2, "x"], "its element 2 is no number"),
            (1.5, "a list of numbers is expected"),
        ):
            with pytest.raises(RequestError, match=problem):
                predictor.predict({**request, "query": wrong}, at=at)
        own = predictor.predict(request, at=at, overrides={"style": [0.0] * DIM})
        assert own.overridden == ("style",)
        with pytest.raises(RequestError, match="the override 'style' is .*it has 1 numbers, 6 are expected"):
            predictor.predict(request, at=at, overrides={"style": [0.0]})


def test_a_row_of_another_length_is_refused_with_its_key(tmp_path: Path) -> None:
    @fti.feature_group(keys=["author"], event_time="known_at", schema=Author)
    def short_authors() -> pd.DataFrame:
        styles: list[Any] = [np.ones(DIM, np.float32), [1.0, 2.0], [], None]
        return pd.DataFrame({"author": ["a", "b", "c", "d"], "known_at": START, "style": styles})

    stores = fti.Stores(lake=str(tmp_path / "lake"), models=str(tmp_path / "models"), online=str(tmp_path / "online"))
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(stores, instance, short_authors, raise_on_error=False)
    [check] = [one for one in result.get_asset_check_evaluations() if one.check_name == "style_length"]
    assert not check.passed
    assert "2 rows of short_authors_v1 with another count than 6 numbers in 'style'; the row author='b'" in str(
        check.metadata
    )
    assert not result.success


class Spending(pa.DataFrameModel):
    shop_id: int
    spend: singles(2)  # type: ignore[valid-type]
    is_late: bool


@fti.feature_group(keys=["shop_id"], schema=Spending)
def spendings() -> pd.DataFrame: ...


def test_what_cannot_take_a_vector_says_so_when_the_code_loads() -> None:
    label = fti.Label(verdicts["liked"])
    with pytest.raises(
        DeclarationError,
        match=r"fti.Vector\(dim=5\), but the schema of notes_v1 declares 3 numbers: write fti.Vector\(dim=3\)",
    ):
        fti.FeatureView(
            name="v", spine=notes, label=label, features=[notes["query"]], encoders={"query": fti.Vector(dim=5)}
        )
    with pytest.raises(DeclarationError, match="the label 'query' of view 'v' is a vector"):
        fti.FeatureView(
            name="v",
            spine=notes,
            label=fti.Label(notes["query"]),
            features=[notes["author"]],
            encoders={"author": fti.OneHot()},
        )
    with pytest.raises(DeclarationError, match="'style' is a key, a time or the column that tells rows apart"):
        fti.feature_group(keys=["style"], event_time="known_at", schema=Author)(authors.function)
    with pytest.raises(DeclarationError, match="on-demand feature 'doubled' of view 'v' takes 'spend', a vector"):
        fti.FeatureView(name="v", spine=spendings, label=fti.Label(spendings["is_late"]), features=[doubled])
    with pytest.raises(DeclarationError, match="sliced, drawn or compared by 'query', a vector"):
        fti.model(dataset=DATASET, task="binary", evaluate=fti.Evaluation(metrics=["roc_auc"], slices=["query"]))(
            liking.function
        )
