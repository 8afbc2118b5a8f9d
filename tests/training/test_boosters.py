"""Models of LightGBM and XGBoost: their own answers from raw columns, or an error that names the setting."""

import warnings
from pathlib import Path

import dagster as dg
import numpy as np
import onnx
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core.manifest import Column
from fti_assets.errors import DeclarationError, ExportError, ModelError
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.kinds.scales import Passthrough
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.graphs.export import export
from fti_assets.training.models.graphs.parity import LARGEST_OUTLIER, check_parity
from tests.training.test_export import FEATURES, OUTPUTS, TASKS, training_data

lightgbm = pytest.importorskip("lightgbm")
xgboost = pytest.importorskip("xgboost")

FEW = {"n_estimators": 8, "random_state": 0, "n_jobs": 1}
LIGHT = FEW | {"verbose": -1, "min_child_samples": 5, "min_data_per_group": 5, "cat_smooth": 1.0}
CATEGORICAL = FEW | {"enable_categorical": True, "max_cat_to_onehot": 2}


def estimator(package, task, **settings):
    kind = "Regressor" if task == "regression" else "Classifier"
    if package == "lightgbm":
        return getattr(lightgbm, f"LGBM{kind}")(**LIGHT | settings)
    return getattr(xgboost, f"XGB{kind}")(**CATEGORICAL | settings)


def labelled(task, **arguments):
    """Training data of which every feature, and what is missing of it, tells something of the label."""
    data = training_data(task, **arguments)
    for part in (data.train, data.validation, data.test):
        columns = part.columns
        signal = (
            np.nan_to_num(columns["temp"], nan=14.0) / 5
            + np.isin(columns["carrier"], ["a", "日本"]) * 2
            + (columns["origin"] == "") * 1.5
            + np.nan_to_num(columns["stops"], nan=5.0) % 2
            + np.isin(columns["plane"], ["b"])
        )
        edges = np.quantile(signal, [0.4, 0.7])
        part.y[:] = (
            signal if task == "regression" else np.minimum(np.digitize(signal, edges), 1 + (task == "multiclass"))
        )
    return data


def own_answers(model, rows, task):
    if hasattr(model, "fit"):
        answers = model.predict(rows) if task == "regression" else model.predict_proba(rows)
    elif isinstance(model, lightgbm.Booster):
        return model.predict(rows)
    else:
        return model.predict(xgboost.DMatrix(rows, enable_categorical=True))
    return answers[:, 1] if task == "binary" else answers


def served(exported, columns, task):
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="test")
    return graph.run(columns)[OUTPUTS[task]]


