"""A shop of a few days: visits, what was bought, and habits of customers; the tests of the testing package run it."""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti
from tests.on_demand import doubled

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-01-12")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2025-01-05", end_date="2025-01-12")
FIRST, LAST = "2025-01-01", "2025-01-07"


def source() -> pd.DataFrame:
    """A visit every half hour of a week, by five customers; what they bought is known two hours later."""
    t = pd.date_range(FIRST, "2025-01-08", freq="30min", inclusive="left")
    rng = np.random.default_rng(3)
    spend = rng.normal(size=len(t))
    return pd.DataFrame(
        {
            "visit_id": [f"v{number}" for number in range(len(t))],
            "customer": np.arange(len(t)) % 5,
            "t": t,
            "spend": spend,
            "bought": (spend + rng.normal(scale=0.5, size=len(t)) > 0).astype(int),
            "known": t + pd.Timedelta("2h"),
        }
    )


SOURCE = source()


def on_days(context: Any, *columns: str) -> pd.DataFrame:
    return SOURCE[SOURCE["t"].dt.strftime("%Y-%m-%d").isin(context.partition_keys)][list(columns)]


class VisitSchema(pa.DataFrameModel):
    """A visit."""

    visit_id: str = pa.Field(unique=True)
    customer: int = pa.Field(ge=0)
    t: pd.Timestamp
    spend: float = pa.Field(nullable=True)


@fti.feature_group(keys=["visit_id"], event_time="t", schema=VisitSchema, partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return on_days(context, "visit_id", "customer", "t", "spend")


class OutcomeSchema(pa.DataFrameModel):
    """What a visit came to."""

    visit_id: str
    customer: int
    t: pd.Timestamp
    known: pd.Timestamp
    bought: int = pa.Field(isin=[0, 1])


@fti.feature_group(keys=["visit_id"], event_time="t", available_at="known", schema=OutcomeSchema, partitions_def=DAYS)
def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return on_days(context, "visit_id", "customer", "t", "known", "bought")


class HabitSchema(pa.DataFrameModel):
    """How often a customer bought."""

    customer: int
    hour: pd.Timestamp
    bought_6h: float = pa.Field(nullable=True, in_range={"min_value": 0, "max_value": 1})
    visits_6h: int = pa.Field(ge=1)


@fti.feature_group(
    keys=["customer"], event_time="hour", schema=HabitSchema, partitions_def=DAYS, lookback="1d", online=True,
    serving_delay="10min", online_history="7d",
)  # fmt: skip
def habits(outcomes: fti.Table) -> fti.Table:
    return fti.window_aggregate(
        outcomes,
        keys=["customer"],
        every="1h",
        windows=["6h"],
        aggregates={"bought": fti.Mean("bought"), "visits": fti.Count()},
    )


def relation_name(*features: Any, name: str = "buying", label: Any = outcomes["bought"]) -> fti.FeatureView:
    return fti.FeatureView(
        name=name, spine=visits, label=fti.Label(label, maturity="3h"), features=[visits["spend"], *features]
    )


dataset = fti.training_dataset(
    name="buying_dataset",
    view=relation_name(habits["bought_6h", "visits_6h"], doubled),
    split=fti.TimeSplit(validation="1d", test="1d"),
    partitions_def=CUTOFFS,
)


@fti.model(dataset=dataset, task="binary", gates=[fti.BeatsBaseline("log_loss")])
def buyer(data: fti.TrainingData) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(data.train.X, data.train.y)
