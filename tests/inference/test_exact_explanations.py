"""Explanations that are exact: read off trees and weights of the graph, against shap, the boosters and the definition."""

from itertools import combinations
from math import factorial

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core.manifest import Column, GraphInput
from fti_assets.inference.serving.explanations.additive import AdditiveGraph
from fti_assets.inference.serving.explanations.build_explanations import BuildExplanations
from fti_assets.inference.serving.explanations.trees import Trees
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.graphs.whole_graph import WholeGraph
from fti_assets.training.calibration.calibrators import Isotonic, Platt
from fti_assets.training.calibration.nodes import with_calibration
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.graphs.export import export
from tests.support.examples import examples

FEATURES = [
    Column("a", "number"),
    Column("b", "integer"),
    Column("c", "text"),
    Column("d", "number"),
    Column("e", "text"),
]
ENCODERS = {"c": fti.OneHot(), "d": fti.Passthrough(), "e": fti.Embedding()}
OUTPUTS = {"binary": "probability", "multiclass": "probabilities", "regression": "value"}
TYPES = {one.name: one.type for one in FEATURES}


def columns_of(rows: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    a = random.normal(size=rows)
    a[::17] = np.nan
    return {
        "a": a,
        "b": random.integers(0, 5, rows).astype(float),
        "c": random.choice(np.array(["x", "y", "z", ""], dtype=object), rows),
        "d": np.where(random.random(rows) < 0.1, np.nan, random.normal(size=rows)),
        "e": random.choice(np.array(["p", "q", "r"], dtype=object), rows),
    }


def data_of(task: str, rows: int = 300, encoders=ENCODERS) -> TrainingData:
    parts = {part: columns_of(rows, seed) for seed, part in enumerate(SPLITS)}
    labels = {}
    for part, columns in parts.items():
        score = np.nan_to_num(columns["a"] * columns["d"]) + (columns["c"] == "x") * 2 + columns["b"] * 0.3
        score = score + (columns["e"] == "q") * columns["b"]
        cuts = {"binary": [2.0], "multiclass": [0.5, 2.0]}
        labels[part] = score if task == "regression" else np.digitize(score, cuts[task]).astype(float)
    return TrainingData(FEATURES, fit_encoders(FEATURES, encoders, parts["train"]), parts, labels, task=task)


def trained(task: str, model, encoders=ENCODERS):
    """The graph of a model fitted on X, some rows of the background, the data and the fitted model."""
    data = data_of(task, encoders=encoders)
    model.fit(data.train.X, data.train.y)
    exported = export(model, data.encoder, data, task)
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="made")
    return graph, {name: values[:12] for name, values in data.test.columns.items()}, data, model


def by_definition(worth, count: int) -> np.ndarray:
    """Shapley values of the mean worth of sets of features."""
    result = 0.0
    for size in range(count):
        weight = factorial(size) * factorial(count - size - 1) / factorial(count)
        for places in combinations(range(count), size):
            for one in set(range(count)) - set(places):
                gain = np.zeros((count, *np.shape(worth(()))))
                gain[one] = weight * (worth((*places, one)) - worth(places))
                result = result + gain
    return np.asarray(result)


def enumerated(data, raw_score, row, background) -> np.ndarray:
    """The same, asking the model itself for the score of encoded rows."""
    names, known = list(background), {}

    def worth(places):
        key = frozenset(places)
        if key not in known:
            mixed = {
                name: np.full_like(values, row[name][0]) if at in key else values
                for at, (name, values) in enumerate(background.items())
            }
            encoded = data.encoder.encode(mixed)
            known[key] = np.asarray(raw_score(np.hstack([encoded["dense"], encoded["e"].astype(np.float32)]))).mean(
                axis=0
            )
        return known[key]

    return by_definition(worth, len(names))


def lightgbm(kind: str, **options):
    import lightgbm

    return getattr(lightgbm, f"LGBM{kind}")(n_estimators=8, num_leaves=7, verbose=-1, n_jobs=1, **options)


def xgboost(kind: str):
    import xgboost

    return getattr(xgboost, f"XGB{kind}")(n_estimators=8, max_depth=3, n_jobs=1)


