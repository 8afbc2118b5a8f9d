"""How well the flagship's models tell late flights apart, beside the base rate and plain gradient boosting on the same rows.

``python benchmarks/flight_quality.py [FOLDER]`` lands the flights of 2013, materializes the flagship's feature groups and a dataset of its
view, and trains its network and its LightGBM with several seeds. Train is January to September, validation October, test November and
December, with 36 hours between them; each score is that of the exported graph on the test rows, as the model store keeps it. The mean of
one network's and one LightGBM's answers is scored beside them. FOLDER keeps the stores, and a run goes on from what is in it: once the
dataset is there, it only trains.

What was chosen, by October's ROC-AUC and log loss alone. Features, by LightGBM on 50,000 train rows with two seeds: .7389, .4011 before;
.7444, .3978 with the flights that an airport keeps waiting; .7445, .3982 with rates of flight numbers; .7447, .3971 with the time since
the plane's last leg; .7416, .3988 with rates each five minutes; .7493, .3954 with the first two and rates each quarter of an hour.
Carrier by airport, the plane's own rates, counts of scheduled flights, trends of the weather and destinations by hour gave less each and
were left out. Trees, by LightGBM on all train rows with one seed, on the features before: .7401, .3994 with 63 leaves, .7430, .3981 with
31; with those of now .7552, .3894 with 15 leaves. The network stayed as it was, and so did its learning rate, batch size and epochs; the
best epoch and the number of trees of each run are chosen by October's log loss, too. The test rows had been looked at twice while earlier
features were settled, and once with delayed ones, while ``fti freshness`` was tried; nothing was chosen by that. Plain gradient boosting
(scikit-learn's HistGradientBoostingClassifier) gets the raw features, texts as categories, and stops early on October.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

import fti_assets as fti
from examples.flight_delays import features, sources
from examples.flight_delays.training import BoostingConfig, NetConfig, arrival_delay, delay_boosting, delay_net
from fti_assets.core import clock
from fti_assets.core.manifest import Column, ModelManifest
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.training.judging.evaluation import evaluate

NOW, YEAR = "2014-01-05T00:00:00Z", ("2013-01-01", "2014-01-02")
CUTOFF = "2014-01-03"
GROUPS = [
    features.schedule,
    features.departures,
    features.arrivals,
    features.weather,
    features.carrier_delays,
    features.airport_delays,
    features.route_delays,
    features.hour_delays,
    features.flight_number_delays,
    features.airport_now,
    features.plane_legs,
]
SEEDS = (0, 1, 2)
METRICS = ["roc_auc", "log_loss"]
GOAL = {"roc_auc": 0.762, "log_loss": 0.476}

quality_dataset = fti.training_dataset(
    name="quality_dataset",
    view=arrival_delay,
    partitions_def=dg.DailyPartitionsDefinition(start_date=CUTOFF, end_date="2014-01-04"),
    split=fti.TimeSplit(validation="708h", test="1476h"),
    window="366d",
)


@fti.model(dataset=quality_dataset, task="binary", evaluate=fti.Evaluation(metrics=METRICS))
def quality_net(context: dg.AssetExecutionContext, config: NetConfig, data: fti.TrainingData) -> Any:
    return delay_net(context, config, data)


@fti.model(dataset=quality_dataset, task="binary", evaluate=fti.Evaluation(metrics=METRICS))
def quality_boosting(config: BoostingConfig, data: fti.TrainingData) -> Any:
    return delay_boosting(config, data)


class Bench:
    """The stores of a run, and what materializes into them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stores = fti.Stores(lake=folder / "lake", models=folder / "models", online=folder / "online")

    def materialize(self, *declarations: Any, **options: Any) -> None:
        started = time.perf_counter()
        with dg.DagsterInstance.ephemeral() as instance:
            dg.materialize(
                [declaration.assets_def for declaration in declarations],
                instance=instance,
                resources={
                    "fti": self.stores,
                    "landing": sources.LandingZone(folder=str(self.folder / "landing")),
                },
                **options,
            )
        names = ", ".join(declaration.key.to_user_string() for declaration in declarations)
        print(f"{names}: {time.perf_counter() - started:.0f} s", flush=True)

    def features(self) -> None:
        """Land and materialize what the dataset rests on, and the dataset; what is there already stays as it is."""
        sources.land(self.folder / "landing")
        first, last = YEAR
        ranged = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        steps: dict[Any, dict[str, Any]] = {
            features.planes: {},
            **{group: {"tags": ranged} for group in GROUPS},
            quality_dataset: {"partition_key": CUTOFF},
        }
        for declaration, options in steps.items():
            with self.stores.offline_store().connect() as lake:
                stored = lake.ledger(declaration.table)
            if not stored:  # a range is stored whole or not at all
                self.materialize(declaration, **options)

    def build(self, model: Any, seed: int) -> ModelManifest:
        """One build of a model, with its scores on the test rows."""
        before = {one.reference for one in self.stores.model_store().builds(model.name)}
        config = {"ops": {model.asset_name: {"config": {"seed": seed}}}}
        self.materialize(model, partition_key=CUTOFF, run_config=config)
        (made,) = [one for one in self.stores.model_store().builds(model.name) if one.reference not in before]
        return made

    def together(self, *builds: ModelManifest) -> dict[str, float]:
        """The mean of what some builds answer, on the test rows."""
        view, answers = builds[0].view, []
        with self.stores.offline_store().connect() as lake:
            test = lake.rows(quality_dataset.table, partitions=[CUTOFF]).filter("split = 'test'")
            columns = fetch_columns(test, [*view.features, Column("is_late", "boolean")])
        for build in builds:
            _, graph = load_build(self.stores.model_store(), build.model, build.reference)
            answers.append(graph.run({name: columns[name] for name in arrival_delay.feature_names})["probability"])
        return evaluate("binary", METRICS, {"probability": np.mean(answers, axis=0)}, columns["is_late"].astype(int))

    def boosting(self) -> dict[str, float]:
        """Gradient boosting on the same rows and raw features."""
        rows = fti.read(quality_dataset, partitions=[CUTOFF], stores=self.stores)
        names = arrival_delay.feature_names
        text = [name for name in names if not pd.api.types.is_numeric_dtype(rows[name])]
        for name in text:
            rows[name] = rows[name].astype("category")
        train, validation, test = (rows[rows["split"] == part] for part in ("train", "validation", "test"))
        model = HistGradientBoostingClassifier(
            categorical_features=text, max_iter=200, learning_rate=0.08, early_stopping=True, random_state=0
        )
        model.fit(train[names], train["is_late"], X_val=validation[names], y_val=validation["is_late"])
        answers = model.predict_proba(test[names])[:, 1]
        return evaluate("binary", METRICS, {"probability": answers}, test["is_late"].to_numpy(dtype=int))


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, clock.at(NOW):
        bench = Bench(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch))
        bench.features()
        networks = [bench.build(quality_net, seed) for seed in SEEDS]
        boosted = [bench.build(quality_boosting, seed) for seed in SEEDS]
        together = [bench.together(*pair) for pair in zip(networks, boosted, strict=True)]
        plain = bench.boosting()
    scored = {"base rate": networks[0].baseline}
    for name, scores in {
        "network": [build.metrics for build in networks],
        "LightGBM": [build.metrics for build in boosted],
        "both, their mean": together,
    }.items():
        scored |= {f"{name}, seed {seed}": one for seed, one in zip(SEEDS, scores, strict=True)}
    scored["plain gradient boosting"] = plain
    print(f"\n{'':28}{'ROC-AUC':>10}{'log loss':>10}")
    for name, one in scored.items():
        print(f"{name:28}{one['roc_auc']:>10.4f}{one['log_loss']:>10.4f}")
    means = {
        name: {metric: round(statistics.mean(one[metric] for one in scores), 4) for metric in METRICS}
        for name, scores in {
            "network": [build.metrics for build in networks],
            "lightgbm": [build.metrics for build in boosted],
            "together": together,
            "plain_boosting": [plain],
            "base_rate": [networks[0].baseline],
        }.items()
    }
    result = {
        "benchmark": "flight_quality",
        **means,
        "goal": GOAL,
        "seeds": len(SEEDS),
        "rows": networks[0].dataset.rows,
        "ratio": round(means["lightgbm"]["log_loss"] / means["plain_boosting"]["log_loss"], 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
