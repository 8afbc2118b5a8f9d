"""Each encoder's graph beside scikit-learn, numpy or the formula, on rows that serving may see."""

import warnings
from dataclasses import asdict, replace
from json import dumps

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import (
    MinMaxScaler,
    OrdinalEncoder,
    QuantileTransformer,
    RobustScaler,
    TargetEncoder,
)
from sklearn.utils import murmurhash3_32

from fti_assets.core.manifest import Column
from fti_assets.core.records import from_json
from fti_assets.core.types import MISSING_INTEGER
from fti_assets.core.types.columns import canonical, whole_numbers
from fti_assets.errors import DeclarationError, ModelError
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.encoders.declarations import check_encoder, check_encoders
from fti_assets.training.encoders.encoders import fit, fit_encoders
from fti_assets.training.encoders.graph import build_encoder
from fti_assets.training.encoders.kinds.buckets import Bucketize, FittedBucketize
from fti_assets.training.encoders.kinds.categories import Hashing, OneHot, Ordinal
from fti_assets.training.encoders.kinds.curves import Clip, Cyclical, Log1p, Quantile
from fti_assets.training.encoders.kinds.scales import Impute, MinMax, Robust, Standardize, quantiles_of
from fti_assets.training.encoders.kinds.targets import Target, cross_fitted, folds_of
from fti_assets.training.encoders.words import encoder_in_words
from fti_assets.training.models.data import TrainingData, train_target
from fti_assets.training.models.graphs.export import export
from tests.support.examples import examples

FEW = st.sampled_from([None, -2.0, 0.0, 0.5, 1.0, 3.0])
NUMBERS = st.lists(st.one_of(FEW, st.floats(-1e4, 1e4, width=32), st.floats(width=32)), max_size=12)
TEXT = st.lists(st.sampled_from(["", "a", "b", "A", "é", "a\0b", "日本"]) | st.text(max_size=4), max_size=12)
WHOLE = st.lists(st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**52), 2**52)), max_size=12)

quiet = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")


def encode(encoder, train, serve, kind="number", target=None):
    """What the graph makes of values, fitted on others: ``dense``, or the code."""
    column = Column("f", kind)
    fitted = fit_encoders([column], {"f": encoder}, {"f": canonical(train, kind)}, target=target)
    assert from_json(type(fitted["f"]), dumps(asdict(fitted["f"]), allow_nan=False), what="encoder") == fitted["f"]
    model = build_encoder([column], fitted)
    arrays = model.encode({"f": canonical(serve, kind)})
    assert arrays["dense"].shape == (len(serve), len(model.dense_columns))
    return arrays.get("f", arrays["dense"])


def column(values):
    """Numbers as scikit-learn takes them: a column of float32 as float64, NaN where they are not finite."""
    numbers = canonical(values, "number").astype(np.float32).astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)[:, None]


def fitted_column(values):
    """The same to fit on, and whether there is anything."""
    numbers = column(values)
    return numbers, bool(np.isfinite(numbers).any())


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@settings(max_examples=examples(100))
@given(NUMBERS, NUMBERS)
def test_impute_is_scikit_learns(strategy, train, serve):
    constant = {"value": -7.5} if strategy == "constant" else {}
    numbers, some = fitted_column(train)
    imputer = SimpleImputer(strategy=strategy, fill_value=-7.5 if constant else None)
    fill = imputer.fit(numbers).statistics_[0] if some else constant.get("value", 0.0)
    expected = np.where(np.isnan(column(serve)), fill, column(serve))
    np.testing.assert_allclose(encode(Impute(strategy, **constant), train, serve), expected, rtol=1e-6, atol=1e-30)


