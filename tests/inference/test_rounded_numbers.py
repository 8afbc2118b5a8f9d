"""A whole number that float64 rounds is told of or refused, however it is asked with and wherever it is answered."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError, RequestError
from fti_assets.inference.server import serving_app
from fti_assets.inference.serving.predictor import Predictor
from tests.support.examples import examples
from tests.support.serving import ask

LARGE = 2**53 + 1


@fti.feature_group(keys=["shop"], online=True)
def shops() -> pd.DataFrame:
    return pd.DataFrame({"shop": [0, 1, 2], "account": [5, LARGE, 2**53 + 2]})


@fti.feature_group(keys=["id"])
def cards() -> pd.DataFrame:
    numbers = np.arange(60)
    return pd.DataFrame(
        {"id": numbers, "shop": numbers % 2, "card": 2**53 - 30 + numbers, "amount": numbers / 2, "y": numbers % 7.0}
    )


VIEW = fti.FeatureView(
    name="v",
    spine=cards,
    label=fti.Label(cards["y"]),
    features=[cards["card", "amount"], shops["account"]],
    encoders=dict.fromkeys(["card", "account"], fti.Standardize(dtype="float64")),
)


@fti.model(dataset=VIEW, task="regression", name="m")
def linear(data: fti.TrainingData) -> LinearRegression:
    return LinearRegression().fit(data.train.X, data.train.y)


scores = fti.batch_predictions(name="scores", model=linear)
ASKED = {"id": 1, "shop": 0, "card": 5, "amount": 1.5}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    stores = testing.stores_in(home)
    for one in (shops, cards, linear.dataset, linear):
        testing.materialize(one, stores=stores)
    return home


def load(home, **strictness):
    return Predictor.load("m", models=home / "models", online=home / "online", **strictness)


@pytest.fixture(scope="module")
def predictor(home):
    return load(home)


def told(predictor, name, number):
    """Whether each way to ask says that the number is rounded."""
    requests = ASKED | {name: number}
    columns = {key: [value, requests[key]] for key, value in ASKED.items()}
    marks = predictor.predict_columns(columns).out_of_schema
    ways = [
        predictor.predict(requests).out_of_schema,
        predictor.predict([ASKED, requests])[1].out_of_schema,
        predictor.predict_columns(columns)[1].out_of_schema,
        (name,) if marks.get(name, [False, False])[1] else (),
    ]
    assert len(set(ways)) == 1
    assert name not in marks or not marks[name][0]
    return ways[0] == (name,)


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(2**53 - 3, 2**53 + 5) | st.integers(-(2**63), 2**63 - 2), st.integers(1, 3))
@example(2**53, 1)
def test_of_two_numbers_that_are_one_to_the_model_one_is_told_of(predictor, number, by):
    other = min(number + by, 2**63 - 1)
    one, two = told(predictor, "card", number), told(predictor, "card", other)
    assert (float(number) != float(other)) or one or two
    assert (one, two) == (int(float(number)) != number, int(float(other)) != other)


@pytest.mark.parametrize("kind", [int, np.int64, np.uint64, Decimal])
def test_the_kind_of_a_whole_number_makes_no_difference(predictor, kind):
    assert told(predictor, "card", kind(LARGE))
    assert not told(predictor, "card", kind(LARGE - 1))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_missing_number_is_not_rounded(predictor, missing):
    assert not told(predictor, "card", missing)


def test_a_rounded_number_is_refused_where_out_of_schema_is_an_error(home):
    strict = load(home, out_of_schema="error")
    problem = f"'card' is {LARGE}, which the model gets as float64, .* an id is text"
    columns = {name: [value, value] for name, value in ASKED.items()} | {"card": [5, LARGE]}
    with pytest.raises(RequestError, match=f"wrong: {problem}"):
        strict.predict(ASKED | {"card": LARGE})
    for way in (lambda: strict.predict([ASKED, ASKED | {"card": LARGE}]), lambda: strict.predict_columns(columns)):
        with pytest.raises(RequestError, match=f"request 1: {problem}"):
            way()


def test_a_rounded_number_that_a_group_or_an_override_brings_is_told_of(predictor):
    assert predictor.predict(ASKED | {"shop": 1}).out_of_schema == ("account",)
    assert predictor.predict(ASKED | {"shop": 2}).out_of_schema == ()
    overridden = predictor.predict([ASKED, ASKED], overrides=[{"account": LARGE}, {"account": 7}])
    assert [one.out_of_schema for one in overridden] == [("account",), ()]


@pytest.mark.parametrize("number", [LARGE, -LARGE, np.int64(LARGE), np.uint64(LARGE), Decimal(LARGE), 2**70 + 1])
def test_a_whole_number_that_a_float_field_would_round_is_refused_as_rows_are(predictor, number):
    problem = "'amount' is .*a number is expected .float64 rounds it"
    for way in (
        lambda: predictor.predict(ASKED | {"amount": number}),
        lambda: predictor.predict([ASKED, ASKED | {"amount": number}]),
        lambda: predictor.predict_columns({key: [value] for key, value in (ASKED | {"amount": number}).items()}),
    ):
        with pytest.raises(RequestError, match=problem):
            way()


@pytest.mark.parametrize("number", [2**53, 2**60 + 2**50, 1152921504606847000, 10**30, Decimal("0.1"), 1e300])
def test_a_number_that_a_float_field_holds_is_taken(predictor, number):
    """Its shortest digits too, as JavaScript writes a float of 2**60."""
    assert predictor.predict(ASKED | {"amount": number}).features["amount"] == float(number)


@pytest.mark.parametrize("number", [2.0**53, -(2.0**53), 1e16, np.float64(2**60)])
@pytest.mark.parametrize("field", ["id", "shop", "card"])
def test_a_float_that_may_be_one_of_several_whole_numbers_is_refused(home, predictor, field, number):
    with pytest.raises(RequestError, match=f"{field!r} is .*as a float it may be one of several"):
        predictor.predict(ASKED | {field: number})
    assert predictor.predict(ASKED | {field: 2.0**53 - 1}).features
    rows = pd.DataFrame([ASKED | {field: float(number)}])
    with pytest.raises(DataError, match=f"{field}.*a whole number that came as no float"):
        VIEW.features_for(rows, stores=testing.stores_in(home))


def test_http_tells_of_a_rounded_number(home):
    requests = ASKED | {"card": LARGE}
    app = serving_app("m", models=home / "models", online=home / "online")
    assert ask(app, "POST", "/predict/m", requests).json["out_of_schema"] == ["card"]
    many = ask(app, "POST", "/predict/m", {"requests": [ASKED, requests]}).json["predictions"]
    assert [one["out_of_schema"] for one in many] == [[], ["card"]]
    refused = ask(app, "POST", "/predict/m", ASKED | {"amount": LARGE})
    assert refused.status == 400
    assert "float64 rounds it" in refused.body.decode()


DATATYPES = {"id": "INT64", "shop": "INT64", "card": "INT64", "amount": "FP64"}


def inferred(home, asked, **datatypes):
    tensors = [
        {"name": name, "datatype": (DATATYPES | datatypes)[name], "shape": [1], "data": [value]}
        for name, value in asked.items()
    ]
    app = serving_app("m", models=home / "models", online=home / "online")
    return ask(app, "POST", "/v2/models/m/infer", {"inputs": tensors})


@pytest.mark.parametrize("number", [LARGE, -LARGE, 2**63 - 1, 2**70 + 1])
def test_a_tensor_of_floats_with_a_number_that_it_would_round_is_refused(home, number):
    refused = inferred(home, ASKED | {"amount": number})
    assert refused.status == 400
    assert "float64 rounds it" in refused.body.decode()
    assert "'amount'" in refused.body.decode()


@pytest.mark.parametrize("number", [2**53, 2**60 + 2**50, 1152921504606847000, 10**30, 0.1])
def test_a_tensor_of_floats_takes_the_numbers_that_it_holds(home, number):
    assert inferred(home, ASKED | {"amount": number}).status == 200


def test_a_tensor_of_whole_numbers_is_judged_as_a_request_is(home):
    assert inferred(home, ASKED | {"card": LARGE}).json["parameters"]["out_of_schema"] == [["card"]]
    assert "out_of_schema" not in inferred(home, ASKED | {"card": LARGE - 1}).json["parameters"]
    refused = inferred(home, ASKED | {"amount": LARGE}, amount="INT64")
    assert refused.status == 400
    assert "float64 rounds it" in refused.body.decode()


def test_batch_predictions_warn_of_rounded_numbers(home):
    result = testing.materialize(scores, stores=testing.stores_in(home))
    rounded = sum(int(float(2**53 - 30 + n)) != 2**53 - 30 + n for n in range(60))
    assert result.success
    (problem,) = result.failed_checks.values()
    assert problem.startswith(f"{rounded} of 'card', 30 of 'account' are whole numbers that float64")
