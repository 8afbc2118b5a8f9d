"""Permutation importance: what shuffling costs, for one feature, for groups and for what the graph does not take."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core.manifest import FeatureImportance, ImportanceRecord
from fti_assets.core.mixing import mixed, shuffled
from fti_assets.errors import DeclarationError
from fti_assets.training.judging.importance import permutation_importance, sampled_rows
from fti_assets.training.judging.pictures.build_pictures import SHOWN_IN_PLACE, image
from fti_assets.training.judging.pictures.importance_picture import (
    importance_metadata,
    importance_picture,
    importance_section,
)
from tests.support.examples import examples


def measured(columns, y, predict, *, metric="rmse", features=None, **options):
    sign = {"rmse": -1, "r2": 1}[metric]

    def score(rows, sample):
        error = np.sqrt(np.mean((y[rows] - predict(sample)) ** 2))
        return error if sign < 0 else 1 - error**2 / np.var(y[rows])

    declared = fti.Importance(**options)
    return permutation_importance(declared, columns, score, metric=metric, features=features or list(columns))


def world(rows=400, seed=1):
    random = np.random.default_rng(seed)
    columns = {name: random.normal(size=rows) for name in ("strong", "weak", "noise")}
    return columns, 3 * columns["strong"] + columns["weak"]


def predict(sample):
    return 3 * sample["strong"] + sample["weak"]


def test_importance_is_the_mean_loss_of_shuffles() -> None:
    columns, y = world()
    record = measured(columns, y, predict, rows=100, repeats=4)
    rows = sampled_rows(400, 100)
    sample = {name: values[rows] for name, values in columns.items()}
    for name in columns:
        losses = []
        for repeat in range(4):
            order = shuffled(100, "importance", name, repeat)
            assert sorted(order.tolist()) == list(range(100))
            answers = predict(sample | {name: sample[name][order]})
            losses.append(np.sqrt(np.mean((y[rows] - answers) ** 2)))
        assert record.features[name] == FeatureImportance(pytest.approx(np.mean(losses)), pytest.approx(np.std(losses)))
    assert list(record.features) == ["strong", "weak", "noise"]
    assert (record.metric, record.score, record.rows, record.repeats) == ("rmse", 0.0, 100, 4)


def test_importance_agrees_with_that_of_scikit_learn() -> None:
    from sklearn.inspection import permutation_importance as oracle
    from sklearn.linear_model import LinearRegression

    columns, y = world(1_000)
    X = np.stack(list(columns.values()), axis=1)
    model = LinearRegression().fit(X, y)
    expected = oracle(model, X, y, n_repeats=30, random_state=0, scoring="r2")
    record = measured(
        columns, y, lambda one: model.predict(np.stack(list(one.values()), axis=1)), metric="r2", repeats=30
    )
    means = [record.features[name].mean for name in columns]
    assert np.allclose(means, expected.importances_mean, atol=0.02)
    assert np.allclose([record.features[name].std for name in columns], expected.importances_std, rtol=0.5, atol=1e-6)


def test_what_the_graph_does_not_take_has_none() -> None:
    columns, y = world()
    record = measured(columns, y, predict, features=["strong", "weak"])
    assert record.features["noise"] == FeatureImportance(0.0, 0.0)


def test_group_is_shuffled_as_one() -> None:
    columns, y = world()
    columns["copy"] = columns["strong"].copy()
    record = measured(
        columns,
        y,
        lambda one: np.where(one["strong"] == one["copy"], predict(one), 0),
        groups={"both": ["strong", "copy"]},
    )
    assert record.groups["both"].mean > 0
    together = measured(columns, y, predict, groups={"both": ["strong", "copy"]})
    assert together.groups["both"].mean == pytest.approx(together.features["strong"].mean, rel=0.2)


def test_another_feature_changes_no_shuffle() -> None:
    columns, y = world()
    more = measured(columns | {"further": np.zeros(400)}, y, predict)
    assert more.features["strong"] == measured(columns, y, predict).features["strong"]


def test_wide_models_are_measured_on_fewer_rows() -> None:
    columns = {f"x{at}": np.zeros(3_000) for at in range(400)}
    record = measured(columns, np.arange(3_000.0), lambda one: one["x0"], repeats=5, features=["x0"])
    assert record.rows == 1_000_000 // 2_000


def test_undefined_metric_gives_no_record() -> None:
    def score(rows, sample):
        return None

    assert permutation_importance(fti.Importance(), {"a": np.ones(3)}, score, metric="r2", features=["a"]) is None
    assert permutation_importance(fti.Importance(), {"a": np.ones(0)}, score, metric="r2", features=["a"]) is None


@settings(max_examples=examples(90), deadline=None)
@given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 5))
def test_shuffles_are_orders_and_samples_are_rows(rows: int, most: int, seed: int) -> None:
    assert sorted(shuffled(rows, "x", seed).tolist()) == list(range(rows))
    sample = sampled_rows(rows, most).tolist()
    assert sample == sorted(set(sample))
    assert len(sample) == min(rows, most)


def test_mixing_is_splitmix() -> None:
    def reference(number: int) -> int:
        bits = (number + 1) * 0x9E3779B97F4A7C15 % 2**64
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
        return bits ^ bits >> 31

    numbers = [0, 1, 2**40, 2**64 - 2]
    assert mixed(np.array(numbers, dtype=np.uint64)).tolist() == [reference(one) for one in numbers]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"rows": 0}, "whole number above 0"),
        ({"repeats": True}, "repeats"),
        ({"metric": "loss"}, "there is no metric"),
        ({"groups": {"one": ["a"]}}, "two features or more"),
        ({"groups": {"one": ["a", "a"]}}, "two features or more"),
    ],
)
def test_impossible_importance_is_refused(arguments, problem) -> None:
    with pytest.raises(DeclarationError, match=problem):
        fti.Importance(**arguments)


@pytest.mark.parametrize(
    ("importance", "problem"),
    [
        (fti.Importance(metric="r2"), "evaluates 'rmse'"),
        (fti.Importance(groups={"a": ["a", "b"]}), "which is a feature"),
        (fti.Importance(groups={"g": ["a", "c"]}), "of 'c'"),
    ],
)
def test_importance_is_checked_against_the_model(importance, problem) -> None:
    with pytest.raises(DeclarationError, match=problem):
        importance.check(["a", "b"], ["rmse"], what="model 'm'")


RECORD = ImportanceRecord(
    "log_loss",
    0.5,
    100,
    5,
    {f"a <long> name of feature {at}": FeatureImportance(0.3 - at / 20, 0.1) for at in range(12)},
    {"weather": FeatureImportance(0.4, 0.0)},
)


def test_pictures_of_importance_are_small_and_whole() -> None:
    small, section = importance_picture(RECORD), importance_section(RECORD)
    assert len(image(small, "importance")) < SHOWN_IN_PLACE
    assert "of 12 features" in small
    assert "<long>" not in small
    assert section.count("<tr>") == 12 + 1 + 2
    assert "weather" in section
    numbers = [int(one) for one in re.findall(r"h(\d+)v16", small)]
    assert numbers == sorted(numbers, reverse=True)
    nothing = ImportanceRecord("rmse", 0.0, 1, 1, {"a": FeatureImportance(0.0, 0.0)})
    assert "a 0" in importance_picture(nothing)


def test_metadata_names_the_first_ten_and_the_groups() -> None:
    metadata = importance_metadata(RECORD)
    assert len(metadata) == 11
    assert metadata["importance/weather"] == 0.4
    assert importance_metadata(None) == {}