@pytest.mark.parametrize("library", [lightgbm, xgboost])
def test_booster_is_explained_as_by_definition(library) -> None:
    graph, background, data, model = trained("binary", library("Classifier"))
    additive = AdditiveGraph(graph, "probability", background)
    assert additive.link == "sigmoid"

    def raw_score(X):
        return model.predict(X, raw_score=True) if library is lightgbm else model.predict(X, output_margin=True)

    for at in (20, 34, 41):
        row = {name: values[at : at + 1] for name, values in data.test.columns.items()}
        values = additive.contributions(row)
        expected = enumerated(data, raw_score, row, background)
        order = [list(background).index(name) for name in additive.features]
        assert np.allclose(values, expected[order], atol=1e-5)
        probability = graph.run(row)["probability"][0]
        score = additive.base + values.sum()
        assert 1 / (1 + np.exp(-score)) == pytest.approx(probability, abs=1e-5)


@pytest.mark.soak
def test_booster_is_explained_as_by_shap() -> None:
    shap = pytest.importorskip("shap")
    import lightgbm as package

    random = np.random.default_rng(4)
    X = random.normal(size=(400, 4)).astype(np.float32)
    X[::9, 2] = np.nan
    y = (np.nan_to_num(X[:, 2]) * X[:, 0] + X[:, 1] > 0).astype(float)
    features = [Column(f"x{at}", "number") for at in range(4)]
    parts = {part: {one.name: X[:, at].astype(float) for at, one in enumerate(features)} for part in SPLITS}
    encoders = {one.name: fti.Passthrough() for one in features}
    fitted = fit_encoders(features, encoders, parts["train"])
    data = TrainingData(features, fitted, parts, dict.fromkeys(SPLITS, y), task="binary")
    model = package.LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1).fit(data.train.X, y)
    exported = export(model, data.encoder, data, "binary")
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="made")
    background = {name: values[:30] for name, values in parts["test"].items()}
    additive = AdditiveGraph(graph, "probability", background)
    oracle = shap.TreeExplainer(model, data=X[:30], feature_perturbation="interventional")
    expected = np.asarray(oracle.shap_values(X[100:104]))
    values = [
        additive.contributions({f"x{k}": X[at : at + 1, k].astype(float) for k in range(4)}) for at in range(100, 104)
    ]
    assert np.allclose(values, expected, atol=1e-5)
    assert additive.base == pytest.approx(float(np.ravel(oracle.expected_value)[-1]), abs=1e-5)
    by_booster = model.predict(X[100:104], pred_contrib=True).sum(axis=1)
    assert np.allclose(np.sum(values, axis=1) + additive.base, by_booster, atol=1e-5)


def test_classes_of_a_booster_are_explained() -> None:
    graph, background, data, model = trained("multiclass", lightgbm("Classifier"))
    additive = AdditiveGraph(graph, "probabilities", background)
    assert additive.link == "softmax"
    row = {name: values[20:21] for name, values in data.test.columns.items()}
    values = additive.contributions(row)

    def centered(X):
        scores = model.predict(X, raw_score=True)
        return scores - scores.mean(axis=1, keepdims=True)

    order = [list(background).index(name) for name in additive.features]
    assert np.allclose(values, enumerated(data, centered, row, background)[order], atol=1e-5)
    logarithms = np.log(graph.run(row)["probabilities"][0].astype(float))
    assert np.allclose(additive.base + values.sum(axis=0), logarithms - logarithms.mean(), atol=1e-4)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_answer_of_a_forest_is_explained_exactly(task) -> None:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    encoders = {"c": fti.OneHot(), "e": fti.Embedding()}
    kind = RandomForestRegressor if task == "regression" else RandomForestClassifier
    graph, background, data, model = trained(task, kind(6, max_depth=4, random_state=0), encoders)
    additive = AdditiveGraph(graph, OUTPUTS[task], background)
    assert additive.link == "identity"
    row = {name: values[20:21] for name, values in data.test.columns.items()}
    ask = model.predict if task == "regression" else model.predict_proba
    order = [list(background).index(name) for name in additive.features]
    expected = enumerated(data, (lambda X: ask(X)[:, 1]) if task == "binary" else ask, row, background)[order]
    assert np.allclose(additive.contributions(row), expected, atol=1e-5)
    answer = graph.run(row)[OUTPUTS[task]][0]
    assert np.allclose(additive.base + additive.contributions(row).sum(axis=0), answer, atol=1e-5)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_weights_are_explained_exactly(task) -> None:
    from sklearn.linear_model import LogisticRegression, Ridge

    encoders = {"c": fti.OneHot(), "e": fti.Embedding(), "b": fti.OneHot()}
    graph, background, data, model = trained(task, Ridge() if task == "regression" else LogisticRegression(), encoders)
    additive = AdditiveGraph(graph, OUTPUTS[task], background)
    assert additive.link == {"binary": "sigmoid", "multiclass": "softmax", "regression": "identity"}[task]
    row = {name: values[20:21] for name, values in data.test.columns.items()}

    def score(X):
        scores = model.predict(X) if task == "regression" else model.decision_function(X)
        return scores - scores.mean(axis=1, keepdims=True) if task == "multiclass" else scores

    order = [list(background).index(name) for name in additive.features]
    assert np.allclose(additive.contributions(row), enumerated(data, score, row, background)[order], atol=1e-4)


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


