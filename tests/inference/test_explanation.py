from itertools import permutations
from math import factorial

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fti_assets.core.manifest import GraphInput
from fti_assets.errors import PredictionError
from fti_assets.inference.serving.explanations.sampling import Explainer
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.samples import Samples
from tests.inference import test_predictor
from tests.inference.test_predictor import NOON, NUMBER_FEATURES, REQUEST

world = test_predictor.world

FLOAT = TensorProto.FLOAT


def graph_of(width: int, nodes, constants, *, output: str = "value", classes: int = 0) -> Graph:
    names = tuple(f"x{place}" for place in range(width))
    shape = ["n", classes] if classes else ["n"]
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("numbers", FLOAT, ["n", width])],
        [helper.make_tensor_value_info(output, FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Graph.from_bytes(model.SerializeToString(), (GraphInput("numbers", "float32", names),), what="made")


def linear(weights) -> Graph:
    nodes = [helper.make_node("MatMul", ["numbers", "w"], ["z"]), helper.make_node("Reshape", ["z", "flat"], ["value"])]
    constants = {"w": np.array(weights, np.float32)[:, None], "flat": np.array([-1])}
    return graph_of(len(weights), nodes, constants)


def curved(width: int) -> Graph:
    """The sigmoid of a product of sums, in which features act together."""
    random = np.random.default_rng(3)
    nodes = [
        helper.make_node("MatMul", ["numbers", "u"], ["a"]),
        helper.make_node("MatMul", ["numbers", "v"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["p"]),
        helper.make_node("Reshape", ["p", "flat"], ["value"]),
    ]
    weights = {name: random.normal(size=(width, 1)).astype(np.float32) / 2 for name in "uv"}
    return graph_of(width, nodes, weights | {"flat": np.array([-1])})


def rows(count: int, width: int, seed: int = 5) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(count, width))
    return {f"x{place}": values[:, place] for place in range(width)}


def explainer_of(graph: Graph, output: str, background) -> Explainer:
    return Explainer(lambda columns: graph.run(columns)[output], list(background), background)


def brute_force(graph: Graph, row, background) -> np.ndarray:
    """Shapley values by their definition: the mean gain of a feature over all orders."""
    names = list(background)
    result = np.zeros(len(names))

    def worth(taken) -> float:
        columns = {
            name: np.full_like(values, row[name][0]) if name in taken else values for name, values in background.items()
        }
        return float(graph.run(columns)["value"].astype(np.float64).mean())

    known = {}
    for order in permutations(range(len(names))):
        for place, one in enumerate(order):
            before, after = frozenset(order[:place]), frozenset(order[: place + 1])
            for taken in (before, after):
                if taken not in known:
                    known[taken] = worth({names[i] for i in taken})
            result[one] += known[after] - known[before]
    return result / factorial(len(names))


@pytest.mark.parametrize("width", [1, 3, 5])
def test_few_features_have_exact_shapley_values(width):
    graph, background, row = curved(width), rows(6, width), rows(1, width, seed=6)
    explainer = explainer_of(graph, "value", background)
    assert explainer.is_exact
    result = explainer.contributions(row)
    assert np.allclose(result, brute_force(graph, row, background), atol=1e-6)
    assert result.sum() == pytest.approx(graph.run(row)["value"][0] - explainer.base, abs=1e-6)


def test_a_sample_of_orders_is_near_the_exact_values(monkeypatch):
    graph, background, row = curved(6), rows(24, 6), rows(1, 6, seed=6)
    exact = explainer_of(graph, "value", background).contributions(row)
    explainer = explainer_of(graph, "value", background)
    explainer.is_exact = False
    result = explainer.contributions(row)
    assert np.abs(result - exact).max() < 0.02 < np.abs(exact).max()
    assert result.sum() == pytest.approx(exact.sum(), abs=1e-6)
    assert result.tolist() == explainer.contributions(row).tolist()


@pytest.mark.parametrize("width", [4, 30])
def test_a_linear_graph_is_explained_by_its_weights(width):
    weights = np.linspace(-1, 1, width)
    background, row = rows(10, width), rows(1, width, seed=6)
    explainer = explainer_of(linear(weights), "value", background)
    assert explainer.is_exact == (width == 4)
    expected = [w * (row[name][0] - background[name].mean()) for w, name in zip(weights, background, strict=True)]
    assert np.allclose(explainer.contributions(row), expected, atol=1e-5)


def test_each_class_is_explained():
    nodes = [helper.make_node("MatMul", ["numbers", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["probabilities"])]
    weights = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
    graph = graph_of(3, nodes, {"w": weights}, output="probabilities", classes=2)
    background, row = rows(8, 3), rows(1, 3, seed=6)
    explainer = explainer_of(graph, "probabilities", background)
    result = explainer.contributions(row)
    assert result.shape == (3, 2)
    assert np.allclose(result.sum(axis=0), graph.run(row)["probabilities"][0] - explainer.base, atol=1e-6)
    assert np.allclose(result.sum(axis=1), 0, atol=1e-6)


def test_a_prediction_is_explained_by_declared_feature(world, monkeypatch):
    columns = {name: np.array([1.0, 2.0, np.nan]) for name in (*NUMBER_FEATURES, "tail")}
    columns["origin"] = np.array(["JFK", "", "LGA"], dtype=object)
    predictor = world.load()
    monkeypatch.setattr(predictor.serving, "_background", columns)
    answer = predictor.predict(REQUEST, at=NOON, explain=True)
    explanation = answer.explanation
    assert (explanation.rows, explanation.exact) == (3, True)
    assert set(explanation.contributions) == {*NUMBER_FEATURES, "origin", "tail"}
    assert explanation.base + sum(explanation.contributions.values()) == pytest.approx(answer.value, abs=1e-3)
    assert explanation.contributions["origin"] == pytest.approx(1000 - 1000 / 3, abs=1e-3)
    assert explanation.contributions["temp"] == pytest.approx(70 - (1 + 2 - 1) / 3, abs=1e-3)
    what_if = predictor.predict([REQUEST], at=NOON, explain=True, overrides={"temp": 30.0})[0].explanation
    assert what_if.contributions["temp"] == pytest.approx(30 - (1 + 2 - 1) / 3, abs=1e-3)
    assert predictor.predict(REQUEST, at=NOON).explanation is None


def test_a_build_without_rows_to_compare_with_says_so(world):
    with pytest.raises(PredictionError, match="keeps no rows of its data to explain an answer against.*Train it again"):
        world.load().predict(REQUEST, at=NOON, explain=True)


def test_only_rows_that_the_data_had_are_a_background():
    columns = {"x": np.array([1.0, np.nan, 3.0]), "t": np.array(["a", "", "b"], dtype=object)}
    samples = Samples(columns, np.array([0.1, 0.2, 0.3]), np.array([True, False, True]))
    read = Samples.from_json(samples.to_json(), texts=["t"], what="samples")
    assert {name: values.tolist() for name, values in read.background.items()} == {"x": [1.0, 3.0], "t": ["a", "b"]}
    assert Samples(columns, samples.answers).background is None
    assert Samples.from_json(Samples(columns, samples.answers).to_json(), texts=["t"], what="s").background is None
