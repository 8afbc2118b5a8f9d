"""Encoders of a user's own: their graph within the model's, beside their oracle."""

from dataclasses import asdict
from json import dumps

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier

import fti_assets as fti
from fti_assets.core.manifest import Column
from fti_assets.core.records import from_json
from fti_assets.errors import DeclarationError, ExportError, ModelError
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.datasets.split import SPLITS
from fti_assets.training.encoders.custom import FittedCustom
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.graph import build_encoder
from fti_assets.training.encoders.words import encoder_in_words
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.graphs.export import export


def fit_scale(values: np.ndarray) -> dict[str, float]:
    return {"scale": float(np.nanmax(np.abs(values)))}


def two_waves(state, element=TensorProto.FLOAT, opset=17):
    """x / scale, and its square root where it is positive, else 0."""
    nodes = [
        helper.make_node("Div", ["x", "scale"], ["share"]),
        helper.make_node("Abs", ["share"], ["size"]),
        helper.make_node("Sqrt", ["size"], ["root"]),
        helper.make_node("Concat", ["share", "root"], ["y"], axis=1),
    ]
    dtype = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}[element]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "waves",
        [value("x", element, ["n", 1])],
        [value("y", element, ["n", 2])],
        [numpy_helper.from_array(np.array(state["scale"], dtype), "scale")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def waves_oracle(values: np.ndarray, state) -> np.ndarray:
    share = values / state["scale"]
    return np.stack([share, np.sqrt(np.abs(share))], axis=1)


WAVES = fti.CustomEncoder(graph=two_waves, oracle=waves_oracle, fit=fit_scale, columns=["share", "root"])


def first_letter(state):
    value = helper.make_tensor_value_info
    node = helper.make_node(
        "LabelEncoder",
        ["t"],
        ["y"],
        domain="ai.onnx.ml",
        keys_strings=["a", "b"],
        values_floats=[1.0, 2.0],
        default_float=0.0,
    )
    return helper.make_graph(
        [node], "letter", [value("t", TensorProto.STRING, ["n", 1])], [value("y", TensorProto.FLOAT, ["n", 1])]
    )


def letter_oracle(values, state):
    return np.array([{"a": 1.0, "b": 2.0}.get(value, 0.0) for value in values])


LETTER = fti.CustomEncoder(graph=first_letter, oracle=letter_oracle)
FEATURES = [Column("x", "number"), Column("t", "text"), Column("z", "number")]


def data_of(encoders) -> TrainingData:
    random = np.random.default_rng(2)
    parts = {}
    for part in SPLITS:
        x = np.where(random.random(90) < 0.1, np.nan, random.normal(size=90))
        texts = random.choice(np.array(["a", "b", "c", ""], dtype=object), 90)
        parts[part] = {"x": x, "t": texts, "z": random.normal(size=90)}
    labels = {part: (np.nan_to_num(one["x"]) + (one["t"] == "a") > 0).astype(float) for part, one in parts.items()}
    fitted = fit_encoders(FEATURES, encoders, parts["train"])
    return TrainingData(FEATURES, fitted, parts, labels, task="binary")


@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.DOUBLE])
@pytest.mark.parametrize("opset", [13, 17, 18])
def test_own_graph_encodes_as_its_oracle(element, opset) -> None:
    own = fti.CustomEncoder(
        graph=lambda state: two_waves(state, element, opset),
        oracle=waves_oracle,
        fit=fit_scale,
        columns=["share", "root"],
    )
    data = data_of({"x": own, "t": LETTER})
    assert data.encoder.dense_columns == ("x:share", "x:root", "t", "z")
    state = data.encoder.encoders["x"].state
    expected = waves_oracle(data.test.columns["x"], state)
    assert np.allclose(data.test.X[:, :2], expected, atol=1e-6, equal_nan=True)
    assert data.test.X[:, 2].tolist() == letter_oracle(data.test.columns["t"], None).tolist()


