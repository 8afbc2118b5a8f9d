"""A model's function on a tiny dataset."""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError, DeclarationError, ModelError
from tests.on_demand import capped
from tests.testing.shop import buyer, dataset, relation_name, visits


class Strength(dg.Config):
    c: float = 1.0


seen: list[Any] = []


@fti.model(dataset=dataset, task="binary")
def tuned(context: dg.AssetExecutionContext, config: Strength, data: fti.TrainingData) -> Any:
    from sklearn.linear_model import LogisticRegression

    seen.append((context.run.job_name, config.c))
    return LogisticRegression(C=config.c).fit(data.train.X, data.train.y)


def test_dataset_is_made_of_declared_types_and_ranges() -> None:
    frame = testing.tiny_dataset(buyer, rows=200)
    assert list(frame.columns) == ["spend", "bought_6h", "visits_6h", "double_spend", "bought"]
    assert frame["bought_6h"].dropna().between(0, 1).all()
    assert 0 < frame["bought_6h"].isna().sum() < 60  # the schema lets it be null
    assert frame["visits_6h"].min() >= 1
    assert np.array_equal(frame["double_spend"], 2 * frame["spend"], equal_nan=True)
    assert set(frame["bought"]) == {0, 1}
    pd.testing.assert_frame_equal(frame, testing.tiny_dataset(buyer, rows=200))
    assert not frame.equals(testing.tiny_dataset(buyer, rows=200, seed=1))


def test_model_is_trained_exported_and_compared_without_store() -> None:
    made = testing.train_tiny(buyer)
    assert (made.data.train.rows, made.data.validation.rows, made.data.test.rows) == (60, 20, 20)
    assert made.outputs.shape == (20,)
    expected = made.trained.predict_proba(made.data.test.X)[:, 1]
    np.testing.assert_allclose(made.outputs, expected, atol=1e-5)
    assert set(made.metrics) == {"roc_auc", "log_loss", "brier"}


def test_frame_of_ones_own_is_what_it_learns_from() -> None:
    rows = 60
    frame = pd.DataFrame(
        {
            "spend": np.linspace(-1, 1, rows),
            "bought_6h": [0.5, None] * (rows // 2),
            "visits_6h": 1,
            "bought": np.linspace(-1, 1, rows) > 0,
            "split": ["train", "test", "validation"] * (rows // 3),
        }
    )
    made = testing.train_tiny(buyer, frame)  # what is made on demand is computed
    assert (made.data.train.rows, made.data.test.rows) == (20, 20)
    assert made.metrics["roc_auc"] == 1.0


def test_context_and_config_are_given_or_have_their_defaults() -> None:
    testing.train_tiny(tuned)
    testing.train_tiny(tuned, config=Strength(c=0.5))
    assert [c for _, c in seen] == [1.0, 0.5]


def test_a_model_that_learns_nothing_usable_fails() -> None:
    @fti.model(dataset=dataset, task="binary")
    def text(data: fti.TrainingData) -> Any:
        return "a model"

    with pytest.raises(ModelError, match="str cannot be exported"):
        testing.train_tiny(text)


def test_what_is_missing_is_said() -> None:
    frame = testing.tiny_dataset(buyer)
    with pytest.raises(DataError, match="the frame lacks 'visits_6h' of view 'buying'"):
        testing.train_tiny(buyer, frame.drop(columns=["visits_6h"]))
    with pytest.raises(DataError, match="the frame lacks the label 'bought'"):
        testing.train_tiny(buyer, frame.drop(columns=["bought"]))
    with pytest.raises(DataError, match="has no rows in test"):
        testing.train_tiny(buyer, frame.assign(split="train"))

    @fti.feature_group(name="plain", keys=["visit_id"], event_time="t")
    def plain() -> pd.DataFrame: ...

    untyped = fti.FeatureView(name="v", spine=visits, label=fti.Label(visits["customer"]), features=[plain["x"]])
    with pytest.raises(
        DeclarationError, match="nothing says of which type 'x' of plain_v1 is: give the group a schema"
    ):
        testing.tiny_dataset(untyped)


@pytest.mark.parametrize(("task", "shape"), [("multiclass", (20, 2)), ("regression", (20,))])
def test_every_task_has_labels_to_learn(task: Any, shape: tuple[int, ...]) -> None:
    @fti.model(dataset=dataset, task=task)
    def learner(data: fti.TrainingData) -> Any:
        from sklearn.linear_model import LinearRegression, LogisticRegression

        kind = LinearRegression if task == "regression" else LogisticRegression
        return kind().fit(data.train.X, data.train.y)

    assert testing.train_tiny(learner).outputs.shape == shape


def test_function_that_writes_into_its_input_changes_no_other_feature() -> None:
    @fti.model(dataset=relation_name(capped, name="capping"), task="binary")
    def capping(data: fti.TrainingData) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression().fit(data.train.X, data.train.y)

    spend = np.linspace(-5, 5, 60)
    frame = pd.DataFrame({"spend": spend, "bought": np.arange(60) % 2, "split": ["train", "test", "validation"] * 20})
    train = testing.train_tiny(capping, frame).data.train.columns
    np.testing.assert_array_equal(train["spend"], spend[::3])
    np.testing.assert_array_equal(train["capped_spend"], np.minimum(spend[::3], 1))
    made = testing.tiny_dataset(capping, rows=300)
    assert made["spend"].max() > 1
    np.testing.assert_array_equal(made["capped_spend"], made["spend"].clip(upper=1))
