"""A column that says what each row counts: in training, and in all that is measured of a build."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.manifest import Column
from fti_assets.errors import DataError, DeclarationError, ModelError
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.calibration.calibrators import fit_calibrator, log_odds
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.encoders import fit
from fti_assets.training.encoders.kinds.scales import FittedPassthrough
from fti_assets.training.encoders.kinds.targets import Target, folds_of
from fti_assets.training.judging.baselines.named import checked_baseline
from fti_assets.training.judging.evaluation import Evaluation, evaluate
from fti_assets.training.judging.fairness import fairness
from fti_assets.training.judging.measurement import measure
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.calibration_slope import calibration_slope
from fti_assets.training.judging.metrics.registry import METRICS
from fti_assets.training.judging.resampling.paired import PairedAnswers
from fti_assets.training.judging.thresholds import chosen_threshold
from fti_assets.training.models.data import TrainingData
from tests.support.examples import examples

OUTPUTS = {"binary": "probability", "multiclass": "probabilities", "regression": "value", "quantile": "quantiles"}
LEVELS = ("0.1", "0.5", "0.9")


def drawn(task: str, seed: int, rows: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, answers, and whole numbers that say what each row counts."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, rows)
    if task == "regression":
        return rng.normal(size=rows), rng.normal(size=rows), counts
    if task == "quantile":
        return rng.normal(size=rows), np.sort(rng.normal(size=(rows, 3)), axis=1), counts
    if task == "multiclass":
        return rng.integers(0, 3, rows), rng.dirichlet(np.ones(3), rows), counts
    return rng.integers(0, 2, rows), rng.choice([0.0, 0.25, 0.5, 0.75, 1.0], rows), counts


@pytest.mark.parametrize("task", list(OUTPUTS))
@given(seed=st.integers(0, 2**32))
@settings(max_examples=examples(40))
def test_row_that_counts_three_is_three_rows(task: Any, seed: int) -> None:
    y, answers, counts = drawn(task, seed)
    names = [name for name, one in METRICS.items() if task in one.tasks]
    classes = {"multiclass": ("a", "b", "c"), "quantile": LEVELS}.get(task, ())
    own = evaluate(task, names, {OUTPUTS[task]: answers}, y, classes, weight=counts / counts.mean())
    repeated = {OUTPUTS[task]: np.repeat(answers, counts, axis=0)}
    assert own == pytest.approx(evaluate(task, names, repeated, np.repeat(y, counts), classes), nan_ok=True)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=examples(40))
def test_decisions_are_weighed_as_by_repeating_rows(seed: int) -> None:
    y, answers, counts = drawn("binary", seed)
    y[:2] = 0, 1
    groups = {"g": np.resize(np.array(["a", "b", "c"], dtype=object), len(y))}
    weighted = Answers(y, answers, weight=counts / counts.mean())
    repeated = Answers(np.repeat(y, counts), np.repeat(answers, counts))
    own = fairness(weighted, ["g"], groups, min_rows=2)["g"]
    other = fairness(repeated, ["g"], {"g": np.repeat(groups["g"], counts)})["g"]
    assert own.figures == pytest.approx(other.figures)
    assert sum(one.rows for one in own.groups.values()) == len(y), "rows are counted as they are"
    for goal in ("f1", "accuracy", "youden"):
        assert chosen_threshold(goal, weighted, what="d").value == chosen_threshold(goal, repeated, what="d").value
    slope, expected = calibration_slope(weighted), calibration_slope(repeated)
    assert slope == (None if expected is None else pytest.approx(expected, rel=1e-6))


def test_several_labels_and_slices_keep_the_weights() -> None:
    rng = np.random.default_rng(0)
    y, answers, counts = rng.integers(0, 2, (60, 2)), rng.random((60, 2)), rng.integers(1, 5, 60)
    evaluation = Evaluation(metrics=["log_loss", "log_loss:b", "exact_match", "ece"], slices=["g"], confidence=None)
    groups = {"g": np.resize(np.array(["x", "y"], dtype=object), 60)}
    of_labels = {"labels": ("a", "b"), "task": "multilabel"}
    own = measure(evaluation, Answers(y, answers, weight=counts / 2, **of_labels), groups)  # type: ignore[arg-type]
    repeated = Answers(np.repeat(y, counts, axis=0), np.repeat(answers, counts, axis=0), **of_labels)  # type: ignore[arg-type]
    other = measure(evaluation, repeated, {"g": np.repeat(groups["g"], counts)})
    assert own.metrics == pytest.approx(other.metrics)
    for value in "xy":
        own.slices["g"][value].pop("rows")
        other.slices["g"][value].pop("rows")
        assert own.slices["g"][value] == pytest.approx(other.slices["g"][value])


def test_draws_are_of_rows_and_each_counts_what_it_counts() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=400)
    counts = np.where(np.arange(400) % 2, 19.0, 1.0)
    error = np.where(np.arange(400) % 2, 0.0, 1.0)
    one, other = Answers(y, y + error, weight=counts), Answers(y, y + 0.04, weight=counts)
    interval = PairedAnswers(one, other).difference("mae")
    assert interval is not None
    assert interval.low < 0.05 - 0.04 < interval.high, "half of the rows are wrong by one, and count a twentieth"
    assert interval.high < 0.05, "without the weights it would be 0.46"
    measured = measure(Evaluation(metrics=["mae", "ece"][:1]), one, {}).intervals["mae"]
    values = [np.average(error[at], weights=counts[at]) for at in (rng.integers(0, 400, 400) for _ in range(2_000))]
    assert (measured.low, measured.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=3e-3)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibrators_are_scikit_learns_of_the_same_weights(method: Any) -> None:
    rng = np.random.default_rng(2)
    probability = rng.random(300).astype(np.float32)
    truth = rng.random(300) < probability**2
    weight = rng.gamma(1.0, size=300)
    weight /= weight.mean()
    requests = np.linspace(0.01, 0.99, 40)
    calibrator = fit_calibrator(method, probability, truth, weight)
    if method == "isotonic":
        oracle = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        expected = oracle.fit(probability.astype(float), truth, weight).predict(requests)
    else:
        expected = (
            _SigmoidCalibration().fit(log_odds(probability), truth.astype(int), weight).predict(log_odds(requests))
        )
    assert calibrator(requests) == pytest.approx(expected, abs=2e-4)
    assert calibrator(requests) != pytest.approx(fit_calibrator(method, probability, truth)(requests), abs=2e-3)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibrator_of_a_row_that_counts_three_is_that_of_three_rows(method: Any) -> None:
    rng = np.random.default_rng(3)
    probability = rng.random(40).astype(np.float32)
    truth, counts = rng.random(40) < probability**2, rng.integers(1, 9, 40)
    requests = np.linspace(0.01, 0.99, 40)
    own = fit_calibrator(method, probability, truth, counts.astype(float))(requests)
    repeated = fit_calibrator(method, np.repeat(probability, counts), np.repeat(truth, counts))(requests)
    assert own == pytest.approx(repeated, abs=1e-6)
    if method == "platt":
        oracle = _SigmoidCalibration().fit(log_odds(probability), truth.astype(int), counts.astype(float))
        assert own == pytest.approx(oracle.predict(log_odds(requests)), abs=2e-4)
        normal = fit_calibrator(method, probability, truth, counts / counts.mean())(requests)
        assert own != pytest.approx(normal, abs=2e-3), "the targets see how many rows there are"
    shares = fit_calibrator(method, probability, truth, counts / counts.sum())(requests)
    assert shares == pytest.approx(
        fit_calibrator(method, probability, truth, counts / counts.mean())(requests), abs=1e-6
    )


def weighted_data(task: Any, y: np.ndarray, counts: np.ndarray, **more: Any) -> TrainingData:
    columns = {"x": np.arange(len(y), dtype=float)}
    return TrainingData(
        [Column("x", "number")],
        {"x": FittedPassthrough()},
        dict.fromkeys(SPLITS, columns),
        dict.fromkeys(SPLITS, y.astype(float)),
        task=task,
        counts=dict.fromkeys(SPLITS, counts / counts.mean()),
        **more,
    )


def test_baselines_learn_by_weight() -> None:
    counts = np.array([1, 1, 1, 5])
    binary = weighted_data("binary", np.array([0, 0, 1, 1]), counts)
    prior = checked_baseline("prior", what="m").answers("binary", 0, binary.train, binary.test)
    assert prior.tolist() == [0.75] * 4
    values = weighted_data("regression", np.array([0, 1, 2, 3]), counts)
    linear = checked_baseline("linear", what="m").answers("regression", 0, values.train, values.test)
    x = (np.arange(4) - 1.5)[:, None] / np.std(np.arange(4))
    assert linear == pytest.approx(Ridge().fit(x, np.arange(4), counts / 2).predict(x))


def test_weights_of_rows_and_of_classes_multiply() -> None:
    counts = np.array([1.0, 1.0, 1.0, 5.0])
    data = weighted_data("binary", np.array([0, 0, 1, 1]), counts, weights=fti.ClassWeights({"1": 2.0}))
    expected = np.array([1, 1, 2, 10]) / 3.5
    assert data.train.weight == pytest.approx(expected)
    assert data.validation.weight == pytest.approx(counts / 2), "classes are weighed in training alone"
    copy = data.copy()
    copy.test.counts[:] = 7.0  # type: ignore[index]
    assert data.test.counts == pytest.approx(counts / 2), "a function's arrays are its own"


@pytest.mark.parametrize("stream", [False, True])
def test_batches_of_both_loaders_bring_the_weights(stream: bool) -> None:
    counts = np.arange(1.0, 41.0)
    data = weighted_data("regression", np.arange(40), counts)
    for loader in data.loaders(16, stream=stream):
        for x, _, weight in loader:
            assert weight.tolist() == pytest.approx((x["dense"][:, 0] + 1).numpy() / counts.mean())


# ---- from declaration to build

ROWS = 1_500
RNG = np.random.default_rng(3)
X = RNG.normal(size=ROWS)
INSURED = RNG.integers(1, 6, ROWS)
CLAIMS = pd.DataFrame(
    {"id": range(ROWS), "x": X, "insured": INSURED, "branch": "a", "y": RNG.random(ROWS) < 1 / (1 + np.exp(-X))}
)


def declared(function: Any, rows: pd.DataFrame = CLAIMS, weight: str | None = "insured", **more: Any) -> Any:
    def claims() -> pd.DataFrame:
        return rows

    group = fti.feature_group(keys=["id"])(claims)
    view = fti.FeatureView(name="claims_view", spine=group, label=fti.Label(group["y"]), features=[group["x"]])
    dataset = fti.training_dataset(name="claim_rows", view=view, weight=weight)
    return fti.model(dataset=dataset, task="binary", name="claim_model", **more)(function)


def by_weight(data: fti.TrainingData) -> Any:
    return LogisticRegression().fit(data.train.X, data.train.y, sample_weight=data.train.weight)


def without(data: fti.TrainingData) -> Any:
    return LogisticRegression().fit(data.train.X, data.train.y)


def built(model: Any) -> Any:
    job = fti.build_definitions([model]).resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=dg.DagsterInstance.ephemeral()).success
    return ModelStore(".fti/models").builds("claim_model")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FTI_HOME", raising=False)
    return tmp_path


def test_a_build_is_trained_and_judged_by_the_column(home: Path) -> None:
    observed: dict[str, np.ndarray] = {}

    def cost(y: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> float:
        return float(np.average(np.abs(y - probability), weights=weight))

    def noting(data: fti.TrainingData) -> Any:
        observed.update(weight=data.train.weight, x=data.train.columns["x"])
        return by_weight(data)

    own = fti.Metric("weighed_cost", cost, higher_is_better=False, tasks=["binary"])
    evaluation = fti.Evaluation(metrics=["log_loss", "roc_auc", own], threshold="f1")
    [build] = built(declared(noting, evaluate=evaluation, gates=[fti.BeatsBaseline("log_loss")], calibrate="platt"))
    rows = fti.read("claim_rows_v1").set_index("id")
    assert rows["insured"].equals(CLAIMS.set_index("id")["insured"].loc[rows.index]), "kept beside the rows"
    of_x = dict(zip(X.tolist(), INSURED.tolist(), strict=True))
    expected = np.array([of_x[one] for one in observed["x"].tolist()])
    assert observed["weight"] == pytest.approx(expected / expected.mean(), rel=1e-6)
    test = rows[rows["split"] == "test"]
    probability = fti_answers(build, test)
    weights = test["insured"].to_numpy()
    loss = sklearn_metrics.log_loss(test["y"], probability, sample_weight=weights)
    assert build.metrics["log_loss"] == pytest.approx(loss, abs=1e-6)
    assert build.metrics["log_loss"] != pytest.approx(sklearn_metrics.log_loss(test["y"], probability), abs=1e-4)
    area = sklearn_metrics.roc_auc_score(test["y"], probability, sample_weight=weights)
    assert build.metrics["roc_auc"] == pytest.approx(area, abs=1e-6)
    assert build.metrics["weighed_cost"] == pytest.approx(np.average(np.abs(test["y"] - probability), weights=weights))
    assert build.intervals["weighed_cost"].low < build.metrics["weighed_cost"] < build.intervals["weighed_cost"].high
    assert build.calibration.after["log_loss"] == pytest.approx(loss, abs=1e-6)
    train = rows[rows["split"] == "train"]
    share = np.average(train["y"], weights=train["insured"])
    prior = sklearn_metrics.log_loss(test["y"], np.full(len(test), share), sample_weight=weights)
    assert build.baseline["log_loss"] == pytest.approx(prior)
    assert (build.dataset.weight, build.warnings) == ("insured", ())
    card = (home / ".fti/models/claim_model/v1" / build.build / "card.md").read_text()
    assert (
        "- rows count by `insured` of the spine, in training and in every figure of this card; numbers of rows" in card
    )
    assert (
        "Curves and calibration count each row once"
        in (home / ".fti/models/claim_model/v1" / build.build / "pictures.html").read_text()
    )


def fti_answers(build: Any, rows: pd.DataFrame) -> np.ndarray:
    from fti_assets.stores.models.loaded_build import load_build

    _, graph = load_build(ModelStore(".fti/models"), build.model, build.reference)
    return np.asarray(graph.run({"x": rows["x"].to_numpy()})["probability"], dtype=np.float64)


def test_a_function_that_never_took_them_is_warned_of(home: Path) -> None:
    [build] = built(declared(without))
    assert "the function of model 'claim_model' never took data.train.weight, so it learned as if they did" in " ".join(
        build.warnings
    )


@pytest.mark.parametrize("value", [0.0, -1.0, None, float("inf")])
def test_rows_that_count_nothing_known_are_refused(home: Path, value: float | None) -> None:
    wrong = CLAIMS.assign(insured=np.where(CLAIMS["id"] == 7, np.nan if value is None else value, 1.0))
    with pytest.raises(DataError, match=r"has 1 rows of which 'insured' of claims_v1 says that they count .*where="):
        built(declared(by_weight, wrong))


def test_a_weight_that_cannot_be_is_refused(home: Path) -> None:
    with pytest.raises(DataError, match="has weight='premium', which its spine claims_v1 does not have: there is"):
        built(declared(by_weight, weight="premium"))
    with pytest.raises(DataError, match="which is VARCHAR in claims_v1: what a row counts is a number"):
        built(declared(by_weight, weight="branch"))
    with pytest.raises(DeclarationError, match="has weight='y', its label 'y': name another column"):
        declared(by_weight, weight="y")

    def share(y: np.ndarray, probability: np.ndarray) -> float:
        return float((probability > 0.3).mean())

    deaf = fti.Metric("share_of_yes_without_weight", share, higher_is_better=True, tasks=["binary"])
    with pytest.raises(
        DeclarationError, match="has the metric 'share_of_yes_without_weight'.* count by 'insured': give .* weight"
    ):
        declared(by_weight, evaluate=fti.Evaluation(metrics=[deaf]))
    assert declared(by_weight, weight=None, evaluate=fti.Evaluation(metrics=[deaf])).evaluate.metric_names
    with pytest.raises(ModelError, match="the metric 'share_of_yes_without_weight' does not take what each counts"):
        deaf.statistic(Answers(np.ones(2), np.ones(2), weight=np.ones(2)))(np.ones((1, 2)))


def test_mean_labels_of_categories_are_weighted() -> None:
    rng = np.random.default_rng(4)
    values, y, counts = (
        rng.choice(["", "a", "b"], 60).astype(object),
        rng.integers(0, 2, 60) * 1.0,
        rng.integers(1, 5, 60),
    )
    target = y[:, None]
    fitted = fit(Target(2.0), values, "text", target, weight=counts * 1.0)
    repeated = fit(Target(2.0), np.repeat(values, counts), "text", np.repeat(target, counts, axis=0))
    np.testing.assert_allclose([fitted.missing, *fitted.means], [repeated.missing, *repeated.means])

    parts = {part: {"shop": values} for part in SPLITS}
    data = TrainingData(
        [Column("shop", "text")], {"shop": fitted}, parts, dict.fromkeys(SPLITS, y), task="binary",
        counts=dict.fromkeys(SPLITS, counts * 1.0),
    )  # fmt: skip
    weight, fold = counts / counts.mean(), folds_of(60, fitted.folds)
    for at in range(60):
        others = fold != fold[at]
        of_shop = others & (values == values[at])
        prior = np.average(y[others], weights=weight[others])
        expected = ((weight * y)[of_shop].sum() + 2 * prior) / (weight[of_shop].sum() + 2)
        assert data.train.X[at, 0] == pytest.approx(expected, rel=1e-5)


def test_a_tiny_frame_says_what_rows_count() -> None:
    build = testing.train_tiny(declared(by_weight), CLAIMS.head(200).astype({"y": int}))
    counts = build.data.test.counts
    assert counts is not None
    assert build.metrics["log_loss"] == pytest.approx(
        sklearn_metrics.log_loss(build.data.test.y, build.outputs, sample_weight=counts), abs=1e-6
    )
    with pytest.raises(DataError, match="'insured' is to say what each row counts"):
        testing.train_tiny(declared(by_weight), CLAIMS.head(200).astype({"y": int}).assign(insured=0))


def test_a_tiny_build_is_calibrated_as_declared() -> None:
    frame = CLAIMS.head(400).astype({"y": int})
    plain, calibrated = (testing.train_tiny(declared(by_weight, calibrate=one), frame) for one in (None, "platt"))
    validation, test = plain.data.validation, plain.data.test
    model, at = plain.trained, np.repeat(np.arange(validation.rows), validation.repeats.astype(int))
    assert len(at) > 2 * validation.rows
    own = fit_calibrator("platt", model.predict_proba(validation.X)[at, 1], validation.y[at] == 1)
    assert calibrated.outputs == pytest.approx(own(model.predict_proba(test.X)[:, 1]), abs=1e-5)
    assert calibrated.metrics["log_loss"] != plain.metrics["log_loss"]


def test_only_a_weight_changes_the_code_version() -> None:
    plain, by_column = (declared(by_weight, weight=one).dataset.assets_def for one in (None, "insured"))
    assert plain.code_versions_by_key != by_column.code_versions_by_key
