"""What a tick of the sensors costs when nothing has changed, and when one partition has.

``python benchmarks/sensor_tick.py`` records that two groups of hours, 90,000 partitions in all, were materialized, one of which
reads 24 hours back into the other, with a dataset and predictions on them. Then it ticks the sensor over the automation
conditions as the code server does, and the sensor over new data. CPU seconds, medians; the first tick of a process, which reads
what was materialized, is shown by itself. A tick may take 0.3 s. Beside it stands what Dagster's own eager conditions cost on assets
of the same partitions: the floor of what any conditions can cost.

``--partitions`` says how many there are, ``--gap-every 24`` leaves one in 24 out.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as db

import fti_assets as fti

PARTITIONS, TICKS, GOAL_S = 90_000, 5, 0.3
VERSION = {"dagster/data_version_is_user_provided": "true"}

warnings.simplefilter("ignore")


def system(hours: int) -> tuple[dg.Definitions, list[Any], dict[str, str]]:
    """Two groups of hours and what rests on them, with what has landed of the first: versions by partition."""
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0, tzinfo=None)
    by_hour = dg.HourlyPartitionsDefinition(start_date=last - timedelta(hours=hours))
    weeks = dg.WeeklyPartitionsDefinition(start_date=last - timedelta(hours=hours), end_offset=1)

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=by_hour)
    def raw() -> pd.DataFrame: ...  # type: ignore[empty-body]

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=by_hour, lookback="24h")
    def derived(raw: fti.Table) -> fti.Table: ...  # type: ignore[empty-body]

    view = fti.FeatureView(name="view", spine=raw, label=fti.Label(raw["y"]), features=[derived["x"]])
    rows = fti.training_dataset(
        name="rows", view=view, partitions_def=weeks, split=fti.TimeSplit(validation="7d", test="7d")
    )

    @fti.model(dataset=rows, task="binary")
    def model(data: fti.TrainingData) -> Any: ...

    answers = fti.batch_predictions(name="answers", model=model, partitions_def=by_hour)

    landed = dict.fromkeys(by_hour.get_partition_keys(), "1")

    @fti.new_data_sensor(targets=[raw])
    def new_data() -> dict[Any, dict[str, str]]:
        return {raw: landed}

    return fti.build_definitions([answers], sensors=[new_data]), [raw, derived], landed


def floor(groups: list[Any], name: str) -> dg.Definitions:
    """Assets of the same keys, partitions and dependencies under Dagster's own conditions, and sensors of the same names."""
    raw, derived = groups
    eager = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())
    hours, weeks = raw.partitions_def, dg.WeeklyPartitionsDefinition(start_date=raw.partitions_def.start, end_offset=1)
    back = dg.TimeWindowPartitionMapping(start_offset=-24)
    of_raw = dg.AssetDep(raw.key, partition_mapping=back)
    assets = [
        dg.AssetSpec(raw.key, partitions_def=hours, automation_condition=eager),
        dg.AssetSpec(derived.key, partitions_def=hours, automation_condition=eager, deps=[of_raw]),
        dg.AssetSpec("rows_v1", partitions_def=weeks, automation_condition=eager, deps=[raw.key, derived.key]),
        dg.AssetSpec("model_v1", partitions_def=weeks, automation_condition=eager, deps=["rows_v1"]),
        dg.AssetSpec("answers_v1", partitions_def=hours, automation_condition=eager, deps=[raw.key, derived.key]),
    ]

    def made(spec: dg.AssetSpec) -> dg.AssetsDefinition:
        @dg.multi_asset(name=spec.key.path[-1], specs=[spec])
        def asset() -> None: ...

        return asset

    def sensor(part: str, specs: list[dg.AssetSpec]) -> dg.AutomationConditionSensorDefinition:
        target = dg.AssetSelection.assets(*(spec.key for spec in specs))
        return dg.AutomationConditionSensorDefinition(f"{name}_{part}", target=target, use_user_code_server=True)

    sensors = [sensor("features_and_training", assets[:4]), sensor("inference", assets[4:])]
    return dg.Definitions(assets=list(map(made, assets)), sensors=sensors)