def frames(part):
    return {"frame": part.frame, "encoded_frame": part.encoded_frame, "X": part.X}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("package", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("rows", ["frame", "encoded_frame", "X"])
def test_a_booster_answers_the_same_from_raw_columns(package, task, rows):
    data = labelled(task)
    model = estimator(package, task).fit(frames(data.train)[rows], data.train.y)
    exported = export(model, data.encoder, data, task)
    # The test part has NaN, empty text, and five rows of categories that train does not have.
    assert "never seen" in data.test.columns["carrier"]
    assert np.isnan(data.test.columns["temp"]).any()
    own = own_answers(model, frames(data.test)[rows], task)
    np.testing.assert_allclose(served(exported, data.test.columns, task), own, rtol=1e-5, atol=1e-5)
    assert np.std(own) > 0.05
    assert exported.comparison.rows == data.test.rows == 400
    assert exported.comparison.outliers == 0
    assert exported.comparison.largest_difference < 1e-5
    assert exported.comparison.model == type(model).__name__


@pytest.mark.parametrize("package", ["lightgbm", "xgboost"])
def test_a_category_that_is_missing_or_unknown_is_no_category_to_either_side(package):
    data = labelled("binary")
    model = estimator(package, "binary").fit(data.train.frame, data.train.y)
    exported = export(model, data.encoder, data, "binary")
    one = {name: values[:3].copy() for name, values in data.test.columns.items()}
    one["carrier"][:] = ["", "never seen", "a"]
    one["stops"][:] = [np.nan, 77.0, 1.0]
    rows = pd.DataFrame({name: values.astype(np.float32) for name, values in one.items() if name in ("temp", "wind")})
    for name, dtype in data.train.frame.dtypes.items():
        if name not in rows:
            known = pd.Series(one[name]).where(pd.Series(one[name]).isin(dtype.categories))
            rows[name] = pd.Categorical(known, categories=dtype.categories)
    own = own_answers(model, rows[[column.name for column in FEATURES]], "binary")
    np.testing.assert_allclose(served(exported, one, "binary"), own, rtol=1e-5, atol=1e-6)


def test_frame_keeps_the_categories_of_each_encoder():
    features = [Column(name, kind) for name, kind in (("o", "text"), ("t", "integer"), ("h", "integer"))]
    raw = {"o": np.array(["b", "a", "", "c"], dtype=object), "t": np.array([3.0, 1.0, 3.0, np.nan])}
    raw["h"] = np.array([7.0, 7.0, np.nan, 9.0])
    encoders = {"o": fti.Ordinal(("b", "a")), "t": fti.Target(), "h": fti.Hashing(8)}
    labels = np.array([0.0, 1.0, 1.0, 0.0])
    fitted = fit_encoders(features, encoders, raw, target=labels[:, None])
    data = TrainingData(features, fitted, dict.fromkeys(SPLITS, raw), dict.fromkeys(SPLITS, labels), task="binary")
    categories = {name: list(data.train.frame[name].cat.categories) for name in raw}
    assert categories == {"o": ["b", "a"], "t": [1, 3], "h": [7, 9]}
    assert data.train.frame["o"].isna().tolist() == [False, False, True, True]
    assert data.train.frame["t"].tolist()[:3] == [3, 1, 3]


def test_a_frame_has_names_float32_numbers_and_categories():
    data = training_data("binary")
    frame = data.train.frame
    assert list(frame) == ["temp", "carrier", "stops", "wind", "origin", "plane"]
    assert frame["temp"].dtype == np.float32
    np.testing.assert_array_equal(frame["temp"], data.train.columns["temp"].astype(np.float32))
    assert list(frame["carrier"].cat.categories) == ["a", "b", "c", "日本"]
    assert list(frame["stops"].cat.categories) == [0, 1, 2, 3]
    assert len(frame["plane"].cat.categories) == 2  # Embedding(max_categories=2)
    text = frame["carrier"].astype(object).where(frame["carrier"].notna(), "")
    assert text.tolist() == data.train.columns["carrier"].tolist()
    assert data.test.frame["carrier"][:5].isna().all()  # never seen in train
    np.testing.assert_array_equal(data.train.encoded_frame.to_numpy(), data.train.X)
    assert list(data.train.encoded_frame)[:3] == ["encoded.temp", "encoded.wind", "encoded.origin=a"]


@pytest.mark.parametrize("task", TASKS)
def test_boosters_of_the_native_interfaces_are_models(task):
    data = labelled(task)
    classes = {"num_class": 3} if task == "multiclass" else {}
    objectives = {"binary": ("binary", "binary:logistic"), "multiclass": ("multiclass", "multi:softprob")}
    light, extreme = objectives.get(task, ("regression", "reg:squarederror"))
    settings = {"objective": light, "verbose": -1, "num_threads": 1, **classes}
    models = [
        lightgbm.train(settings, lightgbm.Dataset(data.train.frame, data.train.y), 10),
        xgboost.train(
            {"objective": extreme, "nthread": 1, **classes},
            xgboost.DMatrix(data.train.frame, data.train.y, enable_categorical=True),
            10,
        ),
    ]
    for model in models:
        names = model.feature_names if hasattr(model, "feature_names") else model.feature_name()
        exported = export(model, data.encoder, data, task)
        own = own_answers(model, data.test.frame, task)
        np.testing.assert_allclose(served(exported, data.test.columns, task), own, rtol=1e-5, atol=1e-5)
        assert names == (model.feature_names if hasattr(model, "feature_names") else model.feature_name())


@pytest.mark.parametrize("package", ["lightgbm", "xgboost"])
def test_trees_after_the_best_iteration_do_not_answer(package):
    data = labelled("binary")
    wrong = 1 - data.validation.y
    stop = {"early_stopping_rounds": 2} if package == "xgboost" else {}
    model = estimator(package, "binary", **stop)
    if package == "lightgbm":
        early = lightgbm.early_stopping(2, verbose=False)
        model.fit(data.train.frame, data.train.y, eval_X=data.validation.frame, eval_y=wrong, callbacks=[early])
    else:
        model.fit(data.train.frame, data.train.y, eval_set=[(data.validation.frame, wrong)], verbose=False)
    exported = export(model, data.encoder, data, "binary")
    own = own_answers(model, data.test.frame, "binary")
    np.testing.assert_allclose(served(exported, data.test.columns, "binary"), own, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("package", ["lightgbm", "xgboost"])
def test_some_columns_in_another_order_are_a_models_features(package):
    data = labelled("binary")
    for rows, names in (("frame", ["carrier", "temp", "plane"]), ("encoded_frame", ["encoded.wind", "encoded.temp"])):
        model = estimator(package, "binary").fit(frames(data.train)[rows][names], data.train.y)
        exported = export(model, data.encoder, data, "binary")
        own = own_answers(model, frames(data.test)[rows][names], "binary")
        np.testing.assert_allclose(served(exported, data.test.columns, "binary"), own, rtol=1e-5, atol=1e-6)
    assert "numbers" in {one.name for one in exported.inputs}


def test_sample_weights_and_names_reach_the_estimator():
    data = labelled("binary")
    weights = np.where(data.train.y == 1, 5.0, 1.0)
    plain = estimator("lightgbm", "binary").fit(data.train.frame, data.train.y)
    weighted = estimator("lightgbm", "binary").fit(data.train.frame, data.train.y, sample_weight=weights)
    assert weighted.feature_name_ == [column.name for column in FEATURES]
    means = [
        served(export(model, data.encoder, data, "binary"), data.test.columns, "binary").mean()
        for model in (plain, weighted)
    ]
    assert means[1] > means[0] + 0.05


@pytest.mark.soak
@pytest.mark.parametrize("package", ["lightgbm", "xgboost"])
def test_boosters_within_pipelines_votes_and_searches_are_models(package):
    pytest.importorskip("skl2onnx")
    from sklearn.ensemble import VotingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    data = labelled("binary")
    booster = estimator(package, "binary")
    if package == "xgboost":
        booster.set_params(enable_categorical=False)
    models = [
        make_pipeline(SimpleImputer(), booster),
        VotingClassifier([("a", booster), ("b", LogisticRegression())], voting="soft"),
        GridSearchCV(booster, {"max_depth": [2, 3]}, cv=2),
    ]
    for model in models:
        with warnings.catch_warnings():  # LightGBM gives its names to arrays, of which scikit-learn warns
            warnings.simplefilter("ignore")
            model.fit(data.train.encoded_frame, data.train.y)
            exported = export(model, data.encoder, data, "binary")
            own = model.predict_proba(data.test.encoded_frame)[:, 1]
        np.testing.assert_allclose(served(exported, data.test.columns, "binary"), own, rtol=1e-4, atol=1e-5)
    regressor = make_pipeline(SimpleImputer(), estimator(package, "regression"))
    data = labelled("regression")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = export(regressor.fit(data.train.X, data.train.y), data.encoder, data, "regression")
        own = regressor.predict(data.test.X)
    np.testing.assert_allclose(served(exported, data.test.columns, "regression"), own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("package", "task", "settings", "message"),
    [
        ("lightgbm", "binary", {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, r"'rf' averages"),
        ("lightgbm", "regression", {"linear_tree": True}, r"linear_tree=True has a linear model in each leaf"),
        ("lightgbm", "regression", {"reg_sqrt": True}, r"reg_sqrt=True is not converted"),
        ("lightgbm", "binary", {"zero_as_missing": True}, r"zero_as_missing=True takes 0 for missing"),
        (
            "lightgbm",
            "multiclass",
            {"objective": "multiclassova"},
            r"objective 'multiclassova', of which no graph of a multi",
        ),
        ("xgboost", "binary", {"booster": "gblinear"}, r"booster='gblinear' is not converted"),
        ("xgboost", "binary", {"booster": "dart"}, r"booster='dart' is not converted"),
        ("xgboost", "binary", {"missing": 0.0}, r"missing=0.0 takes a number for missing"),
        (
            "xgboost",
            "regression",
            {"objective": "reg:logistic"},
            r"objective 'reg:logistic', of which no graph of a regr",
        ),
    ],
)
def test_settings_that_no_graph_has_are_refused(package, task, settings, message):
    data = labelled(task, encoders={"temp": Passthrough()})
    labels = np.clip(data.train.y, 0, 1) if settings.get("objective") == "reg:logistic" else data.train.y
    model = estimator(package, task, **settings)
    if package == "xgboost":
        model.set_params(enable_categorical=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(data.train.X, labels)
    with pytest.raises(ModelError, match=message):
        export(model, data.encoder, data, task)


def test_models_of_other_columns_labels_or_tasks_are_refused():
    from sklearn.linear_model import LogisticRegression

    data = labelled("binary")
    own = data.train.frame[["temp"]].assign(double=1.0)
    with pytest.raises(
        ModelError, match=r"LGBMClassifier was fitted on the columns 'double', but features come from one"
    ):
        export(estimator("lightgbm", "binary").fit(own, data.train.y), data.encoder, data, "binary")
    with pytest.raises(
        ModelError, match=r"was fitted on the labels \['1', '2'\], not \[0, 1\]|labels \[1, 2\], not \[0, 1\]"
    ):
        export(estimator("lightgbm", "binary").fit(data.train.X, data.train.y + 1), data.encoder, data, "binary")
    with pytest.raises(ModelError, match=r"XGBClassifier is not fitted"):
        export(xgboost.XGBClassifier(), data.encoder, data, "binary")
    booster = lightgbm.train(
        {"objective": "regression", "verbose": -1}, lightgbm.Dataset(data.train.X, data.train.y), 2
    )
    with pytest.raises(
        ModelError, match=r"Booster has the objective 'regression', of which no graph of a binary model"
    ):
        export(booster, data.encoder, data, "binary")
    linear = LogisticRegression().fit(data.train.encoded_frame[["encoded.temp"]], data.train.y)
    assert export(linear, data.encoder, data, "binary").comparison.outliers == 0


def numbers(values):
    """Training data of one number, passed through."""
    features = [Column("size", "number")]
    raw = {part: {"size": values} for part in SPLITS}
    labels = {part: (np.arange(len(values)) // 7 % 2) * 1.0 for part in SPLITS}
    return TrainingData(
        features, fit_encoders(features, {"size": Passthrough()}, raw["train"]), raw, labels, task="binary"
    )


def test_thresholds_between_neighbours_of_float32_keep_them_apart():
    values = 2.0**25 + 4.0 * np.arange(280)  # each the next float32 of the one before, the thresholds in the middle
    data = numbers(values)
    model = estimator("lightgbm", "binary", min_child_samples=2).fit(data.train.frame, data.train.y)
    exported = export(model, data.encoder, data, "binary")
    own = own_answers(model, data.test.frame, "binary")
    np.testing.assert_allclose(served(exported, data.test.columns, "binary"), own, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("moved", "by", "passes"), [(0, 0.0, True), (4, 0.05, True), (6, 0.05, False), (1, 0.2, False)]
)
def test_outliers_of_trees_are_judged_by_their_number_and_size(moved, by, passes):
    data = numbers(np.random.default_rng(0).normal(size=5_000))
    model = estimator("lightgbm", "binary").fit(data.train.frame, data.train.y)
    exported = export(model, data.encoder, data, "binary")
    from fti_assets.training.models.graphs.comparison_rows import ComparisonRows

    rows = ComparisonRows(dict(data.test.columns), ("",) * 5_000, 5_000)
    answers = own_answers(model, data.test.frame, "binary")
    answers[10 : 10 + moved] += by
    if passes:
        _, comparison = check_parity(exported, rows, answers, outliers=1e-3, model="m")
        assert (comparison.outliers, comparison.allowed, comparison.rows) == (moved, 5, 5_000)
        assert comparison.largest_difference == pytest.approx(by, abs=1e-5)
        assert by < LARGEST_OUTLIER
    else:
        with pytest.raises(ExportError, match=rf"differs from the trained model on {moved} of 5000 rows, by up to"):
            check_parity(exported, rows, answers, outliers=1e-3, model="m")
    if moved:
        with pytest.raises(ExportError):
            check_parity(exported, rows, answers)


def test_graphs_of_boosters_have_no_output_but_the_answer():
    data = labelled("multiclass")
    model = estimator("xgboost", "multiclass").fit(data.train.frame, data.train.y)
    graph = onnx.load_from_string(export(model, data.encoder, data, "multiclass").bytes).graph
    assert [one.name for one in graph.output] == ["probabilities"]
    assert sum(node.op_type.startswith("TreeEnsemble") for node in graph.node) == 1


RNG = np.random.default_rng(3)
RIDES = pd.DataFrame(
    {
        "id": range(600),
        "far": RNG.normal(size=600).round(3),
        "zone": RNG.choice(["centre", "north", ""], 600),
        "riders": RNG.integers(1, 4, 600),
    }
)
RIDES.loc[::9, "far"] = np.nan
SCORE = RIDES["far"].fillna(0.5) + (RIDES["zone"] == "north") - (RIDES["zone"] == "") + RNG.normal(size=600)
RIDES["late"] = (SCORE > 0.2).astype(int)


@pytest.mark.parametrize("package", ["lightgbm", "xgboost"])
def test_a_request_is_answered_as_the_booster_itself_answers(package: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FTI_HOME", raising=False)
    kept = []

    @fti.feature_group(keys=["id"])
    def rides() -> pd.DataFrame:
        return RIDES

    view = fti.FeatureView(
        name="lateness",
        spine=rides,
        label=fti.Label(rides["late"]),
        features=[rides["far", "zone", "riders"]],
        encoders={"zone": fti.OneHot(), "riders": fti.Embedding()},
    )
    kind = lightgbm.LGBMClassifier if package == "lightgbm" else xgboost.XGBClassifier

    @fti.model(dataset=view, task="binary")
    def late(data: fti.TrainingData) -> kind:
        kept.append(estimator(package, "binary").fit(data.train.frame, data.train.y))
        return kept[0]

    job = fti.build_definitions([late]).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        events = job.execute_in_process(instance=instance).asset_materializations_for_node("late_v1")
    metadata = events[0].metadata
    (manifest,) = ModelStore(".fti/models").builds("late")
    assert metadata["graph/outliers"].value == manifest.comparison.outliers == 0
    assert metadata["graph/largest_difference"].value == manifest.comparison.largest_difference < 1e-5
    assert manifest.comparison.rows == manifest.dataset.rows["test"] > 50
    assert f"of the trained {kind.__name__} on each of {manifest.comparison.rows} test rows" in metadata["card"].value
    assert manifest.encoders["zone"] == {"categories": ["centre", "north"], "kind": "embedding"}

    requests = [
        {"far": far, "zone": zone, "riders": riders}
        for far in (0.25, -3.0, None, float("nan"), 1e30)
        for zone in ("north", "centre", "", None, "harbour")
        for riders in (2, None, 77)
    ]
    model, predictor = kept[0], fti.Predictor.load("late")
    rows = pd.DataFrame(
        {
            "far": np.array([one["far"] for one in requests], dtype=np.float32),
            "zone": pd.Categorical(
                [one["zone"] if one["zone"] in ("centre", "north") else None for one in requests],
                categories=pd.Index(["centre", "north"]),
            ),
            "riders": pd.Categorical(
                [one["riders"] if one["riders"] == 2 else None for one in requests], categories=pd.Index([1, 2, 3])
            ),
        }
    )
    online = [predictor.predict({"id": 1, **one}).value for one in requests]
    np.testing.assert_allclose(online, own_answers(model, rows, "binary"), rtol=1e-5, atol=1e-6)
    assert len(np.unique(np.round(online, 4))) > 5


class CatBoostClassifier:
    """Stands in for a class of a package that is not installed."""


CatBoostClassifier.__module__ = "catboost.core"


@pytest.mark.parametrize(
    ("task", "kind", "message"),
    [
        (
            "binary",
            CatBoostClassifier,
            r"'late' returns CatBoostClassifier, a model of catboost, which is not supported",
        ),
        ("binary", xgboost.XGBRegressor, r"returns XGBRegressor, a regressor, but its task is binary"),
        ("regression", lightgbm.LGBMClassifier, r"returns LGBMClassifier, a classifier, but its task is regression"),
        ("binary", lightgbm.LGBMRanker, r"returns LGBMRanker, which ranks rows of a group"),
        ("binary", "LinearSVC", r"returns LinearSVC, which has no predict_proba, but a binary model needs it"),
    ],
)
def test_what_can_never_be_exported_is_refused_when_the_code_loads(task, kind, message) -> None:
    from sklearn.svm import LinearSVC

    @fti.feature_group(keys=["id"])
    def rides() -> None: ...

    view = fti.FeatureView(name="lateness", spine=rides, label=fti.Label(rides["late"]), features=[rides["far"]])
    returned = LinearSVC if kind == "LinearSVC" else kind

    def late(data: fti.TrainingData) -> returned: ...

    with pytest.raises(DeclarationError, match=message):
        fti.model(dataset=view, task=task)(late)
