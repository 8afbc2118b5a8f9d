import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import Column, GraphInput
from fti_assets.core.types.columns import canonical
from fti_assets.errors import DataError, ModelError
from fti_assets.training.encoders import graph as encoder_graph
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.graph import build_encoder
from fti_assets.training.encoders.kinds.categories import Embedding, FittedEmbedding, FittedOneHot, OneHot
from fti_assets.training.encoders.kinds.scales import FittedPassthrough, FittedStandardize, Passthrough, Standardize
from tests.support.examples import examples

TEXT = st.one_of(st.just(""), st.sampled_from(["a", "b", "A", "a ", "é", "a\0b", "日本"]), st.text(max_size=5))
NUMBER = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(-100, 100))
INTEGER = st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**63), 2**63))
VALUES = {"text": TEXT, "number": NUMBER, "integer": INTEGER, "boolean": st.sampled_from([None, True, False])}
ENCODERS = {
    "text": [OneHot(), OneHot(2), Embedding(), Embedding(2)],
    "number": [Standardize(), Standardize(dtype="float64"), Passthrough()],
    "integer": [Standardize(), Standardize(dtype="float64"), Passthrough(), OneHot(2), Embedding()],
    "boolean": [Standardize(), OneHot(), Embedding()],
}


def expected(features, fitted, columns):
    """Plain numpy and Python, a value at a time."""
    rows = len(columns[features[0].name])
    dense, codes = [], {}
    for column in features:
        encoder, values = fitted[column.name], columns[column.name]
        if isinstance(encoder, FittedStandardize | FittedPassthrough):
            with np.errstate(all="ignore"):
                double = isinstance(encoder, FittedStandardize) and encoder.dtype == "float64"
                scaled = values if double else values.astype(np.float32)
                if double:
                    scaled = ((scaled - encoder.mean) / encoder.std).astype(np.float32)
                    scaled[~np.isfinite(scaled)] = 0
                elif isinstance(encoder, FittedStandardize):
                    scaled = (scaled - np.float32(encoder.mean)) / np.float32(encoder.std)
                    scaled[~np.isfinite(scaled)] = 0
            dense.append(scaled)
            continue
        known = [value if column.type == "text" else float(value) for value in encoder.categories]
        positions = [known.index(value) if value in known else -1 for value in values.tolist()]
        if isinstance(encoder, FittedOneHot):
            dense.extend(np.array([position == at for position in positions], np.float32) for at in range(len(known)))
        else:
            codes[column.name] = np.array(positions, np.int64).reshape(rows, 1) + 1
    return {"dense": np.stack(dense, axis=1) if dense else np.empty((rows, 0), np.float32), **codes}


@st.composite
def views(draw):
    types = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=5))
    features = [Column(f"f{at}", kind) for at, kind in enumerate(types)]
    encoders = {column.name: draw(st.sampled_from(ENCODERS[column.type])) for column in features}
    train, serve = (
        {
            column.name: canonical(draw(st.lists(VALUES[column.type], min_size=rows, max_size=rows)), column.type)
            for column in features
        }
        for rows in (draw(st.integers(0, 8)), draw(st.integers(0, 6)))
    )
    return features, encoders, train, serve


