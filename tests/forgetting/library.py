"""A library: who its members are, what they borrow, which branches they visit, and what comes back late."""

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
from sklearn.linear_model import LogisticRegression

import fti_assets as fti

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-01-12")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2025-01-02", end_date="2025-01-12")
FIRST, LAST, CUTOFF = "2025-01-01", "2025-01-03", "2025-01-04"
END = "2025-01-07"
NOW = "2025-01-20T00:00:00"
ANN = "ann-4d61c9"
PEOPLE = [ANN, "bob-09ef12", "cas-77aa01", "dee-5512bb"]


def source() -> pd.DataFrame:
    """A loan an hour for six days."""
    t = pd.date_range(FIRST, END, freq="h", inclusive="left")
    rng = np.random.default_rng(3)
    pages = rng.normal(size=len(t))
    return pd.DataFrame(
        {
            "loan_id": np.arange(len(t)),
            "borrower": np.array(PEOPLE, dtype=object)[np.arange(len(t)) % 4],
            "t": t,
            "pages": pages,
            "late": (pages + rng.normal(scale=0.5, size=len(t)) > 0).astype(int),
        }
    )


SOURCE = source()


def of_run(context: dg.AssetExecutionContext, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["t"].dt.strftime("%Y-%m-%d").isin(context.partition_keys)].copy()


class LoanSchema(pa.DataFrameModel):
    """A loan."""

    loan_id: int
    borrower: str
    t: pd.Timestamp
    pages: float


@fti.feature_group(keys=["loan_id"], event_time="t", schema=LoanSchema, partitions_def=DAYS)
def loans(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_run(context, SOURCE)[["loan_id", "borrower", "t", "pages"]]


@fti.feature_group(keys=["loan_id"], event_time="t", serving_delay="1h", partitions_def=DAYS)
def returns(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_run(context, SOURCE)[["loan_id", "t", "late"]]


def membership(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = of_run(context, SOURCE).rename(columns={"borrower": "person"})
    rows["borrowed"] = rows.groupby("person").cumcount().astype(float)
    return rows[["person", "t", "borrowed"]]


online = {"online": True, "serving_delay": "1min", "online_history": "60d"}


@fti.feature_group(keys=["person"], event_time="t", partitions_def=DAYS, name="members", **online)
def members_v1(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return membership(context)


@fti.feature_group(
    keys=["person"], event_time="t", partitions_def=DAYS, name="members", version=2, serving_delay="1min"
)
def members_v2(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return membership(context).assign(since=2020)


@fti.feature_group(keys=["person", "branch"], event_time="t", partitions_def=DAYS, **online)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = of_run(context, SOURCE).rename(columns={"borrower": "person"})
    return rows[["person", "t"]].assign(branch=rows["loan_id"] % 2, minutes=rows["pages"] * 10)


view = fti.FeatureView(
    name="lateness",
    spine=loans,
    label=fti.Label(returns["late"], maturity="1h"),
    features=[loans["pages"], members_v1.on(borrower="person")["borrowed"]],
)

dataset = fti.training_dataset(
    name="late_dataset", view=view, split=fti.TimeSplit(validation="1d", test="1d"), partitions_def=CUTOFFS
)


@fti.model(dataset=dataset, task="binary")
def late_model(data: fti.TrainingData) -> LogisticRegression:
    return LogisticRegression().fit(data.train.X, data.train.y)


answers = fti.batch_predictions(name="answers", model=late_model, partitions_def=DAYS)

GROUPS = [loans, returns, members_v1, members_v2, visits]
ASSETS = [*GROUPS, dataset, late_model, answers]
