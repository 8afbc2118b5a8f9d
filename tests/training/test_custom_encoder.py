"""Encoders of a user's own: their graph within the model's, beside their oracle."""

from dataclasses import asdict
from json import dumps

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxscript import FLOAT, script
from onnxscript import opset17 as op
from sklearn.ensemble import HistGradientBoostingClassifier

import fti_assets as fti
from fti_assets.core.manifest import Column
from fti_assets.core.records import from_json
from fti_assets.errors import DeclarationError, ExportError, ModelError
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.graph import build_encoder
from fti_assets.training.encoders.kinds.custom import FittedCustom
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


def own_graph(nodes, constants=(), element=TensorProto.FLOAT, opset=17):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "own", [value("x", element, ["n", 1])], [value("y", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )  # fmt: skip
    return lambda state: helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def branching():
    value = helper.make_tensor_value_info
    then, otherwise = (
        helper.make_graph([helper.make_node(kind, ["x"], [name])], name, [], [value(name, TensorProto.FLOAT, ["n", 1])])
        for kind, name in (("Identity", "a"), ("Neg", "b"))
    )
    node = helper.make_node("If", ["yes"], ["y"], then_branch=then, else_branch=otherwise)
    return own_graph([node], [("yes", np.array(True))])


def fails(*_):
    raise KeyError("boom")


NEGATED = own_graph([helper.make_node("Neg", ["x"], ["y"])])
MOVED_BY_BATCH = own_graph(
    [helper.make_node("ReduceMax", ["x"], ["m"], axes=[0], keepdims=1), helper.make_node("Sub", ["x", "m"], ["y"])]
)
THREE_COPIES = own_graph([helper.make_node("Concat", ["x", "x", "x"], ["y"], axis=1)])


@pytest.mark.parametrize(
    ("graph", "options", "problem"),
    [
        (fails, {}, "graph= of the CustomEncoder of 'z' fails: KeyError: 'boom'"),
        (NEGATED, {"fit": fails}, "fit= of the CustomEncoder of 'z' fails: KeyError: 'boom'"),
        (NEGATED, {"fit": lambda values: {1: 2.0}}, "of 'z' gives is no JSON.*: the key 1 would come back as text"),
        (NEGATED, {"fit": lambda values: [{"a": {2: 3}}]}, "the key 2 would come back as text"),
        (NEGATED, {"fit": lambda values: float("nan")}, "of 'z' gives is no JSON"),
        (branching(), {}, "of 'z' has the operator If, which holds a graph of its own"),
        (MOVED_BY_BATCH, {}, "of 'z' makes .* alone and .* among 64"),
        (THREE_COPIES, {}, "of 'z' gives another number of columns than the 1 that it declares: of 64 values it makes 192"),
        (own_graph([helper.make_node("Reshape", ["x", "s"], ["y"])], [("s", np.array([1, 64]))]), {}, "of 'z' does not run"),
    ],
)  # fmt: skip
def test_own_encoder_that_cannot_serve_is_refused_by_name(graph, options, problem) -> None:
    own = fti.CustomEncoder(graph=graph, oracle=lambda values, state: -values, **options)
    with pytest.raises(ModelError, match=problem):
        data_of({"z": own, "t": LETTER})


@pytest.mark.parametrize(
    ("oracle", "problem"),
    [
        (fails, "oracle= of the CustomEncoder of 'z' fails: KeyError: 'boom'"),
        (lambda values, state: None, "the oracle of the CustomEncoder of 'z' gives None for"),
        (lambda values, state: 1.0, "gives 1.0 for"),
        (lambda values, state: ["a"] * len(values), "give an array of numbers"),
        (lambda values, state: values[:-1], "give an array of numbers"),
        (lambda values, state: values * 1j, "give an array of numbers"),
    ],
)
def test_an_oracle_that_gives_no_numbers_is_refused_by_name(oracle, problem) -> None:
    data = data_of({"z": fti.CustomEncoder(graph=NEGATED, oracle=oracle), "t": LETTER})
    model = HistGradientBoostingClassifier(max_iter=2).fit(data.train.X, data.train.y)
    with pytest.raises(ModelError, match=problem):
        export(model, data.encoder, data, "binary")


def test_whole_numbers_that_float64_merges_are_refused() -> None:
    nodes = [helper.make_node("Mod", ["x", "two"], ["m"]), helper.make_node("Cast", ["m"], ["y"], to=TensorProto.FLOAT)]
    parity = fti.CustomEncoder(
        graph=own_graph(nodes, [("two", np.array([[2]]))], TensorProto.INT64), oracle=lambda values, state: values % 2
    )
    columns = [Column("id", "integer")]
    for largest, is_exact in ((2.0**53 - 1, True), (2.0**53, False)):
        values = {"id": np.array([7.0, largest, 8.0] * 4)}
        parts, labels = dict.fromkeys(SPLITS, values), dict.fromkeys(SPLITS, np.array([0.0, 1.0, 0.0] * 4))
        fitted = fit_encoders(columns, {"id": parity}, values)
        if is_exact:
            made = TrainingData(columns, fitted, parts, labels, task="binary")
            assert made.train.X[:3, 0].tolist() == [1.0, 1.0, 0.0]
        else:
            with pytest.raises(
                ModelError, match="of 'id' takes whole numbers, and train has some of 2.*9007199254740992"
            ):
                TrainingData(columns, fitted, parts, labels, task="binary")


def test_an_operator_that_is_another_in_the_models_opset_is_refused() -> None:
    nodes = [
        helper.make_node("IsNaN", ["x"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "x"], ["filled"]),
        helper.make_node("ReduceMax", ["filled"], ["y"], axes=[1], keepdims=1),
    ]
    greatest = own_graph(nodes, [("zero", np.zeros((1, 1), np.float32))])
    own = fti.CustomEncoder(graph=greatest, oracle=lambda values, state: np.nan_to_num(values))
    data = data_of({"z": own, "t": LETTER})
    value = helper.make_tensor_value_info
    axes = numpy_helper.from_array(np.array([1]), "axes")
    node = helper.make_node("ReduceSum", ["dense", "axes"], ["y"], keepdims=1)
    inputs, outputs = [value("dense", TensorProto.FLOAT, ["n", 3])], [value("y", TensorProto.FLOAT, ["n", 1])]
    graph = helper.make_graph([node], "sum", inputs, outputs, [axes])
    for opset, problem in (
        (17, None),
        (18, "of 'z' is of opset 17, and its operator ReduceMax is another one in opset 18"),
    ):
        core = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        if problem is None:
            assert export(core, data.encoder, data, "binary").bytes
        else:
            with pytest.raises(ModelError, match=problem):
                export(core, data.encoder, data, "binary")


def test_values_that_its_functions_hold_tell_encoders_apart() -> None:
    def scaled(factor):
        return fti.CustomEncoder(graph=NEGATED, oracle=lambda values, state: values * factor)

    assert repr(scaled(2.0)) != repr(scaled(3.0))
    assert repr(scaled(2.0)) == repr(scaled(2.0))


@script()
def squashed(x: FLOAT[None, 1]) -> FLOAT[None, 1]:
    return op.Tanh(op.Where(op.IsNaN(x), op.Constant(value_float=0.0), x))  # type: ignore[return-value, type-var]


def test_a_function_of_onnxscript_is_a_graph() -> None:
    own = fti.CustomEncoder(graph=lambda state: squashed, oracle=lambda values, state: np.tanh(np.nan_to_num(values)))
    data = data_of({"x": own, "t": LETTER})
    model = HistGradientBoostingClassifier(max_iter=2).fit(data.train.X, data.train.y)
    assert export(model, data.encoder, data, "binary").bytes
    assert np.allclose(data.test.X[:, 0], np.tanh(np.nan_to_num(data.test.columns["x"])), atol=1e-6)


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
