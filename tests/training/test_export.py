import os
import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fti_assets.core.manifest import Column, GraphOutput
from fti_assets.errors import DamagedError, ExportError, ModelError, PredictionError
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.samples import Samples
from fti_assets.training.datasets.splits.split import SPLITS
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.kinds.categories import Embedding, OneHot
from fti_assets.training.encoders.kinds.scales import Passthrough
from fti_assets.training.models.data import TrainingData, matrix
from fti_assets.training.models.graphs.comparison_rows import ComparisonRows, comparison_rows
from fti_assets.training.models.graphs.export import export
from fti_assets.training.models.graphs.parity import check_parity
from tests.graphs import endless_graph

torch = pytest.importorskip("torch")

FEATURES = [
    Column("temp", "number"),
    Column("carrier", "text"),
    Column("stops", "integer"),
    Column("wind", "number"),
    Column("origin", "text"),
    Column("plane", "text"),
]
ENCODERS = {"carrier": Embedding(), "stops": Embedding(), "origin": OneHot(), "plane": Embedding(max_categories=2)}
TASKS = ["binary", "multiclass", "regression"]
OUTPUTS = {"binary": "probability", "multiclass": "probabilities", "regression": "value"}


def columns(rows, seed):
    rng = np.random.default_rng(seed)
    raw = {
        "temp": rng.normal(10, 5, rows),
        "wind": rng.normal(size=rows) * 1e6,
        "stops": rng.integers(0, 4, rows) * 1.0,
    }
    for values in raw.values():
        values[rng.random(rows) < 0.1] = np.nan
    for name in ("carrier", "origin", "plane"):
        raw[name] = rng.choice(np.array(["", "a", "b", "c", "日本"], dtype=object), rows)
    if seed == 2:
        raw["origin"][:5] = "never seen"
        raw["carrier"][:5] = "never seen"
    return raw


def training_data(task, encoders=None, test=400, missing=True):
    raw = {part: columns(rows, seed) for seed, (part, rows) in enumerate(zip(SPLITS, (400, 100, test), strict=True))}
    if not missing:
        numbers = {"temp": 10.0, "wind": 0.0, "stops": 1.0}
        raw = {
            part: one | {name: np.nan_to_num(one[name], nan=value) for name, value in numbers.items()}
            for part, one in raw.items()
        }
    labels = {part: np.random.default_rng(9).integers(0, 3, len(one["temp"])) * 1.0 for part, one in raw.items()}
    if task == "binary":
        labels = {part: np.minimum(one, 1) for part, one in labels.items()}
    fitted = fit_encoders(FEATURES, ENCODERS | (encoders or {}), raw["train"])
    return TrainingData(FEATURES, fitted, raw, labels, task=task)


class Net(torch.nn.Module):
    """Looks at all but `plane`."""

    def __init__(self, data, outputs=1, flat=False):
        super().__init__()
        torch.manual_seed(0)
        self.flat = flat
        self.names = ["carrier", "stops"]
        self.tables = torch.nn.ModuleList([torch.nn.Embedding(data.cardinalities[name], 3) for name in self.names])
        width = data.dense_dim + 6
        self.layers = torch.nn.Sequential(
            torch.nn.BatchNorm1d(width), torch.nn.Linear(width, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, outputs)
        )

    def forward(self, x):
        codes = [table(x[name]).flatten(1) for name, table in zip(self.names, self.tables, strict=True)]
        output = self.layers(torch.cat([x["dense"], *codes], dim=1))
        return output.squeeze(1) if self.flat else output


def answer(module, part, task):
    with torch.no_grad():
        output = module.eval()({name: torch.from_numpy(values) for name, values in part.inputs.items()})
    if task == "multiclass":
        return torch.softmax(output, 1).numpy()
    return (torch.sigmoid(output) if task == "binary" else output).reshape(-1).numpy()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_a_torch_module_answers_the_same_from_raw_columns(task, flat, tmp_path, monkeypatch):
    if task == "multiclass" and flat:
        pytest.skip("multiclass logits are a matrix")
    monkeypatch.chdir(tmp_path)
    data = training_data(task)
    module = Net(data, 3 if task == "multiclass" else 1, flat)
    exported = export(module, data.encoder, data, task)
    assert exported.outputs == (GraphOutput(OUTPUTS[task], "float32"),)
    assert exported.classes == (("0", "1", "2") if task == "multiclass" else ())
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="test")
    assert graph.outputs == (OUTPUTS[task],)
    for part in (data.test, data.train):
        served = graph.run(part.columns)[OUTPUTS[task]]
        assert served.dtype == np.float32
        np.testing.assert_allclose(served, answer(module, part, task), rtol=1e-4, atol=1e-6)
    assert os.listdir(tmp_path) == []