@quiet
@pytest.mark.parametrize("encoder", [MinMax(), Robust()])
@settings(max_examples=examples(150))
@given(train=NUMBERS, serve=NUMBERS)
def test_scales_are_scikit_learns(encoder, train, serve):
    numbers, some = fitted_column(train)
    got = encode(encoder, train, serve)[:, 0]
    if not some:
        scale, shift, fill = 1.0, 0.0, 0.0
    elif isinstance(encoder, MinMax):
        oracle = MinMaxScaler().fit(numbers)
        shift, scale = oracle.data_min_[0], oracle.data_range_[0]
        fill = (np.nanmean(numbers) - shift) / scale if scale else 0.0
    else:
        oracle = RobustScaler().fit(numbers)
        shift, scale, fill = oracle.center_[0], np.diff(np.nanpercentile(numbers, [25, 75]))[0], 0.0
    x = column(serve)[:, 0]
    # Both divide a constant by 1; the graph what is constant in float32, and by no more than float32 has.
    scale = min(scale, float(np.finfo(np.float32).max)) if np.float32(scale) else 1.0
    x = np.where(np.isfinite(np.float32(x) - np.float32(shift)), x, np.nan)
    expected = (x - shift) / scale
    expected = np.where(np.isfinite(np.float32(expected)), expected, fill)
    # A shift that is no float32 is rounded to one.
    slack = 1e-6 * (np.nan_to_num(np.abs(x)) + abs(shift)) / scale + 1e-6
    assert (np.abs(got - expected) <= slack + 1e-5 * np.abs(expected)).all()
    inside = np.isfinite(x)
    # Beyond these scikit-learn divides by another number: by 1 what is below ten steps of float64, and by what no float32 holds.
    if some and 1e-14 < scale < 3e38 and inside.any():
        theirs = oracle.transform(x[inside][:, None])[:, 0]
        np.testing.assert_allclose(theirs, expected[inside], rtol=1e-4, atol=1e-4 * max(1.0, np.abs(expected).max()))


@quiet
@settings(max_examples=examples(150))
@given(NUMBERS, NUMBERS)
def test_log1p_is_the_logarithm_of_one_more(train, serve):
    numbers = column(train)
    mean = np.nanmean(np.log1p(numbers[numbers > -1])) if (numbers > -1).any() else 0.0
    x = column(serve)
    expected = np.log1p(np.where(x > -1, x, np.nan))
    got = encode(Log1p(), train, serve)
    np.testing.assert_allclose(got, np.where(np.isnan(expected), mean, expected), rtol=1e-5, atol=1e-15)


def test_log1p_of_a_small_number_is_that_number():
    np.testing.assert_allclose(encode(Log1p(), [0.0], [1e-12, -1e-9])[:, 0], [1e-12, -1e-9], rtol=1e-3)


@quiet
@pytest.mark.parametrize("encoder", [Clip(least=-1.0), Clip(most=0.5), Clip(-2.0, 2.0), Clip(quantiles=(0.1, 0.75))])
@settings(max_examples=examples(100))
@given(train=NUMBERS, serve=NUMBERS)
def test_clip_is_numpys(encoder, train, serve):
    numbers, some = fitted_column(train)
    least, most = encoder.least, encoder.most
    if encoder.quantiles and some:
        least, most = np.nanquantile(numbers, encoder.quantiles)
    low, high = -np.inf if least is None else least, np.inf if most is None else most
    raw = canonical(train, "number")
    clipped = np.clip(raw[~np.isnan(raw)], low, high)
    clipped = clipped[np.isfinite(clipped)]
    mean = clipped.mean() if len(clipped) else 0.0
    expected = np.clip(canonical(serve, "number"), low, high)
    expected = np.where(np.isfinite(expected), expected, mean)
    np.testing.assert_allclose(
        encode(encoder, train, serve)[:, 0], expected, rtol=1e-6, atol=1e-6 * np.abs(clipped).max(initial=0)
    )


