"""A week of visits to shops, and models that say who buys, for tests of batch predictions."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.manifest import ModelManifest
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.stores.models.store import build_id
from tests.on_demand import calendar
from tests.support.partitions import range_tags

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-20")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2013-01-04", end_date="2013-01-20")
LATER = "2013-01-20T00:00:00"  # every window has closed


def source() -> pd.DataFrame:
    t = pd.date_range("2013-01-01", "2013-01-09", freq="h", inclusive="left")
    rng = np.random.default_rng(3)
    x = rng.normal(size=len(t))
    x[::17] = np.nan
    return pd.DataFrame(
        {
            "visit_id": np.arange(len(t)) + 2**40,
            "t": t + pd.to_timedelta(rng.integers(0, 3600, len(t)), "s"),
            "shop": rng.choice(["a", "b", "new"], len(t)),
            "member": rng.random(len(t)) < 0.5,
            "x": x,
            "bought": (np.nan_to_num(x) + rng.normal(size=len(t)) > 0).astype(int),
        }
    )


SOURCE = source()


def of_run(context: dg.AssetExecutionContext, rows: pd.DataFrame) -> pd.DataFrame:
    window = context.partition_time_window
    start, end = (moment.replace(tzinfo=None) for moment in (window.start, window.end))
    return rows[(rows["t"] >= start) & (rows["t"] < end)]


@fti.feature_group(keys=["visit_id"], event_time="t", partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_run(context, SOURCE)[["visit_id", "t", "shop", "member", "x"]]


@fti.feature_group(keys=["visit_id"], event_time="t", partitions_def=DAYS)
def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = of_run(context, SOURCE)
    kinds = np.where(rows["bought"] == 0, "none", np.where(rows["member"], "club", "cash"))
    return rows[["visit_id", "t", "bought"]].assign(kind=kinds)


@fti.feature_group(
    keys=["shop"],
    event_time="t",
    available_at="known",
    ttl="5h",
    online=True,
    online_history="30d",
    partitions_def=DAYS,
)
def crowds(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """How full each shop is, every other hour; some of it becomes known late, some of it is null."""
    hours = pd.date_range("2013-01-01", "2013-01-09", freq="2h", inclusive="left")
    rng = np.random.default_rng(5)
    rows = pd.concat([pd.DataFrame({"shop": shop, "t": hours}) for shop in ("a", "b")], ignore_index=True)
    rows["known"] = rows["t"] + pd.to_timedelta(rng.integers(0, 6, len(rows)), "h")
    rows["people"] = rng.integers(0, 2**53, len(rows)).astype(float)
    rows.loc[::7, "people"] = np.nan
    rows["mood"] = rng.choice(["good", "bad", None], len(rows))
    rows["queue"] = rng.normal(size=len(rows)) / 3
    return of_run(context, rows)


@fti.feature_group(keys=["shop"], online=True)
def shops() -> pd.DataFrame:
    return pd.DataFrame({"shop": ["a", "b"], "size": [3, 7], "rent": [1.5, 2.5]})


def wide_view(label: str = "bought") -> fti.FeatureView:
    return fti.FeatureView(
        name=f"{label}_view",
        spine=visits,
        label=fti.Label(outcomes[label]),
        features=[visits["x", "member"], crowds["people", "mood", "queue"], shops["size"], calendar],
        encoders={"mood": fti.OneHot(), "hour_of_day": fti.OneHot(), "member": fti.OneHot()},
    )


def linear(data: fti.TrainingData) -> Any:
    estimator = Ridge() if data.task == "regression" else LogisticRegression(max_iter=1000)
    return estimator.fit(data.train.X, data.train.y)


def network(data: fti.TrainingData) -> Any:
    """A torch module as it was made: parity asks for no training."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(data.dense_dim, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)
            )

        def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.layers(x["dense"])

    return Net()


