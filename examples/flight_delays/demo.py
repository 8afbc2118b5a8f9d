"""The main job on a year of real flights, step by step, and an account of what came out.

    python -m examples.flight_delays.demo

It lands the flights of 2013, materializes every asset on the stores of this environment, and asks the predictor for one
flight. Run again, it repeats the materializations: the features keep their data versions.
"""

import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

import fti_assets as fti
from examples.flight_delays import sources
from examples.flight_delays.definitions import defs
from examples.flight_delays.features import (
    airport_delays,
    airport_now,
    arrivals,
    carrier_delays,
    departures,
    flight_number_delays,
    hour_delays,
    plane_legs,
    planes,
    route_delays,
    schedule,
    weather,
)
from examples.flight_delays.inference import delay_predictions, delay_quality
from examples.flight_delays.training import delay_boosting, delay_net, delays_dataset
from fti_assets.core import clock

YEAR = ("2013-01-01", "2014-01-02")
CUTOFFS = ("2013-10-01", "2013-12-01")
RETRAINED = ("2013-12-01", "2013-12-01")
AGAINST_THE_NETWORK = "not_worse_than_champion_log_loss"
FEWER_TREES = {"trees": 150, "learning_rate": 0.2}  # in a third of the time
UNLEARNED = {"learning_rate": 1e-7, "epochs": 1}
GROUPS = (
    schedule,
    departures,
    arrivals,
    weather,
    carrier_delays,
    airport_delays,
    route_delays,
    hour_delays,
    flight_number_delays,
    airport_now,
    plane_legs,
)
PREDICTED = ("2013-10-01", "2014-01-01")
WATCHED = ("2013-12-01", "2013-12-14")
FLIGHT_AT = "2013-12-30T17:00:00Z"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}  # what fails is told here


def main() -> int:
    """Run everything; the exit code is 1 if a feature, the dataset or the predictions could not be made."""
    started = time.perf_counter()
    resources = dict(defs.resources or {})
    instance = dg.DagsterInstance.get()
    print(f"The clock stands at {clock.now():%Y-%m-%d %H:%M} UTC.\n")
    with _step("land the flights of 2013"):
        counts = sources.land(Path(resources["landing"].folder))
        print(f"  {', '.join(f'{source} {rows:,}' for source, rows in counts.items())} rows")
    _materialize(planes, None, instance, resources)
    for group in GROUPS:
        _materialize(group, YEAR, instance, resources)
    _materialize(delays_dataset, CUTOFFS, instance, resources)
    _materialize(delay_net, CUTOFFS, instance, resources)  # a build that a gate turns down ends as a failed run
    print("Gradient boosting competes with the network at each cutoff, on the same test rows:")
    _materialize(delay_boosting, CUTOFFS, instance, resources, FEWER_TREES)
    print("A retrain with a learning rate of a ten-millionth, which learns nothing and which the gates turn down:")
    _materialize(delay_net, RETRAINED, instance, resources, UNLEARNED)
    _materialize(delay_predictions, PREDICTED, instance, resources)
    print("How good the answers of two weeks were, once the flights had landed, and what was to be expected before:")
    _materialize(delay_quality, WATCHED, instance, resources)
    stores: fti.Stores = resources["fti"]
    _account_of_assets(instance, stores)
    _account_of_builds(stores)
    _account_of_quality(stores)
    _one_prediction(stores)
    print(f"\nAll of it took {time.perf_counter() - started:.0f} s. How to go on:")
    folder = os.path.relpath(Path(sys.executable).parent)
    print("  make ui")
    print("      the graph, the runs and the checks in the Dagster UI")
    print(f"  {folder}/fti models delay")
    print("      the builds of the model store, their gates and the champion")
    print(f"  {folder}/dagster asset materialize -f definitions.py --select weather_v1 --partition 2013-06-01")
    print(
        "      one day again: its data version stays the same (export DAGSTER_HOME=$PWD/.dagster to see it in the UI)"
    )
    print(f"  {folder}/python -i -c 'import fti_assets as fti; from examples.flight_delays.features import weather'")
    print("      then fti.read(weather) in a console")
    return 0


@contextmanager
def _step(what: str) -> Iterator[None]:
    print(f"... {what}", flush=True)
    started = time.perf_counter()
    yield
    print(f"  done in {time.perf_counter() - started:.1f} s", flush=True)


def _materialize(
    declaration: Any,
    partitions: tuple[str, str] | None,
    instance: dg.DagsterInstance,
    resources: dict[str, Any],
    config: dict[str, Any] | None = None,
) -> None:
    """One run for one asset and, if it is partitioned, a range."""
    first, last = partitions or ("", "")
    ranged = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    name = declaration.key.to_user_string()
    with _step(f"materialize {name}{f' from {first} to {last} in one run' if partitions else ''}"):
        result = dg.materialize(
            [declaration.assets_def],
            instance=instance,
            resources=resources,
            run_config={**QUIET, "ops": {name: {"config": config}}} if config else QUIET,
            tags=ranged if partitions else {},
            raise_on_error=declaration is not delay_net,
        )
        checks = result.get_asset_check_evaluations()
        failed = [check for check in checks if not check.passed]
        print(f"  {len(checks) - len(failed)} checks passed, {len(failed)} warned or failed")
        for check in failed:
            print(f"    {check.severity.value} {check.check_name}: {check.description}")
        for failure in result.get_step_failure_events():
            error = failure.step_failure_data.error
            print(f"  the run failed: {(error.cause or error).message.strip() if error else failure.message}")


