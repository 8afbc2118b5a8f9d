"""A till: sales and refunds a day, how busy each shop was before, a model that says what is refunded, and its answers.

Each part can be declared otherwise, as a change of code would.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.testing import materialize

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-02-01")
CUTOFFS = dg.WeeklyPartitionsDefinition(start_date="2025-01-01", end_date="2025-02-10", end_offset=1)
FIRST, LAST, CUTOFF = "2025-01-01", "2025-01-12", "2025-01-12"
NOW = "2025-01-13T12:00:00"


def rows_of(context: Any) -> pd.DataFrame:
    frames = []
    for day in context.partition_keys:
        rng = np.random.default_rng(int(pd.Timestamp(day).strftime("%j")))
        times = pd.Timestamp(day) + pd.to_timedelta(np.sort(rng.integers(0, 86400, 24)), "s")
        frames.append(
            pd.DataFrame(
                {
                    "sale": [f"{day}-{number}" for number in range(24)],
                    "t": times,
                    "shop": rng.choice(["a", "b"], 24),
                    "price": rng.normal(10, 2, 24),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def system(
    *,
    raised: float = 0.0,
    factor: float = 1.0,
    lookback: str = "2d",
    encoder: Any = None,
    strength: float = 1.0,
    version: int = 1,
    with_seats: bool = False,
    largest: int = 7,
    ttl: str | None = None,
    with_shop: bool = False,
    test: str = "2d",
    dataset_version: int = 1,
    moment: Any = None,
    stored: Any = None,
) -> SimpleNamespace:
    """The declarations; what is given is what a change of code would be."""

    @fti.feature_group(keys=["sale"], event_time="t", partitions_def=DAYS)
    def sales(context: dg.AssetExecutionContext) -> pd.DataFrame:
        rows = rows_of(context)
        return rows.assign(price=rows["price"] + raised)

    @fti.feature_group(keys=["sale"], event_time="t", partitions_def=DAYS)
    def refunds(context: dg.AssetExecutionContext) -> pd.DataFrame:
        rows = rows_of(context)
        return rows[["sale", "t"]].assign(refunded=(rows["price"] > 10).astype(int))

    busy_versions = {}
    for number in dict.fromkeys((1, version)):  # the old one stays declared, since the champion needs it

        @fti.feature_group(
            name="busy",
            keys=["shop"],
            event_time="hour",
            partitions_def=DAYS,
            lookback=lookback,
            online=True,
            serving_delay="1min",
            ins={"sales": sales},
            version=number,
            ttl=ttl,
        )
        def busy_of_version(sales: fti.Table) -> pd.DataFrame:
            hours = fti.window_aggregate(
                sales, keys=["shop"], every="6h", windows=["1d"], aggregates={"takings": fti.Mean("price")}
            )
            frame = hours.df().rename(columns={"t": "hour"})
            return frame.assign(takings_1d=frame["takings_1d"] * factor)

        busy_versions[number] = busy_of_version
    busy = busy_versions[version]

    @fti.feature_group(keys=["shop"], online=True)
    def shops() -> pd.DataFrame:
        return pd.DataFrame({"shop": ["a", "b"], "size": [3, largest], **({"seats": [1, None]} if with_seats else {})})

    view = fti.FeatureView(
        name="refunding",
        spine=sales,
        label=fti.Label(refunds["refunded"]),
        features=[
            sales["price", "shop"] if with_shop else sales["price"],
            busy["takings_1d"],
            shops["size"],
            *([moment] if moment else []),
        ],
        encoders={"price": encoder or fti.Standardize(), **({"shop": fti.OneHot()} if with_shop else {})},
    )
    dataset = fti.training_dataset(
        name="refund_dataset",
        version=dataset_version,
        view=view,
        split=fti.TimeSplit(validation="1d", test=test),
        partitions_def=CUTOFFS,
    )

    @fti.model(name="refund_model", dataset=dataset, task="binary")
    def refund_model(data: fti.TrainingData) -> LogisticRegression:
        return LogisticRegression(C=strength).fit(data.train.X, data.train.y)

    scores = fti.batch_predictions(name="scores", model=refund_model, partitions_def=DAYS)
    watch = fti.monitor(name="watch", predictions=scores, partitions_def=DAYS, drift=[fti.Drift("psi")])
    definitions = fti.build_definitions(
        [scores, busy_versions[1]], name="till", resources=None if stored is None else {"fti": stored}
    )
    return SimpleNamespace(
        sales=sales,
        refunds=refunds,
        busy=busy,
        first_busy=busy_versions[1],
        shops=shops,
        dataset=dataset,
        model=refund_model,
        scores=scores,
        watch=watch,
        defs=definitions,
    )


def run(what: Any, stores: fti.Stores, partition: Any = (FIRST, LAST), **options: Any) -> None:
    materialize(what, stores=stores, partition=partition, now=NOW, **options)


def run_all(one: SimpleNamespace, stores: fti.Stores, **options: Any) -> None:
    """Everything of the first days, as a backfill would."""
    for group in (one.sales, one.refunds):
        run(group, stores, **options)
    run(one.shops, stores, None, **options)
    run(one.busy, stores, ("2025-01-03", LAST), **options)
    run(one.dataset, stores, CUTOFF, **options)
    run(one.model, stores, CUTOFF, **options)
    run(one.scores, stores, LAST, **options)