def test_what_model_does_not_look_at_is_no_input():
    data = training_data("binary")
    exported = export(Net(data), data.encoder, data, "binary")
    assert [one.name for one in exported.inputs] == ["numbers", "text.carrier", "integer.stops", "text.origin"]
    model = onnx.load_from_string(exported.bytes)
    assert [one.name for one in model.graph.output] == ["probability"]
    assert "plane" not in str(model)


def test_lightning_module_can_be_exported_after_it_was_fitted():
    import pytorch_lightning as pl

    class Lit(pl.LightningModule):
        def __init__(self, data):
            super().__init__()
            self.net, self.loss = Net(data), data.loss

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            return self.loss(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    data = training_data("binary")
    exported = export(data.fit(Lit(data), epochs=1), data.encoder, data, "binary")
    assert len(exported.inputs) == 4


def test_a_view_of_embeddings_alone_can_be_exported():
    features = [Column("carrier", "text")]
    raw = {part: {"carrier": columns(50, 0)["carrier"]} for part in SPLITS}
    labels = {part: np.arange(50) % 2.0 for part in SPLITS}
    fitted = fit_encoders(features, {"carrier": Embedding()}, raw["train"])
    data = TrainingData(features, fitted, raw, labels, task="binary")

    class Table(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(data.cardinalities["carrier"], 1)

        def forward(self, x):
            return self.table(x["carrier"]).flatten(1) + x["dense"].sum(1, keepdim=True)

    exported = export(Table(), data.encoder, data, "binary")
    assert [one.name for one in exported.inputs] == ["text.carrier"]


def sklearn_models(task):
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if task == "regression":
        return [Ridge(), GradientBoostingRegressor(n_estimators=3)]
    return [
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestClassifier(3, max_depth=4, random_state=0),
    ]


@pytest.mark.parametrize("task", TASKS)
def test_scikit_learn_estimator_answers_same_from_raw_columns(task):
    pytest.importorskip("skl2onnx")
    data = training_data(task)
    for estimator in sklearn_models(task):
        estimator.fit(data.train.X, data.train.y)
        exported = export(estimator, data.encoder, data, task)
        graph = Graph.from_bytes(exported.bytes, exported.inputs, what="test")
        served = graph.run(data.train.columns)[OUTPUTS[task]]
        wanted = estimator.predict(data.train.X) if task == "regression" else estimator.predict_proba(data.train.X)
        np.testing.assert_allclose(served, wanted[:, 1] if task == "binary" else wanted, atol=1e-4)


def test_trees_may_get_missing_numbers_as_they_are():
    pytest.importorskip("skl2onnx")
    from sklearn.ensemble import HistGradientBoostingClassifier

    data = training_data("binary", {"temp": Passthrough(), "wind": Passthrough()})
    assert np.isnan(data.test.X).any()
    trees = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(data.train.X, data.train.y)
    export(trees, data.encoder, data, "binary")


@pytest.mark.parametrize("scaled", [True, False])
def test_an_imputer_with_an_indicator_is_refused(scaled):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = training_data("binary", {"temp": Passthrough(), "wind": Passthrough()})
    steps = [SimpleImputer(add_indicator=True), *([StandardScaler()] if scaled else []), LogisticRegression()]
    with pytest.raises(ModelError, match=r"SimpleImputer\(add_indicator=True\) adds columns that skl2onnx leaves out"):
        export(make_pipeline(*steps).fit(data.train.X, data.train.y), data.encoder, data, "binary")


@pytest.mark.soak
@pytest.mark.parametrize("missing_in_training", [True, False])
@pytest.mark.parametrize("kind", ["tree", "forest", "extra trees", "many deep trees", "pipeline", "vote", "stack"])
def test_missing_numbers_go_where_the_fitted_tree_sends_them(kind, missing_in_training):
    pytest.importorskip("skl2onnx")
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
        StackingClassifier,
        VotingClassifier,
    )
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.tree import DecisionTreeClassifier

    # Histogram gradient boosting keeps the routes of its trees elsewhere than the forest beside it.
    mixed = [
        ("forest", RandomForestClassifier(5, max_depth=3, random_state=0)),
        ("boosted", HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5, random_state=0)),
    ]
    estimators = {
        "tree": DecisionTreeClassifier(max_depth=4, random_state=0),
        "many deep trees": ExtraTreesClassifier(50, random_state=0),
        "vote": VotingClassifier(mixed, voting="soft"),
        "stack": StackingClassifier(mixed, final_estimator=LogisticRegression(), cv=2),
        "forest": RandomForestClassifier(10, max_depth=4, random_state=0),
        "extra trees": ExtraTreesClassifier(10, max_depth=4, random_state=0),
        "pipeline": make_pipeline(FunctionTransformer(), RandomForestClassifier(5, max_depth=3, random_state=0)),
    }
    encoders = {"temp": Passthrough(), "wind": Passthrough()}
    data = training_data("binary", encoders, missing=missing_in_training)
    fitted = estimators[kind].fit(data.train.X, data.train.y)
    exported = export(fitted, data.encoder, data, "binary")
    rows = {name: values[:40].copy() for name, values in data.test.columns.items()}
    rows["temp"][::2] = np.nan
    rows["wind"][::3] = np.nan
    answers = Graph.from_bytes(exported.bytes, exported.inputs, what="it").run(rows)["probability"]
    np.testing.assert_allclose(answers, fitted.predict_proba(matrix(data.encoder.encode(rows)))[:, 1], atol=1e-6)