def test_model_with_own_encoders_is_exported_with_them() -> None:
    data = data_of({"x": WAVES, "t": LETTER})
    model = HistGradientBoostingClassifier(max_iter=3).fit(data.train.X, data.train.y)
    exported = export(model, data.encoder, data, "binary")
    assert [one.name for one in exported.inputs] == ["numbers", "double.x", "text.t"]
    answers = Graph.from_bytes(exported.bytes, exported.inputs, what="made").run(data.test.columns)["probability"]
    assert np.allclose(answers, model.predict_proba(data.test.X)[:, 1], atol=1e-5)
    fitted = exported.encoders["x"]
    assert from_json(FittedCustom, dumps(asdict(fitted)), what="encoder") == fitted
    assert "state of 1 entries" in encoder_in_words(asdict(fitted))


@pytest.mark.parametrize(
    ("oracle", "problem"),
    [
        (lambda values, state: waves_oracle(values, state) * 1.01, "differs from its oracle for"),
        (lambda values, state: np.nan_to_num(waves_oracle(values, state)), "differs from its oracle for .* nan"),
        (lambda values, state: values, r"has 2 columns, and its oracle gives \[\d+, 1\]"),
    ],
)
def test_graph_that_differs_from_its_oracle_is_refused(oracle, problem) -> None:
    own = fti.CustomEncoder(graph=two_waves, oracle=oracle, fit=fit_scale, columns=["share", "root"])
    data = data_of({"x": own, "t": LETTER})
    model = HistGradientBoostingClassifier(max_iter=2).fit(data.train.X, data.train.y)
    with pytest.raises(ExportError, match=problem):
        export(model, data.encoder, data, "binary")


def two_inputs(state):
    value = helper.make_tensor_value_info
    inputs = [value(name, TensorProto.FLOAT, ["n", 1]) for name in "ab"]
    node = helper.make_node("Add", ["a", "b"], ["y"])
    return helper.make_graph([node], "two", inputs, [value("y", TensorProto.FLOAT, ["n", 1])])


@pytest.mark.parametrize(
    ("feature", "graph", "fit", "problem"),
    [
        ("x", lambda state: "graph", None, "is 'graph': give an onnx.ModelProto"),
        ("x", two_inputs, None, "has 2 inputs and 1 outputs"),
        ("t", two_waves, lambda values: {"scale": 1.0}, "takes FLOAT, but of a text feature it can take 'STRING'"),
        ("x", first_letter, None, "takes STRING, but of a number feature"),
        ("x", two_waves, lambda values: {"scale": values}, "is no JSON"),
    ],
)
def test_graph_that_does_not_fit_is_refused(feature, graph, fit, problem) -> None:
    own = fti.CustomEncoder(graph=graph, oracle=waves_oracle, fit=fit)
    column = next(one for one in FEATURES if one.name == feature)
    values = np.array(["a", ""], dtype=object) if feature == "t" else np.array([1.0, np.nan])
    with pytest.raises(ModelError, match=problem):
        build_encoder([column], fit_encoders([column], {feature: own}, {feature: values}))


def test_code_of_its_functions_tells_encoders_apart() -> None:
    same = fti.CustomEncoder(graph=two_waves, oracle=waves_oracle, fit=fit_scale, columns=["share", "root"])
    other = fti.CustomEncoder(graph=two_waves, oracle=letter_oracle, fit=fit_scale, columns=["share", "root"])
    assert repr(same) == repr(WAVES)
    assert repr(other) != repr(WAVES)
    assert repr(fti.CustomEncoder(graph=len, oracle=len)) == repr(fti.CustomEncoder(graph=len, oracle=len))
    with pytest.raises(DeclarationError, match="different names"):
        fti.CustomEncoder(graph=len, oracle=len, columns=["a", "a"])
    lost = from_json(FittedCustom, '{"state": null, "columns": [], "code": ""}', what="encoder")
    with pytest.raises(ModelError, match="has no functions"):
        build_encoder([Column("x", "number")], {"x": lost})
