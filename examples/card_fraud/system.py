"""Whether a payment by card is a fraud, decided while the terminal waits: the whole system, over simulated cards."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti
from examples.card_fraud.archive import Archive
from examples.card_fraud.on_demand import payment
from examples.card_fraud.replay import ReplayedStream

Terms = dict[str, Any]
days = dg.DailyPartitionsDefinition(start_date="2024-02-05", end_date="2024-05-08")
mondays = dg.WeeklyPartitionsDefinition(start_date="2024-04-22", end_date="2024-05-06", day_offset=1)
stream = ReplayedStream(
    os.environ.get("CARD_FRAUD_STREAM", "card_fraud_authorizations"),
    url=os.environ.get("CARD_FRAUD_NATS", "nats://127.0.0.1:4222"),
)

archive = Archive(folder=str(Path(os.environ.get("FTI_HOME", ".fti/card_fraud")) / "archive"))


class Authorizations(pa.DataFrameModel):
    """What a terminal asks the bank."""

    authorization: int
    card: int = pa.Field(ge=0)
    terminal: int = pa.Field(ge=0)
    amount: float = pa.Field(gt=0, description="euros")
    at: datetime
    stored_at: datetime


@fti.feature_group(
    keys=["authorization"],
    event_time="at",
    available_at="stored_at",
    schema=Authorizations,
    partitions_def=days,
    stream=stream,
    owners=["team:cards"],
)
def authorizations(context: dg.AssetExecutionContext, archive: Archive) -> pd.DataFrame:
    """Payments by card: by day from the archive, and as they happen from the stream."""
    return archive.days("authorizations", context.partition_keys)


@fti.feature_group(
    keys=["authorization"],
    event_time="charged_back_at",
    serving_delay="30h",
    partitions_def=days,
    owners=["team:disputes"],
)
def chargebacks(context: dg.AssetExecutionContext, archive: Archive) -> pd.DataFrame:
    """The frauds that a card's owner has reported, one to nine days later; a day's come at six the next morning."""
    return archive.days("chargebacks", context.partition_keys)


@fti.feature_group(keys=["card"], online=True)
def cards(archive: Archive) -> pd.DataFrame:
    """Where the owner of a card lives."""
    return archive.table("cards")[["card", "home_x", "home_y"]]


@fti.feature_group(keys=["terminal"], online=True)
def terminals(archive: Archive) -> pd.DataFrame:
    """Where a terminal stands."""
    return archive.table("terminals")


windows: Terms = {"every": "1d", "windows": ["1min", "10min", "1h", "1d", "7d", "30d"]}
online: Terms = {"online": True, "online_history": "2d"}
amounts: Terms = {
    "paid": fti.Count(),
    "spent": fti.Sum("amount"),
    "mean": fti.Mean("amount"),
    "most": fti.Max("amount"),
}
by_card = fti.request_windows(
    authorizations, name="by_card", keys=["card"], **windows, **online,
    aggregates=amounts | {"terminals": fti.DistinctCount("terminal")},
)  # fmt: skip
by_terminal = fti.request_windows(
    authorizations, name="by_terminal", keys=["terminal"], **windows, **online,
    aggregates=amounts | {"cards": fti.DistinctCount("card")},
)  # fmt: skip
frauds_by_terminal = fti.request_windows(
    chargebacks, name="frauds_by_terminal", keys=["terminal"], every="1d", windows=["2d", "7d", "30d"], **online,
    aggregates={"frauds": fti.Count()},
)  # fmt: skip

asked = fti.FeatureView(
    name="asked",
    spine=authorizations,
    prediction_time="at",
    label=fti.Label(chargebacks["is_fraud"], maturity="11d", missing=False),
    features=[
        authorizations["amount"],
        cards["home_x", "home_y"],
        terminals["x", "y"],
        by_card.prefix("card_")[tuple(column for column in by_card.columns or () if column != "card")],
        by_terminal.prefix("terminal_")[tuple(column for column in by_terminal.columns or () if column != "terminal")],
        frauds_by_terminal["frauds_2d", "frauds_7d", "frauds_30d"],
        payment,
    ],
)
split = fti.TimeSplit(validation="5d", test="10d")
payments = fti.training_dataset(name="payments", view=asked, split=split, partitions_def=mondays)


def amount_rule(train: Any, test: Any) -> np.ndarray:
    """The simplest rule: the more is paid, the likelier it is a fraud; the share of frauds among the train rows of like amounts."""
    ends = np.quantile(train.columns["amount"], np.linspace(0, 1, 11)[1:-1])
    known, requests = (np.searchsorted(ends, part.columns["amount"]) for part in (train, test))
    shares = np.bincount(known, train.y, 10) / np.bincount(known, minlength=10).clip(1)
    result: np.ndarray = shares[requests]
    return result


SETTINGS: Terms = {"n_estimators": 200, "learning_rate": 0.05, "num_leaves": 15, "min_child_samples": 40}


@fti.model(
    dataset=payments,
    task="binary",
    evaluate=fti.Evaluation(metrics=["pr_auc", "roc_auc", "log_loss"]),
    gates=[
        fti.BeatsBaseline("pr_auc", baseline=amount_rule),
        fti.BeatsBaseline("log_loss"),
        fti.NotWorseThanChampion("pr_auc", tolerance=0.02),
    ],
    description="Whether a payment will be charged back as a fraud. It learned from simulated cards, and knows nothing of real ones.",
    gates_fail_run=False,
)
def fraud(data: fti.TrainingData) -> Any:
    """Gradient boosting of the train rows."""
    from lightgbm import LGBMClassifier

    return LGBMClassifier(**SETTINGS, n_jobs=1, verbose=-1, random_state=7).fit(data.train.frame, data.train.y)


decisions = fti.batch_predictions(name="decisions", model=fraud, partitions_def=days)
defs = fti.build_definitions([decisions], name="card_fraud", resources={"archive": archive})