@quiet
@pytest.mark.parametrize("quantiles", [2, 4, 100])
@settings(max_examples=examples(150))
@given(train=NUMBERS, serve=NUMBERS)
def test_quantile_is_scikit_learns(quantiles, train, serve):
    numbers, some = fitted_column(train)
    got = encode(Quantile(quantiles), train, [*serve, *train])[:, 0]
    x = canonical([*serve, *train], "number")
    if not some:
        assert (got == 0.5).all()
        return
    numbers = numbers[~np.isnan(numbers)]
    ranks = max(2, min(quantiles, len(numbers)))
    oracle = QuantileTransformer(n_quantiles=ranks, subsample=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # One value is no two quantiles to scikit-learn: as two of the same it is.
        oracle.fit(np.repeat(numbers, 1 + (len(numbers) < 2))[:, None])
    # Its quantiles at a value are that value but for a rounding, which makes two of one; in float32 they are one, and are so here.
    exact = quantiles_of(numbers, ranks - 1)
    np.testing.assert_allclose(oracle.quantiles_[:, 0], exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max())
    oracle.quantiles_ = np.maximum.accumulate(exact).astype(np.float32).astype(np.float64)[:, None]
    finite = np.isfinite(x)
    expected = np.full(len(x), 0.5)
    if finite.any():
        expected[finite] = oracle.transform(x[finite][:, None])[:, 0]
    expected[x == np.inf], expected[x == -np.inf] = 1.0, 0.0
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_what_is_above_a_constant_is_at_the_top():
    serve = np.array([3.0, 3.75, 3.8, 1e30])
    oracle = QuantileTransformer(n_quantiles=16).fit(np.full((16, 1), 3.75)).transform(serve[:, None])[:, 0]
    assert oracle.tolist() == [0.0, 0.0, 1.0, 1.0]
    got = encode(Quantile(), [3.75] * 16 + [None], [*serve, None, np.inf, -np.inf])[:, 0]
    assert got.tolist() == [*oracle, 0.5, 1.0, 0.0]


@settings(max_examples=examples(200))
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), st.integers(1, 9))
def test_quantiles_are_numpys(numbers, parts):
    got = quantiles_of(np.array(numbers), parts)
    np.testing.assert_allclose(got, np.quantile(numbers, np.arange(parts + 1) / parts), rtol=1e-9, atol=1e-9)
    every = quantiles_of(np.array(numbers), (len(numbers) - 1) or 1)
    assert set(every.tolist()) == set(numbers)


@quiet
@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_buckets_of_close_edges_have_names_of_their_own(edge):
    edges = (edge, float(np.nextafter(np.float32(edge), np.float32(np.inf))))
    assert len(set(FittedBucketize(edges).names("x"))) == 3


def test_names_of_buckets_have_the_digits_they_need():
    close, plain = FittedBucketize((1000000.0, 1000001.0)), FittedBucketize((0.5, 1e6))
    assert close.names("x") == ["x:..1000000", "x:1000000..1000001", "x:1000001.."]
    assert plain.names("x") == ["x:..0.5", "x:0.5..1e+06", "x:1e+06.."]


def test_edges_closer_than_nine_digits_have_names_of_their_own():
    edges = Bucketize(edges=(1.0000000596046447, 1.0000000596046449)).edges  # as float32 1 and the next number
    assert FittedBucketize(edges).names("x") == ["x:..1", "x:1..1.00000012", "x:1.00000012.."]


@pytest.mark.parametrize("encoder", [Bucketize(edges=(-1.0, 0.0, 3.5)), Bucketize(3), Bucketize(10)])
@settings(max_examples=examples(100))
@given(train=NUMBERS, serve=NUMBERS)
def test_bucketize_is_numpys_digitize(encoder, train, serve):
    edges = encoder.edges
    if edges is None:
        numbers = column(train)
        numbers = numbers[~np.isnan(numbers)]
        cuts = quantiles_of(numbers, encoder.buckets)[1:-1] if len(numbers) else []
        edges = sorted({float(np.float32(cut)) for cut in cuts if np.float32(cut) > numbers.min()})
    x = canonical(serve, "number")
    expected = np.eye(len(edges) + 1)[np.digitize(x, edges)] * ~np.isnan(x)[:, None]
    np.testing.assert_array_equal(encode(encoder, train, serve), expected)


@quiet
@pytest.mark.parametrize("period", [24, 7.0, 0.001])
@settings(max_examples=examples(100))
@given(serve=NUMBERS)
def test_cyclical_is_sine_and_cosine_of_a_turn(period, serve):
    x = column(serve)
    turns = x / period
    angle = 2 * np.pi * (turns - np.floor(turns))
    expected = np.nan_to_num(np.hstack([np.sin(angle), np.cos(angle)]) * np.isfinite(angle))
    np.testing.assert_allclose(encode(Cyclical(period), [], serve), expected, atol=2e-6)


@pytest.mark.parametrize("period", [3_600, 86_400, 0.5])
def test_seconds_since_1970_keep_their_place_in_a_cycle(period):
    seconds = 1.7e9 + np.arange(60) * 611.125
    expected = np.stack([f(2 * np.pi * np.remainder(seconds, period) / period) for f in (np.sin, np.cos)], axis=1)
    np.testing.assert_allclose(encode(Cyclical(period), seconds, seconds), expected, atol=2e-6)
    no_place = encode(Cyclical(period), seconds, [None, np.inf, -np.inf, 1e39])
    assert not no_place.any()