def model(
    name: str, label: str = "bought", fit: Callable[[fti.TrainingData], Any] = linear,
    view: fti.FeatureView | None = None, **options: Any,
) -> Any:  # fmt: skip
    dataset = fti.training_dataset(
        name=f"{name}_dataset",
        view=view or wide_view(label),
        split=fti.TimeSplit(validation="12h", test="1d"),
        partitions_def=CUTOFFS,
    )

    @fti.model(**{"name": name, "dataset": dataset, "task": "binary", **options})
    def train(data: fti.TrainingData) -> Any:
        return fit(data)

    return train


BUYER = model("buyer")
SORTER = model("sorter", "kind", task="multiclass")
SCORER = model("scorer", task="regression")
NETWORK = model("network", fit=network)
LEAN = model(
    "lean",
    view=fti.FeatureView(
        name="lean_view",
        spine=visits,
        label=fti.Label(outcomes["bought"]),
        features=[visits["x", "shop"], crowds["queue"], shops["rent"], crowds.prefix("also_")["people"]],
        encoders={"shop": fti.OneHot()},
    ),
)
SCORES = fti.batch_predictions(name="scores", model=BUYER, partitions_def=DAYS)


def run(
    *declarations: Any, stores: fti.Stores, instance: dg.DagsterInstance, span: tuple[str, str] | None = None,
    **options: Any,
) -> dg.ExecuteInProcessResult:  # fmt: skip
    return dg.materialize(
        [declaration.assets_def for declaration in declarations],
        instance=instance,
        resources={"fti": stores},
        tags=range_tags(*(f"2013-01-{day}" for day in span)) if span else {},
        **options,
    )


def make_answered_week(root: Path) -> None:
    """The week, a buyer that learned from it and is online, and its answers to the last day."""
    stores = stores_in(root)
    with clock.at("2013-01-09T00:00:00"), dg.DagsterInstance.ephemeral() as instance:
        run(visits, outcomes, crowds, span=("01", "07"), stores=stores, instance=instance)
        run(shops, stores=stores, instance=instance)
        run(BUYER.dataset, BUYER, stores=stores, instance=instance, partition_key="2013-01-05")
        run(SCORES, stores=stores, instance=instance, partition_key="2013-01-07")


def stores_in(root: Path) -> fti.Stores:
    return fti.Stores(lake=str(root / "lake"), models=str(root / "models"), online=str(root / "online"))


class Bench:
    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance, self.stores = root, instance, stores_in(root)
        self.store = self.stores.model_store()

    def predict(
        self, predictions: BatchPredictions = SCORES, day: str | None = None, *, now: str = LATER, again: bool = False,
        **options: Any,
    ) -> dg.ExecuteInProcessResult:  # fmt: skip
        partition = {} if day is None else {"partition_key": f"2013-01-{day}"}
        config = {"ops": {predictions.table_name: {"config": {"predict_again": True}}}} if again else {}
        with clock.at(now):
            return run(
                predictions, stores=self.stores, instance=self.instance, run_config=config, **partition, **options
            )

    def answers(self, predictions: BatchPredictions = SCORES, day: str | None = None) -> pd.DataFrame:
        partitions = None if day is None else [f"2013-01-{day}"]
        return fti.read(predictions, partitions=partitions, stores=self.stores).sort_values("visit_id")

    def build(self, cutoff: str, *, name: str = "buyer", **changed: Any) -> str:
        """Another build of a model, with that cutoff and the first one's graph."""
        first = self.store.builds(name)[0]
        of_build = {"build": build_id(datetime.fromisoformat(cutoff)), "cutoff": cutoff, "files": {}}
        manifest = ModelManifest(**{**vars(first), "status": "accepted", **of_build, **changed})
        self.store.publish(manifest, self.store.load(name, first.reference)[1], "a card")
        return manifest.reference

    def promote(self, reference: str) -> None:
        self.store.promote("buyer", reference, expected=self.store.aliases("buyer").champion, reason="by hand")


def in_day(day: int, rows: pd.DataFrame = SOURCE) -> pd.DataFrame:
    return rows[rows["t"].dt.day == day].sort_values("visit_id")


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = result.get_step_failure_events()
    return str(failure.step_failure_data.error)


def warnings_of(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    events = result.get_asset_check_evaluations()
    return {one.check_name: str(one.metadata["problem"].value) for one in events if not one.passed}
