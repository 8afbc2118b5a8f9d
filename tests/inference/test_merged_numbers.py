"""Whole numbers that float64 merges are refused as inputs of on-demand functions, as they are learned from and served."""

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError, RequestError
from fti_assets.inference.serving.predictor import Predictor
from tests.on_demand import last_digits
from tests.support.examples import examples


@fti.feature_group(keys=["id"])
def cards() -> pd.DataFrame:
    return pd.DataFrame(
        {"id": range(60), "card": [2**53 - 1 - i for i in range(60)], "y": [i % 7.0 for i in range(60)]}
    )


VIEW = fti.FeatureView(name="v", spine=cards, label=fti.Label(cards["y"]), features=[last_digits])


@fti.model(dataset=VIEW, task="regression", name="m")
def linear(data: fti.TrainingData) -> LinearRegression:
    return LinearRegression().fit(data.train.X, data.train.y)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    stores = testing.stores_in(home)
    testing.materialize(cards, linear.dataset, linear, stores=stores)
    return stores, Predictor.load("m", models=home / "models", online=home / "online")


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(2**53 - 3, 2**53 + 3) | st.integers(-(2**63), 2**63 - 1), st.sampled_from([1, -1]))
@example(2**53 + 1, 1)
def test_whole_numbers_are_exact_or_refused_when_served(world, number, sign):
    _, predictor = world
    card = max(sign * number, -(2**63)) if sign * number < 2**63 else 2**63 - 1
    good, requests = {"id": 1, "card": 5}, {"id": 1, "card": card}
    columns = {"id": [1, 1], "card": [5, card]}
    if abs(card) < 2**53:
        expected = {"digits": card % 1000}
        assert predictor.predict(requests).features == predictor.predict([good, requests])[1].features == expected
        return
    problem = f"'card' is {card}, which on-demand function 'last_digits' version 1"
    with pytest.raises(RequestError, match=f"wrong: {problem}"):
        predictor.predict(requests)
    for ask in (
        lambda: predictor.predict([good, requests]),
        lambda: predictor.predict_columns(columns),
        lambda: predictor.features([good, requests]),
    ):
        with pytest.raises(RequestError, match=f"request 1: {problem}"):
            ask()


@settings(max_examples=examples(10), deadline=None)
@given(st.integers(2**53 - 3, 2**53 + 3), st.sampled_from([1, -1]))
@example(2**53 + 1, 1)
def test_whole_numbers_are_exact_or_refused_when_joined(world, number, sign):
    stores, _ = world
    rows = pd.DataFrame({"id": [1, 2], "card": [5, sign * number]})
    if number < 2**53:
        assert VIEW.features_for(rows, stores=stores)["digits"].tolist() == [5, sign * number % 1000]
        return
    with pytest.raises(
        DataError, match="'card' is about .*'last_digits' version 1 .* declare the column as text, or leave"
    ):
        VIEW.features_for(rows, stores=stores)