@pytest.mark.soak
@pytest.mark.parametrize("missing_in_training", [True, False])
@pytest.mark.parametrize("kind", ["forest", "bagging", "regressor"])
def test_trees_that_are_alike_have_routes_of_their_own(kind, missing_in_training):
    """Stumps of features of 0 and 1 have the same thresholds, whatever they do with a missing value."""
    pytest.importorskip("skl2onnx")
    from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, RandomForestRegressor
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(3)
    features, parts, labels = [Column("a", "number"), Column("b", "number")], {}, {}
    for part in SPLITS:
        parts[part] = {one.name: rng.integers(0, 2, 200) * 1.0 for one in features}
        labels[part] = (parts[part]["a"] + parts[part]["b"] + rng.normal(size=200) > 1) * 1.0
        for values in parts[part].values():
            values[(rng.random(200) < 0.3) & missing_in_training] = np.nan
    fitted = fit_encoders(features, {one.name: Passthrough() for one in features}, parts["train"])
    task = "regression" if kind == "regressor" else "binary"
    data = TrainingData(features, fitted, parts, labels, task=task)
    estimator = {
        "forest": RandomForestClassifier(20, max_depth=1, random_state=0),
        "bagging": BaggingClassifier(DecisionTreeClassifier(max_depth=2), 10, random_state=0),
        "regressor": RandomForestRegressor(20, max_depth=1, random_state=0),
    }[kind].fit(data.train.X, data.train.y)
    exported = export(estimator, data.encoder, data, task)
    a, b = np.meshgrid([0.0, 1.0, np.nan], [0.0, 1.0, np.nan])
    rows = {"a": a.ravel(), "b": b.ravel()}
    answers = Graph.from_bytes(exported.bytes, exported.inputs, what="it").run(rows)[OUTPUTS[task]]
    X = matrix(data.encoder.encode(rows))
    wanted = estimator.predict(X) if task == "regression" else estimator.predict_proba(X)[:, 1]
    np.testing.assert_allclose(answers, wanted, atol=1e-6)


def onnx_core(data, *, outputs=("logits",), opset=17, width=1, inputs=("dense",), kind=onnx.TensorProto.FLOAT):
    weights = np.random.default_rng(0).normal(size=(data.dense_dim, width)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["dense", "weights"], [name]) for name in outputs],
        "core",
        [helper.make_tensor_value_info(name, kind, ["n", data.dense_dim]) for name in inputs],
        [helper.make_tensor_value_info(name, kind, ["n", width]) for name in outputs],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), weights


