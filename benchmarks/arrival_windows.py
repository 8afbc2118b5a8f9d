"""CPU time of windows at each arriving row, over a range of partitions, beside SQL written by hand.

``python benchmarks/arrival_windows.py`` computes windows of one and three days at each of 2,000 rows a day over 200 days. One row in
twenty lands up to three days late, so each row's windows hold what had landed by the end of its own day. By hand it is one join
of each row to the days before it. ``growth`` is the time a day over 200 days over that over 40: it is 1 where a range costs what its days
do, and was 2.2 when every partition read the whole source.
"""

import json
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import duckdb

import fti_assets as fti
from fti_assets.features.windows.aggregates import Aggregate

DAYS, FEW_DAYS, ROWS_A_DAY, KEYS, RUNS = 200, 40, 2_000, 200, 3
START, DAY = datetime(2024, 1, 1), timedelta(days=1)
WINDOWS = {"1d": 1, "3d": 3}
AGGREGATES: dict[str, tuple[Aggregate, str]] = {
    "rows": (fti.Count(), "count(o.t)"),
    "mean": (fti.Mean("x"), "avg(o.x)"),
    "high": (fti.Max("x"), "max(o.x)"),
}
GOAL, GROWTH_GOAL = 15.0, 1.3


def connect(days: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads=1; SET TimeZone='UTC'; SET python_enable_replacements=false")
    connection.execute(f"""
        CREATE TABLE sales AS SELECT d * {ROWS_A_DAY} + i AS id, (hash(d, i) % {KEYS})::INT AS k, (hash(i, d, 2) % 100000) / 64.0 AS x,
            TIMESTAMP '{START}' + to_days(d::INT) + to_microseconds((hash(d, i, 1) % 86400000000)::BIGINT) AS landed,
            landed - to_seconds(CASE WHEN i % 20 = 0 THEN (hash(d, i, 3) % {3 * 86400})::BIGINT ELSE 0 END) AS t
        FROM range({days}) a(d), range({ROWS_A_DAY}) b(i)""")
    return connection


def ours(connection: duckdb.DuckDBPyConnection, days: int) -> str:
    starts = tuple(START + day * DAY for day in range(1, days))
    grid = fti.Grid("t", START, START + days * DAY, starts, arrives="landed")
    sales = fti.Table(
        connection.table("sales"), connection, "sales_v1", ("k", "id"), event_time="t", arrives="landed", grid=grid
    )
    aggregates = {name: aggregate for name, (aggregate, _) in AGGREGATES.items()}
    result = fti.window_aggregate(sales, keys=["k"], windows=[*WINDOWS], aggregates=aggregates)
    result.relation.create_view("ours")
    return "FROM ours"


def by_hand(_: duckdb.DuckDBPyConnection, days: int) -> str:
    longest = max(WINDOWS.values())
    columns = ", ".join(
        f"{sql} FILTER (o.t > r.t - INTERVAL {length} DAY) AS {name}_{window}"
        for name, (_, sql) in AGGREGATES.items()
        for window, length in WINDOWS.items()
    )
    return f"""
        WITH near AS (SELECT *, unnest(range({longest} + 1)) AS back FROM sales)
        SELECT r.id, r.t, {columns} FROM near r LEFT JOIN sales o ON o.k = r.k AND o.t::DATE = r.t::DATE - r.back::INT
            AND o.t < r.t AND o.t > r.t - INTERVAL {longest} DAY AND o.landed < date_trunc('day', r.landed) + INTERVAL 1 DAY
        GROUP BY r.id, r.t"""


def cpu_s(plan: Callable[[duckdb.DuckDBPyConnection, int], str], days: int) -> float:
    with connect(days) as connection:
        start = time.process_time()
        connection.execute(f"CREATE TEMP TABLE answer AS {plan(connection, days)}")
        return time.process_time() - start


def differences(days: int) -> int:
    with connect(days) as connection:
        connection.execute(f"CREATE TEMP TABLE hand AS {by_hand(connection, days)}")
        connection.execute(f"CREATE TEMP TABLE answer AS {ours(connection, days)}")
        close = " AND ".join(
            f"(a.{column} IS NOT DISTINCT FROM h.{column} OR abs(a.{column} - h.{column}) <= 1e-9 * abs(h.{column}))"
            for column in (f"{name}_{window}" for name in AGGREGATES for window in WINDOWS)
        )
        sql = f"SELECT count(*) FROM answer a FULL JOIN hand h USING (id, t) WHERE NOT coalesce({close}, false)"
        return int(connection.sql(sql).fetchall()[0][0])


def main() -> None:
    different = differences(FEW_DAYS)
    runs = [(cpu_s(by_hand, DAYS), cpu_s(ours, DAYS), cpu_s(ours, FEW_DAYS)) for _ in range(RUNS)]
    by_hand_s, ours_s, few_s = (statistics.median(times) for times in zip(*runs, strict=True))
    result = {
        "benchmark": "arrival_windows",
        "ratio": round(ours_s / by_hand_s, 2),
        "goal": GOAL,
        "growth": round(ours_s / DAYS / (few_s / FEW_DAYS), 2),
        "growth_goal": GROWTH_GOAL,
        "ours_cpu_s": round(ours_s, 2),
        "by_hand_cpu_s": round(by_hand_s, 2),
        "differences": different,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
