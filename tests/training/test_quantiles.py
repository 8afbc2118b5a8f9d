"""Models of quantiles: from their declaration to the answers of an app and of a batch."""

from pathlib import Path
from typing import Any

import dagster as dg
import lightgbm
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, QuantileRegressor
from sklearn.metrics import mean_pinball_loss

import fti_assets as fti
from fti_assets.core.manifest import Column
from fti_assets.errors import DeclarationError, ModelError
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.judging.evaluation import evaluate
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.graphs.export import export
from tests.support.examples import examples

LEVELS = (0.1, 0.5, 0.9)
FEATURES = [Column("temp", "number"), Column("wind", "number")]


def training_data() -> TrainingData:
    columns, labels = {}, {}
    for seed, part in enumerate(SPLITS):
        rng = np.random.default_rng(seed)
        columns[part] = {"temp": rng.normal(size=150), "wind": rng.normal(size=150)}
        labels[part] = columns[part]["temp"] + rng.exponential(size=150)
    fitted = fit_encoders(FEATURES, {}, columns["train"])
    return TrainingData(FEATURES, fitted, columns, labels, task="quantile", levels=LEVELS)


def graph_answers(trained: Any, data: TrainingData) -> np.ndarray:
    exported = export(trained, data.encoder, data, "quantile")
    assert exported.classes == ("0.1", "0.5", "0.9")
    return Graph.from_bytes(exported.bytes, exported.inputs, what="it").run(data.test.columns)["quantiles"]


def each(make: Any, data: TrainingData) -> list[Any]:
    return [make(level).fit(data.train.X, data.train.y) for level in data.levels]


@pytest.mark.parametrize(
    "make",
    [
        lambda level: QuantileRegressor(quantile=level, alpha=0.0),
        lambda level: GradientBoostingRegressor(loss="quantile", alpha=level, n_estimators=5, random_state=0),
        lambda level: lightgbm.LGBMRegressor(objective="quantile", alpha=level, n_estimators=5, verbose=-1, n_jobs=1),
    ],
    ids=["linear", "trees", "lightgbm"],
)
def test_an_estimator_for_each_level_becomes_one_graph(make):
    data = training_data()
    models = each(make, data)
    own = np.sort(np.stack([model.predict(data.test.X) for model in models], axis=1), axis=1)
    assert graph_answers(models, data) == pytest.approx(own, abs=1e-4)


def test_quantiles_that_cross_are_put_in_order():
    data = training_data()
    models = each(lambda level: QuantileRegressor(quantile=level, alpha=0.0), data)[::-1]
    answers = graph_answers(models, data)
    assert (np.diff(answers, axis=1) >= 0).all()
    assert answers[:, 0] == pytest.approx(models[2].predict(data.test.X), abs=1e-4)


def test_a_torch_module_learns_by_the_pinball_loss():
    data = training_data()
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(data.dense_dim, 3)

        def forward(self, x):
            return self.layer(x["dense"])

    net = Net()
    output, y = torch.randn(150, 3), torch.from_numpy(data.test.y)
    ours = float(data.loss(output, y))
    theirs = np.mean([mean_pinball_loss(y, output[:, at].numpy(), alpha=level) for at, level in enumerate(data.levels)])
    assert ours == pytest.approx(theirs, rel=1e-5)
    trained = data.fit(net, epochs=2, batch_size=50)
    with torch.no_grad():
        own = trained({"dense": torch.from_numpy(data.test.inputs["dense"])}).numpy()
    assert graph_answers(trained, data) == pytest.approx(np.sort(own, axis=1), abs=1e-4)


@settings(max_examples=examples(60))
@given(st.lists(st.tuples(*[st.integers(-5, 5)] * 4), min_size=1, max_size=8))
def test_metrics_are_those_of_scikit_learn(rows):
    y, *columns = (np.array(values, dtype=np.float64) for values in zip(*rows, strict=True))
    outputs = np.stack(columns, axis=1)
    scores = evaluate("quantile", ["pinball", "coverage_error"], {"quantiles": outputs}, y, ("0.1", "0.5", "0.9"))
    of_levels = [mean_pinball_loss(y, outputs[:, at], alpha=level) for at, level in enumerate(LEVELS)]
    assert scores["pinball"] == pytest.approx(np.mean(of_levels))
    shares = [abs(np.mean(y <= outputs[:, at]) - level) for at, level in enumerate(LEVELS)]
    assert scores["coverage_error"] == pytest.approx(np.mean(shares))