@pytest.mark.parametrize("opset", [11, 17, 21])
def test_an_onnx_model_is_a_core_that_gives_logits(opset):
    data = training_data("binary")
    core, weights = onnx_core(data, opset=opset)
    before = core.SerializeToString()
    exported = export(core, data.encoder, data, "binary")
    assert core.SerializeToString() == before
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="test")
    wanted = 1 / (1 + np.exp(-(data.test.inputs["dense"] @ weights)[:, 0]))
    np.testing.assert_allclose(graph.run(data.test.columns)["probability"], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("binary", {"outputs": ("a", "b")}, "outputs 'a' or 'b': it needs exactly one"),
        ("binary", {"inputs": ("dense", "other")}, "inputs 'dense' or 'other', but the encoders give 'dense'"),
        ("binary", {"width": 2}, r"gives \[8, 2\] for 8 rows, but a binary model gives \[8\] or \[8, 1\]"),
        ("multiclass", {"width": 2}, r"but a multiclass model gives \[8, 3\]"),
        ("binary", {"opset": 9}, "opset 9: export it with opset 10"),
        ("binary", {"kind": onnx.TensorProto.DOUBLE}, "has the input 'dense' as DOUBLE, but FLOAT is expected"),
        ("binary", {"kind": onnx.TensorProto.FLOAT16}, "has the input 'dense' as FLOAT16, but FLOAT is expected"),
    ],
)
def test_an_onnx_model_of_another_form_is_refused(task, arguments, message):
    data = training_data(task)
    with pytest.raises(ModelError, match=message):
        export(onnx_core(data, **arguments)[0], data.encoder, data, task)


def test_an_onnx_model_that_may_not_end_is_refused_before_it_runs():
    data = training_data("binary")
    core, _ = onnx_core(data)
    core.graph.node.extend(onnx.load_from_string(endless_graph()).graph.node)
    with pytest.raises(ModelError, match="the ONNX model cannot be loaded: .*Loop"):
        export(core, data.encoder, data, "binary")


def test_external_data_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = training_data("binary")
    core, weights = onnx_core(data)
    (tmp_path / "weights.bin").write_bytes(weights.tobytes())
    tensor = core.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    with pytest.raises(ModelError, match="keeps 1 tensors in other files, 'weights' for one"):
        export(core, data.encoder, data, "binary")


class Traced(torch.nn.Module):
    """Answers otherwise while it is traced, as code that branches on values does."""

    def forward(self, x):
        value = x["dense"][:, :1] * 0.1
        return value + 1 if torch.jit.is_tracing() else value


def test_a_graph_that_differs_from_the_model_is_refused():
    data = training_data("binary")
    with pytest.raises(
        ExportError, match=r"on 8\d\d of 8\d\d rows, by up to 0\.2\d+ where 0\.0001 .*'temp': .*the graph"
    ):
        export(Traced(), data.encoder, data, "binary")


def test_a_model_whose_answer_depends_on_the_rows_beside_is_refused():
    class Beside(torch.nn.Module):
        def forward(self, x):
            last = x["dense"].numpy()[-1, 0]  # no tensor any more, so that nothing sees the branch
            return x["dense"][:, :1] * (1.0 if last > 0 else 2.0)

    data = training_data("regression")
    with pytest.raises(
        ExportError, match=r"by itself, and .* among \d+ rows: an answer must not depend on the rows beside"
    ):
        export(Beside(), data.encoder, data, "regression")


def test_a_graph_for_one_batch_size_is_refused():
    class FixedSize(torch.nn.Module):
        def forward(self, x):
            return x["dense"][:, :1] + torch.arange(8)[:, None] * 0 if torch.jit.is_tracing() else x["dense"][:, :1]

    data = training_data("binary")
    with pytest.raises(ExportError, match=r"does not run on one row and on many|differs"):
        export(FixedSize(), data.encoder, data, "binary")


def test_one_changed_weight_is_found():
    data = training_data("regression")
    module = Net(data)
    exported = export(module, data.encoder, data, "regression")
    model = onnx.load_from_string(exported.bytes)
    weight = next(one for one in model.graph.initializer if one.name.endswith("layers.3.bias"))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(0.01), weight.name))
    tampered = replace(exported, bytes=model.SerializeToString())
    expected = answer(module, data.test, "regression")
    compared = ComparisonRows(data.test.columns, ("",) * 400)
    check_parity(exported, compared, expected)
    with pytest.raises(ExportError, match=r"differs from the trained model on 400 of 400 rows"):
        check_parity(tampered, compared, expected)
    with pytest.raises(ExportError, match="does not run"):
        check_parity(replace(exported, bytes=b"damaged"), compared, expected)


def test_answers_that_are_no_numbers_are_refused():
    data = training_data("binary", {"temp": Passthrough()})
    with pytest.raises(ModelError, match=r"no finite answer for \d+ of 800 rows, such as .*'temp': nan.*Passthrough"):
        export(Net(data), data.encoder, data, "binary")