@settings(max_examples=examples(150))
@given(views())
def test_graph_encodes_as_plain_numpy_does(view):
    features, encoders, train, serve = view
    merged = any(
        column.type == "integer"
        and isinstance(encoders[column.name], OneHot | Embedding)
        and (np.abs(train[column.name]) >= 2**53).any()
        for column in features
    )
    with np.errstate(over="ignore"):
        overflows = any(
            isinstance(encoders[column.name], Passthrough)
            and (np.isfinite(train[column.name]) & np.isinf(train[column.name].astype(np.float32))).any()
            for column in features
        )
    if overflows and not merged:
        with pytest.raises(ModelError, match="beyond 3.4e38"):
            fit_encoders(features, encoders, train)
        return
    if merged:  # as categories, numbers that float64 cannot tell apart
        with pytest.raises(ModelError, match="cannot be told from their neighbours|beyond 3.4e38"):
            fit_encoders(features, encoders, train)
        return
    fitted = fit_encoders(features, encoders, train)
    model = build_encoder(features, fitted)
    for columns in (train, serve):
        encoded, wanted = model.encode(columns), expected(features, fitted, columns)
        assert encoded.keys() == wanted.keys()
        for name, values in wanted.items():
            assert encoded[name].dtype == values.dtype
            assert encoded[name].shape == values.shape
            np.testing.assert_allclose(encoded[name], values, rtol=1e-6)
    assert model.dense_dim == wanted["dense"].shape[1]
    assert model.cardinalities == {
        name: len(one.categories) + 1 for name, one in fitted.items() if isinstance(one, FittedEmbedding)
    }


FEATURES = [
    Column("origin", "text"),
    Column("temp", "number"),
    Column("carrier", "text"),
    Column("wind", "number"),
    Column("stops", "integer"),
]
FITTED = {
    "origin": FittedOneHot(("EWR", "JFK")),
    "temp": FittedStandardize(10.0, 5.0),
    "carrier": FittedEmbedding(("UA", "AA")),
    "wind": FittedPassthrough(),
    "stops": FittedOneHot((1, 2)),
}


def columns(rows):
    return {
        "origin": canonical(["JFK", "LGA", ""] * rows, "text"),
        "temp": canonical([20, None, 5] * rows, "number"),
        "carrier": canonical(["AA", "ZZ", ""] * rows, "text"),
        "wind": canonical([3, None, -1] * rows, "number"),
        "stops": canonical([2, 7, None] * rows, "integer"),
    }


def test_dense_holds_numbers_and_one_hots_in_order_of_features():
    model = build_encoder(FEATURES, FITTED)
    encoded = model.encode(columns(1))
    assert model.dense_columns == ("origin=EWR", "origin=JFK", "temp", "wind", "stops=1", "stops=2")
    np.testing.assert_array_equal(encoded["dense"], [[0, 1, 2, 3, 0, 1], [0, 0, 0, np.nan, 0, 0], [0, 0, -1, -1, 0, 0]])
    assert encoded["carrier"].tolist() == [[2], [0], [0]]


def test_all_numbers_share_one_input():
    assert build_encoder(FEATURES, FITTED).inputs == (
        GraphInput("numbers", "float32", ("temp", "wind")),
        GraphInput("text.origin", "string", ("origin",)),
        GraphInput("text.carrier", "string", ("carrier",)),
        GraphInput("integer.stops", "int64", ("stops",)),
    )


def test_without_numbers_there_is_no_input_for_them():
    model = build_encoder(FEATURES[2:3], FITTED)
    assert [one.name for one in model.inputs] == ["text.carrier"]
    assert model.encode(columns(1))["dense"].shape == (3, 0)


def test_chunks_give_what_one_run_gives(monkeypatch):
    model = build_encoder(FEATURES, FITTED)
    whole = model.encode(columns(7))
    monkeypatch.setattr(encoder_graph, "CHUNK_ROWS", 4)
    for name, values in model.encode(columns(7)).items():
        np.testing.assert_array_equal(values, whole[name])


def test_the_same_encoders_give_the_same_bytes():
    assert build_encoder(FEATURES, FITTED).graph == build_encoder(FEATURES, dict(FITTED)).graph


def test_the_graph_is_valid_and_holds_no_external_data():
    model = onnx.load_from_string(build_encoder(FEATURES, FITTED).graph)
    onnx.checker.check_model(model, full_check=True)
    assert all(one.data_location == onnx.TensorProto.DEFAULT for one in model.graph.initializer)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="needs the feature 'wind'; the columns are 'origin'"):
        build_encoder(FEATURES, FITTED).encode({name: values for name, values in columns(1).items() if name != "wind"})