@pytest.mark.soak
def test_only_numbers_that_float32_moves_have_a_double_input():
    columns = {
        "hour": np.array([0.0, 23.9, np.nan]),
        "step": np.arange(2.0**24),  # whole, and so exact
        "moved": np.array([2.0**24 + 1, 1e39]),
        "far": np.array([5.0, 1e39]),
    }
    features = [Column(name, "number") for name in columns]
    fitted = fit_encoders(features, dict.fromkeys(columns, Cyclical(24)), columns)
    assert {name: one.dtype for name, one in fitted.items()} == {
        "hour": "float32",
        "step": "float32",
        "moved": "float64",
        "far": "float32",
    }
    model = build_encoder(features, fitted)
    assert [one.name for one in model.inputs] == ["numbers", "double.moved"]
    assert model.dense_columns[4:6] == ("moved:sin", "moved:cos")
    earlier = from_json(type(fitted["moved"]), '{"period": 24.0, "kind": "cyclical"}', what="encoder")
    assert build_encoder(features[2:3], {"moved": earlier}).inputs[0].name == "numbers", "as builds of before have it"


@pytest.mark.parametrize("kind", ["text", "integer"])
@settings(max_examples=examples(100))
@given(data=st.data())
def test_ordinal_is_scikit_learns(kind, data):
    train, serve = (data.draw(TEXT if kind == "text" else WHOLE) for _ in range(2))
    known = [one for one in train if one not in ("", None)]
    got = encode(Ordinal(), train, [*serve, *train], kind)[:, 0]
    rows = [*serve, *train]
    if not known:
        assert (got == -1).all()
        return
    oracle = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, categories=[sorted(set(known))])
    oracle.fit(np.array(known, dtype=object)[:, None])
    present = np.array([one not in ("", None) for one in rows])
    expected = np.full(len(rows), -1.0)
    if present.any():
        strings = np.array([one for one, known in zip(rows, present, strict=True) if known], dtype=object)
        expected[present] = oracle.transform(strings[:, None])[:, 0]
    np.testing.assert_array_equal(got, expected)


def test_ordinal_keeps_a_declared_order_whatever_train_has():
    sizes = Ordinal(("small", "medium", "large"))
    assert encode(sizes, ["large"], ["medium", "large", "", "huge"], "text").ravel().tolist() == [1, 2, -1, -1]
    assert encode(Ordinal((False, True)), [], [True, False, None], "boolean").ravel().tolist() == [1, 0, -1]


@pytest.mark.parametrize("kind", ["text", "integer"])
@settings(max_examples=examples(100))
@given(data=st.data(), buckets=st.integers(1, 50) | st.just(2**31 - 1))
def test_hashing_is_scikit_learns_murmur_hash(kind, data, buckets):
    serve = data.draw(TEXT if kind == "text" else WHOLE)
    plain = [one.encode() if kind == "text" else (one or 0).to_bytes(8, "little", signed=True) for one in serve]
    expected = [
        0 if value in ("", None) else 1 + murmurhash3_32(raw, positive=True) % buckets
        for value, raw in zip(serve, plain, strict=True)
    ]
    assert encode(Hashing(buckets), [], serve, kind).ravel().tolist() == expected


def test_the_hash_is_pinned():
    """Codes that models of earlier releases have learned from."""
    carriers = ["UA", "AA", "DL", "9E", "日本", ""]
    assert encode(Hashing(1000), [], carriers, "text").ravel().tolist() == PINNED_CARRIERS
    assert encode(Hashing(1000), [], [0, 1, -1, 2**52, None], "integer").ravel().tolist() == PINNED_NUMBERS


PINNED_CARRIERS = [363, 554, 976, 175, 459, 0]
PINNED_NUMBERS = [677, 557, 713, 666, 0]


def means_by_hand(values, labels, smoothing):
    """The formula, a category at a time."""
    mean = float(np.mean(labels)) if len(labels) else 0.0
    sums = {}
    for value, label in zip(values, labels, strict=True):
        n, total = sums.get(value, (0, 0.0))
        sums[value] = (n + 1, total + label)
    return mean, {value: (total + smoothing * mean) / (n + smoothing) for value, (n, total) in sums.items()}


