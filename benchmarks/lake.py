"""Time of replacing partitions among 5,000, over that of the same DELETE and INSERT by hand on DuckLake, without a ledger.

``python benchmarks/lake.py`` makes a table of 5,000 partitions, then replaces one of 10,000 rows, and a range of 365, each in one
commit. By hand, the table is made and written with neither lock, ledger, data version nor fsync: less cannot be done. The two
take turns, on lakes of their own, so that both meet the same load.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from fti_assets.core.names import TableName
from fti_assets.stores.lake.connection import MAKE, lake_connection
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore

PARTITIONS, RANGE, ROWS, ROWS_OF_RANGE = 5_000, 365, 10_000, 100
AT_ONCE = 1_000
RUNS, RUNS_OF_RANGE = 9, 3
GOAL_WALL_S = 0.5
TABLE = TableName("features", "rows_v1")
Write = Callable[[Sequence[str]], None]


def key(number: int) -> str:
    return f"p{number:05}"


def stage(connection: duckdb.DuckDBPyConnection, partitions: Sequence[str], rows: int, seed: int) -> None:
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE staged AS SELECT r AS id, hash(r, {seed}) % 1000 / 10 AS value, "
        f"'text ' || r % 50 AS name, p AS _partition FROM range({rows}) rows(r), (SELECT unnest(?) AS p)",
        [list(partitions)],
    )


@contextmanager
def ours(root: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Write]]:
    with OfflineStore(root).connect() as lake:
        yield lake.connection, lambda partitions: replace(lake, partitions)


def replace(lake: Lake, partitions: Sequence[str]) -> None:
    assert lake.replace(TABLE, "staged", partitions, asset="rows_v1").changed == tuple(partitions)


@contextmanager
def by_hand(root: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Write]]:
    root.mkdir()
    with lake_connection(root / "catalog.sqlite", root / "data", MAKE) as connection:
        connection.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
        stage(connection, [key(0)], 1, 0)
        connection.execute("CREATE SCHEMA lake.features")
        connection.execute("CREATE TABLE lake.features.rows_v1 AS FROM staged LIMIT 0")
        connection.execute("ALTER TABLE lake.features.rows_v1 SET PARTITIONED BY (_partition)")

        def write(partitions: Sequence[str]) -> None:
            named = ", ".join(f"'{partition}'" for partition in partitions)
            connection.execute("BEGIN")
            connection.execute(f"DELETE FROM lake.features.rows_v1 WHERE _partition IN ({named})")
            connection.execute("INSERT INTO lake.features.rows_v1 FROM staged")
            connection.execute("COMMIT")

        yield connection, write


def timed(
    connection: duckdb.DuckDBPyConnection, write: Write, partitions: Sequence[str], rows: int, seed: int
) -> tuple[float, float]:
    """Wall and CPU seconds of one commit; staging is not counted, it is the user's own work."""
    stage(connection, partitions, rows, seed)
    wall, cpu = time.perf_counter(), time.process_time()
    write(partitions)
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        ours(Path(folder) / "ours") as mine,
        by_hand(Path(folder) / "hand") as hand,
    ):
        for first in range(0, PARTITIONS, AT_ONCE):
            for connection, write in (mine, hand):
                timed(connection, write, [key(number) for number in range(first, first + AT_ONCE)], 20, 0)
            print(f"{first + AT_ONCE} partitions made", flush=True)
        print("replaced               ours: wall s  CPU s    by hand: wall s  CPU s")
        results = {}
        for name, partitions, rows, runs in (
            ("one partition", [key(PARTITIONS // 2)], ROWS, RUNS),
            (f"a range of {RANGE}", [key(number) for number in range(RANGE)], ROWS_OF_RANGE, RUNS_OF_RANGE),
        ):
            pairs = [
                [timed(connection, write, partitions, rows, 1 + run) for connection, write in (mine, hand)]
                for run in range(runs)
            ]
            (wall, cpu), (wall_by_hand, cpu_by_hand) = (
                [statistics.median(seconds) for seconds in zip(*(pair[side] for pair in pairs), strict=True)]
                for side in (0, 1)
            )
            results[name] = wall, cpu, wall_by_hand, cpu_by_hand
            print(f"{name:<22} {wall:12.3f} {cpu:6.3f} {wall_by_hand:18.3f} {cpu_by_hand:6.3f}", flush=True)
    (wall, cpu, _, cpu_by_hand), (range_wall, range_cpu, _, range_cpu_by_hand) = results.values()
    print(
        json.dumps(
            {
                "benchmark": "lake",
                "ratio": round(cpu / cpu_by_hand, 2),
                "goal": f"one of {PARTITIONS} partitions in less than {GOAL_WALL_S} s",
                "reached": wall < GOAL_WALL_S,
                "wall_s": round(wall, 3),
                "cpu_s": round(cpu, 3),
                "range_ratio": round(range_cpu / range_cpu_by_hand, 2),
                "range_wall_s": round(range_wall, 3),
                "range_cpu_s": round(range_cpu, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
