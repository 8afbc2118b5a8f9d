"""Ten films for each user, every Thursday: the whole system."""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti
from examples.recommendations.nearness import candidates_of
from examples.recommendations.on_demand import years
from examples.recommendations.ratings import catalogue, rated

Terms = dict[str, Any]
THURSDAY: Terms = {"day_offset": 4, "end_date": "2016-10-13"}
weeks = dg.WeeklyPartitionsDefinition(start_date="1995-01-05", **THURSDAY)
cutoffs = dg.WeeklyPartitionsDefinition(start_date="2011-10-13", **THURSDAY)
weekly: Terms = {"event_time": "week", "partitions_def": weeks, "lookback": "lifetime", "owners": ["team:discovery"]}
windowed: Terms = weekly | {"serving_delay": "0s", "ttl": "7d", "online": True, "online_history": "30d"}


class RatingsSchema(pa.DataFrameModel):
    """What a user gave a film, known at once."""

    user_id: int = pa.Field(gt=0)
    movie_id: int
    rated_at: pd.Timestamp
    stars: float = pa.Field(isin=[1, 2, 3, 4, 5])
    year: float = pa.Field(ge=1890, nullable=True, description="when the film came out")


@fti.feature_group(
    keys=["user_id", "movie_id"], event_time="rated_at", schema=RatingsSchema, partitions_def=weeks, owners=["team:web"]
)
def ratings(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The ratings of a week."""
    return rated(context)


@fti.feature_group(keys=["movie_id"], online=True)
def films() -> pd.DataFrame:
    """Title, genres and year of each film: a lookup."""
    return catalogue()


@fti.feature_group(keys=["movie_id"], **windowed | {"lookback": "366d"})
def charts(ratings: fti.Table) -> fti.Table:
    """How often a film was rated in the month, quarter and year before, and how well."""
    windows: Terms = {"keys": ["movie_id"], "every": "7d", "windows": ["28d", "91d", "365d"]}
    return fti.window_aggregate(ratings, **windows, aggregates={"rated": fti.Count(), "mean": fti.Mean("stars")})


@fti.feature_group(keys=["user_id"], **windowed)
def habits(ratings: fti.Table) -> fti.Table:
    """How much a user rated in the quarter before and ever, how well, and films of what years."""
    windows: Terms = {"keys": ["user_id"], "every": "7d", "windows": ["91d", "lifetime"]}
    aggregates: Terms = {"films": fti.Count(), "gave": fti.Mean("stars"), "year": fti.Mean("year")}
    return fti.window_aggregate(ratings, **windows, aggregates=aggregates)


@fti.feature_group(keys=["user_id", "movie_id"], **weekly)
def candidates(context: dg.AssetExecutionContext, ratings: fti.Table, films: fti.Table) -> pd.DataFrame:
    """Some sixty films a week for each user of the quarter before, none of which the user has rated: the spine."""
    return candidates_of(ratings.df(), films.df(), pd.DatetimeIndex(context.partition_keys))


choice = fti.FeatureView(
    name="choice",
    spine=candidates,
    label=fti.Label(ratings["stars"], within="7d", missing=False),
    features=[
        candidates["nearness", "near_place", "chart_place", "taste"],
        charts["rated_28d", "rated_91d", "rated_365d", "mean_365d"],
        habits["films_91d", "films_lifetime", "gave_lifetime", "year_91d", "year_lifetime"],
        films["year"],
        years,
    ],
)
split = fti.TimeSplit(validation="7d", test="364d")
lists = fti.training_dataset(
    name="lists", view=choice, query=["user_id", "week"], split=split, window="2192d", partitions_def=cutoffs
)


@fti.model(
    dataset=lists,
    task="ranking",
    evaluate=fti.Evaluation(metrics=["ndcg_at_10", "mrr"]),
    gates=[fti.BeatsBaseline("ndcg_at_10", baseline=fti.LastValue("rated_365d"))],
    retrain=[fti.OnSchedule("0 3 1-7 * 4")],
    gates_fail_run=False,
)
def ranker(data: fti.TrainingData) -> Any:
    """Which of the candidates a user will rate in the week that begins, and how well: of lists in which there was one."""
    from lightgbm import LGBMRanker

    ends = np.cumsum(data.train.groups)
    tells = np.add.reduceat(data.train.y, ends - data.train.groups) > 0
    rows = np.repeat(tells, data.train.groups)
    settings: Terms = {"n_estimators": 100, "learning_rate": 0.05, "num_leaves": 7, "min_child_samples": 50}
    settings |= {"colsample_bytree": 0.7, "subsample": 0.7, "subsample_freq": 1, "n_jobs": 1, "verbose": -1}
    model = LGBMRanker(**settings, label_gain=[0, 1, 2, 3, 4, 5], random_state=data.seed)
    return model.fit(data.train.frame[rows], data.train.y[rows], group=data.train.groups[tells])


picks = fti.batch_predictions(
    name="picks",
    model=ranker,
    partitions_def=weeks,
    top=fti.TopK(10, by="user_id"),
    online=True,
)
defs = fti.build_definitions([picks], name="recommendations")