@settings(max_examples=examples(150))
@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.integers(0, 1)), max_size=30),
    st.sampled_from([0.0, 1.0, 10.0]),
    TEXT,
)
def test_target_is_the_smoothed_mean_label(rows, smoothing, serve):
    values, labels = [value for value, _ in rows], np.array([label for _, label in rows], dtype=float)
    mean, of_value = means_by_hand(values, labels, smoothing)
    got = encode(Target(smoothing), values, serve, "text", labels[:, None])[:, 0]
    np.testing.assert_allclose(got, [of_value.get(value, mean) for value in serve], rtol=1e-6)


def test_target_is_scikit_learns():
    rng = np.random.default_rng(0)
    values, labels = rng.integers(0, 9, 500), rng.integers(0, 2, 500)
    oracle = TargetEncoder(smooth=4.0, target_type="binary").fit(values[:, None], labels)
    serve = [0, 5, 8, 77]
    got = encode(Target(4.0), values.tolist(), serve, "integer", labels[:, None].astype(float))
    np.testing.assert_allclose(got, oracle.transform(np.array(serve)[:, None]), rtol=1e-6)


@settings(max_examples=examples(150))
@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.floats(-5, 5)), min_size=1, max_size=30),
    st.sampled_from([0.0, 2.0]),
    st.integers(2, 6),
)
def test_a_train_row_gets_the_means_of_the_other_folds(rows, smoothing, folds):
    values, labels = [value for value, _ in rows], np.array([label for _, label in rows])
    array = canonical(values, "text")
    fitted = fit(Target(smoothing, folds), array, "text", labels[:, None])
    got = cross_fitted(fitted, array, labels[:, None])[:, 0]
    fold = folds_of(len(rows), folds)
    for at, value in enumerate(values):
        others = [place for place in range(len(rows)) if fold[place] != fold[at]]
        mean, of_value = means_by_hand([values[one] for one in others], labels[others], smoothing)
        assert got[at] == pytest.approx(of_value.get(value, mean), rel=1e-5, abs=1e-6)


def test_no_train_rows_own_label_tells():
    """Where each category has one row, an encoder that is not cross-fitted gives the label itself."""
    rng = np.random.default_rng(1)
    ids, labels = canonical([f"id{at}" for at in range(400)], "text"), rng.integers(0, 2, 400).astype(float)
    features, columns = [Column("id", "text")], {"id": ids}
    fitted = fit_encoders(features, {"id": Target(0.0)}, columns, target=train_target(labels, "binary"))
    split = dict.fromkeys(("train", "validation", "test"), columns)
    data = TrainingData(features, fitted, split, dict.fromkeys(split, labels), task="binary")
    assert (data.test.X[:, 0] == labels).all()  # these are the means of the whole train part
    assert abs(np.corrcoef(data.train.X[:, 0], labels)[0, 1]) < 0.2
    flipped = np.where(np.arange(400) == 7, 1 - labels, labels)
    other = TrainingData(features, fitted, split, dict.fromkeys(split, flipped), task="binary")
    assert other.train.X[7] == data.train.X[7]
    assert (other.train.X != data.train.X).any()


def test_target_of_classes_has_a_column_for_each():
    labels = np.array(["x", "y", "z", "x"], dtype=object)
    values = canonical(["a", "a", "b", "b"], "text")
    fitted = fit(Target(0.0), values, "text", train_target(labels, "multiclass"))
    model = build_encoder([Column("f", "text")], {"f": fitted})
    assert model.dense_columns == ("f:target0", "f:target1", "f:target2")
    got = model.encode({"f": canonical(["a", "b", "?"], "text")})["dense"]
    np.testing.assert_allclose(got, [[0.5, 0.5, 0], [0.5, 0, 0.5], [0.5, 0.25, 0.25]])


def test_folds_are_pinned_and_mixed():
    assert folds_of(8, 5).tolist() == PINNED_FOLDS
    counts = np.bincount(folds_of(10_000, 5))
    assert counts.min() > 1_900
    for turn in (2, 5, 7):  # rows of one entity that come in turns are in all folds
        assert len(set(folds_of(10_000, 5)[::turn])) == 5


PINNED_FOLDS = [0, 0, 4, 4, 2, 0, 3, 0]