def record(instance: dg.DagsterInstance, key: dg.AssetKey, partitions: list[str]) -> None:
    """Record materializations of many partitions at once, as the events that Dagster itself writes for one."""
    event = dg.AssetMaterialization(key, partition="PARTITION", tags={"dagster/data_version": "1", **VERSION})
    instance.report_runless_asset_event(event)
    storage: Any = instance.event_log_storage
    with storage.index_connection() as connection:
        newest = connection.execute(db.text("SELECT max(id) FROM event_logs")).scalar()
        names = [
            column["name"] for column in db.inspect(connection).get_columns("event_logs") if column["name"] != "id"
        ]
        row = (
            connection.execute(db.text(f"SELECT {', '.join(names)} FROM event_logs WHERE id = {newest}"))
            .mappings()
            .one()
        )
        insert = db.text(f"INSERT INTO event_logs ({', '.join(names)}) VALUES ({', '.join(f':{n}' for n in names)})")
        connection.execute(
            insert,
            [
                {**row, "partition": partition, "event": row["event"].replace("PARTITION", partition)}
                for partition in partitions
            ],
        )
        for tag, value in {"dagster/data_version": "1", **VERSION}.items():
            connection.execute(
                db.text(
                    "INSERT INTO asset_event_tags (asset_key, event_id, event_timestamp, key, value) "
                    "SELECT asset_key, id, timestamp, :tag, :value FROM event_logs WHERE id > :newest"
                ),
                {"tag": tag, "value": value, "newest": newest},
            )
    report(instance, key, partitions[-1], "2")


def report(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str, version: str) -> None:
    tags = {"dagster/data_version": version, **VERSION}
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition, tags=tags))


def tick(repository: dg.RepositoryDefinition, name: str, instance: dg.DagsterInstance, cursor: str | None) -> Any:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository, sensor_name=name)
    return repository.get_sensor_def(name).evaluate_tick(context)


def measure(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, group: Any, landed: dict[str, str], label: str
) -> dict[str, float]:
    """CPU seconds of each sensor's ticks, medians."""
    spent_s: dict[str, list[float]] = {}
    keys = list(landed)
    # In a thread, as in the code server: asyncio does more in the main one, where signals arrive.
    with ThreadPoolExecutor(1) as thread:
        for name in sorted(sensor.name for sensor in repository.sensor_defs):
            cursor = None
            for number, case in enumerate(["first", *["unchanged"] * TICKS, *["changed"] * TICKS]):
                if case == "changed":
                    key = keys[len(keys) // 2 + number]
                    landed[key] = f"{label} {name} {number}"
                    report(instance, group.key, key, landed[key])
                start = time.process_time()
                cursor = thread.submit(tick, repository, name, instance, cursor).result().cursor
                spent_s.setdefault(f"{name}, {case}", []).append(time.process_time() - start)
    return {case: statistics.median(times) for case, times in spent_s.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--gap-every", type=int, default=0)
    options = parser.parse_args()
    partitions, gap_every = options.partitions, options.gap_every
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        defs, groups, landed = system(partitions // 2)
        for number, key in enumerate(list(landed)):
            if gap_every and number % gap_every == 0:
                del landed[key]
        for group in groups:
            record(instance, group.key, list(landed))
        ours = measure(defs.get_repository_def(), instance, groups[0], landed, "ours")
        dagster = measure(floor(groups, "answers").get_repository_def(), instance, groups[0], landed, "dagster")
    for case, seconds in ours.items():
        beside = f"{dagster[case]:8.3f} s of Dagster's own" if case in dagster and "first" not in case else ""
        print(f"{case:45} {seconds:8.3f} s CPU {beside}")
    worst = max(seconds for case, seconds in ours.items() if not case.endswith("first"))
    unchanged = [case for case in dagster if case.endswith("unchanged")]
    to_floor = sum(ours[case] for case in unchanged) / sum(dagster[case] for case in unchanged)
    measured = {"benchmark": "sensor_tick", "partitions": partitions, "tick_s": round(worst, 3)}
    measured["unchanged_to_dagster"] = round(to_floor, 2)
    print(json.dumps({**measured, "ratio": round(worst / GOAL_S, 2), "goal": 1.0}))


if __name__ == "__main__":
    main()
