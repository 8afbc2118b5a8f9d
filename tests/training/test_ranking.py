"""Ranking models: from their declaration to the answers of an app and of a batch."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import duckdb
import lightgbm
import numpy as np
import pandas as pd
import pytest
import torch
import xgboost
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import ndcg_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.manifest import Column, DatasetManifest, ModelManifest
from fti_assets.core.records import from_json
from fti_assets.errors import DeclarationError, ModelError, PredictionError
from fti_assets.inference.batch.answers import refuse_parts_of_lists
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.freshness.rows import dataset_rows
from fti_assets.training.models.build import build_model_at
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.graphs.export import export

FEATURES = [Column("price", "number"), Column("rating", "number")]


@pytest.fixture(scope="module")
def data() -> TrainingData:
    columns, labels = {}, {}
    for seed, part in enumerate(SPLITS):
        rng = np.random.default_rng(seed)
        columns[part] = {"price": rng.normal(size=120), "rating": rng.normal(size=120)}
        worth = columns[part]["rating"] - columns[part]["price"] + rng.normal(size=120) / 4
        labels[part] = np.clip(np.round(worth), 0, 3)
    fitted = fit_encoders(FEATURES, {}, columns["train"])
    queries = {part: np.repeat(np.arange(24), 5) for part in SPLITS}
    return TrainingData(FEATURES, fitted, columns, labels, task="ranking", queries=queries)


def graph_answers(trained: Any, data: TrainingData) -> np.ndarray:
    exported = export(trained, data.encoder, data, "ranking")
    assert [one.name for one in exported.outputs] == ["score"]
    return Graph.from_bytes(exported.bytes, exported.inputs, what="it").run(data.test.columns)["score"]


RANKERS = {
    "lambdarank": lambda: lightgbm.LGBMRanker(n_estimators=5, min_child_samples=2, verbose=-1, n_jobs=1),
    "xendcg": lambda: lightgbm.LGBMRanker(
        objective="rank_xendcg", n_estimators=5, min_child_samples=2, verbose=-1, n_jobs=1
    ),
    "ndcg": lambda: xgboost.XGBRanker(n_estimators=5, n_jobs=1),
    "pairwise": lambda: xgboost.XGBRanker(objective="rank:pairwise", n_estimators=5, n_jobs=1),
    "map": lambda: xgboost.XGBRanker(objective="rank:map", n_estimators=5, n_jobs=1, base_score=0.25),
}


@pytest.mark.parametrize("name", RANKERS)
def test_rankers_answer_as_their_own_library(name, data):
    y = np.minimum(data.train.y, 1) if name == "map" else data.train.y
    ranker = RANKERS[name]().fit(data.train.X, y, group=data.train.groups)
    own = ranker.predict(data.test.X)
    assert len(np.unique(own)) > 5
    assert graph_answers(ranker, data) == pytest.approx(own, abs=1e-5)
    assert ndcg_score(data.test.y.reshape(24, 5), own.reshape(24, 5)) > 0.8


def test_a_booster_of_xgboost_and_a_frame_answer_alike(data):
    frame = data.train.frame
    ranker = xgboost.XGBRanker(n_estimators=5, n_jobs=1).fit(frame, data.train.y, qid=data.train.qid)
    names = ranker.get_booster().feature_names
    own = ranker.predict(data.test.frame)
    assert graph_answers(ranker, data) == pytest.approx(own, abs=1e-5)
    assert graph_answers(ranker.get_booster(), data) == pytest.approx(own, abs=1e-5)
    assert ranker.get_booster().feature_names == names
    assert ranker.objective == "rank:ndcg"
    assert ranker.predict(data.test.frame) == pytest.approx(own)


@pytest.mark.parametrize("name", ["lambdarank", "ndcg"])
def test_a_pipeline_may_end_in_a_ranker(name, data):
    pipeline = Pipeline([("scale", MinMaxScaler()), ("rank", RANKERS[name]())])
    pipeline.fit(data.train.X, data.train.y, rank__group=data.train.groups)
    assert graph_answers(pipeline, data) == pytest.approx(pipeline.predict(data.test.X), abs=1e-5)


@pytest.mark.parametrize(
    "scorer",
    [Ridge(), RandomForestRegressor(5, random_state=0), xgboost.XGBRegressor(n_estimators=3, n_jobs=1)],
    ids=["ridge", "forest", "regressor"],
)
def test_regressions_of_the_label_score_too(scorer, data):
    scorer.fit(data.train.X, data.train.y)
    assert graph_answers(scorer, data) == pytest.approx(scorer.predict(data.test.X), abs=1e-4)


class Scorer(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(width, 1)

    def forward(self, x: Any) -> Any:
        return self.layer(x["dense"])


def test_a_torch_module_learns_the_order_of_lists(data):
    torch.manual_seed(0)
    net = data.fit(Scorer(data.dense_dim), epochs=15, batch_size=20, patience=15)
    with torch.no_grad():
        own = net({"dense": torch.from_numpy(data.test.inputs["dense"])}).numpy().reshape(-1)
    assert graph_answers(net, data) == pytest.approx(own, abs=1e-5)
    weights = net.layer.weight.detach().numpy()[0]
    assert weights[0] < 0 < weights[1]
    epochs = [one.metrics["val_loss"] for one in data.progress.history]
    assert epochs[-1] < epochs[0]


def test_what_gives_no_score_is_refused(data):
    classifier = LogisticRegression().fit(data.train.X, data.train.y > 0)
    with pytest.raises(ModelError, match="LogisticRegression is a classifier, but the model's task is ranking"):
        export(classifier, data.encoder, data, "ranking")
    logistic = xgboost.XGBRegressor(objective="reg:logistic", n_estimators=2).fit(data.train.X, data.train.y > 0)
    with pytest.raises(ModelError, match="no graph of a ranking model is made: choose 'lambdarank'|'reg:squarederror'"):
        export(logistic, data.encoder, data, "ranking")


def shown_items() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    sessions, size = 60, 4
    rows = pd.DataFrame(
        {"session_id": np.repeat(np.arange(sessions), size), "item_id": np.tile(np.arange(size), sessions)}
    )
    rows["shown_at"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(rows["session_id"], unit="h")
    rows["price"], rows["taken_before"] = rng.normal(size=(2, len(rows)))
    worth = rows["taken_before"] - 2 * rows["price"] + rng.normal(size=len(rows))
    return rows.assign(relevance=np.clip(np.round(worth), 0, 2), country=np.where(rows["session_id"] % 2, "NL", "BE"))


SHOWN = shown_items()


@fti.feature_group(name="shown", keys=["session_id", "item_id"], event_time="shown_at")
def shown() -> pd.DataFrame:
    return SHOWN.drop(columns="relevance")


@fti.feature_group(name="takings", keys=["session_id", "item_id"], event_time="taken_at")
def takings() -> pd.DataFrame:
    rows = SHOWN[["session_id", "item_id", "relevance"]]
    return rows.assign(taken_at=SHOWN["shown_at"] + pd.Timedelta("1min"))


VIEW = fti.FeatureView(
    name="offers",
    spine=shown,
    label=fti.Label(takings["relevance"], maturity="10min"),
    features=[shown["price", "taken_before", "country"]],
    encoders={"country": fti.OneHot()},
)
OFFERS = fti.training_dataset(name="offers_lists", view=VIEW, query="session_id", split=fti.TimeSplit(test=0.4))
METRICS = ["ndcg", "ndcg_at_2", "map", "mrr"]


def declared(**options: Any) -> Any:
    settings = {"dataset": OFFERS, "task": "ranking", **options}

    @fti.model(name="ranker", **settings)
    def ranker(data: fti.TrainingData):
        assert data.train.groups.tolist() == [4] * (data.train.rows // 4)
        return Ridge().fit(data.train.X, data.train.y)

    return ranker


def materialize(stores: fti.Stores, *declarations: Any) -> bool:
    job = fti.build_definitions([*declarations], resources={"fti": stores}).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(instance=instance, raise_on_error=False).success


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, fti.Stores, ModelManifest, Any]:
    home = tmp_path_factory.mktemp("ranking")
    stores = fti.Stores(lake=str(home / "lake"), models=str(home / "models"))
    gates = [fti.BeatsBaseline("ndcg"), fti.BeatsBaseline("ndcg", baseline=fti.LastValue("taken_before"))]
    gates += [fti.NotWorseThanChampion("ndcg"), fti.SliceGap("ndcg", by="country", at_most=0.5, min_rows=20)]
    model = declared(gates=gates, evaluate=fti.Evaluation(metrics=METRICS, slices=["country"]))
    best = fti.batch_predictions(name="best_offers", model=model, top=fti.TopK(2, by="session_id"))
    assert materialize(stores, best)
    return home, stores, stores.model_store().champion("ranker"), best


@pytest.mark.soak
def test_a_build_is_judged_by_its_lists(built):
    home, _, manifest, _ = built
    assert manifest.task == "ranking"
    assert manifest.dataset.query == ("session_id",)
    predictor = fti.Predictor.load("ranker", models=home / "models")
    test = SHOWN[SHOWN["session_id"] >= 60 - manifest.dataset.rows["test"] // 4]
    score = np.array(
        [answer.value for answer in predictor.predict(test.drop(columns=["relevance", "shown_at"]).to_dict("records"))]
    )
    lists = [
        (y.to_numpy(), score[rows])
        for y, rows in ((test["relevance"].iloc[rows], rows) for rows in np.split(np.arange(len(test)), len(test) // 4))
        if y.any()
    ]
    wanted = np.mean([ndcg_score([y], [own]) for y, own in lists])
    assert manifest.metrics["ndcg"] == pytest.approx(wanted, rel=1e-5)
    by_chance = np.mean([ndcg_score([y], [np.zeros(4)]) for y, _ in lists])
    assert manifest.baseline["ndcg"] == pytest.approx(by_chance)
    interval = manifest.intervals["ndcg"]
    assert interval.low < wanted < interval.high
    assert manifest.bootstrap.cluster == "session_id"
    assert next(iter(manifest.importance.features)) == "price"
    assert set(manifest.slices["country"]) == {"BE", "NL"}
    assert [gate.passed for gate in manifest.gates] == [True] * 4


def test_the_card_and_the_pictures_tell_of_lists(built):
    _, stores, manifest, _ = built
    folder = Path(stores.models) / "ranker" / "v1" / manifest.build
    card, page = (folder / name for name in ("card.md", "pictures.html"))
    assert "a ranking model of view" in card.read_text()
    rows = manifest.dataset.rows
    lists = ", ".join(f"{part} {rows[part] // 4}" for part in SPLITS)
    assert f"rows of one `session_id` are one list: {lists}" in card.read_text()
    assert "draws of the test values of `session_id` with their rows" in card.read_text()
    assert "<h2>Label by place</h2>" in page.read_text()


def test_a_score_reaches_the_app_and_the_lists_of_a_batch(built):
    home, stores, _, best = built
    predictor = fti.Predictor.load("ranker", models=home / "models")
    request = SHOWN.drop(columns=["relevance", "shown_at"]).to_dict("records")[:4]
    values = [answer.value for answer in predictor.predict(request)]
    assert all(isinstance(value, float) for value in values)
    explained = predictor.predict(request[0], explain=True).explanation
    assert explained.base + sum(explained.contributions.values()) == pytest.approx(values[0], abs=1e-5)
    [top] = fti.read(best, stores=stores).set_index("session_id").loc[[0], "top"]
    order = np.argsort(-np.array(values), kind="stable")[:2]
    assert [one["item_id"] for one in top] == order.tolist()
    assert [one["score"] for one in top] == pytest.approx([values[at] for at in order], rel=1e-6)


def test_no_list_is_a_part_or_a_mixture_of_queries() -> None:
    model = declared()
    with pytest.raises(
        DeclarationError, match="ranks the rows of one 'session_id', and the scores of others are not comp"
    ):
        fti.batch_predictions(name="best", model=model, top=fti.TopK(2, by="item_id"))
    best = fti.batch_predictions(name="best", model=model, top=fti.TopK(2, by="session_id"))
    hours = np.where(SHOWN["session_id"] == 7, SHOWN["item_id"], 0)
    late = SHOWN.assign(shown_at=SHOWN["shown_at"] + pd.to_timedelta(hours, unit="h"))
    view: Any = SimpleNamespace(prediction_time="shown_at", spine_table=shown.table)
    with duckdb.connect() as connection:
        for rows, session, is_refused in ((SHOWN, 7, False), (late, 8, False), (late, 7, True)):
            lake: Any = SimpleNamespace(
                connection=connection, rows=lambda table, snapshot, rows=rows: connection.from_df(rows)
            )
            due = connection.from_df(rows[rows["session_id"] == session].head(1))  # the others are in another partition
            refusal = pytest.raises(PredictionError, match="several times, such as of 7: each list would be a part")
            with refusal if is_refused else nullcontext():
                refuse_parts_of_lists(lake, best, view, due, 1)


@pytest.mark.soak
def test_a_challenger_is_compared_on_draws_of_whole_lists(built):
    _, stores, champion, _ = built
    gate = fti.NotWorseThanChampion("ndcg", tolerance=1.0, when_unsure="fail")
    again = declared(gates=[gate], version=2, evaluate=fti.Evaluation(metrics=["ndcg"]))
    assert materialize(stores, again)
    [verdict] = stores.model_store().builds("ranker")[-1].gates
    assert champion.build in verdict.reason
    assert (verdict.interval.low, verdict.interval.high) == (0.0, 0.0), "it answers the same rows alike"


def test_clusters_that_divide_lists_are_refused_before_training(built):
    _, stores, _, _ = built
    wrong = declared(version=3, evaluate=fti.Evaluation(metrics=["ndcg"], cluster="item_id"))
    calls: list[Any] = []
    with stores.offline_store().connect() as lake, pytest.raises(ModelError, match="'item_id', which differs within a"):
        build_model_at(
            wrong,
            "all",
            lake,
            stores.model_store(),
            lambda *data: calls.append(data),
            code_version="",
            run_id="",
            asset_key=[],
        )
    assert calls == []


def test_freshness_takes_train_rows_by_whole_lists(built):
    _, stores, manifest, _ = built
    with stores.offline_store().connect() as lake:
        record = lake.ledger(OFFERS.table)["all"].record
        dataset = from_json(DatasetManifest, record, what="it", remedy="")
        some = dataset_rows(lake, OFFERS.table, "all", dataset, train_rows=50)
        lists = some.declared.aggregate("session_id, count(*)").fetchall()
    assert {rows for _, rows in lists} == {4}
    assert 20 < some.rows["train"] < 80 < manifest.dataset.rows["train"]


def test_trials_of_a_ranking_are_judged_by_its_lists():
    frame = SHOWN.drop(columns=["shown_at"])

    @fti.model(dataset=OFFERS, task="ranking", tune=fti.Tuning(space={"alpha": fti.LogUniform(1e-2, 1e4)}, trials=3))
    def tuned(data: fti.TrainingData, trial: fti.Trial) -> Ridge:
        return Ridge(alpha=trial["alpha"]).fit(data.train.X, data.train.y)

    build = testing.train_tiny(tuned, frame)
    assert build.study.in_short.metric == "ndcg"
    assert build.data.train.groups.tolist() == [4] * 36
    assert 0.5 < build.metrics["ndcg_at_10"] <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": VIEW}, r"nothing says which rows those are: declare its dataset with them, .*query='session_id'"),
        ({"calibrate": "platt"}, "a ranking model gives no probabilities of its own: leave it out"),
        ({"weights": fti.ClassWeights("balanced")}, "weights= for classes, and a ranking model has none"),
        ({"evaluate": fti.Evaluation(metrics=["ece"])}, "'ece' is not one for a ranking model: choose 'ndcg'"),
        ({"evaluate": fti.Evaluation(metrics=["ndcg"], fairness=["country"])}, "a ranking model decides nothing"),
        ({"evaluate": fti.Evaluation(metrics=["ndcg"], threshold=0.2)}, "a ranking model has no threshold"),
        ({"gates": [fti.BeatsBaseline("ndcg", baseline="logistic")]}, "write baseline='linear'"),
    ],
)
def test_what_means_nothing_for_a_ranking_is_refused_at_load(options, message):
    with pytest.raises(DeclarationError, match=message):
        declared(**options)


def test_rankers_are_for_rankings_and_classifiers_are_not():
    with pytest.raises(DeclarationError, match="returns LogisticRegression, a classifier, but its task is ranking"):

        @fti.model(dataset=OFFERS, task="ranking")
        def one(data: fti.TrainingData) -> LogisticRegression: ...

    with pytest.raises(DeclarationError, match="returns LGBMRanker, which ranks rows of a group, but its task is reg"):

        @fti.model(dataset=OFFERS, task="regression")
        def two(data: fti.TrainingData) -> lightgbm.LGBMRanker: ...

    @fti.model(dataset=OFFERS, task="ranking")
    def three(data: fti.TrainingData) -> xgboost.XGBRanker: ...