def test_encoders_of_all_kinds_stand_in_the_views_order():
    kinds = {
        "a": Robust(),
        "b": Cyclical(24),
        "c": Standardize(),
        "d": Bucketize(edges=(1.0,)),
        "e": Ordinal(),
        "f": Quantile(4),
        "g": Cyclical(4),
        "h": Bucketize(edges=(0.0, 2.0)),
        "i": Hashing(5),
        "j": Log1p(),
        "k": OneHot(),
        "l": Clip(0.0, 1.0),
        "m": Quantile(2),
        "n": Standardize(dtype="float64"),
    }
    features = [Column(name, "text" if name in "eik" else "number") for name in kinds]
    numbers, text = canonical([0.0, 1.0, 2.0, 6.0], "number"), canonical(["u", "v", "u", ""], "text")
    columns = {one.name: text if one.type == "text" else numbers for one in features}
    model = build_encoder(features, fit_encoders(features, kinds, columns))
    arrays = model.encode(columns)
    for one in features:
        names = [name for name in model.dense_columns if name.split(":")[0].split("=")[0] == one.name]
        own = [model.dense_columns.index(name) for name in names]
        alone = build_encoder([one], fit_encoders([one], {one.name: kinds[one.name]}, columns)).encode(columns)
        np.testing.assert_array_equal(arrays["dense"][:, own], alone["dense"])
    assert model.dense_columns[:6] == ("a", "b:sin", "b:cos", "c", "d:..1", "d:1..")
    assert model.cardinalities == {"i": 6}


@pytest.mark.parametrize("opset", [10, 11, 13, 17, 21])
def test_encoders_mean_the_same_in_the_opset_of_any_model(opset):
    numbers, text = (
        canonical([-1.0, 0.0, 1.0, 2.0, 6.0, np.inf, -np.inf, None], "number"),
        canonical(["u", "v"] * 4, "text"),
    )
    text[-1] = ""
    kinds = [MinMax(), Robust(), Impute("median"), Log1p(), Clip(0.0, 1.0), Quantile(4), Bucketize(3), Cyclical(5)]
    of_text = [OneHot(), Ordinal(), Hashing(5), Target()]
    features = [Column(f"f{at}", "number") for at in range(len(kinds))] + [
        Column(f"t{at}", "text") for at in range(len(of_text))
    ]
    encoders = {one.name: kind for one, kind in zip(features, [*kinds, *of_text], strict=True)}
    columns = {one.name: text if one.type == "text" else numbers for one in features}
    model = build_encoder(features, fit_encoders(features, encoders, columns, target=np.arange(8.0)[:, None]))
    proto = onnx.load_from_string(model.graph)
    versions = {"": opset, "ai.onnx.ml": 3 if opset < 13 else 4, "com.microsoft": 1}
    del proto.opset_import[:]
    proto.opset_import.extend(onnx.helper.make_opsetid(*one) for one in versions.items())
    onnx.checker.check_model(proto)
    other = replace(model, graph=proto.SerializeToString())
    for name, values in model.encode(columns).items():
        np.testing.assert_array_equal(other.encode(columns)[name], values)


