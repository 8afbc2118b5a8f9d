"""CPU time of window aggregates over that of SQL written by hand, and what a long lookback costs one day's run.

``python benchmarks/windows.py`` aggregates a year of two million rows by 200 keys, each hour over three windows. The floor is
what a careful user would write for DuckDB: rows by hour, every key's hours, and a RANGE frame for each aggregate; its sums of
floats depend on the threads, ours do not. The lookback's curve is one day over a lake of a year, with a window as long as the
lookback: the CPU time of what a step does (open the lake, make the table, store the rows), its tiles made by the day before.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb

import fti_assets as fti
from fti_assets.core.names import TableName
from fti_assets.core.times import Partition
from fti_assets.features.steps.inputs import input_table
from fti_assets.features.windows.aggregates import Aggregate
from fti_assets.stores.lake.store import OfflineStore

ROWS, KEYS, RUNS = 2_000_000, 200, 3
ROWS_A_DAY, DAYS = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000, 367
WINDOWS = {"3h": 3, "24h": 24, "7d": 168}
START = datetime(2024, 1, 1)
GOAL, LOOKBACK_GOAL = 1.5, 2.0
AGGREGATES: dict[str, tuple[Aggregate, str]] = {
    "rows": (fti.Count(), "coalesce(sum(n) OVER {w}, 0)::BIGINT"),
    "mean": (fti.Mean("x"), "sum(x) OVER {w} / sum(n) OVER {w}"),
    "high": (fti.Max("x"), "max(high) OVER {w}"),
}


def connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads=2; SET TimeZone='UTC'; SET python_enable_replacements=false")
    connection.execute(f"""
        CREATE TABLE events AS SELECT (hash(i) % {KEYS})::INT AS k, (hash(i, 2) % 100000) / 64.0::DOUBLE AS x,
            TIMESTAMP '2024-01-01' + to_seconds((hash(i, 1) % {365 * 86400})::BIGINT) AS e
        FROM range({ROWS}) r(i)""")
    return connection


def ours(connection: duckdb.DuckDBPyConnection) -> str:
    grid = fti.Grid("hour", START, START + timedelta(days=365))
    rows = fti.Table(connection.table("events"), connection, "events_v1", ("k",), event_time="e", grid=grid)
    aggregates = {name: aggregate for name, (aggregate, _) in AGGREGATES.items()}
    result = fti.window_aggregate(rows, keys=["k"], every="1h", windows=[*WINDOWS], aggregates=aggregates)
    result.relation.create_view("ours")
    return "SELECT * FROM ours"


def by_hand(_: duckdb.DuckDBPyConnection) -> str:
    columns = ", ".join(
        f"{sql.format(w=f'w{window}')} AS {name}_{window}"
        for name, (_, sql) in AGGREGATES.items()
        for window in WINDOWS
    )
    frames = ", ".join(
        f"w{window} AS (PARTITION BY k ORDER BY hour RANGE BETWEEN INTERVAL {hours - 1} HOUR PRECEDING AND CURRENT ROW)"
        for window, hours in WINDOWS.items()
    )
    return f"""
        WITH hours AS (SELECT k, date_trunc('hour', e + INTERVAL '3599.999999' SECOND) AS hour, count(*) AS n, sum(x) AS x,
                           max(x) AS high FROM events GROUP BY ALL),
            every AS (SELECT k, TIMESTAMP '2024-01-01' + to_hours(h) AS hour FROM range({KEYS}) a(k), range({365 * 24}) b(h))
        SELECT * FROM (SELECT k, hour, {columns} FROM every LEFT JOIN hours USING (k, hour) WINDOW {frames})
        WHERE rows_7d > 0"""


def cpu_s(plan: Callable[[duckdb.DuckDBPyConnection], str]) -> float:
    with connect() as connection:
        start = time.process_time()
        connection.execute(f"CREATE TEMP TABLE answer AS {plan(connection)}")
        return time.process_time() - start


def differences() -> int:
    with connect() as connection:
        connection.execute(f"CREATE TEMP TABLE hand AS {by_hand(connection)}")
        connection.execute(f"CREATE TEMP TABLE answer AS {ours(connection)}")
        close = " AND ".join(
            f"(a.{name}_{window} IS NOT DISTINCT FROM h.{name}_{window} "
            f"OR abs(a.{name}_{window} - h.{name}_{window}) <= 1e-9 * abs(h.{name}_{window}))"
            for name in AGGREGATES
            for window in WINDOWS
        )
        (count,) = connection.sql(
            f"SELECT count(*) FROM answer a FULL JOIN hand h USING (k, hour) WHERE NOT coalesce({close}, false)"
        ).fetchall()[0]
        return int(count)


daily = dg.DailyPartitionsDefinition(start_date="2024-01-01")


@fti.feature_group(keys=["k"], event_time="e", partitions_def=daily, serving_delay="5min")
def events() -> fti.Table:  # type: ignore[empty-body]
    ...


def fill(store: OfflineStore) -> None:
    with store.connect() as lake:
        for first in range(0, DAYS, 30):
            days = range(first, min(first + 30, DAYS))
            lake.connection.execute(f"""
                CREATE OR REPLACE TEMP TABLE staged AS SELECT (hash(i) % {KEYS})::INT AS k,
                    (hash(i, 2) % 100000) / 64.0::DOUBLE AS x,
                    TIMESTAMP '2024-01-01' + to_days(d::INT) + to_seconds((hash(i, 1) % 86400)::BIGINT) AS e,
                    strftime(e, '%Y-%m-%d') AS _partition
                FROM range({days.start}, {days.stop}) a(d), range({ROWS_A_DAY}) b(i)""")
            keys = [f"{START + timedelta(days=day):%Y-%m-%d}" for day in days]
            lake.replace(events.table, "staged", keys, asset="events")


def one_day(store: OfflineStore, lookback: str, day: int, *, tiles: bool = True) -> float:
    """CPU seconds of one day's rows, read and stored as a step does."""
    aggregates: dict[str, Aggregate] = {"rows": fti.Count(), "mean": fti.Mean("x"), "high": fti.Max("x")}

    @fti.feature_group(keys=["k"], event_time="hour", partitions_def=daily, lookback=f"{int(lookback[:-1]) + 1}d")
    def rates(events: fti.Table) -> fti.Table:
        return fti.window_aggregate(events, keys=["k"], every="1h", windows=["1h", lookback], aggregates=aggregates)

    first = START + timedelta(days=day)
    window = Partition(f"{first:%Y-%m-%d}", first, first + timedelta(days=1))
    start = time.process_time()
    with store.connect() as lake:
        inputs = input_table(lake, events, rates, [window])
        made = rates(inputs if tiles else inputs.with_relation(inputs.relation))
        lake.connection.execute("SET threads=2")
        made.relation.project(f"*, '{window.key}' AS _partition").create("made")
        target = TableName("features", f"rates_{lookback}_{'tiles' if tiles else 'rows'}")
        lake.replace(target, "made", [window.key], asset="rates")
    return time.process_time() - start