@st.composite
def ensembles(draw) -> onnx.ModelProto:
    """Trees of every kind of node over three columns of small whole numbers and NaN, in a graph of its own.

    Some nodes are chains of tests for equality with one node below, as boosters' tests of several categories are exported.
    """
    nodes: dict[str, list] = {
        name: []
        for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing")
    }
    leaves: list[tuple[int, int, int, float]] = []
    for tree in range(draw(st.integers(1, 3))):
        count = 0

        def grow(depth: int, tree: int = tree, chain: tuple[int, int, int] | None = None) -> int:
            nonlocal count
            own, count = count, count + 1
            is_leaf = depth == 0 or (chain is None and draw(st.integers(0, 3)) == 0)
            at = len(nodes["treeids"])
            mode = "LEAF" if is_leaf else draw(st.sampled_from([*MODES, "BRANCH_EQ", "BRANCH_EQ"]))
            feature, value, missing = draw(st.tuples(st.integers(0, 2), st.integers(-2, 2), st.integers(0, 1)))
            if chain is not None and not is_leaf:
                # onnxruntime makes one node of a chain, with one track for missing values.
                mode, feature, missing = "BRANCH_EQ", chain[1], chain[2]
            for name, one in zip(nodes, (tree, own, feature, float(value), mode, 0, 0, missing), strict=True):
                nodes[name].append(one)
            if is_leaf:
                leaves.extend((tree, own, target, float(draw(st.integers(-8, 8)))) for target in range(2))
            else:
                below = grow(depth - 1) if chain is None else chain[0]
                is_chain = mode == "BRANCH_EQ" and draw(st.integers(0, 3)) > 0
                nodes["truenodeids"][at] = below
                nodes["falsenodeids"][at] = grow(depth - 1, chain=(below, feature, missing) if is_chain else None)
            return own

        grow(3)
    tracks = nodes.pop("missing")
    columns = list(zip(*leaves, strict=True))
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["numbers"],
        ["value"],
        domain="ai.onnx.ml",
        n_targets=2,
        base_values=[0.5, -1.0],
        aggregate_function=draw(st.sampled_from(["SUM", "AVERAGE"])),
        nodes_missing_value_tracks_true=tracks,
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{
            f"target_{name}": list(one)
            for name, one in zip(("treeids", "nodeids", "ids", "weights"), columns, strict=True)
        },
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "made", [value("numbers", TensorProto.FLOAT, ["n", 3])], [value("value", TensorProto.FLOAT, ["n", 2])]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


SMALL = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, np.nan]), min_size=3, max_size=3)


@settings(max_examples=examples(120), deadline=None)
@given(ensembles(), st.lists(SMALL, min_size=1, max_size=4), SMALL)
def test_any_trees_are_read_and_explained_as_onnxruntime_runs_them(model, rows, own) -> None:
    inputs = (GraphInput("numbers", "float32", ("x", "y", "z")),)
    graph = Graph.from_bytes(model.SerializeToString(), inputs, what="made")
    background = {name: np.array(rows)[:, at] for at, name in enumerate("xyz")}
    row = {name: np.array([own[at]]) for at, name in enumerate("xyz")}
    additive = AdditiveGraph(graph, "value", background)
    assert additive.link == "identity"

    def worth(places):
        mixed = {
            name: np.full_like(values, row[name][0]) if at in places else values
            for at, (name, values) in enumerate(background.items())
        }
        return graph.run(mixed)["value"].astype(float).mean(axis=0)

    assert np.allclose(additive.base, worth(()), atol=1e-5)
    assert np.allclose(additive.contributions(row), by_definition(worth, 3), atol=1e-5)


def refused(graph, output, background) -> str:
    with pytest.raises(ValueError) as problem:  # noqa: PT011 - it is the message that counts
        AdditiveGraph(graph, output, background)
    return str(problem.value)


