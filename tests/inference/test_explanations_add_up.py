"""Explanations read off graphs that add up for the rows of their data, but not for every row, against the definition."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fti_assets as fti
from fti_assets.core.manifest import GraphInput
from fti_assets.inference.serving.explanations.additive import AdditiveGraph
from fti_assets.inference.serving.explanations.build_explanations import BuildExplanations
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.models.graphs.export import export
from tests.inference.test_exact_explanations import by_definition, data_of

Columns = dict[str, np.ndarray]


def graph_of(nodes, output: str, constants=(), features: str = "ab") -> Graph:
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "made",
        [value("numbers", TensorProto.FLOAT, ["n", len(features)])],
        [value(output, TensorProto.FLOAT, ["n", 1])],
        initializer=[numpy_helper.from_array(values, name) for name, values in constants],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return Graph.from_bytes(
        model.SerializeToString(), (GraphInput("numbers", "float32", tuple(features)),), what="made"
    )


def by_asking(graph: Graph, output: str, background: Columns, row: Columns) -> np.ndarray:
    """The Shapley values of the answer, by the definition."""

    def worth(places):
        mixed = {
            name: np.full_like(values, row[name][0]) if at in places else values
            for at, (name, values) in enumerate(background.items())
        }
        return graph.run(mixed)[output].astype(float).reshape(-1).mean()

    return by_definition(worth, len(background))


def interaction() -> Graph:
    """``a + 5 a b``, of the columns ``a``, ``b`` and their product."""
    node = helper.make_node
    places = [("first", np.array([0])), ("second", np.array([1]))]
    weights = ("weights", np.array([[1.0], [0.0], [5.0]], dtype=np.float32))
    nodes = [
        node("Gather", ["numbers", "first"], ["a"], axis=1),
        node("Gather", ["numbers", "second"], ["b"], axis=1),
        node("Mul", ["a", "b"], ["ab"]),
        node("Concat", ["a", "b", "ab"], ["columns"], axis=1),
        node("MatMul", ["columns", "weights"], ["score"]),
        node("Identity", ["score"], ["value"]),
    ]
    return graph_of(nodes, "value", [*places, weights])


RARE = {"a": np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0]), "b": np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])}
"""Rows in which, as far as one feature is taken from the row before, the product is 0."""


@pytest.mark.parametrize(("a", "b"), [(2.0, 1.0), (0.0, 3.0), (2.0, 0.0), (0.0, 0.0)])
def test_rare_interaction_is_explained_as_by_definition(a, b) -> None:
    graph = interaction()
    of_build = BuildExplanations(graph, "value", None, RARE, types={"a": "number", "b": "number"}, classes=["only"])
    made = of_build.explain({"a": a, "b": b})
    expected = by_asking(graph, "value", RARE, {"a": np.array([a]), "b": np.array([b])})
    assert made.exact
    assert list(made.contributions["only"].values()) == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize(("b", "why"), [(1.0, "changes with no feature alone"), (0.0, "is made of two features")])
def test_row_for_which_a_column_has_two_features_is_not_read_off(b, why) -> None:
    additive = AdditiveGraph(interaction(), "value", RARE)
    with pytest.raises(ValueError, match=why):
        additive.contributions({"a": np.array([2.0]), "b": np.array([b])})
    row = {"a": np.array([0.0]), "b": np.array([0.0])}
    assert additive.contributions(row) == pytest.approx(by_asking(interaction(), "value", RARE, row)[:, None])


def test_answer_that_is_cut_off_is_asked_for() -> None:
    weights = ("weights", np.array([[1.0], [2.0]], dtype=np.float32))
    node = helper.make_node
    bounds = [("least", np.array(-9.0, dtype=np.float32)), ("most", np.array(9.0, dtype=np.float32))]
    nodes = [
        node("MatMul", ["numbers", "weights"], ["score"]),
        node("Clip", ["score", "least", "most"], ["value"]),
    ]
    graph, row = graph_of(nodes, "value", [weights, *bounds]), {"a": np.array([20.0]), "b": np.array([1.0])}
    with pytest.raises(ValueError, match="not what the contributions add up to"):
        AdditiveGraph(graph, "value", RARE).contributions(row)
    of_build = BuildExplanations(graph, "value", None, RARE, types={"a": "number", "b": "number"}, classes=["only"])
    values = of_build.explain({"a": 20.0, "b": 1.0}).contributions["only"].values()
    assert list(values) == pytest.approx(by_asking(graph, "value", RARE, row).tolist(), abs=1e-5)


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_booster_that_takes_categories_is_explained_exactly(library) -> None:
    if library == "lightgbm":
        from lightgbm import LGBMRegressor

        model = LGBMRegressor(
            n_estimators=6, num_leaves=5, min_data_per_group=2, cat_smooth=0, max_cat_to_onehot=1, verbose=-1, n_jobs=1
        )
    else:
        from xgboost import XGBRegressor

        model = XGBRegressor(n_estimators=6, max_depth=3, enable_categorical=True, max_cat_to_onehot=1, n_jobs=1)
    data = data_of("regression", encoders={"c": fti.OneHot(), "d": fti.Passthrough(), "e": fti.OneHot()})
    model.fit(data.train.frame, data.train.y + 9 * np.isin(data.train.columns["c"], ["y", "z"]))
    exported = export(model, data.encoder, data, "regression")
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="made")
    additive = AdditiveGraph(graph, "value", {name: values[:12] for name, values in data.test.columns.items()})
    background = {name: data.test.columns[name][:12] for name in additive.features}
    for at in (20, 34, 41):
        row = {name: data.test.columns[name][at : at + 1] for name in additive.features}
        values = additive.contributions(row).reshape(-1)
        assert values == pytest.approx(by_asking(graph, "value", background, row), abs=1e-5)
