"""Every estimator of scikit-learn, alone and within others: its own answers from raw columns, or an error that names it."""

import inspect
import random
import re
import warnings

import numpy as np
import pytest

import fti_assets as fti
from fti_assets.errors import ModelError
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.models.graphs.export import export
from tests.training.test_export import OUTPUTS, training_data

pytest.importorskip("skl2onnx")
from sklearn import compose, ensemble, feature_selection, impute, linear_model, model_selection, multioutput, pipeline
from sklearn.calibration import CalibratedClassifierCV
from sklearn.utils import all_estimators

SLOW = {
    "DictionaryLearning",
    "MiniBatchDictionaryLearning",
    "QuantileTransformer",
    "SequentialFeatureSelector",
    "TheilSenRegressor",
}
CLASSES = {name: kind for name, kind in all_estimators() if name not in SLOW}
FOREIGN = re.compile(
    r"onnxruntime|ONNXRuntime|ShapeInference|skl2onnx\.|sklearn-onnx|zipmap|opset|github|AssertionError|NameError|RuntimeError|Exception:"
)
"""What texts of skl2onnx and onnxruntime have, and no user has written."""


def made(kind):
    """An estimator with small values of what it has to be given, or None."""
    linear = linear_model.Ridge() if "Regress" in kind.__name__ else linear_model.LogisticRegression()
    small = {
        "estimator": linear, "base_estimator": linear, "estimators": [("a", linear), ("b", linear)], "steps": [("a", linear)],
        "transformers": [("a", "passthrough", [0, 1])], "transformer_list": [("a", "passthrough")],
        "param_grid": {}, "param_distributions": {"C": [0.1, 1.0]}, "dictionary": np.eye(9),
    }  # fmt: skip
    needed = [
        name for name, one in inspect.signature(kind).parameters.items() if one.default is one.empty and one.kind == 1
    ]
    settings = inspect.signature(kind).parameters
    few = {name: 3 for name in ("n_estimators", "n_iter") if name in settings and name not in needed}
    try:
        return kind(**{name: small[name] for name in needed}, **few)
    except Exception:  # abstract, or of settings that are not needed here
        return None


def within(kind):
    """Estimators of a class, and others around them: name to what makes one."""
    linear, ridge = linear_model.LogisticRegression(), linear_model.Ridge()
    around = {"alone": lambda one: one, "grid": lambda one: model_selection.GridSearchCV(one, {}, cv=2)}
    if hasattr(kind, "transform"):
        around |= {
            "step": lambda one: pipeline.make_pipeline(one, linear),
            "step of numbers": lambda one: pipeline.make_pipeline(one, impute.SimpleImputer(), ridge),
            "columns": lambda one: pipeline.make_pipeline(
                compose.ColumnTransformer([("a", one, [0, 1, 2]), ("b", "passthrough", [3])]), linear
            ),
            "union": lambda one: pipeline.make_pipeline(
                pipeline.FeatureUnion([("a", one), ("b", "passthrough")]), linear
            ),
        }
    if hasattr(kind, "predict_proba"):
        around |= {
            "vote": lambda one: ensemble.VotingClassifier([("a", one), ("b", linear)], voting="soft"),
            "stack": lambda one: ensemble.StackingClassifier([("a", one), ("b", linear)], cv=2),
            "calibration": lambda one: CalibratedClassifierCV(one, cv=2),
            "bag": lambda one: ensemble.BaggingClassifier(one, 2, random_state=0),
            "boost": lambda one: ensemble.AdaBoostClassifier(one, n_estimators=2),
            "several": lambda one: multioutput.MultiOutputClassifier(one),
        }
    elif hasattr(kind, "predict"):
        around |= {
            "vote of values": lambda one: ensemble.VotingRegressor([("a", one), ("b", ridge)]),
            "stack of values": lambda one: ensemble.StackingRegressor([("a", one), ("b", ridge)], cv=2),
            "bag of values": lambda one: ensemble.BaggingRegressor(one, 2, random_state=0),
            "of a logarithm": lambda one: compose.TransformedTargetRegressor(one, func=np.log1p, inverse_func=np.expm1),
            "several values": lambda one: multioutput.MultiOutputRegressor(one),
            "select": lambda one: pipeline.make_pipeline(feature_selection.SelectFromModel(one), ridge),
        }
    return around