def test_columns_that_mix_features_are_not_read_off() -> None:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    encoders = {"c": fti.OneHot(), "e": fti.Embedding()}
    graph, background, *_ = trained("binary", make_pipeline(PCA(3), LogisticRegression()), encoders)
    assert refused(graph, "probability", background) == "a column of it is made of two features"
    graph.source = None
    assert refused(graph, "probability", background) == "its bytes are not here"


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_graph_that_does_not_add_up_is_not_read_off() -> None:
    from sklearn.ensemble import StackingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    encoders = {"c": fti.OneHot(), "e": fti.Embedding()}
    graph, background, *_ = trained("binary", MLPClassifier((3,), max_iter=20, random_state=0), encoders)
    assert refused(graph, "probability", background)
    stacked = StackingClassifier([("one", LogisticRegression()), ("two", LogisticRegression(C=0.1))], cv=2)
    graph, background, *_ = trained("binary", stacked, encoders)
    assert refused(graph, "probability", background)


def explanations(graph, background, task: str, classes=None) -> BuildExplanations:
    return BuildExplanations(
        graph, OUTPUTS[task], None, background, types=TYPES, classes=classes, has_scores=task != "regression"
    )


def raw_row(data, at: int) -> dict:
    return {
        name: None if value != value or value == "" else value
        for name, value in ((name, values[at : at + 1].tolist()[0]) for name, values in data.test.columns.items())
    }


def test_score_of_a_booster_is_exact_and_its_answer_is_asked_for() -> None:
    graph, background, data, _ = trained("binary", lightgbm("Classifier"))
    of_build = explanations(graph, background, "binary")
    row = {name: values[20:21] for name, values in data.test.columns.items()}
    probability = float(graph.run(row)["probability"][0])
    score = of_build.explain(raw_row(data, 20), "score")
    assert (score.of, score.exact, score.rows) == ("score", True, 12)
    total = score.base + sum(score.contributions.values())
    assert total == pytest.approx(np.log(probability / (1 - probability)), abs=1e-4)
    answer = of_build.explain(raw_row(data, 20))
    assert answer.of == "answer"
    assert answer.base + sum(answer.contributions.values()) == pytest.approx(probability, abs=1e-6)


def calibrated(graph: Graph, calibrators, **more) -> Graph:
    return Graph.from_bytes(
        with_calibration(graph.source, "probability", calibrators, **more), graph.inputs, what="calibrated"
    )


@pytest.mark.parametrize("library", ["lightgbm", "xgboost", "linear"])
def test_score_is_exact_through_platts_calibration(library) -> None:
    encoders = ENCODERS if library != "linear" else {"c": fti.OneHot(), "e": fti.OneHot()}
    model = (
        LogisticRegression()
        if library == "linear"
        else {"lightgbm": lightgbm, "xgboost": xgboost}[library]("Classifier")
    )
    graph, background, data, _ = trained("binary", model, encoders)
    steeper = calibrated(graph, [Platt(1.75, -0.5)])
    before = explanations(graph, background, "binary").explain(raw_row(data, 20), "score")
    after = explanations(steeper, background, "binary").explain(raw_row(data, 20), "score")
    assert (before.exact, after.exact) == (True, True)
    assert after.base == pytest.approx(1.75 * before.base - 0.5, abs=1e-5)
    assert after.contributions == pytest.approx(
        {name: 1.75 * one for name, one in before.contributions.items()}, abs=1e-5
    )
    row = {name: values[20:21] for name, values in data.test.columns.items()}
    probability = float(steeper.run(row)["probability"][0])
    total = after.base + sum(after.contributions.values())
    assert total == pytest.approx(np.log(probability / (1 - probability)), abs=1e-4)


def test_score_behind_another_calibration_is_asked_for() -> None:
    graph, background, data, _ = trained("binary", lightgbm("Classifier"))
    points = (0.25, 0.5, 0.75)
    risen = calibrated(graph, [Isotonic(points, (0.125, 0.5, 0.875))])
    with pytest.raises(ValueError, match="stands behind whatever adds up"):
        AdditiveGraph(risen, "probability", background)
    answer = explanations(risen, background, "binary").explain(raw_row(data, 20))
    row = {name: values[20:21] for name, values in data.test.columns.items()}
    total = answer.base + sum(answer.contributions.values())
    assert total == pytest.approx(float(risen.run(row)["probability"][0]), abs=1e-6)


