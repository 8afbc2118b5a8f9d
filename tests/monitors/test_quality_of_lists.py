"""The quality of a ranking model's lists, and what is refused because its answers are no fair sample."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.errors import DeclarationError
from fti_assets.training.judging.evaluation import evaluate
from tests.support.partitions import range_tags
from tests.support.visits import BUYER, CUTOFFS, DAYS, LEAN, of_run, stores_in


def source() -> pd.DataFrame:
    rng, days = np.random.default_rng(5), pd.date_range("2013-01-01", "2013-01-06")
    displayed = pd.DataFrame([(day, query, item) for day in days for query in range(6) for item in range(4)])
    displayed.columns = pd.Index(["t", "query", "item"])
    displayed["t"] += pd.to_timedelta(displayed["query"] * 4, "h")
    displayed["query"] += 100 * displayed["t"].dt.day
    displayed["price"] = rng.normal(size=len(displayed))
    displayed["grade"] = np.clip(np.round(displayed["price"] + rng.normal(size=len(displayed)) + 1), 0, 2)
    return displayed


SOURCE = source()


@fti.feature_group(keys=["query", "item"], event_time="t", partitions_def=DAYS)
def shown(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_run(context, SOURCE)[["query", "item", "t", "price"]]


@fti.feature_group(keys=["query", "item"], event_time="t", partitions_def=DAYS)
def grades(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_run(context, SOURCE)[["query", "item", "t", "grade"]]


VIEW = fti.FeatureView(
    name="offers", spine=shown, label=fti.Label(grades["grade"], maturity="30h"), features=[shown["price"]]
)
LISTS = fti.training_dataset(
    name="lists", view=VIEW, query="query", split=fti.TimeSplit(validation="6h", test="1d"), partitions_def=CUTOFFS
)


@fti.model(dataset=LISTS, task="ranking")
def ranker(data: fti.TrainingData) -> Any:
    return Ridge().fit(data.train.X, data.train.y)


ranked = fti.batch_predictions(name="ranked", model=ranker, partitions_def=DAYS)
watch = fti.monitor(
    name="watch", predictions=ranked, drift=[], weeks=0, quality=[fti.Quality("ndcg"), fti.Quality("mrr")]
)


@pytest.mark.soak
def test_lists_are_measured_as_they_are_evaluated(tmp_path: Path) -> None:
    stores = stores_in(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:

        def run(*assets: Any, now: str, **options: Any) -> None:
            with clock.at(now):
                dg.materialize(
                    [one.assets_def for one in assets], instance=instance, resources={"fti": stores}, **options
                )

        run(shown, grades, now="2013-01-07", tags=range_tags("2013-01-01", "2013-01-06"))
        run(LISTS, ranker, now="2013-01-07", partition_key="2013-01-07")
        run(ranked, now="2013-01-06T12:00:00", partition_key="2013-01-06")
        run(watch, now="2013-01-07T14:00:00", partition_key="2013-01-06")
    rows = fti.read(watch, stores=stores)
    answers = fti.read(ranked, stores=stores).merge(SOURCE, on=["query", "item"]).sort_values(["t_x", "query", "item"])
    mature = answers[answers["t_x"] <= "2013-01-06T08:00:00"]
    assert len(mature) == 12
    scores = evaluate(
        "ranking",
        ["ndcg", "mrr"],
        {"score": mature["score"].to_numpy()},
        mature["grade"].to_numpy(),
        queries=mature["query"].to_numpy(),
    )
    own = rows[(rows["build"] == "") & rows["statistic"].isin(["ndcg", "mrr"])].set_index("statistic")
    assert own["value"].to_dict() == scores
    assert set(own["rows"]) == {12}


def test_answers_that_are_no_fair_sample_have_no_quality() -> None:
    best = fti.batch_predictions(name="best", model=ranker, partitions_def=DAYS, top=fti.TopK(2, by="query"))
    log = fti.prediction_log(name="ranks", model=ranker, partitions_def=DAYS)
    hidden = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS, redact=["member", "visit_id"])
    both = fti.batch_predictions(
        name="both", model=fti.composite(name="pair", models=[BUYER, LEAN]), partitions_def=DAYS
    )
    cases: list[tuple[dict[str, Any], str]] = [
        ({"predictions": best}, "keeps the best 2 items"),
        ({"log": log}, "logs a ranking row by row"),
        ({"predictions": both}, "'pair' is a composite"),
        ({"log": hidden, "quality": [fti.Quality("brier")]}, "come by 'visit_id'"),
    ]
    for options, message in cases:
        with pytest.raises(DeclarationError, match=message):
            fti.monitor(**{"name": "watch", "quality": [fti.Quality("ndcg")], **options})
