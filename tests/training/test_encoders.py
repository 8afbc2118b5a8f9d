from dataclasses import asdict
from json import dumps

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.core.manifest import Column
from fti_assets.core.records import from_json
from fti_assets.core.types.columns import canonical
from fti_assets.errors import DeclarationError, ModelError
from fti_assets.training.encoders.declarations import check_encoders, default_encoder
from fti_assets.training.encoders.encoders import fit, fit_encoders
from fti_assets.training.encoders.kinds.categories import Embedding, FittedEmbedding, FittedOneHot, OneHot
from fti_assets.training.encoders.kinds.scales import FittedPassthrough, FittedStandardize, Passthrough, Standardize


def text(*values):
    return canonical(list(values), "text")


def numbers(*values):
    return canonical(list(values), "number")


def test_standardize_leaves_missing_values_out_of_mean_and_deviation():
    assert fit(Standardize(), numbers(1, 3, None), "number") == FittedStandardize(2.0, 1.0)


@pytest.mark.parametrize("values", [[], [None, None], [np.inf, -np.inf], [1e300]])
def test_standardize_of_nothing_finite_is_mean_0_deviation_1(values):
    assert fit(Standardize(), numbers(*values), "number") == FittedStandardize(0.0, 1.0)


@pytest.mark.parametrize("value", [0.1, 1e-50, 1e30, -7.0])
def test_standardize_gives_a_constant_the_deviation_1(value):
    fitted = fit(Standardize(), numbers(value, value, value), "number")
    assert fitted == FittedStandardize(float(np.float32(value)), 1.0)


def test_standardize_stays_finite_over_the_whole_float32_range():
    fitted = fit(Standardize(), numbers(-3e38, 3e38, 3e38), "number")
    assert np.isfinite([fitted.mean, fitted.std]).all()


def test_one_hot_columns_stand_in_the_order_of_names():
    assert fit(OneHot(), text("b", "a", "b", ""), "text") == FittedOneHot(("a", "b"))


def test_capped_one_hot_keeps_most_frequent_then_first_by_name():
    assert fit(OneHot(max_categories=2), text("c", "b", "a", "c"), "text") == FittedOneHot(("a", "c"))


def test_embedding_numbers_categories_by_frequency_then_name():
    assert fit(Embedding(), text("b", "a", "c", "c", ""), "text") == FittedEmbedding(("c", "a", "b"))
    assert fit(Embedding(max_categories=1), text("b", "a"), "text") == FittedEmbedding(("a",))


def test_integer_and_boolean_categories_are_whole_numbers():
    assert fit(Embedding(), numbers(3, -1, 3, None, 0.5), "integer") == FittedEmbedding((3, -1))
    assert fit(OneHot(), numbers(1, 0, None), "boolean") == FittedOneHot((0, 1))


@given(st.lists(st.sampled_from(["", "a", "b", "c", "d"])))
def test_categories_do_not_depend_on_the_order_of_rows(values):
    assert fit(Embedding(), text(*values), "text") == fit(Embedding(), text(*sorted(values)), "text")


@pytest.mark.parametrize(
    "fitted",
    [
        FittedStandardize(1.5, 2.0),
        FittedPassthrough(),
        FittedOneHot(("a", "b")),
        FittedEmbedding((3, -1)),
        FittedEmbedding(()),
    ],
)
def test_fitted_encoders_survive_json(fitted):
    assert from_json(type(fitted), dumps(asdict(fitted)), what="encoder") == fitted


def test_json_of_another_kind_is_refused():
    with pytest.raises(Exception, match="one_hot"):
        from_json(FittedOneHot, dumps(asdict(FittedEmbedding(("a",)))), what="encoder")


@pytest.mark.parametrize("column_type", ["number", "integer", "boolean"])
def test_numbers_are_standardized_by_default(column_type):
    assert default_encoder(Column("temp", column_type)) == Standardize()


def test_text_without_an_encoder_is_told_which_to_choose():
    with pytest.raises(DeclarationError, match=r"'origin' is text .* fti\.OneHot\(\) .* fti\.Embedding\(\)"):
        default_encoder(Column("origin", "text"))


