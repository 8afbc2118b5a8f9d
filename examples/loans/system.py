"""Which applications are likely to be graded D or worse, so that a person looks at them first: the whole system."""

from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti
from examples.loans.on_demand import ratios, region
from examples.loans.records import NUMBERS, TEXTS, applied, graded

Terms = dict[str, Any]
days = dg.DailyPartitionsDefinition(start_date="2018-01-01", end_date="2018-05-01")
cutoffs = dg.MonthlyPartitionsDefinition(start_date="2018-03-01", end_date="2018-05-01")
by_application: Terms = {"keys": ["application_id"], "partitions_def": days, "owners": ["team:credit"]}

rules: Terms = {  # requests are held against them, too
    "application_id": pa.Column(int, unique=True),
    "applied_at": pa.Column("datetime64[us]"),
    "homeownership": pa.Column(str, pa.Check.isin(["MORTGAGE", "OWN", "RENT"])),
    "loan_amount": pa.Column(float, pa.Check.in_range(500, 40_000), description="dollars"),
    "term": pa.Column(float, pa.Check.isin([36, 60]), description="months"),
    "annual_income": pa.Column(float, pa.Check.ge(0), description="dollars"),
    "earliest_credit_line": pa.Column(float, pa.Check.in_range(1930, 2018), description="a year"),
}
columns: Terms = {name: pa.Column(str) for name in ("state", *TEXTS)} | {
    name: pa.Column(float, nullable=True) for name in NUMBERS
}


@fti.feature_group(**by_application, event_time="applied_at", schema=pa.DataFrameSchema(columns | rules))
def applications(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """Each application of a month: the spine. The records tell the month alone, so all of them are of its first instant."""
    return applied(context)


@fti.feature_group(**by_application, event_time="graded_at", serving_delay="1d")
def grades(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """What the lender's underwriters made of each application, known when the month is over."""
    return graded(context)


daily: Terms = {"event_time": "midnight", "serving_delay": "0s", "ttl": "2d", "online": True, "online_history": "120d"}


@fti.feature_group(keys=["state"], lookback="63d", **daily, partitions_def=days)
def state_record(grades: fti.Table) -> fti.Table:
    """How applications from a state were graded in the 62 days before, each midnight."""
    aggregates: Terms = {"risky_rate": fti.Mean("is_risky"), "rate": fti.Mean("interest_rate"), "loans": fti.Count()}
    return fti.window_aggregate(grades, keys=["state"], every="24h", windows=["62d"], aggregates=aggregates)


own = applications[(*TEXTS, *(name for name in NUMBERS if name != "earliest_credit_line"))]
terms: Terms = {
    "spine": applications,
    "label": fti.Label(
        grades["is_risky"], maturity="28d"
    ),  # a month is told when it is over, and the cutoffs are months
    "encoders": {name: fti.OneHot() for name in (*TEXTS, "region", "history")},
}
alone = fti.FeatureView(name="alone", features=[own, ratios, region], **terms)
of_state = state_record.prefix("state_")["risky_rate_62d", "rate_62d", "loans_62d"]
in_context = fti.FeatureView(name="in_context", features=[own, ratios, region, of_state], **terms)

split: Terms = {"split": fti.HashSplit(validation=0.15, test=0.3), "partitions_def": cutoffs}
rows_alone = fti.training_dataset(name="rows_alone", view=alone, **split)
rows_in_context = fti.training_dataset(name="rows_in_context", view=in_context, **split)

THRESHOLD = 0.25  # from here on a person looks first
judged: Terms = {
    "name": "grader",
    "task": "binary",
    "evaluate": fti.Evaluation(
        metrics=["roc_auc", "log_loss", "brier", "ece"],
        slices=["homeownership", "history"],
        fairness=["homeownership", "history"],
        min_rows=50,
        threshold=THRESHOLD,
    ),
    "gates": [
        fti.BeatsBaseline("log_loss", baseline="logistic"),
        fti.MetricBounds("ece", at_most=0.08),
        fti.FairnessBounds("equal_opportunity_difference", "homeownership", at_most=0.25),
    ],
    "promote": "by_hand",
    "intended_use": "Which applications a person looks at first.",
    "limits": ["Not for turning anybody down.", "Learned of loans that were made, and of no application that was not."],
}


def boosted(data: fti.TrainingData) -> Any:
    """Gradient boosting of the train rows."""
    from lightgbm import LGBMClassifier

    settings = {"n_estimators": 80, "learning_rate": 0.1, "num_leaves": 8, "n_jobs": 1, "verbose": -1}
    return LGBMClassifier(**settings).fit(data.train.frame, data.train.y)


@fti.model(dataset=rows_alone, version=1, **judged)
def grader_alone(data: fti.TrainingData) -> Any:
    """By the application alone: a request brings all that it needs, and nothing is looked up."""
    return boosted(data)


@fti.model(dataset=rows_in_context, version=2, **judged)
def grader_in_context(data: fti.TrainingData) -> Any:
    """By the application and by how others of its state were graded of late, which is looked up online."""
    return boosted(data)


decisions = fti.prediction_log(name="decisions", model=grader_alone, partitions_def=days)
arms = fti.experiment(name="grader_arms", model=grader_alone, log=decisions, metric="log_loss", least_keys=1_500)
defs = fti.build_definitions([arms, grader_in_context], name="loans")