def curve(store: OfflineStore) -> dict[str, tuple[float, float, float]]:
    """For each lookback: a day with tiles, the first one that makes them, and a day that reads rows."""
    figures = {}
    for lookback in ("1d", "30d", "365d"):
        making = one_day(store, lookback, DAYS - 2)
        tiled = statistics.median([one_day(store, lookback, DAYS - 1) for _ in range(RUNS)])
        rows = one_day(store, lookback, DAYS - 1, tiles=False)
        figures[lookback] = tiled, making, rows
        print(f"{lookback}: a day {tiled:.2f} s, the first {making:.2f} s, from rows {rows:.2f} s", flush=True)
    return figures


def main() -> None:
    different = differences()
    runs = [(cpu_s(by_hand), cpu_s(ours)) for _ in range(RUNS)]
    by_hand_s, ours_s = (statistics.median(times) for times in zip(*runs, strict=True))
    print(f"a year: by hand {by_hand_s:.2f} s, ours {ours_s:.2f} s, {different} differences", flush=True)
    with tempfile.TemporaryDirectory() as name:
        store = OfflineStore(Path(name))
        fill(store)
        days = curve(store)
    result = {
        "benchmark": "windows",
        "ratio": round(ours_s / by_hand_s, 3),
        "goal": GOAL,
        "ours_cpu_s": round(ours_s, 2),
        "by_hand_cpu_s": round(by_hand_s, 2),
        "differences": different,
        "lookback_ratio": round(days["365d"][0] / days["1d"][0], 3),
        "lookback_goal": LOOKBACK_GOAL,
        "day_cpu_s": {lookback: round(times[0], 2) for lookback, times in days.items()},
        "day_from_rows_cpu_s": {lookback: round(times[2], 2) for lookback, times in days.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
