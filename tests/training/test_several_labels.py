"""Models of several labels: what their function gets, what becomes of what it gives, and how that is judged."""

import warnings
from typing import Any

import lightgbm
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import fti_assets as fti
from fti_assets.core.manifest import Column
from fti_assets.errors import DataError, DeclarationError, ExportError, ModelError
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.judging.baselines.last_value import LastValue
from fti_assets.training.judging.baselines.linear import Linear
from fti_assets.training.judging.baselines.named import Prior
from fti_assets.training.judging.evaluation import Evaluation, evaluate
from fti_assets.training.judging.gates.bounds import MetricBounds
from fti_assets.training.judging.measurement import measure
from fti_assets.training.judging.metrics.answers import Answers, answers_of
from fti_assets.training.judging.pictures.build_pictures import pictures
from fti_assets.training.judging.pictures.picture_page import picture_page
from fti_assets.training.judging.scores import Scores
from fti_assets.training.judging.thresholds import chosen_threshold, cuts_of, thresholds_of
from fti_assets.training.models.data import TrainingData, refuse_one_class, train_target
from fti_assets.training.models.graphs.calibrated import calibrated
from fti_assets.training.models.graphs.export import export
from tests.support.examples import examples

FEATURES = [Column("temp", "number"), Column("wind", "number"), Column("origin", "text")]
LABELS = ("late", "cancelled", "diverted")
TARGETS = ("delay", "taxi")


def columns_of(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    origin = np.array(["JFK", "EWR", "LGA"], dtype=object)[rng.integers(3, size=150)]
    return {"temp": rng.normal(size=150), "wind": rng.normal(size=150), "origin": origin}


def training_data(task: str) -> TrainingData:
    columns, labels = {part: columns_of(seed) for seed, part in enumerate(SPLITS)}, {}
    for seed, part in enumerate(SPLITS):
        noise, own = np.random.default_rng(10 + seed).normal(size=(150, 3)), columns[part]
        score = np.stack([own["temp"], own["wind"] - own["temp"], -own["wind"] - 0.5], axis=1) + noise / 2
        labels[part] = (score > 0).astype(float) if task == "multilabel" else score[:, :2]
    names = LABELS if task == "multilabel" else TARGETS
    encoders = {"origin": fti.Target()}
    fitted = fit_encoders(FEATURES, encoders, columns["train"], target=train_target(labels["train"], task))
    return TrainingData(FEATURES, fitted, columns, labels, task=task, classes=names)


@pytest.fixture(scope="module")
def binaries() -> TrainingData:
    return training_data("multilabel")


@pytest.fixture(scope="module")
def values() -> TrainingData:
    return training_data("multioutput")


def graph_answers(trained: Any, data: TrainingData) -> np.ndarray:
    exported = export(trained, data.encoder, data, data.task)
    assert exported.classes == data.labels
    [output] = exported.outputs
    assert output.name == ("probabilities" if data.task == "multilabel" else "values")
    return Graph.from_bytes(exported.bytes, exported.inputs, what="it").run(data.test.columns)[output.name]


def yes_of(model: Any, X: np.ndarray) -> np.ndarray:
    own = model.predict_proba(X)
    return own if isinstance(own, np.ndarray) and own.ndim == 2 else np.stack([one[:, 1] for one in own], axis=1)


def test_y_has_a_column_for_each_label(binaries: TrainingData, values: TrainingData) -> None:
    assert (binaries.labels, binaries.classes) == (LABELS, LABELS)
    assert (binaries.train.y.shape, binaries.train.y.dtype) == ((150, 3), np.int64)
    assert (values.train.y.shape, values.train.y.dtype) == ((150, 2), np.float32)
    x, y = next(iter(binaries.loaders(50)[0]))
    assert (tuple(y.shape), y.dtype, x["dense"].shape[0]) == ((50, 3), torch.float32, 50)
    [(_, y)] = list(values.validation.stream(150))
    assert sorted(y.tolist()) == sorted(values.validation.y.tolist())  # in an order of its own


def test_target_encoder_has_a_mean_for_each_label(binaries: TrainingData) -> None:
    fitted = binaries.encoder.encoders["origin"]
    rows = binaries.train.columns["origin"] == "JFK"
    y = binaries.train.y.astype(float)
    means = (y[rows].sum(axis=0) + fitted.smoothing * y.mean(axis=0)) / (rows.sum() + fitted.smoothing)
    assert dict(zip(fitted.categories, fitted.means, strict=True))["JFK"] == pytest.approx(means)


MANY_YES = [
    lambda: RandomForestClassifier(4, max_depth=4, random_state=0),
    lambda: MultiOutputClassifier(DecisionTreeClassifier(max_depth=3, random_state=0)),
    lambda: KNeighborsClassifier(5),
    lambda: MLPClassifier((4,), max_iter=5, random_state=0),
    lambda: OneVsRestClassifier(LogisticRegression()),
    lambda: MultiOutputClassifier(LogisticRegression()),
    lambda: make_pipeline(StandardScaler(), MultiOutputClassifier(LogisticRegression())),
    lambda: MultiOutputClassifier(lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1)),
]


