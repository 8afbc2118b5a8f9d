"""A small system with an asset of every kind, over several rounds of its own sensors: each runs once a change, and none is forgotten."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

import fti_assets as fti
from fti_assets import Predictor
from fti_assets.core import clock
from fti_assets.testing import Rehearsal

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2024-01-04", end_offset=1)
LANDED: dict[str, str] = {}


def rows(days: list[str]) -> pd.DataFrame:
    """Forty visits a day; a corrected day has other numbers."""
    parts = []
    for day in days:
        draw = np.random.default_rng(int(pd.Timestamp(day).day))
        x = draw.normal(size=40) + (LANDED.get(day) == "corrected")
        parts.append(
            pd.DataFrame(
                {
                    "id": [f"{day}/{n}" for n in range(40)],
                    "at": pd.Timestamp(day) + pd.to_timedelta(np.arange(40) * 30, unit="min"),
                    "shop": np.arange(40) % 3,
                    "x": x,
                    "y": (x + draw.normal(size=40) > 0).astype(int),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return rows(list(context.partition_keys))[["id", "at", "shop", "x"]]


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return rows(list(context.partition_keys))[["id", "at", "shop", "y"]]


@fti.feature_group(
    keys=["shop"], event_time="at", partitions_def=DAYS, lookback="1d", ttl="2d", online=True, serving_delay="1h"
)
def rates(outcomes: fti.Table) -> fti.Table:
    return fti.window_aggregate(
        outcomes, keys=["shop"], every="12h", windows=["1d"], aggregates={"rate": fti.Mean("y")}
    )


view = fti.FeatureView(
    name="view", spine=visits, label=fti.Label(outcomes["y"]), features=[visits["x"], rates["rate_1d"]]
)
rows_of_view = fti.training_dataset(
    name="rows", view=view, partitions_def=CUTOFFS, split=fti.TimeSplit(validation="1d", test="1d")
)


def trained(data: fti.TrainingData) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(data.train.X, data.train.y)


one = fti.model(dataset=rows_of_view, task="binary", name="one", rollback="propose")(trained)
# No build of it passes: it is tried once a cutoff.
barred = fti.model(
    dataset=rows_of_view, task="binary", name="barred", gates=[fti.MetricBounds("roc_auc", at_least=0.9999)]
)(trained)
other = fti.model(dataset=rows_of_view, task="binary", name="other")(trained)
both = fti.composite(name="both", models=[one, other])
answers = fti.batch_predictions(name="answers", model=one, partitions_def=DAYS)
log = fti.prediction_log(name="log", model=one, partitions_def=DAYS)
watch = fti.monitor(name="watch", predictions=answers, drift=[], quality=[fti.Quality("roc_auc")])
trial = fti.experiment(name="trial", model=one, log=log, metric="log_loss")
same = fti.parity(name="same", log=log)


@fti.new_data_sensor(targets=[visits, outcomes])
def landing() -> dict[Any, dict[str, str]]:
    return {visits: dict(LANDED), outcomes: dict(LANDED)}


def test_every_kind_of_asset_runs_once_a_change(tmp_path: Path) -> None:
    places = {name: str(tmp_path / name) for name in ("lake", "models", "online", "log")}
    with dg.DagsterInstance.ephemeral() as instance:
        defs = fti.build_definitions(
            [both, barred, watch, trial, same],
            name="system",
            sensors=[landing],
            resources={"fti": fti.Stores(**places)},
        )
        tried = Rehearsal(defs, instance)
        tried.settle("2024-01-01")
        LANDED.update(dict.fromkeys(["2024-01-01", "2024-01-02", "2024-01-03"], "first"))
        tried.settle("2024-01-04T06:00:00Z")
        with (
            clock.at("2024-01-04T12:00:00Z"),
            Predictor.load("one", models=places["models"], online=places["online"], log=places["log"]) as predictor,
        ):
            predictor.predict({"id": "new", "shop": 1, "x": 0.5})
        LANDED["2024-01-04"] = "first"
        tried.settle("2024-01-05T06:00:00Z")
        LANDED["2024-01-04"] = "corrected"
        tried.settle("2024-01-05T12:00:00Z")
    counts = Counter((asset, run.partitions and run.partitions[0]) for run in tried.runs for asset in run.assets)
    groups, of_cutoffs = (
        ("visits_v1", "outcomes_v1", "rates_v1"),
        ("rows_v1", "one_v1", "other_v1", "barred_v1", "both_v1"),
    )
    assert counts == {
        **{(name, "2024-01-01"): 1 for name in groups},  # three days in a run
        **{(name, "2024-01-04"): 2 for name in (*groups, "answers_v1", "watch_v1")},
        **{(name, cutoff): 1 for name in of_cutoffs for cutoff in ("2024-01-04", "2024-01-05")},
        **{(name, "2024-01-04"): 1 for name in ("log_v1", "same_v1")},
        ("one_review_v1", None): 3,  # with each outcomes
        ("trial_v1", None): 2,  # with the log and the outcomes together, and with the corrected ones
    }