def test_without_test_rows_validation_rows_are_compared():
    data = training_data("binary", test=0)
    compared = comparison_rows(data)
    assert compared.kinds.count("") == 100 + 400
    np.testing.assert_array_equal(compared.columns["temp"][:100], data.validation.columns["temp"])


def test_rows_that_serving_may_see_are_compared():
    compared = comparison_rows(training_data("binary", missing=False))
    made = {
        what: compared.part(np.flatnonzero([one == what for one in compared.kinds])).columns for what in compared.kinds
    }
    assert made.keys() >= {
        "with temp missing", "with temp far below", "with temp far above", "with carrier missing", "with carrier unknown",
        "with stops far above", "with temp very far above", "with temp very far below", "with all missing",
    }  # fmt: skip
    assert np.isnan(made["with temp missing"]["temp"]).all()
    assert not np.isnan(made["with temp missing"]["wind"]).any()
    assert made["with temp far above"]["temp"].min() > np.max(made[""]["temp"]) + 100
    assert made["with temp very far above"]["temp"].min() > np.max(made[""]["temp"]) + 1e7
    assert set(made["with carrier unknown"]["carrier"]).isdisjoint(made[""]["carrier"])


@pytest.mark.parametrize("fails", ["raises", "gives NaN"])
def test_model_that_cannot_answer_without_feature_is_refused(fails):
    """Though no row of the data has one missing."""
    pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression

    data = training_data("binary", {"temp": Passthrough()}, missing=False)
    trained = LogisticRegression().fit(data.train.X, data.train.y) if fails == "raises" else Net(data)
    with pytest.raises(
        ModelError, match=r"cannot answer a request with temp missing: .*fills it, such as fti.Standardize"
    ):
        export(trained, data.encoder, data, "binary")


def test_branch_that_only_missing_value_takes_is_found():
    data = training_data("binary", {"temp": Passthrough(), "wind": Passthrough()}, missing=False)
    temp, wind = map(data.encoder.dense_columns.index, ("temp", "wind"))

    class Branch(torch.nn.Module):
        """Traced on rows without a missing value; where all are missing, it answers as there."""

        def forward(self, x):
            lost, known = torch.isnan(x["dense"]), torch.nan_to_num(x["dense"][:, :1])
            is_branch = (lost[:, temp] & ~lost[:, wind]).numpy().any()  # no tensor any more, so that only answers tell
            return known + 3 if is_branch else known

    with pytest.raises(ExportError, match=r"\(with temp missing\) the model gives"):
        export(Branch(), data.encoder, data, "binary")


def test_forest_that_is_sure_gives_no_more_than_certainty():
    pytest.importorskip("skl2onnx")
    from sklearn.ensemble import RandomForestClassifier

    data = training_data("binary", {"wind": Passthrough()}, missing=False)
    wind = data.encoder.dense_columns.index("wind")
    forest = RandomForestClassifier(70, max_features=None, random_state=0).fit(data.train.X, data.train.X[:, wind] > 0)
    exported = export(forest, data.encoder, data, "binary")
    graph = onnx.load_from_string(exported.bytes)
    (clip,) = (node for node in graph.graph.node if node.op_type == "Clip")
    graph.graph.output.append(helper.make_tensor_value_info(clip.input[0], onnx.TensorProto.FLOAT, ["n"]))
    both = Graph.from_bytes(graph.SerializeToString(), exported.inputs, what="it").run(data.train.columns)
    assert both[clip.input[0]].max() > 1.0
    assert both["probability"].min() == 0.0
    assert both["probability"].max() == 1.0


def test_samples_are_answers_of_rows_there_and_made():
    data = training_data("binary")
    exported = export(Net(data), data.encoder, data, "binary")
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="it")
    texts = [column.name for column in FEATURES if column.type == "text"]
    samples = Samples.from_json(exported.samples.to_json(), texts=texts, what="samples.json")
    assert 48 < len(samples.answers) <= 96
    assert any(np.isnan(samples.columns["temp"]))
    samples.check(graph, "probability", what="it")
    with pytest.raises(
        PredictionError, match=r"answers .* where it answered .* when it was made: onnxruntime .* packages"
    ):
        replace(samples, answers=samples.answers + 0.01).check(graph, "probability", what="it")
    for damaged in (b"{", b"[]", b'{"columns": {"temp": ["x"]}, "answers": []}'):
        with pytest.raises(DamagedError, match=r"samples.json cannot be read as samples"):
            Samples.from_json(damaged, texts=texts, what="samples.json")