def check(kind, wrapper, task, missing):
    """Whether it was fitted and exported; every other answer than its own, and every error that is not the library's, fails."""
    one = made(kind)
    if one is None:
        return False
    encoders = {"carrier": fti.OneHot(), "plane": fti.OneHot()} | ({"temp": fti.Passthrough()} if missing else {})
    data = training_data(task, encoders, test=30, missing=missing)
    estimator = within(kind)[wrapper](one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            estimator.fit(data.train.X[:100], data.train.y[:100])
        except Exception:  # what its fit refuses is said by scikit-learn, in the user's own line
            if estimator is one and kind.__name__ == "Pipeline":
                return False
        try:
            exported = export(estimator, data.encoder, data, task)
        except ModelError as error:
            refused = str(error)
        else:
            refused = ""
        if refused:
            assert type(estimator).__name__ in refused, refused
            assert not FOREIGN.search(refused), refused
            return False
        served = Graph.from_bytes(exported.bytes, exported.inputs, what="it").run(data.validation.columns)[
            OUTPUTS[task]
        ]
        X = data.validation.X
        own = estimator.predict(X) if task == "regression" else estimator.predict_proba(X)
    own = own[:, 1] if task == "binary" else np.reshape(own, served.shape)
    np.testing.assert_allclose(served, own, rtol=2e-4, atol=2e-4)
    return True


TRIALS = [(name, wrapper) for name, kind in CLASSES.items() for wrapper in within(kind)]
TASKS = ["binary", "multiclass", "regression"]


@pytest.mark.parametrize("seed", range(3))
def test_drawn_estimators_answer_as_their_own_or_are_refused(seed):
    draw = random.Random(seed)
    for name, wrapper in draw.sample(TRIALS, 12):
        task = (
            "regression" if wrapper.endswith("values") or "Regress" in name else draw.choice(["binary", "multiclass"])
        )
        check(CLASSES[name], wrapper, task, draw.random() < 0.3)


@pytest.mark.soak
@pytest.mark.parametrize(("name", "wrapper"), TRIALS)
def test_every_estimator_answers_as_its_own_or_is_refused(name, wrapper):
    for task in TASKS:
        for missing in (False, True):
            check(CLASSES[name], wrapper, task, missing)


@pytest.mark.parametrize(
    ("name", "wrapper", "message"),
    [
        ("KNNImputer", "step", "skl2onnx does not convert KNNImputer with these settings.*return one that it converts"),
        ("KMeans", "step", "KMeans is a step before others, .* Leave KMeans out, or"),
        ("StackingClassifier", "columns", "StackingClassifier is a step before others"),
        ("RFE", "alone", "does not convert RFE with these settings, as a model or"),
        ("GaussianMixture", "alone", "GaussianMixture is no classifier: return a torch"),
        ("Nystroem", "union", "skl2onnx does not know Nystroem"),
    ],
)
def test_the_step_that_is_not_converted_is_named(name, wrapper, message):
    data = training_data("binary", missing=False)
    estimator = within(CLASSES[name])[wrapper](made(CLASSES[name])).fit(data.train.X, data.train.y)
    with pytest.raises(ModelError, match=message):
        export(estimator, data.encoder, data, "binary")


@pytest.mark.parametrize(
    ("name", "wrapper"), [("RandomizedSearchCV", "alone"), ("TargetEncoder", "step"), ("RFE", "step")]
)
def test_searches_and_steps_that_are_converted_answer_as_their_own(name, wrapper):
    assert check(CLASSES[name], wrapper, "binary", False)


@pytest.mark.parametrize(
    "name", ["CalibratedClassifierCV", "StackingClassifier", "OneVsRestClassifier", "GammaRegressor"]
)
def test_what_is_not_fitted_is_said_so(name):
    task = "regression" if "Regress" in name else "binary"
    data = training_data(task)
    with pytest.raises(ModelError, match=f"{name} is not fitted: fit it on data.train.X"):
        export(made(CLASSES[name]), data.encoder, data, task)
