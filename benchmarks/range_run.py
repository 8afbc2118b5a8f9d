"""A year of a feature group as one run of 365 partitions, beside the same SQL by hand into a DuckLake.

``python benchmarks/range_run.py`` fills a source of two million events, and then times a group over it, hourly counts and means by
key: as a Dagster run on an instance with the ``dagster.yaml`` of this repository, validated by a Pandera schema, each partition
with its own data version; by hand, the same SQL inserted into a partitioned DuckLake table in one transaction, without validation,
versions or events; and as a plain Dagster asset, by hand within a range with as many checks, which says how much of the run is Dagster's
own. CPU time, medians, with the wall time beside; the run may take 1.5 times the SQL and 10 seconds.

``--instance FILE`` takes other settings, such as ``storage: {postgres: {postgres_url: ...}}``, or ``telemetry: {enabled: false}`` for
Dagster's own event log on SQLite.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import pandas as pd
import pandera.pandas as pa
import yaml

import fti_assets as fti
from fti_assets.stores.lake.connection import MAKE, lake_connection
from fti_assets.testing import stores_in

EVENTS, KEYS, RUNS = 2_000_000, 50, 3
DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-12-31")
FIRST, LAST = "2024-01-01", "2024-12-30"
FACTOR, PLUS_S = 1.5, 10.0
SETTINGS = Path(__file__).parents[1] / "dagster.yaml"
SQL = """
    SELECT key, time_bucket(INTERVAL 1 HOUR, "at") AS hour, count(*) AS events, avg(x) AS mean_x, max(x) AS max_x
    FROM {events} GROUP BY ALL"""

warnings.simplefilter("ignore")


class HourlySchema(pa.DataFrameModel):
    key: int
    hour: pd.Timestamp
    events: int = pa.Field(gt=0)
    mean_x: float = pa.Field(ge=0, le=1)
    max_x: float = pa.Field(ge=0, le=1)


def events_sql() -> str:
    return f"""
        SELECT i AS id, (hash(i) % {KEYS})::BIGINT AS key, (hash(i, 1) % 1000) / 1000 AS x,
            TIMESTAMP '{FIRST}' + to_microseconds(i * {365 * 86_400_000_000 // EVENTS}) AS "at" FROM range({EVENTS}) r(i)"""


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def events() -> pd.DataFrame:
    import duckdb

    return duckdb.sql(events_sql()).df()


@fti.feature_group(keys=["key"], event_time="hour", partitions_def=DAYS, schema=HourlySchema)
def hourly(events: fti.Table) -> fti.Table:
    events.relation.query("events_of_run", "FROM events_of_run")
    return events.with_relation(events.connection.sql(SQL.format(events="temp.events_of_run")))


def by_hand(source: Path, folder: Path) -> None:
    folder.mkdir()
    with lake_connection(folder / "catalog.sqlite", folder / "data", MAKE) as connection:
        connection.execute(f"ATTACH 'ducklake:sqlite:{source}/catalog.sqlite' AS source (READ_ONLY)")
        rows = SQL.format(events="source.features.events_v1")
        connection.execute("BEGIN")
        connection.execute(
            f"CREATE TABLE lake.hourly AS SELECT *, strftime(hour, '%Y-%m-%d') AS day FROM ({rows}) LIMIT 0"
        )
        connection.execute("ALTER TABLE lake.hourly SET PARTITIONED BY (day)")
        connection.execute(f"INSERT INTO lake.hourly SELECT *, strftime(hour, '%Y-%m-%d') FROM ({rows})")
        connection.execute("COMMIT")


def plain(source: Path, folder: Path, checks: Iterable[str]) -> dg.AssetsDefinition:
    specs = [dg.AssetCheckSpec(check, asset="plain") for check in checks]

    @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run(), check_specs=specs)
    def plain() -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        by_hand(source, folder)
        yield dg.MaterializeResult()
        for spec in specs:
            yield dg.AssetCheckResult(passed=True, check_name=spec.name)

    return plain


def run(asset: dg.AssetsDefinition, folder: Path, instance: dg.DagsterInstance) -> None:
    result = dg.materialize(
        [asset],
        instance=instance,
        resources={"fti": stores_in(folder)},
        tags={"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST},
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
    )
    assert result.success


def timed(call: Callable[[], None]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = time.process_time(), time.monotonic()
    call()
    return time.process_time() - cpu, time.monotonic() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instance", type=Path, default=SETTINGS, help="a dagster.yaml (default: this repository's)")
    overrides = yaml.safe_load(parser.parse_args().instance.read_text())
    logging.disable(logging.WARNING)
    checks = [spec.name for spec in hourly.assets_def.check_specs]
    times: dict[str, list[tuple[float, float]]] = {"run": [], "by_hand": [], "plain": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lake_at = folder / "lake"
        with dg.DagsterInstance.local_temp(str(folder), overrides=overrides) as instance:
            run(events.assets_def, folder, instance)
            for number in range(RUNS):
                hand, within = folder / f"hand{number}", plain(lake_at, folder / f"plain{number}", checks)
                times["by_hand"].append(timed(partial(by_hand, lake_at, hand)))
                times["plain"].append(timed(partial(run, within, folder, instance)))
                with stores_in(folder).offline_store().connect() as lake:
                    lake.connection.execute("DROP TABLE IF EXISTS lake.features.hourly_v1")
                    lake.connection.execute("DROP TABLE IF EXISTS lake.ledger.features_hourly_v1")
                times["run"].append(timed(lambda: run(hourly.assets_def, folder, instance)))
                text = ", ".join(f"{way} {taken[-1][0]:.1f} s ({taken[-1][1]:.1f} s)" for way, taken in times.items())
                print(f"CPU (wall): {text}", flush=True)
    cpu, wall = ({way: statistics.median(t[which] for t in taken) for way, taken in times.items()} for which in (0, 1))
    allowed = FACTOR * cpu["by_hand"] + PLUS_S
    result = {
        "benchmark": "range_run",
        "ratio": round(cpu["run"] / allowed, 2),
        "goal": 1.0,
        "allowed_s": round(allowed, 1),
        **{f"{way}_cpu_s": round(seconds, 1) for way, seconds in cpu.items()},
        **{f"{way}_wall_s": round(seconds, 1) for way, seconds in wall.items()},
        "checks": len(checks),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