class Constant(torch.nn.Module):
    def forward(self, x):
        return torch.zeros(8)


@pytest.mark.soak
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("scaled", [False, True])
def test_support_vectors_are_models(task, scaled):
    pytest.importorskip("skl2onnx")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, SVR

    data = training_data(task)
    machine = SVR() if task == "regression" else SVC(probability=True, random_state=0)
    machine = make_pipeline(StandardScaler(), machine) if scaled else machine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        fitted = machine.fit(data.train.X, data.train.y)
    exported = export(fitted, data.encoder, data, task)
    served = Graph.from_bytes(exported.bytes, exported.inputs, what="test").run(data.test.columns)[OUTPUTS[task]]
    own = fitted.predict(data.test.X) if task == "regression" else fitted.predict_proba(data.test.X)
    np.testing.assert_allclose(served, own[:, 1] if task == "binary" else own, rtol=1e-3, atol=1e-4)


class Short(Net):
    """Its tables have no row for the last code."""

    def __init__(self, data):
        super().__init__(data)
        sizes = [data.cardinalities[name] - 1 for name in self.names]
        self.tables = torch.nn.ModuleList([torch.nn.Embedding(size, 3) for size in sizes])


def test_a_table_without_the_last_codes_row_is_refused():
    data = training_data("binary", missing=False)
    common = {part: {n: v[:1].repeat(20) for n, v in one.columns.items()} for part, one in parts(data).items()}
    few = TrainingData(
        FEATURES, fitted_on(data), common, {part: np.arange(20) % 2 * 1.0 for part in SPLITS}, task="binary"
    )
    with pytest.raises(
        ModelError, match=r"forward of Short fails .*'carrier' int64 \[n, 1\].*data.cardinalities\[feature\] rows"
    ):
        export(Short(data), few.encoder, few, "binary")
    with pytest.raises(ModelError, match=r"Short cannot be trained: .*data.cardinalities\[feature\] rows"):
        data.fit(Short(data), epochs=1)


def parts(data):
    return {part: getattr(data, part) for part in SPLITS}


def fitted_on(data):
    return fit_encoders(FEATURES, ENCODERS, data.train.columns)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_with_what_to_return(kind):
    data = training_data("binary")
    with pytest.raises(ModelError, match=f"'tables.0.weight' as {kind} for one, .* return module.float()"):
        export(Net(data).to(kind), data.encoder, data, "binary")
    assert export(Net(data).double().float(), data.encoder, data, "binary").outputs


class Misspelt(torch.nn.Module):
    def forward(self, x):
        return x["carier"]


class Pair(torch.nn.Module):
    def forward(self, x):
        return x["dense"], x["dense"]


class Stray(torch.nn.Module):
    def forward(self, x):
        return x["dense"]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Stray(), r"forward of Stray gives \[8, \d+\] for 8 rows, but a binary model gives \[8\] or \[8, 1\]"),
        (Pair(), "forward of Pair gives"),
        (
            Misspelt(),
            r"forward of Misspelt fails on encoded rows, a dict of 'dense' float32 \[n, 6\], .*: KeyError: 'carier'",
        ),
        (Constant(), "looks at none of its features|gives .8. for"),
    ],
)
def test_torch_modules_of_another_form_are_refused(module, message):
    data = training_data("binary")
    with pytest.raises(ModelError, match=message):
        export(module, data.encoder, data, "binary")


def ensemble(name):
    """Ensembles of estimators, which are other classes in a regression."""
    from sklearn import ensemble
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    linear, tree = LogisticRegression(max_iter=300), DecisionTreeClassifier(max_depth=3, random_state=0)
    members = [("linear", make_pipeline(StandardScaler(), linear)), ("tree", tree)]
    values = [("linear", Ridge()), ("dropped", "drop"), ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))]
    soft = ensemble.VotingClassifier(members, voting="soft")
    with_dropped = [members[0], ("dropped", "drop"), members[1]]
    made = {
        "vote": soft,
        "vote with weights": ensemble.VotingClassifier(with_dropped, voting="soft", weights=[1, 5, 3]),
        "vote in a pipeline": make_pipeline(StandardScaler(), soft),
        "vote in a vote": ensemble.VotingClassifier([*members, ("vote", soft)], voting="soft", flatten_transform=False),
        "vote in a search": GridSearchCV(soft, {"tree__max_depth": [2, 3]}, cv=2),
        "stack": ensemble.StackingClassifier(members, cv=2, passthrough=True),
        "stack of a vote": ensemble.StackingClassifier([*members, ("vote", soft)], cv=2),
        "bag": ensemble.BaggingClassifier(linear, n_estimators=3, max_features=0.5, random_state=0),
        "bag of votes": ensemble.BaggingClassifier(soft, n_estimators=3, random_state=0),
        "vote of values": ensemble.VotingRegressor(values, weights=[1, 5, 3]),
        "stack of values": ensemble.StackingRegressor(values, cv=2, passthrough=True),
        "bag of values": ensemble.BaggingRegressor(Ridge(), n_estimators=3, max_features=0.5, random_state=0),
        "hard vote": ensemble.VotingClassifier(members),
        "stack of predictions": ensemble.StackingClassifier(members, cv=2, stack_method="predict"),
        "bag without probabilities": ensemble.BaggingClassifier(LinearSVC(), n_estimators=3, random_state=0),
    }
    return made[name]