@pytest.mark.parametrize("estimator", [LogisticRegression(), HistGradientBoostingClassifier(max_iter=3)])
def test_a_graph_with_every_kind_of_node_is_exported(estimator):
    """An estimator's graph is of an opset of its own, and knows no hash."""
    rng = np.random.default_rng(0)
    features = [Column("line", "text"), Column("fare", "number"), Column("stop", "text"), Column("wait", "number")]
    columns = {
        "line": canonical(rng.choice(["a", "b", "c", ""], 60).tolist(), "text"),
        "fare": canonical(rng.normal(size=60).tolist(), "number"),
        "stop": canonical(rng.choice(["x", "y"], 60).tolist(), "text"),
        "wait": canonical([None, *rng.exponential(size=59)], "number"),
    }
    labels = rng.integers(0, 2, 60).astype(float)
    encoders = {"line": Hashing(4), "fare": Quantile(8), "stop": Target(), "wait": Bucketize(3)}
    fitted = fit_encoders(features, encoders, columns, target=train_target(labels, "binary"))
    parts = ("train", "validation", "test")
    data = TrainingData(features, fitted, dict.fromkeys(parts, columns), dict.fromkeys(parts, labels), task="binary")
    exported = export(estimator.fit(data.train.X, data.train.y), data.encoder, data, "binary")
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="the model")
    np.testing.assert_allclose(graph.run(columns)["probability"], estimator.predict_proba(data.test.X)[:, 1], atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Impute("mode"), "'mean', 'median'"),
        (lambda: Impute("constant"), "value=0"),
        (lambda: Impute(value=3.0), "belongs to 'constant'"),
        (lambda: Impute("constant", value=1e39), "finite"),
        (lambda: Clip(), "no bounds"),
        (lambda: Clip(1.0, quantiles=(0.1, 0.9)), "bounds and quantiles"),
        (lambda: Clip(2.0, 1.0), "least not above the most"),
        (lambda: Clip(quantiles=(0.9, 0.1)), "the lower one first"),
        (lambda: Quantile(1), "2 to 10000"),
        (lambda: Bucketize(), "number of buckets"),
        (lambda: Bucketize(1), "2 to 10000"),
        (lambda: Bucketize(3, (1.0,)), "number of buckets"),
        (lambda: Bucketize(edges=(1.0, 1.0)), "above the one before"),
        (lambda: Bucketize(edges=()), "above the one before"),
        (lambda: Cyclical(0), "above 0"),
        (lambda: Cyclical(float("nan")), "no finite number"),
        (lambda: Ordinal(()), "each once"),
        (lambda: Ordinal(("a", 1)), "as text"),
        (lambda: Ordinal(("a", "a")), "each once"),
        (lambda: Ordinal(("",)), "empty text"),
        (lambda: Hashing(0), "1 to 2"),
        (lambda: Target(-1.0), "from 0"),
        (lambda: Target(float("nan")), "no finite number"),
        (lambda: Target(folds=1), "2 to 1000"),
    ],
)
def test_an_impossible_encoder_is_refused(wrong, said):
    with pytest.raises(DeclarationError, match=said):
        wrong()


@pytest.mark.parametrize(
    ("kind", "encoder", "fitting"),
    [
        *[
            ("text", one, "Target")
            for one in (Impute(), MinMax(), Robust(), Log1p(), Clip(0.0), Quantile(), Cyclical(7))
        ],
        *[("number", one, "Quantile") for one in (Ordinal(), Hashing(9), Target())],
        ("boolean", Cyclical(2), "Ordinal"),
        ("text", Bucketize(4), "Hashing"),
    ],
)
def test_an_encoder_of_another_type_is_refused_with_what_fits(kind, encoder, fitting):
    name = type(encoder).__name__
    with pytest.raises(DeclarationError, match=rf"{name} does not fit 'f', a {kind} column: use .*fti\.{fitting}\("):
        check_encoders([Column("f", kind)], {"f": encoder})


def test_an_order_of_the_other_type_and_a_class_are_refused():
    with pytest.raises(DeclarationError, match="'f', a text column: give its categories as text"):
        check_encoder(Column("f", "text"), Ordinal((1, 2)))
    with pytest.raises(DeclarationError, match=r"is the class fti.MinMax: write fti.MinMax\(\)"):
        check_encoder(Column("f", "number"), MinMax)
    with pytest.raises(DeclarationError, match="cannot have an Hashing"):
        check_encoder(Column("dense", "text"), Hashing(9))


def test_what_learns_from_labels_needs_them():
    with pytest.raises(ModelError, match="learns from labels"):
        fit(Target(), canonical(["a"], "text"), "text")


def test_large_whole_numbers_are_no_categories_to_any_encoder():
    for encoder in (Ordinal(), Hashing(9), Target()):
        with pytest.raises(ModelError, match="2\\*\\*53"):
            fit_encoders([Column("f", "integer")], {"f": encoder}, {"f": np.array([2.0**53])})


def test_a_card_says_what_an_encoder_was_fitted_to():
    def words(encoder, values, kind="number"):
        return encoder_in_words(asdict(fit(encoder, canonical(values, kind), kind)))

    assert words(Robust(), [1.0, 2.0, 3.0, 4.0, 100.0]) == "robust: median 3, iqr 2"
    assert words(Clip(0.5), [1.0]) == "clip: least 0.5, mean 1"
    assert words(Bucketize(edges=(1.0, 2.0)), []) == "bucketize: 2 edges (1, 2)"
    assert words(Ordinal(), ["b", "a"], "text") == "ordinal: 2 categories (a, b)"
    assert words(Hashing(7), [], "text") == "hashing: buckets 7, hash murmur3-32 seed 0"


def test_whole_numbers_stand_for_themselves():
    assert whole_numbers(np.array([np.nan])).tolist() == [MISSING_INTEGER]
