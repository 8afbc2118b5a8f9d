"""Models whose answers are no single probability or value, for tests of every path that an answer takes: several labels, and a ranking."""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputClassifier

import fti_assets as fti

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-10")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2013-01-06", end_date="2013-01-08")


def _source() -> pd.DataFrame:
    rng, days = np.random.default_rng(5), pd.date_range("2013-01-01", "2013-01-07")
    rows = pd.DataFrame([(day, query, item) for day in days for query in range(8) for item in range(4)])
    rows.columns = pd.Index(["t", "query", "item"])
    rows["t"] += pd.to_timedelta(rows["query"] * 3, "h")
    rows["query"] += 100 * rows["t"].dt.day
    rows["price"], rows["shop"] = rng.normal(size=len(rows)), rng.choice(["a", "b"], len(rows))
    rows["grade"] = np.clip(np.round(rows["price"] + rng.normal(size=len(rows)) + 1), 0, 2)
    rows["bought"] = (rows["price"] + rng.normal(size=len(rows)) > 0).astype(int)
    rows["joined"] = (-rows["price"] + rng.normal(size=len(rows)) > 0).astype(int)
    return rows


SOURCE = _source()
ASKED = ["query", "item", "price", "shop"]


def _of_run(context: dg.AssetExecutionContext, rows: pd.DataFrame) -> pd.DataFrame:
    window = context.partition_time_window
    start, end = (moment.replace(tzinfo=None) for moment in (window.start, window.end))
    return rows[(rows["t"] >= start) & (rows["t"] < end)]


@fti.feature_group(keys=["query", "item"], event_time="t", partitions_def=DAYS)
def shown(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """Offers that were shown, a list a query."""
    return _of_run(context, SOURCE)[["query", "item", "t", "price", "shop"]]


@fti.feature_group(keys=["query", "item"], event_time="t", partitions_def=DAYS)
def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """What became of each."""
    return _of_run(context, SOURCE)[["query", "item", "t", "grade", "bought", "joined"]]


@fti.feature_group(
    keys=["shop"], event_time="t", partitions_def=DAYS, online=True, online_history="30d", serving_delay="1h", ttl="2d"
)
def crowds(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """How full each shop is."""
    hours, rng = pd.date_range("2013-01-01", "2013-01-07 23:00", freq="2h"), np.random.default_rng(2)
    rows = pd.concat([pd.DataFrame({"shop": shop, "t": hours}) for shop in ("a", "b")], ignore_index=True)
    rows["people"] = rng.normal(size=len(rows))
    return _of_run(context, rows)


def _dataset(name: str, label: Any, **options: Any) -> Any:
    view = fti.FeatureView(name=f"{name}_view", spine=shown, label=label, features=[shown["price"], crowds["people"]])
    split = fti.TimeSplit(validation="12h", test="1d")
    return fti.training_dataset(name=f"{name}_rows", view=view, split=split, partitions_def=CUTOFFS, **options)


PAIR = _dataset(
    "pair",
    {"bought": fti.Label(outcomes["bought"], maturity="6h"), "joined": fti.Label(outcomes["joined"], maturity="12h")},
)
LISTS = _dataset("ranker", fti.Label(outcomes["grade"], maturity="6h"), query="query")


@fti.model(dataset=PAIR, task="multilabel", importance=False)
def pair(data: fti.TrainingData) -> Any:
    """Whether an offer is bought, and whether its buyer joins."""
    return MultiOutputClassifier(LogisticRegression()).fit(data.train.X, data.train.y)


@fti.model(dataset=LISTS, task="ranking", importance=False)
def ranker(data: fti.TrainingData) -> Any:
    """Which offer of a list is the best."""
    return Ridge().fit(data.train.X, data.train.y)


mixed = fti.composite(name="mixed", models=[pair, ranker])
LOGS = {
    model.name: fti.prediction_log(name=f"{model.name}_log", model=model, partitions_def=DAYS)
    for model in (pair, ranker, mixed)
}
DRIFT = [fti.Drift("psi", min_rows=5)]
pair_watch = fti.monitor(
    name="pair_watch",
    log=LOGS["pair"],
    drift=DRIFT,
    quality=[fti.Quality("log_loss"), fti.Quality("brier:joined"), fti.Quality("exact_match")],
)
ranker_watch = fti.monitor(name="ranker_watch", log=LOGS["ranker"], drift=DRIFT)
mixed_watch = fti.monitor(name="mixed_watch", log=LOGS["mixed"], drift=DRIFT)
pair_parity = fti.parity(name="pair_parity", log=LOGS["pair"])

defs = fti.build_definitions([pair_watch, ranker_watch, mixed_watch, pair_parity])
