"""What a newcomer gets wrong: each mistake is a sentence of the library's own, with what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DeclarationError, FtiError, ModelError

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")
TYPE = Any


@fti.feature_group(keys=["customer_id"])
def customers() -> pd.DataFrame:
    ids = np.arange(100)
    return pd.DataFrame({"customer_id": ids, "age": ids % 50 * 1.0, "plan": ["a", "b"] * 50, "churned": [0, 1] * 50})


@fti.feature_group(keys=["customer_id"], event_time="at", partitions_def=DAYS)
def orders(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.DataFrame({"customer_id": 1, "at": pd.to_datetime(list(context.partition_keys))})


def some() -> pd.DataFrame: ...  # type: ignore[empty-body]


def fitted(data: fti.TrainingData) -> TYPE:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(data.train.X, data.train.y)


def group(**changes: TYPE) -> TYPE:
    return fti.feature_group(**{"keys": ["a"], **changes})(some)


def view(**changes: TYPE) -> fti.FeatureView:
    features: TYPE = [customers["age", "plan"]]
    inputs = {"name": "churn_view", "spine": customers, "label": fti.Label(customers["churned"]), "features": features}
    return fti.FeatureView(**{**inputs, "encoders": {"plan": fti.OneHot()}, **changes})


VIEW = view()
CHURN = fti.model(dataset=VIEW, task="binary", name="churn")(fitted)


def model(**changes: TYPE) -> TYPE:
    return fti.model(**{"dataset": VIEW, "task": "binary", **changes})(fitted)


def call(function: TYPE, *arguments: TYPE, **named: TYPE) -> Callable[[], TYPE]:
    """What is called without regard to its types, as a newcomer does."""
    return lambda: function(*arguments, **named)


MISSPELT = [
    (call(group, event_tme="at"), "fti.feature_group takes no 'event_tme': did you mean 'event_time'"),
    (call(group, partition_def=DAYS), "did you mean 'partitions_def'"),
    (call(fti.feature_group, kyes=["a"]), "did you mean 'keys'"),
    (call(fti.sql_feature_group, name="a", keys=["a"], sql="SELECT 1", evnt_time="x"), "did you mean 'event_time'"),
    (call(fti.external_group, name="a", sorce="x", keys=["a"]), "did you mean 'source'"),
    (call(fti.on_demand, output={"a": int}), "did you mean 'outputs'"),
    (call(view, spin=customers), "fti.FeatureView takes no 'spin': did you mean 'spine'"),
    (call(fti.Label, customers["churned"], maturty="2d"), "did you mean 'maturity'"),
    (call(fti.training_dataset, name="d", view=VIEW, splt=None), "did you mean 'split'"),
    (call(model, evalute=None), "fti.model takes no 'evalute': did you mean 'evaluate'"),
    (call(fti.Evaluation, metric=["roc_auc"]), "did you mean 'metrics'"),
    (call(fti.NotWorseThanChampion, "roc_auc", tolerence=0.1), "did you mean 'tolerance'"),
    (call(fti.Embedding, max_categores=3), "did you mean 'max_categories'"),
    (call(fti.TimeSplit, valid="1d", test="1d"), "did you mean 'validation'"),
    (call(fti.batch_predictions, name="b", modle=CHURN), "did you mean 'model'"),
    (call(fti.build_definitions, [customers], resorces={}), "did you mean 'resources'"),
    (call(fti.new_data_sensor, target=[customers]), "did you mean 'targets'"),
    (call(fti.upkeep_job, kep="7d"), "did you mean 'keep'"),
    (call(fti.read, orders, partition="2024-01-01"), "fti.read takes no 'partition': did you mean 'partitions'"),
    (call(fti.Stores, lak="x"), "takes no 'lak': did you mean 'lake'"),
    (call(fti.Predictor.load, "churn", model_store="x"), "fti.Predictor.load takes no 'model_store'"),
    (call(VIEW.features_for, spne=1), "did you mean 'spine'"),
    (call(fti.KeepLast, column="x"), "takes no 'column'"),
    (call(fti.Changes, upsert=None), "did you mean 'upserts'"),
    (call(fti.ParquetFiles, paths="x"), "did you mean 'path'"),
    (call(testing.materialize, customers, store=None), "testing.materialize takes no 'store': did you mean 'stores'"),
    (call(testing.tiny_dataset, VIEW, row=3), "did you mean 'rows'"),
]

MISPLACED = [
    (
        call(fti.feature_group, some),
        r"@fti.feature_group takes its arguments in parentheses: .*\(keys=...\) over 'some'",
    ),
    (call(fti.model, fitted), r"write @fti.model\(dataset=..., task=...\) over 'fitted'"),
    (call(fti.on_demand, some), r"write @fti.on_demand\(outputs=...\) over 'some'"),
    (call(fti.feature_group, ["a"]), r"by name, as in fti.feature_group\(keys=...\)"),
    (call(fti.FeatureView, "v"), r"by name, as in fti.FeatureView\(name=...\)"),
    (call(fti.feature_group, event_time="at"), "fti.feature_group needs keys=, which is not given"),
    (call(fti.BeatsBaseline), "needs metric=, which is not given"),
    (call(fti.build_definitions, customers, orders), "takes 1 arguments by place"),
    (call(customers.on, "dest"), "by name"),
    (call(fti.Predictor, "churn"), r"write fti.Predictor.load\('delay_net'\)"),
    (call(fti.FeatureGroup, name="a"), r"write @fti.feature_group\(keys=\[...\]\) over a function"),
    (call(fti.feature_group(keys=["a"]), pd.DataFrame()), r"stands over a? ?.*: it takes a function"),
    (call(fti.Stores, "x"), "by name"),
]

OF_ANOTHER_KIND = [
    (call(group, keys=None), "keys is None; it takes text or a list of text"),
    (call(group, keys=[1]), r"keys is \[1\], in which 1 does not fit"),
    (call(group, ttl=5, event_time="t"), "ttl is 5; it takes text, a timedelta or None"),
    (call(group, online="yes"), "online is 'yes'; it takes True or False"),
    (call(group, partitions_def="daily"), "partitions_def is 'daily'; it takes a PartitionsDefinition"),
    (call(group, owners="me"), r"owners='me' is one text, .* write owners=\['me'\]"),
    (call(group, tags=["a"]), r"tags is \['a'\]; it takes a dict of text to text or None"),
    (call(group, retry_policy=3), "it takes a RetryPolicy or None"),
    (call(group, deps="weather"), r"write deps=\['weather'\]"),
    (call(group, ins=[orders]), "ins is .* it takes a dict of text"),
    (call(view, spine="customers"), "spine is 'customers'; it takes a FeatureGroup"),
    (call(view, features=customers["age"]), r"which is not a list: write features=\[...\]"),
    (call(view, features=["age", "plan"]), "'age' and 'plan' is not a feature; give columns of a group"),
    (call(view, label="churned"), "label is 'churned'; it takes a Label"),
    (call(view, label=customers["churned"]), "a Selection; it takes a Label"),
    (call(view, encoders={"plan": fti.OneHot}), r"does not fit \(write OneHot\(...\)\)"),
    (call(view, encoders=[fti.OneHot()]), "it takes a dict of text to"),
    (call(fti.training_dataset, name="d", view=customers), "a FeatureGroup; it takes a FeatureView"),
    (
        call(fti.training_dataset, name="d", view=VIEW, split="random"),
        "it takes a TimeSplit, a HashSplit, a GroupSplit, a RandomSplit or None",
    ),
    (call(model, dataset=customers), "it takes a TrainingDataset or a FeatureView"),
    (call(model, gates=["log_loss"]), "has the gate 'log_loss': write gates="),
    (call(model, gates=[fti.BeatsBaseline]), "has the gate <class"),
    (call(model, evaluate=["roc_auc"]), "it takes an Evaluation or None"),
    (call(fti.batch_predictions, name="b", model=fitted), "it takes a Model"),
    (call(fti.build_definitions, customers), r"write build_definitions\(\[feature group customers_v1\]\)"),
    (call(fti.build_definitions, [customers], assets=[orders]), "give feature group orders_v1 among the declarations"),
    (call(fti.build_definitions, [customers], resources={"fti": "x"}), r"give fti.Stores\(lake="),
    (call(fti.build_definitions, [customers], jobs="x"), r"jobs is 'x'; it takes a list: write jobs="),
    (call(fti.on_demand(outputs=["a"]), some), "give the type of each"),  # type: ignore[arg-type]
    (call(fti.Stores, lake=3), "lake is 3; it takes text"),
    (call(fti.read, some), "has no stored rows of its own"),
    (call(fti.read, VIEW), r"view.features_for\(rows\)"),
    (call(fti.read, orders, partitions="2024-01-01"), r"write partitions=\['2024-01-01'\]"),
    (call(fti.Predictor.load, CHURN), "a Model; it takes text"),
    (call(fti.window_aggregate, customers, keys=["a"], every="1h", windows=["3h"], aggregates={}), "it takes a Table"),
    (call(customers.__getitem__, 0), r"taken by name, customers\['age'\]"),
    (call(customers.on, dest=["airport"]), "dest is .*; it takes text"),
    (call(customers.prefix, 1), "text is 1; it takes text"),
    (call(testing.rows, some), "it takes a FeatureGroup"),
    (call(testing.materialize, [customers], stores=fti.Stores()), "one after the other"),
    (call(testing.materialize, customers, stores="x"), "stores is 'x'; it takes a Stores"),
    (call(testing.materialize, VIEW, stores=fti.Stores()), "name feature groups"),
    (call(testing.tiny_dataset, customers), "it takes a Model or a FeatureView"),
    (call(testing.train_tiny, CHURN, "x"), "takes a pandas frame"),
    (call(testing.rows, orders, partition=[]), "name one, as in partition='2024-01-01', or the first and the last"),
    (call(testing.rows, orders, partition=pd.Timestamp("2024-01-01")), "partition is"),
    (call(testing.rows, orders, partition=("2024-01-05", "2024-01-01")), "name the first and then the last"),
]


@pytest.mark.parametrize(("mistake", "said"), MISSPELT + MISPLACED + OF_ANOTHER_KIND)
def test_a_mistake_is_answered_with_what_to_write(mistake: Callable[[], Any], said: str) -> None:
    with pytest.raises(FtiError, match=said):
        mistake()


@pytest.mark.parametrize(
    "door",
    [fti.feature_group(keys=["a"]), fti.model(dataset=view(), task="binary"), fti.on_demand(outputs={"b": float})],
)
def test_an_async_function_is_no_body(door: Callable[[Any], Any]) -> None:
    async def waits(a: TYPE) -> TYPE: ...

    with pytest.raises(
        DeclarationError, match="stands over 'waits', an async function, whose result is never awaited: write def"
    ):
        door(waits)


def test_a_handle_may_stand_among_deps() -> None:
    assert orders.key in group(deps=[orders]).assets_def.asset_deps[dg.AssetKey("some_v1")]


def test_an_option_that_dagster_refuses_names_the_asset() -> None:
    with pytest.raises(DeclarationError, match="some_v1 cannot be a Dagster asset: "):
        assert group(group_name="not a name").assets_def


def test_a_parameter_called_like_a_group_needs_its_annotation() -> None:
    with pytest.raises(
        DeclarationError, match=r"parameter 'orders' of 'habits' is called like .*: write orders: fti.Table"
    ):

        @fti.feature_group(keys=["customer_id"])
        def habits(orders): ...  # type: ignore[no-untyped-def]


def test_parameter_that_nothing_makes_is_refused_when_it_loads() -> None:
    @fti.feature_group(keys=["customer_id"])
    def habits(plans: pd.DataFrame) -> pd.DataFrame:
        return plans

    with pytest.raises(
        DeclarationError, match=r"parameter 'plans' of habits_v1 takes an asset 'plans', which nothing here"
    ):
        fti.build_definitions([habits])

    @dg.asset
    def plans() -> pd.DataFrame: ...  # type: ignore[empty-body]

    assert fti.build_definitions([habits], assets=[plans])

    @fti.feature_group(keys=["customer_id"], ins={"plans": dg.AssetIn()})
    def elsewhere(plans: pd.DataFrame) -> pd.DataFrame:
        return plans

    assert fti.build_definitions([elsewhere])


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_one_class_alone_cannot_be_learned(task: Any) -> None:
    one = fti.model(dataset=VIEW, task=task, name="one")(fitted)
    frame = pd.DataFrame({"age": np.arange(20.0), "plan": ["a", "b"] * 10, "churned": [1] * 20})
    with pytest.raises(
        ModelError, match=r"has only one class to train on: the label 'churned' is '?1'? in all 12 train rows"
    ):
        testing.train_tiny(one, frame)


def test_one_class_alone_ends_the_run_with_the_dataset(tmp_path: Path) -> None:
    @fti.feature_group(keys=["customer_id"])
    def kept() -> pd.DataFrame:
        return customers().assign(churned=0)

    observed = fti.FeatureView(name="kept", spine=kept, label=fti.Label(kept["churned"]), features=[kept["age"]])
    stays = fti.model(dataset=observed, task="binary", name="stays")(fitted)
    stores = testing.stores_in(tmp_path)
    with pytest.raises(ModelError, match="kept_dataset_v1 all has only one class"):
        testing.materialize(kept, stays.dataset, stays, stores=stores)


def test_a_dynamic_partition_of_a_test_is_there(tmp_path: Path) -> None:
    shops = dg.DynamicPartitionsDefinition(name="shops")

    @fti.feature_group(keys=["customer_id"], partitions_def=shops)
    def of_shop(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return pd.DataFrame({"customer_id": [1], "shop": [context.partition_key]})

    assert testing.rows(of_shop, partition="lyon")["shop"].tolist() == ["lyon"]
    stored = testing.materialize(of_shop, stores=testing.stores_in(tmp_path), partition="lyon")
    assert stored.rows(of_shop)["shop"].tolist() == ["lyon"]
    with pytest.raises(DeclarationError, match="run them one at a time, partition='lyon'"):
        testing.rows(of_shop, partition=("lyon", "nantes"))
    with pytest.raises(DeclarationError, match="of_shop_v1 is partitioned: name a partition"):
        testing.rows(of_shop)


def test_a_read_of_no_partition_is_refused(tmp_path: Path) -> None:
    stored = testing.materialize(orders, stores=testing.stores_in(tmp_path), partition="2024-01-01")
    with pytest.raises(FtiError, match="name some of '2024-01-01', or leave out partitions="):
        stored.rows(orders, partitions=[])