@pytest.mark.parametrize("make", MANY_YES, ids=lambda make: type(make()).__name__)
def test_estimators_of_yes_and_no_become_one_graph(make: Any, binaries: TrainingData) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make().fit(binaries.train.X, binaries.train.y)
    assert graph_answers(model, binaries) == pytest.approx(yes_of(model, binaries.test.X), abs=1e-5)


MANY_VALUES = [
    lambda: RandomForestRegressor(4, max_depth=4, random_state=0),
    lambda: Ridge(),
    lambda: KNeighborsRegressor(5),
    lambda: MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0),
    lambda: MultiOutputRegressor(Ridge()),
    lambda: make_pipeline(StandardScaler(), Ridge()),
]


@pytest.mark.parametrize("make", MANY_VALUES, ids=lambda make: type(make()).__name__)
def test_estimators_of_values_become_one_graph(make: Any, values: TrainingData) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make().fit(values.train.X, values.train.y)
    assert graph_answers(model, values) == pytest.approx(model.predict(values.test.X), abs=1e-4)


def test_a_list_has_a_model_for_each_label(binaries: TrainingData) -> None:
    trees = [
        lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1).fit(binaries.train.frame, y)
        for y in binaries.train.y.T
    ]
    own = np.stack([one.predict_proba(binaries.test.frame)[:, 1] for one in trees], axis=1)
    assert graph_answers(trees, binaries) == pytest.approx(own, abs=1e-5)
    together = MultiOutputClassifier(lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1))
    together.fit(binaries.train.frame, binaries.train.y)
    assert graph_answers(together, binaries) == pytest.approx(own, abs=1e-5)
    with pytest.raises(ModelError, match=r"2 models for 3 labels.*in the order of data.labels"):
        export(trees[:2], binaries.encoder, binaries, "multilabel")


class Net(torch.nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(inputs, outputs)

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.layer(x["dense"])


@pytest.mark.parametrize("task", ["multilabel", "multioutput"])
def test_a_network_gives_a_column_for_each_label(task: str, binaries: TrainingData, values: TrainingData) -> None:
    data = binaries if task == "multilabel" else values
    torch.manual_seed(0)
    trained = data.fit(Net(data.dense_dim, len(data.labels)), epochs=2, batch_size=50)
    with torch.no_grad():
        own = trained({"dense": torch.from_numpy(data.test.inputs["dense"])})
    own = torch.sigmoid(own) if task == "multilabel" else own
    assert graph_answers(trained, data) == pytest.approx(own.numpy(), abs=1e-5)


def test_loss_is_the_mean_of_the_labels(binaries: TrainingData, values: TrainingData) -> None:
    output, y = torch.randn(150, 3), torch.from_numpy(binaries.test.y).float()
    theirs = [sklearn_metrics.log_loss(y[:, at], torch.sigmoid(output[:, at])) for at in range(3)]
    assert float(binaries.loss(output, y)) == pytest.approx(np.mean(theirs), rel=1e-5)
    weight = torch.from_numpy(np.repeat([0.5, 1.5], 75))
    each = torch.nn.functional.binary_cross_entropy_with_logits(output, y, reduction="none").mean(dim=1)
    assert float(binaries.loss(output, y, weight)) == pytest.approx(float((each * weight).mean()), rel=1e-6)
    output, y = torch.randn(150, 2), torch.from_numpy(values.test.y)
    assert float(values.loss(output, y)) == pytest.approx(sklearn_metrics.mean_squared_error(y, output), rel=1e-5)


def test_what_cannot_answer_several_labels_is_refused(binaries: TrainingData, values: TrainingData) -> None:
    X, y = binaries.train.X, binaries.train.y
    one = LogisticRegression().fit(X, y[:, 0])
    with pytest.raises(ModelError, match=r"\[150, 2\].*\[150, 3\]|gives .* but a multilabel model gives"):
        export(one, binaries.encoder, binaries, "multilabel")
    with pytest.raises(ModelError, match="was fitted on 2 labels, not on 3"):
        export(DecisionTreeClassifier().fit(X, y[:, :2]), binaries.encoder, binaries, "multilabel")
    booster = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, y[:, 0])
    with pytest.raises(ModelError, match="put it into scikit-learn's MultiOutputClassifier, or return a list"):
        export(booster, binaries.encoder, binaries, "multilabel")
    with pytest.raises(
        ModelError, match="which skl2onnx does not convert, and there are 3 labels: put its estimator into"
    ):
        export(ClassifierChain(LogisticRegression()).fit(X, y), binaries.encoder, binaries, "multilabel")
    with pytest.raises(ExportError, match="differs from the trained model"):  # which skl2onnx converts wrongly
        export(DecisionTreeClassifier(max_depth=3).fit(X, y), binaries.encoder, binaries, "multilabel")
    with pytest.raises(ModelError, match="is a classifier"):
        export(DecisionTreeClassifier().fit(X, y), binaries.encoder, values, "multioutput")