def test_each_label_is_explained_through_its_own_calibration() -> None:
    weights = np.array([[0.5, -1.0], [0.25, 2.0]], dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["numbers", "weights"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["probability"]),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 2])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    source = helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()
    plain = Graph.from_bytes(source, (GraphInput("numbers", "float32", ("a", "b")),), what="made")
    background = {"a": np.array([0.0, 1.0, 3.0]), "b": np.array([0.0, -1.0, 0.5])}
    lines = [Platt(2.0, 0.25), Platt(0.5, -1.0)]
    both = [plain, calibrated(plain, lines, are_classes=False)]
    for graph, slope, intercept in zip(both, ([1, 1], [2, 0.5]), ([0, 0], [0.25, -1]), strict=True):
        of_build = BuildExplanations(
            graph,
            "probability",
            None,
            background,
            types={"a": "number", "b": "number"},
            classes=["late", "lost"],
            has_scores=True,
            are_labels=True,
        )
        score = of_build.explain({"a": 2.0, "b": 1.0}, "score")
        assert score.exact
        for at, label in enumerate(["late", "lost"]):
            distances = {name: x - background[name].mean() for name, x in (("a", 2.0), ("b", 1.0))}
            expected = {name: slope[at] * weights[place, at] * distances[name] for place, name in enumerate("ab")}
            assert score.contributions[label] == pytest.approx(expected, abs=1e-6)
            mean = slope[at] * (background["a"].mean() * weights[0, at] + background["b"].mean() * weights[1, at])
            assert score.base[label] == pytest.approx(mean + intercept[at], abs=1e-6)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_score_of_any_other_graph_is_asked_for(task) -> None:
    from sklearn.neural_network import MLPClassifier

    encoders = {"c": fti.OneHot(), "e": fti.Embedding()}
    graph, background, data, _ = trained(task, MLPClassifier((3,), max_iter=20, random_state=0), encoders)
    classes = data.classes or None
    score = explanations(graph, background, task, classes).explain(raw_row(data, 20), "score")
    row = {name: values[20:21] for name, values in data.test.columns.items()}
    [answer] = graph.run(row)[OUTPUTS[task]].astype(float)
    assert score.of == "score"
    if classes is None:
        total = score.base + sum(score.contributions.values())
        assert total == pytest.approx(np.log(answer / (1 - answer)), abs=1e-5)
    else:
        totals = [score.base[name] + sum(score.contributions[name].values()) for name in classes]
        assert np.allclose(totals, np.log(answer) - np.log(answer).mean(), atol=1e-5)


def test_regression_is_its_own_score() -> None:
    graph, background, data, _ = trained("regression", lightgbm("Regressor"))
    of_build = explanations(graph, background, "regression")
    assert of_build.explain(raw_row(data, 3), "score") == of_build.explain(raw_row(data, 3))
    assert of_build.explain(raw_row(data, 3)).exact


def test_attributes_are_those_that_onnx_reads() -> None:
    graph, *_ = trained("binary", lightgbm("Classifier"))
    whole, model = WholeGraph(graph.source), onnx.load_from_string(graph.source)
    assert [node.op for node in whole.nodes] == [node.op_type for node in model.graph.node]
    for own, node in zip(whole.nodes, model.graph.node, strict=True):
        assert (own.inputs, own.outputs) == (list(node.input), list(node.output))
        attributes = own.attributes()
        for one in node.attribute:
            value = helper.get_attribute_value(one)
            if isinstance(value, bytes):
                assert attributes[one.name] == value.decode()
            elif isinstance(value, list) and value and isinstance(value[0], bytes):
                assert attributes[one.name] == [text.decode() for text in value]
            elif isinstance(value, list):
                assert np.array_equal(attributes[one.name], np.array(value, np.asarray(attributes[one.name]).dtype))
            elif not isinstance(value, onnx.TensorProto):
                assert attributes[one.name] == value
    for one in model.graph.initializer:
        expected = onnx.numpy_helper.to_array(one)
        if expected.dtype.kind in "fi":
            assert np.array_equal(whole.constant(one.name), expected, equal_nan=True)
    with pytest.raises(ValueError, match="cut short"):
        WholeGraph(graph.source[:200])


def test_trees_of_other_kinds_are_refused() -> None:
    graph, *_ = trained("binary", lightgbm("Classifier"))
    [node] = [one for one in WholeGraph(graph.source).nodes if one.op.startswith("Tree")]
    attributes = node.attributes()
    modes = ["BRANCH_MEMBER" if one == "BRANCH_LEQ" else one for one in attributes["nodes_modes"]]
    for change, problem in (
        ({"nodes_modes": modes}, "BRANCH_MEMBER"),
        ({"aggregate_function": "MAX"}, "taken together by MAX"),
        ({"nodes_values_as_tensor": None}, "float64"),
    ):
        with pytest.raises(ValueError, match=problem):
            Trees(attributes | change, "class")
