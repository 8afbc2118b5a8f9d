"""CPU time of percentiles, several last values and sessions over windows, over that of SQL written by hand.

``python benchmarks/window_kinds.py`` computes each over a year of 500,000 rows by 200 keys, each hour over three windows, beside a count.
The floor is what a careful user would write for DuckDB where rows become visible in the order of their event times: a RANGE frame with
``quantile_cont``, an ASOF join to rows that carry the two before them, and flags of first rows that are summed over frames. Ours
also takes rows that become visible late, which none of them could.
"""

import json
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import duckdb

import fti_assets as fti
from fti_assets.features.windows.aggregates import Aggregate

ROWS, KEYS, RUNS = 500_000, 200, 3
WINDOWS = {"3h": 3, "24h": 24, "7d": 168}
START = datetime(2024, 1, 1)
GOAL = 1.5
KINDS: dict[str, Aggregate] = {
    "percentile": fti.Percentile("x", 0.95),
    "last": fti.Last("x", n=3),
    "sessions": fti.Sessions(gap="30min"),
}
COLUMNS = {"percentile": ["percentile"], "last": ["last_1", "last_2", "last_3"], "sessions": ["sessions"]}


def connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads=2; SET TimeZone='UTC'; SET python_enable_replacements=false")
    connection.execute(f"""
        CREATE TABLE events AS SELECT (hash(i) % {KEYS})::INT AS k, (hash(i, 2) % 100000) / 64.0::DOUBLE AS x,
            TIMESTAMP '2024-01-01' + to_microseconds((hash(i, 1) % {365 * 86_400_000_000})::BIGINT) AS e
        FROM range({ROWS}) r(i)""")
    return connection


def ours(kind: str) -> Callable[[duckdb.DuckDBPyConnection], str]:
    def plan(connection: duckdb.DuckDBPyConnection) -> str:
        grid = fti.Grid("hour", START, START + timedelta(days=365))
        rows = fti.Table(connection.table("events"), connection, "events_v1", ("k",), event_time="e", grid=grid)
        aggregates: dict[str, Aggregate] = {"rows": fti.Count(), kind: KINDS[kind]}
        result = fti.window_aggregate(rows, keys=["k"], every="1h", windows=[*WINDOWS], aggregates=aggregates)
        result.relation.create_view("ours")
        return "SELECT * FROM ours"

    return plan


def by_hand(kind: str) -> Callable[[duckdb.DuckDBPyConnection], str]:
    every = f"SELECT k, TIMESTAMP '2024-01-01' + to_hours(h) AS hour FROM range({KEYS}) a(k), range({365 * 24}) b(h)"
    frames = ", ".join(
        f"w{window} AS (PARTITION BY k ORDER BY hour RANGE BETWEEN to_microseconds({hours * 3_600_000_000 - 1}) PRECEDING "
        "AND CURRENT ROW)"
        for window, hours in WINDOWS.items()
    )
    counts = ", ".join(f"count(e) OVER w{window} AS rows_{window}" for window in WINDOWS)
    if kind == "last":
        before = "lag({0}, {1}) OVER (PARTITION BY k ORDER BY e) AS {0}_{1}"
        earlier = ", ".join(before.format(column, place) for column in "ex" for place in (1, 2))
        values = ", ".join(
            f"CASE WHEN {e} > hour - INTERVAL {hours} HOUR THEN {x} END AS last_{place}_{window}"
            for place, (e, x) in enumerate([("e", "x"), ("e_1", "x_1"), ("e_2", "x_2")], start=1)
            for window, hours in WINDOWS.items()
        )
        result = f"SELECT g.k, hour, {values} FROM ({every}) g ASOF JOIN (SELECT *, {earlier} FROM events) r ON g.k = r.k AND hour >= e"
        both = f"SELECT k, e AS hour, e FROM events UNION ALL SELECT *, NULL FROM ({every})"
        counted = (
            f"SELECT * FROM (SELECT k, hour, e, {counts} FROM ({both}) WINDOW {frames}) WHERE e IS NULL AND rows_7d > 0"
        )
        return lambda _: f"SELECT * EXCLUDE (e) FROM ({counted}) JOIN ({result}) USING (k, hour)"
    flag = "(e - lag(e) OVER (PARTITION BY k ORDER BY e) <= INTERVAL 30 MINUTE) IS NOT TRUE"
    both = (
        f"SELECT k, e AS hour, x, e, {flag} AS begins FROM events UNION ALL SELECT *, NULL, NULL, NULL FROM ({every})"
    )
    sql = {
        "percentile": "quantile_cont(x, 0.95) OVER w{0}",
        "sessions": "(coalesce(count_if(begins) OVER w{0} + (NOT first_value(begins IGNORE NULLS) OVER w{0})::INT, 0))::BIGINT",
    }[kind]
    values = ", ".join(f"{sql.format(window)} AS {kind}_{window}" for window in WINDOWS)
    return lambda _: (
        f"SELECT * EXCLUDE (e) FROM (SELECT k, hour, e, {counts}, {values} FROM ({both}) WINDOW {frames}) "
        "WHERE e IS NULL AND rows_7d > 0"
    )


def cpu_s(plan: Callable[[duckdb.DuckDBPyConnection], str]) -> float:
    with connect() as connection:
        start = time.process_time()
        connection.execute(f"CREATE TEMP TABLE answer AS {plan(connection)}")
        return time.process_time() - start


def differences(kind: str) -> int:
    with connect() as connection:
        connection.execute(f"CREATE TEMP TABLE hand AS {by_hand(kind)(connection)}")
        connection.execute(f"CREATE TEMP TABLE answer AS {ours(kind)(connection)}")
        close = " AND ".join(
            f"(a.{name}_{window} IS NOT DISTINCT FROM h.{name}_{window} "
            f"OR abs(a.{name}_{window} - h.{name}_{window}) <= 1e-12 * abs(h.{name}_{window}))"
            for name in COLUMNS[kind]
            for window in WINDOWS
        )
        (count,) = connection.sql(
            f"SELECT count(*) FROM answer a FULL JOIN hand h USING (k, hour) WHERE NOT coalesce({close}, false)"
        ).fetchall()[0]
        return int(count)


def main() -> None:
    figures = {}
    for kind in KINDS:
        different = differences(kind)
        runs = [(cpu_s(by_hand(kind)), cpu_s(ours(kind))) for _ in range(RUNS)]
        by_hand_s, ours_s = (statistics.median(times) for times in zip(*runs, strict=True))
        figures[kind] = {"ours_cpu_s": round(ours_s, 2), "by_hand_cpu_s": round(by_hand_s, 2), "differences": different}
        print(f"{kind}: by hand {by_hand_s:.2f} s, ours {ours_s:.2f} s, {different} differences", flush=True)
    ratios = {kind: one["ours_cpu_s"] / one["by_hand_cpu_s"] for kind, one in figures.items()}
    result = {
        "benchmark": "window_kinds",
        "ratio": round(max(ratios.values()), 3),
        "goal": GOAL,
        "ratios": {kind: round(ratio, 3) for kind, ratio in ratios.items()},
        "differences": sum(one["differences"] for one in figures.values()),
        "cpu_s": figures,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
