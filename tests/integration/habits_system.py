"""A small system as a code location, for the tests of what Dagster users are used to do."""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

import fti_assets as fti

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-22")
WEEKS = dg.WeeklyPartitionsDefinition(start_date="2024-01-07", end_date="2024-01-29")
CALLS = Path(os.environ.get("CALLS", "calls.txt"))


class Shop(dg.ConfigurableResource[Any]):
    """Where the visits come from."""

    per_day: int = 24

    def visits(self, days: list[str]) -> pd.DataFrame:
        parts = []
        for day in days:
            numbers = np.arange(self.per_day)
            at = pd.date_range(day, periods=self.per_day, freq="h", unit="us")
            parts.append(pd.DataFrame({"id": [f"{day}/{n}" for n in numbers], "at": at, "x": numbers % 3 / 2}))
        return pd.concat(parts, ignore_index=True)


def called(name: str, context: dg.AssetExecutionContext) -> None:
    """Write down that a function was called, where another process can read it."""
    with CALLS.open("a") as calls:
        calls.write(f"{name} {context.partition_keys[0]}\n")


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS, op_tags={"team": "shop"}, pool="shop_database")
def visits(context: dg.AssetExecutionContext, shop: Shop) -> pd.DataFrame:
    called("visits", context)
    return shop.visits(list(context.partition_keys))


@fti.feature_group(
    keys=["id"],
    event_time="at",
    partitions_def=DAYS,
    deps=[visits.key],
    retry_policy=dg.RetryPolicy(max_retries=1),
)
def outcomes(context: dg.AssetExecutionContext, shop: Shop) -> pd.DataFrame:
    called("outcomes", context)
    if CALLS.with_name("fail").exists() or (CALLS.with_name("fail_once").exists() and context.retry_number == 0):
        raise ConnectionError("the till does not answer")
    rows = shop.visits(list(context.partition_keys))
    return rows.assign(y=(rows["x"] > 0.4).astype(int)).drop(columns="x")


seen = fti.FeatureView(name="seen", spine=visits, label=fti.Label(outcomes["y"]), features=[visits["x"]])
rows = fti.training_dataset(
    name="rows", view=seen, partitions_def=WEEKS, split=fti.TimeSplit(validation="1d", test="2d")
)


class Hyperparameters(dg.Config):
    """How the model is trained."""

    strength: float = 1.0


@fti.model(dataset=rows, task="binary")
def buyer(context: dg.AssetExecutionContext, config: Hyperparameters, data: fti.TrainingData) -> Any:
    called(f"buyer with {config.strength}", context)
    return LogisticRegression(C=config.strength).fit(data.train.X, data.train.y)


answers = fti.batch_predictions(name="answers", model=buyer, partitions_def=DAYS)


@dg.asset(deps=[outcomes.key], partitions_def=DAYS)
def report() -> None:
    """A plain asset beside the system."""


daily = dg.define_asset_job("daily", selection=[visits.assets_def, outcomes.assets_def])
retrain = dg.define_asset_job(
    "retrain",
    selection=dg.AssetSelection.assets(buyer.key),
    config={"ops": {"buyer_v1": {"config": {"strength": 0.25}}}},
)
after_outcomes = dg.define_asset_job(
    "after_outcomes",
    selection=dg.AssetSelection.assets(outcomes.key).downstream(depth=1) & dg.AssetSelection.groups("default"),
)
defs = fti.build_definitions(
    [answers],
    name="shop",
    resources={"shop": Shop()},
    assets=[report],
    jobs=[daily, retrain, after_outcomes],
)


def daily_job() -> dg.JobDefinition:
    """The daily job, as another process finds it."""
    return defs.resolve_job_def("daily")
