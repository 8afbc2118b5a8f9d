"""CPU time of the point-in-time join over that of an ASOF join with deduplication written by hand, on the same files.

``python benchmarks/point_in_time.py`` joins a spine of a million rows to three groups of two million rows in all: once
with a fixed delay, once with an available_at column and one row in twenty late. The floor is what a careful user would
write: ``arg_max`` for each key and time, then ASOF. With late rows that floor is wrong (a late older row hides a newer
one), so answers are there compared with an exact plan, also written by hand. A run reads Parquet and writes a table.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.features.point_in_time.join import point_in_time

SPINE_ROWS = 1_000_000
GROUPS = {"k0": 800_000, "k1": 400_000, "k2": 800_000}
VALUES = ("a", "b", "c")
DELAY_US, TTL_US = 900_000_000, 7 * 86_400_000_000
RUNS = 5
GOAL, LATE_GOAL = 1.2, 1.4


def connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads=2; SET TimeZone='UTC'; SET python_enable_replacements=false")
    return connection


def write_files(folder: Path) -> None:
    year_us = 365 * 86_400_000_000
    keys = {"k0": "(hash({i}) % 5000)::INT", "k1": "(hash({i}, 1) % 300)::INT", "k2": "'c' || hash({i}, 2) % 20000"}
    with connect() as connection:
        connection.execute(f"""
            COPY (SELECT i AS id, {", ".join(f"{sql.format(i='i')} AS {key}" for key, sql in keys.items())},
                    TIMESTAMP '2024-01-01' + to_microseconds((hash(i, 3) % {year_us})::BIGINT) AS t
                  FROM range({SPINE_ROWS}) r(i)) TO '{folder}/spine.parquet'""")
        for seed, (key, rows) in enumerate(GROUPS.items(), start=10):
            connection.execute(f"""
                COPY (SELECT {keys[key].format(i=f"i + {seed}000000")} AS key,
                        TIMESTAMP '2023-12-25' + to_seconds((hash(i, {seed}) % {372 * 86400})::BIGINT) AS e,
                        e + CASE WHEN hash(i, 7) % 20 = 0 THEN to_seconds((hash(i, 8) % {3 * 86400})::BIGINT)
                            ELSE to_microseconds({DELAY_US}) END AS known,
                        (hash(i, 4) % 1000) / 10 AS a, (hash(i, 5) % 1000)::INT AS b, hash(i, 6) % 2 = 0 AS c
                      FROM range({rows}) r(i) QUALIFY row_number() OVER (PARTITION BY key, e ORDER BY i) = 1)
                TO '{folder}/{key}.parquet'""")


def by_hand(folder: Path, source: Callable[[str], str]) -> str:
    columns = ", ".join(
        f"CASE WHEN {key}.e >= s.t - to_microseconds({TTL_US}) THEN {key}.{value} END AS {key}_{value}"
        for key in GROUPS
        for value in VALUES
    )
    groups = {key: source(f"'{folder}/{key}.parquet'") for key in GROUPS}
    joins = " ".join(
        f"ASOF LEFT JOIN ({group}) {key} ON s.{key} = {key}.key AND s.t >= {key}.visible"
        for key, group in groups.items()
    )
    return f"SELECT s.*, {columns} FROM '{folder}/spine.parquet' s {joins}"


def fixed_delay(file: str) -> str:
    picked = ", ".join(f"arg_max({value}, e) AS {value}" for value in VALUES)
    return f"SELECT key, e, e + to_microseconds({DELAY_US}) AS visible, {picked} FROM {file} GROUP BY key, e"


def deduplicated(file: str) -> str:
    picked = ", ".join(f"arg_max({value}, event) AS {value}" for value in VALUES)
    return f"""SELECT key, visible, max(event) AS e, {picked}
        FROM (SELECT *, e AS event, greatest(e, known) AS visible FROM {file}) GROUP BY key, visible"""


def exact(file: str) -> str:
    return f"""SELECT * FROM ({deduplicated(file)})
        QUALIFY e >= max(e) OVER (PARTITION BY key ORDER BY visible ROWS UNBOUNDED PRECEDING)"""


def ours(connection: duckdb.DuckDBPyConnection, folder: Path, available_at: str | None) -> str:
    joins = [
        JoinedGroup(
            key,
            1,
            (JoinedKey(key, "key", "text"),),
            tuple(JoinedColumn(f"{key}_{value}", value, "number") for value in VALUES),
            event_time="e",
            available_at=available_at,
            serving_delay_us=DELAY_US,
            ttl_us=TTL_US,
        )
        for key in GROUPS
    ]
    joined = point_in_time(
        connection,
        connection.read_parquet(f"{folder}/spine.parquet"),
        joins,
        lambda group: connection.read_parquet(f"{folder}/{group.group}.parquet"),
        prediction_time="t",
    )
    joined.query("joined", "FROM joined")
    return "FROM joined"


def cpu_s(plan: Callable[[duckdb.DuckDBPyConnection], str]) -> float:
    with connect() as connection:
        start = time.process_time()
        connection.execute(f"CREATE TEMP TABLE answer AS {plan(connection)}")
        return time.process_time() - start


def differences(folder: Path, available_at: str | None, by_hand_plan: str) -> int:
    """Rows of one answer that are not in the other, counted with their duplicates, and rows out of order."""
    with connect() as connection:
        connection.execute(f"CREATE TEMP TABLE hand AS {by_hand_plan}")
        connection.execute(f"CREATE TEMP TABLE answer AS {ours(connection, folder, available_at)}")
        counts = connection.sql("""
            SELECT (SELECT count(*) FROM (FROM hand EXCEPT ALL FROM answer)),
                (SELECT count(*) FROM (FROM answer EXCEPT ALL FROM hand)),
                (SELECT count(*) FROM answer WHERE id <> rowid)""").fetchall()[0]
        return sum(counts)


def ratio(folder: Path, available_at: str | None, floor: str, checked_against: str) -> tuple[float, float, float, int]:
    different = differences(folder, available_at, checked_against)
    runs = [(cpu_s(lambda _: floor), cpu_s(lambda open_: ours(open_, folder, available_at))) for _ in range(RUNS)]
    by_hand_s, ours_s = (statistics.median(times) for times in zip(*runs, strict=True))
    print(
        f"available_at={available_at}: by hand {by_hand_s:.2f} s, ours {ours_s:.2f} s, {different} differences",
        flush=True,
    )
    return ours_s / by_hand_s, ours_s, by_hand_s, different


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        fixed = by_hand(folder, fixed_delay)
        plain, ours_s, by_hand_s, different = ratio(folder, None, fixed, fixed)
        late = ratio(folder, "known", by_hand(folder, deduplicated), by_hand(folder, exact))
    result = {
        "benchmark": "point_in_time",
        "ratio": round(plain, 3),
        "goal": GOAL,
        "ours_cpu_s": round(ours_s, 2),
        "by_hand_cpu_s": round(by_hand_s, 2),
        "late_ratio": round(late[0], 3),
        "late_goal": LATE_GOAL,
        "differences": different + late[3],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