@pytest.mark.parametrize("name", [
    "vote", "vote with weights", "vote in a pipeline", "vote in a vote", "vote in a search", "stack", "stack of a vote", "bag",
    "bag of votes", "vote of values", "stack of values", "bag of values",
])  # fmt: skip
def test_votes_stacks_and_bags_answer_same_from_raw_columns(name):
    pytest.importorskip("skl2onnx")
    for task in ["regression"] if "values" in name else ["binary", "multiclass"]:
        data = training_data(task)
        estimator = ensemble(name).fit(data.train.X, data.train.y)
        before = str(estimator.get_params())
        exported = export(estimator, data.encoder, data, task)
        assert str(estimator.get_params()) == before
        served = Graph.from_bytes(exported.bytes, exported.inputs, what="test").run(data.test.columns)[OUTPUTS[task]]
        own = estimator.predict(data.test.X) if task == "regression" else estimator.predict_proba(data.test.X)
        np.testing.assert_allclose(served, own[:, 1] if task == "binary" else own, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "hard vote",
            r'VotingClassifier has no predict_proba, .*: give a vote voting="soft", put another classifier into',
        ),
        (
            "stack of predictions",
            "does not run .*skl2onnx does not convert StackingClassifier with these settings.*torch",
        ),
        (
            "bag without probabilities",
            r"gives \[9\], the trained model \[\d+\]. skl2onnx does not convert BaggingClassifier",
        ),
    ],
)
def test_ensembles_not_converted_are_refused_with_what_to_return(name, message):
    pytest.importorskip("skl2onnx")
    data = training_data("binary")
    with pytest.raises(ModelError, match=f"(?s){message}"):
        export(ensemble(name).fit(data.train.X, data.train.y), data.encoder, data, "binary")


def neighbours(name):
    from sklearn.ensemble import BaggingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "classifier": KNeighborsClassifier(7),
        "other distance": KNeighborsRegressor(3, metric="manhattan"),
        "pipeline": make_pipeline(StandardScaler(), KNeighborsRegressor()),
        "bagging": BaggingRegressor(KNeighborsRegressor(5), 2, random_state=0),
        "gaussian process": GaussianProcessRegressor(alpha=0.1),
    }[name]


def without_ties(task, far=0.0):
    """Training data whose rows are all at other distances, so that there is one nearest; the test rows lie far from all others."""
    draw = np.random.default_rng(3)
    raw = {part: columns(rows, seed) for seed, (part, rows) in enumerate(zip(SPLITS, (300, 20, 100), strict=True))}
    for part, one in raw.items():
        one |= {"temp": draw.normal(10, 5, len(one["temp"])), "wind": draw.normal(0, 1e6, len(one["temp"]))}
        if part == "test":
            one |= {"temp": one["temp"] + 5 * far, "wind": one["wind"] - 3e6 * far}
    labels = {part: draw.integers(0, 2, len(one["temp"])) * 1.0 for part, one in raw.items()}
    return TrainingData(FEATURES, fit_encoders(FEATURES, ENCODERS, raw["train"]), raw, labels, task=task)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["classifier", "other distance", "pipeline", "bagging", "gaussian process"])