def _account_of_assets(instance: dg.DagsterInstance, stores: fti.Stores) -> None:
    print(f"\n{'asset':24}{'partitions':>12}{'rows':>12}")
    declarations: list[Any] = [*GROUPS, planes, delays_dataset, delay_predictions, delay_quality]
    with stores.offline_store().connect() as lake:
        for declaration in declarations:
            ledger = lake.ledger(declaration.table)
            rows = sum(record.rows for record in ledger.values())
            print(f"{declaration.key.to_user_string():24}{len(ledger):>12,}{rows:>12,}")
    for model in (delay_net, delay_boosting):
        builds = len(instance.get_materialized_partitions(model.key))
        print(f"{model.key.to_user_string():24}{builds:>12,}{'':>12}")


def _account_of_builds(stores: fti.Stores) -> None:
    store = stores.model_store()
    champion = store.aliases(delay_net.name).champion
    print(f"\n{'build':34}{'ROC-AUC':>18}{'log loss':>18}{'Brier':>18}   verdict (test score / baseline's)")
    for build in store.builds(delay_net.name):
        scores = [
            f"{build.metrics[name]:.3f} / {build.baseline[name]:.3f}" for name in ("roc_auc", "log_loss", "brier")
        ]
        print(
            f"{build.reference:34}{''.join(f'{score:>18}' for score in scores)}   {build.status}"
            f"{', the champion' if build.reference == champion else ''}"
        )
        for verdict in build.gates:
            print(f"{'':6}{'passed' if verdict.passed else 'failed'} {verdict.gate}: {verdict.reason}")
    print("\nWho won at each cutoff, by log loss on the same test rows:")
    for build in store.builds(delay_net.name):
        for verdict in build.gates:
            if build.version == delay_boosting.version and verdict.gate == AGAINST_THE_NETWORK and verdict.interval:
                winner, loser = ("boosting", "the network") if verdict.passed else ("the network", "boosting")
                behind, low, high = verdict.value or 0.0, verdict.interval.low, verdict.interval.high
                lead, low, high = (-behind, -high, -low) if verdict.passed else (behind, low, high)
                print(
                    f"  {build.cutoff[:10]}: {winner} is better than {loser} by {lead:.4f} "
                    f"({verdict.interval.confidence:.0%} interval {low:.4f} to {high:.4f})"
                )


def _account_of_quality(stores: fti.Stores) -> None:
    rows = fti.read(delay_quality, stores=stores)
    whole = rows[(rows["subject"] == "quality") & (rows["build"] == "") & (rows["slice"] == "")]
    scores = whole[whole["statistic"] == "log_loss"].pivot(index="partition_start", columns="estimated", values="value")
    print(f"\n{'day':12}{'log loss served':>18}{'as estimated':>18}")
    for day, served, estimate in zip(scores.index, scores[False], scores[True], strict=True):
        print(f"{day:%Y-%m-%d}  {served:>18.3f}{estimate:>18.3f}")


def _one_prediction(stores: fti.Stores) -> None:
    predictor = fti.Predictor.load(
        delay_net.name, models=str(stores.model_store().root), online=stores.online_store().location
    )
    request = _request(stores)
    prediction = predictor.predict(request, at=FLIGHT_AT)
    timed = []
    for _ in range(200):
        started = time.perf_counter()
        predictor.predict(request, at=FLIGHT_AT)
        timed.append((time.perf_counter() - started) * 1e6)
    print(f"\nOne online prediction, as of {FLIGHT_AT}, by {prediction.model} {prediction.build}:")
    print(f"  {request}")
    print(f"  will arrive 15 minutes late or more with probability {prediction.value:.3f}")
    print(f"  in {statistics.median(timed):.0f} microseconds (median of {len(timed)}), from these features:")
    for name, value in prediction.features.items():
        print(f"    {name:28}{value}")


def _request(stores: fti.Stores) -> dict[str, Any]:
    """The flight that is scheduled an hour after the prediction, as an app would know it."""
    flights = fti.read(schedule, partitions=[FLIGHT_AT[:10]], stores=stores).sort_values(["predict_at", "flight_id"])
    row: dict[str, Any] = flights[flights["predict_at"] >= FLIGHT_AT.removesuffix("Z")].iloc[0].to_dict()
    fields: Sequence[str] = (
        "flight_id",
        "carrier",
        "flight_number",
        "origin",
        "dest",
        "distance",
        "tailnum",
        "departure_hour",
        "scheduled_at",
    )
    return {name: row[name].isoformat() if name == "scheduled_at" else row[name] for name in fields}


if __name__ == "__main__":
    sys.exit(main())
