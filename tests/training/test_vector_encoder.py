"""Vectors as features: the encoder's graph beside numpy, and what frames, boosters and checks of a declaration make of them."""

from dataclasses import asdict, replace
from json import dumps

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression

from fti_assets.core.manifest import Column
from fti_assets.core.records import from_json
from fti_assets.core.types.vectors import vectors
from fti_assets.errors import DataError, DeclarationError, ModelError
from fti_assets.inference.serving.explanations.build_explanations import BuildExplanations
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.encoders.declarations import check_encoders
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.graph import build_encoder
from fti_assets.training.encoders.kinds.scales import Standardize
from fti_assets.training.encoders.kinds.vectors import FittedVector, Vector
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.graphs.export import export
from tests.support.examples import examples

FEATURES = [Column("x", "number"), Column("v", "vector"), Column("z", "number")]
NUMBERS = st.none() | st.floats(width=32) | st.sampled_from([1e300, -1e300, 3.4028235677973366e38])


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.none() | st.lists(NUMBERS, min_size=3, max_size=3), max_size=6),
    st.sampled_from(["zero", "nan"]),
    st.booleans(),
)
def test_the_graph_gives_what_numpy_does(values, missing, flag):
    column = Column("v", "vector")
    fitted = fit_encoders([column], {"v": Vector(dim=3, missing=missing, flag=flag)}, {"v": vectors([[1, 2, 3]])})
    assert from_json(FittedVector, dumps(asdict(fitted["v"])), what="encoder") == fitted["v"]
    model = build_encoder([column], fitted)
    dense = model.encode({"v": vectors(values)})["dense"]
    with np.errstate(over="ignore"):
        rows = [
            [np.nan] * 3 if one is None else [np.nan if number is None else number for number in one] for one in values
        ]
        numbers = np.array(rows, dtype=np.float64).astype(np.float32).reshape(-1, 3)
    is_there = np.isfinite(numbers)
    expected = np.where(is_there, numbers, np.float32(0 if missing == "zero" else np.nan))
    if flag:
        expected = np.hstack([expected, (~is_there).any(axis=1, keepdims=True)])
    np.testing.assert_array_equal(dense, expected.astype(np.float32))
    assert model.dense_columns == ("v:0", "v:1", "v:2", *(["v:missing"] if flag else []))


def rows_of(count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    own = [None if place % 7 == 3 else rng.normal(size=4).astype(np.float32) for place in range(count)]
    own[1][2] = np.nan
    return {"x": rng.normal(size=count), "v": vectors(own), "z": rng.normal(size=count)}


@pytest.fixture(scope="module")
def data() -> TrainingData:
    parts = {part: rows_of(60, seed) for seed, part in enumerate(("train", "validation", "test"))}
    labels = {name: np.array([float(v is not None and v[0] > 0) for v in part["v"]]) for name, part in parts.items()}
    encoders = fit_encoders(FEATURES, {"v": Vector(dim=4)}, parts["train"])
    return TrainingData(FEATURES, encoders, parts, labels, task="binary")


def test_a_linear_model_explains_the_vector_as_one(data):
    exported = export(LogisticRegression().fit(data.train.X, data.train.y), data.encoder, data, "binary")
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="graph")
    background = {name: values[:20] for name, values in data.test.columns.items()}
    types = {column.name: column.type for column in FEATURES}
    explain = BuildExplanations(graph, "probability", None, background, types=types, classes=None, has_scores=True)
    raw = {"x": 0.5, "v": [1.0, None, 2.0, 0.0], "z": -1.0}
    answer = graph.run({"x": np.array([0.5]), "v": vectors([raw["v"]]), "z": np.array([-1.0])})["probability"][0]
    for of, worth in ((True, answer), ("score", np.log(answer / (1 - answer)))):
        explanation = explain.explain(raw, of)
        assert list(explanation.contributions) == ["x", "z", "v"]
        assert explanation.exact
        assert explanation.base + sum(explanation.contributions.values()) == pytest.approx(worth, abs=1e-4)
    assert abs(explanation.contributions["v"]) > abs(explanation.contributions["x"])


def test_boosters_learn_from_named_columns_with_nan(data):
    frame = data.train.frame
    assert list(frame) == ["x", "v_0", "v_1", "v_2", "v_3", "z"]
    assert np.isnan(frame["v_0"].to_numpy()[3])
    trained = LGBMClassifier(n_estimators=3, min_child_samples=5, verbose=-1).fit(frame, data.train.y)
    graph = Graph.from_bytes((made := export(trained, data.encoder, data, "binary")).bytes, made.inputs, what="graph")
    expected = trained.predict_proba(data.test.frame)[:, 1]
    np.testing.assert_allclose(graph.run(data.test.columns)["probability"], expected, atol=1e-6)


def test_another_length_is_named_wherever_it_comes_up(data):
    with pytest.raises(
        ModelError, match=r"the vector 'v' has 3 numbers by its fti.Vector\(dim=3\), but another count in 51 of 60"
    ):
        fit_encoders(FEATURES, {"v": Vector(dim=3)}, data.train.columns)
    rows = {**rows_of(2, 0), "v": vectors([[1, 2, 3, 4], [1, 2]])}
    with pytest.raises(DataError, match="the vector 'v' has 2 numbers in row 1, where 4 numbers are expected"):
        data.encoder.encode(rows)


def test_a_vector_needs_its_own_encoder():
    with pytest.raises(
        DeclarationError, match=r"feature 'v' is a list of numbers and has no encoder.*fti.Vector\(dim=384\)"
    ):
        check_encoders(FEATURES, {})
    with pytest.raises(DeclarationError, match=r"Standardize does not fit 'v', a vector column: use fti.Vector\(...\)"):
        check_encoders(FEATURES, {"v": Standardize()})
    with pytest.raises(DeclarationError, match="Vector does not fit 'x', a number column"):
        check_encoders(FEATURES, {"x": Vector(dim=2), "v": Vector(dim=2)})
    for wrong in ({"dim": 0}, {"dim": 70_000}, {"dim": 2.5}, {"dim": 2, "missing": "mean"}):
        with pytest.raises(DeclarationError):
            Vector(**wrong)


def test_vector_inputs_have_a_dim_in_the_manifest(data):
    own = next(one for one in data.encoder.inputs if one.name == "vector.v")
    assert (own.type, own.features, own.dim, own.width) == ("float32", ("v",), 4, 4)
    assert replace(own, dim=None).width == 1