@pytest.mark.parametrize("encoders", [{}, {"at": Standardize()}])
def test_timestamps_are_refused(encoders):
    with pytest.raises(DeclarationError, match="'at'(, a timestamp column| is a timestamp)"):
        check_encoders([Column("at", "timestamp")], encoders)


@pytest.mark.parametrize(
    ("column_type", "encoder"),
    [
        ("text", Standardize()),
        ("text", Passthrough()),
        ("number", OneHot()),
        ("number", Embedding()),
    ],
)
def test_encoder_that_does_not_fit_type_is_refused(column_type, encoder):
    with pytest.raises(DeclarationError, match=f"does not fit 'f', a {column_type} column: use fti"):
        check_encoders([Column("f", column_type)], {"f": encoder})
    with pytest.raises(DeclarationError):
        fit(encoder, np.array([]), column_type)


def test_check_encoders_keeps_the_order_of_features():
    features = [Column("b", "text"), Column("a", "number")]
    assert list(check_encoders(features, {"a": Passthrough(), "b": OneHot()}).items()) == [
        ("b", OneHot()),
        ("a", Passthrough()),
    ]


@pytest.mark.parametrize(
    ("features", "encoders", "message"),
    [
        ([], {}, "no features"),
        ([Column("a", "number"), Column("a", "number")], {}, "two features are called 'a'"),
        ([Column("a", "number")], {"b": Standardize()}, "encoder for 'b'.*'a'"),
        ([Column("a", "number")], {"a": "standardize"}, "'standardize': use"),
        ([Column("dense", "text")], {"dense": Embedding()}, "'dense' cannot have an Embedding"),
        ([Column("numbers", "text")], {"numbers": Embedding()}, "'numbers' cannot have an Embedding"),
    ],
)
def test_impossible_views_are_refused(features, encoders, message):
    with pytest.raises(DeclarationError, match=message):
        check_encoders(features, encoders)


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "3"])
@pytest.mark.parametrize("encoder", [OneHot, Embedding])
def test_max_categories_is_a_whole_number_above_0(encoder, most):
    with pytest.raises(DeclarationError, match="max_categories"):
        encoder(max_categories=most)


def test_fit_encoders_uses_defaults_and_order():
    features = [Column("o", "text"), Column("t", "number")]
    fitted = fit_encoders(features, {"o": OneHot()}, {"t": numbers(0, 2), "o": text("x", "")})
    assert list(fitted.items()) == [("o", FittedOneHot(("x",))), ("t", FittedStandardize(1.0, 1.0))]


LARGE = st.builds(lambda power, by: 2**power + by, st.integers(45, 62), st.integers(-3, 3))


@given(st.lists(LARGE | LARGE.map(int.__neg__), min_size=1, max_size=8, unique=True))
def test_whole_numbers_are_told_apart_or_refused(ids):
    feature, values = Column("id", "integer"), canonical(ids, "integer")
    try:
        fitted = fit_encoders([feature], {"id": Embedding()}, {"id": values})["id"]
    except ModelError:
        # Only those that a float has no room for, or that stand for one that has none.
        assert max(map(abs, ids)) >= 2**53 - 1
        return
    assert sorted(fitted.categories) == sorted(ids)
    stranger = max(ids) + 1
    assert float(stranger) not in values.tolist()


def test_what_rounds_to_the_largest_float32_is_passed_through() -> None:
    columns = {"x": np.array([3.40282347e38, -3.40282347e38, 1.0])}
    fitted = fit_encoders([Column("x", "number")], {"x": Passthrough()}, columns)
    assert np.isfinite(columns["x"].astype(np.float32)).all()
    assert set(fitted) == {"x"}


def test_numbers_beyond_float32_are_not_passed_through():
    values = {"wealth": np.array([1.0, np.nan, -1e39, np.inf, 3e38])}
    with pytest.raises(
        ModelError, match=r"'wealth' has 1 of 5 train values beyond 3.4e38, such as -1e\+39, which are infinite"
    ):
        fit_encoders([Column("wealth", "number")], {"wealth": Passthrough()}, values)
    fit_encoders([Column("wealth", "number")], {}, values)
    fit_encoders([Column("wealth", "number")], {"wealth": Passthrough()}, {"wealth": np.array([1.0, np.inf, 3.4e38])})