def test_what_cannot_answer_quantiles_is_refused():
    data = training_data()
    one, two, _ = each(lambda level: QuantileRegressor(quantile=level, alpha=0.0), data)
    with pytest.raises(ModelError, match="QuantileRegressor answers one number, but there are 3 levels"):
        export(one, data.encoder, data, "quantile")
    with pytest.raises(ModelError, match="there are 2 models for 3 levels"):
        export([one, two], data.encoder, data, "quantile")
    classifier = LogisticRegression().fit(data.train.X, data.train.y > 0)
    with pytest.raises(ModelError, match="LogisticRegression is a classifier"):
        export([one, two, classifier], data.encoder, data, "quantile")


def source() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    size = rng.normal(size=120)
    return pd.DataFrame({"order_id": range(120), "size": size, "hours": size + rng.exponential(size=120)})


@fti.feature_group(name="orders", keys=["order_id"])
def orders() -> pd.DataFrame:
    return source()[["order_id", "size"]]


@fti.feature_group(name="deliveries", keys=["order_id"])
def deliveries() -> pd.DataFrame:
    return source()[["order_id", "hours"]]


VIEW = fti.FeatureView(name="delivery", spine=orders, label=fti.Label(deliveries["hours"]), features=[orders["size"]])


def declared(**options: Any) -> Any:
    settings = {"dataset": VIEW, "task": "quantile", "levels": [0.9, 0.1, 0.5], **options}

    @fti.model(name="delivery_time", **settings)
    def delivery_time(data: fti.TrainingData):
        return each(lambda level: QuantileRegressor(quantile=level, alpha=0.0), data)

    return delivery_time


def test_quantiles_reach_the_app_the_batch_and_the_card(tmp_path: Path) -> None:
    model = declared(gates=[fti.BeatsBaseline("pinball")], evaluate=fti.Evaluation(metrics=["pinball"]))
    batch = fti.batch_predictions(name="delivery_hours", model=model)
    stores = fti.Stores(lake=str(tmp_path / "lake"), models=str(tmp_path / "models"))
    assets = [one.assets_def for one in (orders, deliveries, model.dataset, model, batch)]
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize(assets, instance=instance, resources={"fti": stores}).success
    manifest = stores.model_store().champion("delivery_time")
    assert (manifest.task, manifest.classes) == ("quantile", ("0.1", "0.5", "0.9"))
    assert manifest.intervals["pinball"].low < manifest.metrics["pinball"] < manifest.baseline["pinball"]
    predictor = fti.Predictor.load("delivery_time", models=tmp_path / "models")
    value = predictor.predict({"order_id": 1, "size": 0.5}).value
    assert list(value) == ["0.1", "0.5", "0.9"]
    assert value["0.1"] < value["0.5"] < value["0.9"]
    explained = predictor.predict({"order_id": 1, "size": 0.5}, explain=True).explanation
    assert explained.base["0.9"] + explained.contributions["0.9"]["size"] == pytest.approx(value["0.9"], abs=1e-4)
    rows = fti.read(batch, stores=stores).set_index("order_id")
    requests = predictor.predict({"order_id": 7, "size": source()["size"][7]})
    assert dict(rows["quantiles"][7]) == pytest.approx(requests.value, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": []}, "is a quantile model and needs levels="),
        ({"levels": [0.5], "task": "regression"}, "is a regression model and has levels"),
        ({"levels": [0.5, 1.0]}, "above 0 and below 1"),
        ({"levels": [0.5, 0.5]}, "different numbers"),
        ({"gates": [fti.BeatsBaseline("rmse")]}, "'rmse' is not one for a quantile model"),
    ],
)
def test_impossible_quantile_models_are_refused(options, message):
    with pytest.raises(DeclarationError, match=message):
        declared(**options)


def test_a_class_that_answers_one_number_is_refused_at_load():
    with pytest.raises(
        DeclarationError, match="returns QuantileRegressor, which answers one number, but it has 2 levels"
    ):

        @fti.model(dataset=VIEW, task="quantile", levels=[0.1, 0.9])
        def hours(data: fti.TrainingData) -> QuantileRegressor:
            return QuantileRegressor()
