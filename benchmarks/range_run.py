"""A year of a feature group as one run of 365 partitions, beside the same SQL by hand into a DuckLake.

``python benchmarks/range_run.py`` fills a source of two million events, and then times a group over it, hourly counts and means by
key: as a Dagster run on a stored instance (SQLite, as ``dagster dev`` has it), validated by a Pandera schema, each partition
with its own data version; and by hand, the same SQL inserted into a partitioned DuckLake table in one transaction, without validation,
versions or events. Wall time, medians; the run may take 1.5 times the SQL and 10 seconds.
"""

import json
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import dagster as dg
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti
from fti_assets.stores.lake_connection import lake_connection
from fti_assets.testing import stores_in

EVENTS, KEYS, RUNS = 2_000_000, 50, 3
DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-12-31")
FIRST, LAST = "2024-01-01", "2024-12-30"
FACTOR, PLUS_S = 1.5, 10.0
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


def by_hand(source: Path, folder: Path) -> float:
    folder.mkdir()
    start = time.monotonic()
    with lake_connection(folder / "catalog.sqlite", folder / "data") as connection:
        connection.execute(f"ATTACH 'ducklake:sqlite:{source}/catalog.sqlite' AS source (READ_ONLY)")
        rows = SQL.format(events="source.features.events_v1")
        connection.execute("BEGIN")
        connection.execute(
            f"CREATE TABLE lake.hourly AS SELECT *, strftime(hour, '%Y-%m-%d') AS day FROM ({rows}) LIMIT 0"
        )
        connection.execute("ALTER TABLE lake.hourly SET PARTITIONED BY (day)")
        connection.execute(f"INSERT INTO lake.hourly SELECT *, strftime(hour, '%Y-%m-%d') FROM ({rows})")
        connection.execute("COMMIT")
    return time.monotonic() - start


def run(group: fti.FeatureGroup, folder: Path, instance: dg.DagsterInstance) -> float:
    start = time.monotonic()
    result = dg.materialize(
        [group.assets_def],
        instance=instance,
        resources={"fti": stores_in(folder)},
        tags={"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST},
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
    )
    assert result.success
    return time.monotonic() - start


def main() -> None:
    logging.disable(logging.WARNING)
    ours, hand = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with dg.DagsterInstance.local_temp(str(folder)) as instance:
            run(events, folder, instance)
            for number in range(RUNS):
                hand.append(by_hand(folder / "lake", folder / f"hand{number}"))
                with stores_in(folder).offline_store().connect() as lake:
                    lake.connection.execute("DROP TABLE IF EXISTS lake.features.hourly_v1")
                    lake.connection.execute("DROP TABLE IF EXISTS lake.ledger.features_hourly_v1")
                ours.append(run(hourly, folder, instance))
                print(f"by hand {hand[-1]:.1f} s, as a run {ours[-1]:.1f} s", flush=True)
    mine, floor = statistics.median(ours), statistics.median(hand)
    allowed = FACTOR * floor + PLUS_S
    result = {
        "benchmark": "range_run",
        "ratio": round(mine / allowed, 2),
        "goal": 1.0,
        "run_s": round(mine, 1),
        "by_hand_s": round(floor, 1),
        "allowed_s": round(allowed, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