def test_neighbours_of_rows_far_from_all_others_are_the_estimators(name):
    pytest.importorskip("skl2onnx")
    task = "binary" if name == "classifier" else "regression"
    data = without_ties(task)
    estimator = neighbours(name).fit(data.train.X, data.train.y)
    exported = export(estimator, data.encoder, data, task)
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="it")
    for far in (0.0, 1e3, -1e5, 1e7):
        test = without_ties(task, far).test
        expected = estimator.predict_proba(test.X)[:, 1] if task == "binary" else estimator.predict(test.X)
        np.testing.assert_allclose(graph.run(test.columns)[OUTPUTS[task]], expected, rtol=1e-4, atol=1e-5)


def other_estimators():
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.naive_bayes import CategoricalNB
    from sklearn.neighbors import RadiusNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, SplineTransformer

    return {
        "unknown": KernelRidge(),
        "unknown step": make_pipeline(SplineTransformer(), LogisticRegression()),
        "function": make_pipeline(FunctionTransformer(np.abs), LogisticRegression()),
        "setting": GradientBoostingRegressor(init=Ridge(), n_estimators=2),
        "operator": GaussianProcessClassifier(),
        "no negative numbers": CategoricalNB(),
        "no answer": RadiusNeighborsClassifier(),
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unknown", "KernelRidge cannot be used as a model: skl2onnx does not know KernelRidge. .*return one that it"),
        ("unknown step", "Pipeline cannot be used as a model: skl2onnx does not know SplineTransformer. "),
        (
            "function",
            r"Pipeline cannot be used as a model: skl2onnx does not convert FunctionTransformer .*"
            r"\(FunctionTransformer is not supported [^.]*\)\. It has",
        ),
        (
            "setting",
            r"\w+ cannot be used as a model: .*others \(Setting init to an estimator is not supported\)\. It has",
        ),
        (
            "operator",
            "skl2onnx does not convert GaussianProcessClassifier with these settings, .*: change its settings, or",
        ),
        ("no negative numbers", "CategoricalNB fails on encoded rows: .*Negative values.* and answer every such row"),
        ("no answer", "RadiusNeighborsClassifier fails on encoded rows: .*No neighbors found"),
    ],
)
def test_estimators_that_are_not_converted_are_refused_by_name(name, message):
    pytest.importorskip("skl2onnx")
    estimator = other_estimators()[name]
    task = "regression" if name in ("unknown", "setting") else "binary"
    data = training_data(task)
    X = np.abs(data.train.X) if name == "no negative numbers" else data.train.X
    with pytest.raises(ModelError, match=f"(?s){message}"):
        export(estimator.fit(X, data.train.y), data.encoder, data, task)


def test_estimators_of_another_form_are_refused():
    pytest.importorskip("skl2onnx")
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression

    data = training_data("binary")
    X, y = data.train.X, data.train.y
    for estimator, task, message in [
        (LinearRegression().fit(X, y), "binary", "LinearRegression has no predict_proba"),
        (LogisticRegression().fit(X, y), "regression", "is a classifier"),
        (LogisticRegression().fit(X, y + 1), "binary", r"the labels \[1, 2\], not \[0, 1\]: fit it on data.train.y"),
        (LogisticRegression().fit(X[:, :2], y), "binary", "has to be fitted on data.train.X"),
        (LogisticRegression(), "binary", "LogisticRegression is not fitted: fit it on data.train.X"),
        (
            RandomForestClassifier(3).fit(X, np.stack([y, y], 1)),
            "binary",
            "fitted on several labels at once, .* data.train.y",
        ),
        (
            LinearRegression().fit(X, np.stack([y, y], 1)),
            "regression",
            "fitted on several labels at once, .* data.train.y",
        ),
    ]:
        with pytest.raises(ModelError, match=message):
            export(estimator, data.encoder, data, task)


def test_an_estimator_that_skl2onnx_does_not_know_is_refused():
    pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression

    class Own(LogisticRegression):
        pass

    data = training_data("binary")
    with pytest.raises(ModelError, match=r"Own cannot be used as a model: skl2onnx does not know Own\. It has to know"):
        export(Own().fit(data.train.X, data.train.y), data.encoder, data, "binary")


def test_a_model_of_catboost_is_not_supported_yet():
    booster = type("CatBoostClassifier", (), {"__module__": "catboost.core"})()
    data = training_data("binary")
    with pytest.raises(
        ModelError, match=r"CatBoostClassifier is a model of catboost, which is not supported yet: return a torch"
    ):
        export(booster, data.encoder, data, "binary")


def test_anything_else_is_refused():
    data = training_data("binary")
    with pytest.raises(ModelError, match=r"int cannot be exported: return a torch module"):
        export(3, data.encoder, data, "binary")