def test_a_label_that_cannot_be_learned_is_named() -> None:
    columns = {part: {"temp": np.arange(4.0)} for part in SPLITS}
    fitted = fit_encoders([Column("temp", "number")], {}, columns["train"])

    def data(second: list[float], task: str = "multilabel") -> TrainingData:
        y = np.stack([np.array([0.0, 1.0, 0.0, 1.0]), np.array(second)], axis=1)
        return TrainingData(
            [Column("temp", "number")], fitted, columns, dict.fromkeys(SPLITS, y), task=task, classes=("late", "gone")
        )

    with pytest.raises(DataError, match=r"the label 'gone' of the train part has 1 labels that are not 0 or 1.*: 2\.0"):
        data([0.0, 1.0, 2.0, 1.0])
    with pytest.raises(ModelError, match="the label 'gone' is 0 in all 4 train rows"):
        refuse_one_class(data([0.0] * 4), what="flights_v1", label="late")
    refuse_one_class(data([0.0] * 4, "multioutput"), what="flights_v1", label="late")


rows_of_two = st.lists(
    st.tuples(*[st.integers(0, 1)] * 2, *[st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9])] * 2), min_size=2, max_size=9
)


@settings(max_examples=examples(90))
@given(rows_of_two)
def test_metrics_are_the_mean_of_those_of_scikit_learn(rows: list[tuple[float, ...]]) -> None:
    table = np.array(rows, dtype=np.float64)
    y, probabilities = table[:, :2].astype(np.int64), table[:, 2:]
    scores = evaluate(
        "multilabel",
        ["log_loss", "roc_auc", "brier", "accuracy", "exact_match", "log_loss:late", "roc_auc:gone", "accuracy:gone"],
        {"probabilities": probabilities},
        y,
        ("late", "gone"),
        threshold=(0.5, 0.75),
    )
    decided = probabilities >= [0.5, 0.75]
    losses = [sklearn_metrics.log_loss(y[:, at], probabilities[:, at], labels=[0, 1]) for at in range(2)]
    assert scores["log_loss"] == pytest.approx(np.mean(losses))
    assert scores["log_loss:late"] == pytest.approx(losses[0])
    assert scores["brier"] == pytest.approx(((probabilities - y) ** 2).mean())
    assert scores["accuracy"] == pytest.approx((decided == y).mean())
    assert scores["accuracy:gone"] == pytest.approx((decided == y)[:, 1].mean())
    assert scores["exact_match"] == pytest.approx(sklearn_metrics.accuracy_score(y, decided))
    both = [len(set(y[:, at])) == 2 for at in range(2)]
    if all(both):
        assert scores["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(y, probabilities, average="macro"))
    else:
        assert "roc_auc" not in scores
    assert ("roc_auc:gone" in scores) == both[1]


def test_metrics_of_several_values_are_those_of_scikit_learn(values: TrainingData) -> None:
    y = values.test.y.astype(float)
    outputs = {"values": y + np.random.default_rng(0).normal(size=y.shape)}
    scores = evaluate("multioutput", ["rmse", "mae", "r2", "r2:taxi"], outputs, y, TARGETS)
    own = outputs["values"]
    assert scores["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(y, own))
    assert scores["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(y, own))
    assert scores["r2"] == pytest.approx(sklearn_metrics.r2_score(y, own))
    assert scores["r2:taxi"] == pytest.approx(sklearn_metrics.r2_score(y[:, 1], own[:, 1]))


def test_a_metric_of_ones_own_gets_each_label_or_all() -> None:
    shape: list[tuple[int, ...]] = []
    each = fti.Metric("told_each", lambda y, p: shape.append(y.shape) or 1.0, higher_is_better=True, tasks=["binary"])
    whole = fti.Metric(
        "told_all", lambda y, p: shape.append(y.shape) or 2.0, higher_is_better=True, tasks=["multilabel"]
    )
    y = np.array([[0, 1], [1, 0]])
    names = [each.name, whole.name, "told_each:late"]
    assert evaluate("multilabel", names, {"probabilities": y * 0.5}, y, ("late", "gone")) == {
        "told_each": 1.0,
        "told_all": 2.0,
        "told_each:late": 1.0,
    }
    assert shape == [(2,), (2,), (2, 2), (2,)]


def test_slices_and_intervals_are_of_each_label(binaries: TrainingData) -> None:
    y = binaries.test.y
    answers = answers_of("multilabel", {"probabilities": np.clip(y * 0.6 + 0.2, 0, 1)}, y, LABELS)
    evaluation = Evaluation(metrics=["log_loss"], slices=["origin"]).for_labels("multilabel", LABELS)
    result = measure(evaluation, answers, binaries.test.columns)
    assert [*result.metrics] == ["log_loss", "log_loss:late", "log_loss:cancelled", "log_loss:diverted"]
    assert {*result.intervals} == {*result.metrics} == {*result.slices["origin"]["JFK"]} - {"rows"}
    assert {*result.slice_intervals["origin"]["JFK"]} == {*result.metrics}


def test_thresholds_are_chosen_for_each_label(binaries: TrainingData) -> None:
    y = binaries.validation.y
    rng = np.random.default_rng(5)
    answers = answers_of("multilabel", {"probabilities": np.clip(y * 0.3 + rng.random(y.shape), 0, 1)}, y, LABELS)
    declared = {"late": "f1", "cancelled": 0.3}
    records = thresholds_of(declared, LABELS, lambda: answers, what="flights_v1")
    expected = chosen_threshold("f1", Answers(y[:, 0], answers.predictions[:, 0]), what="it")
    low = float(np.float32(0.3))  # as a graph answers
    assert (records["late"], records["cancelled"].value, records["diverted"].value) == (expected, low, 0.5)
    assert cuts_of(records) == (expected.value, low, 0.5)
    decided = answers_of("multilabel", {"probabilities": answers.predictions}, y, LABELS, threshold=cuts_of(records))
    assert (
        decided.decided[:, 1].tolist()
        == (answers.predictions[:, 1].astype(np.float32) >= np.float32(0.3)).astype(int).tolist()
    )


def test_baselines_answer_each_label(binaries: TrainingData, values: TrainingData) -> None:
    prior = Prior().answers("multilabel", 3, binaries.train, binaries.test)
    assert prior.shape == (150, 3)
    assert prior[0] == pytest.approx(binaries.train.y.mean(axis=0))
    logistic = Linear("logistic").answers("multilabel", 3, binaries.train, binaries.test)
    metric = ["log_loss:cancelled"]
    own, floor = (
        evaluate("multilabel", metric, {"probabilities": one}, binaries.test.y, LABELS)[metric[0]]
        for one in (logistic, prior)
    )
    assert own < 0.8 * floor
    linear = Linear("linear").answers("multioutput", 2, values.train, values.test)
    assert np.corrcoef(linear[:, 1], values.test.y[:, 1])[0, 1] > 0.8
    with pytest.raises(DeclarationError, match="has the last value of one label, and a multilabel model has several"):
        LastValue("temp").check("multilabel", ["temp"], what="it")


def test_each_label_is_calibrated_by_itself(binaries: TrainingData) -> None:
    model = MultiOutputClassifier(LogisticRegression(C=0.01)).fit(binaries.train.X, binaries.train.y)
    exported = export(model, binaries.encoder, binaries, "multilabel")
    for method in ("platt", "isotonic"):
        result = calibrated(exported, method, binaries, "multilabel", what="flights_v1")
        graph = Graph.from_bytes(result.exported.bytes, result.exported.inputs, what="it")
        after = graph.run(binaries.validation.columns)["probabilities"]
        if method == "isotonic":  # whose mean is that of the rows that it is fitted on, of each label
            assert after.mean(axis=0) == pytest.approx(binaries.validation.y.mean(axis=0), abs=1e-5)
        if method == "platt":
            assert result.record.after["log_loss"] < result.record.before["log_loss"]


def test_a_gate_is_on_all_labels_or_one() -> None:
    scores = Scores({"log_loss": 0.4, "log_loss:late": 0.6})
    assert MetricBounds("log_loss", at_most=0.5).judge(scores).passed
    late = MetricBounds("log_loss:late", at_most=0.5)
    assert (late.name, late.judge(scores).passed) == ("bounds_of_log_loss_of_late", False)
    assert late.judge(scores).reason == "log_loss:late 0.6 is not at most 0.5"


def test_each_label_has_its_pictures(binaries: TrainingData, values: TrainingData) -> None:
    y = binaries.test.y
    drawn = pictures("multilabel", np.clip(y, 0.1, 0.9), y, {}, "log_loss", LABELS)
    assert [*drawn][:4] == ["roc_curve/late", "calibration/late", "roc_curve/cancelled", "calibration/cancelled"]
    page = picture_page("m", "multioutput", values.test.y, values.test.y, {}, ["rmse"], labels=TARGETS)
    assert page.count("Predicted and actual") == 2
    assert "<h1>taxi</h1>" in page
