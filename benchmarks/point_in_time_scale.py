"""How the point-in-time join grows: with the rows of the spine, and with the number of groups.

``python benchmarks/point_in_time_scale.py [largest spine]`` joins spines of one, ten and a hundred million rows (up to ``largest``) to a
group of 2, 20 and 50 million rows whose available-at may be late, each in a process of its own whose DuckDB may use 6 GB; what does
not fit is spilled to disk. Then it joins ten million rows to one group, two, four and eight of them, and to one and eight where
DuckDB may use 1.5 GB, so that more groups need more time and no more memory. All print CPU seconds and the peak of the process's
memory. Time is linear where seconds per million spine rows stay the same; the ratio is that of the largest spine over that of
ten million, whose tables do not fit a cache either.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.features.point_in_time.join import point_in_time

SIZES = {1_000_000: 2_000_000, 10_000_000: 20_000_000, 100_000_000: 50_000_000}
MEMORY_MB, LITTLE_MB, GOAL_MB, GOAL = 6_000, 1_500, 8_192, 1.5
GROUPS = [(1, MEMORY_MB), (2, MEMORY_MB), (4, MEMORY_MB), (8, MEMORY_MB), (1, LITTLE_MB), (8, LITTLE_MB)]
YEAR_S, KEYS = 365 * 86_400, 1_000_000


def write(folder: Path, spine: int, rows: int) -> None:
    with connect(folder) as connection:
        connection.execute(f"""
            COPY (SELECT i AS id, (hash(i) % {KEYS})::BIGINT AS key,
                TIMESTAMP '2024-01-01' + to_seconds((hash(i, 1) % {YEAR_S})::BIGINT) AS t
                FROM range({spine}) r(i)) TO '{folder}/spine.parquet'""")
        connection.execute(f"""
            COPY (SELECT (hash(i, 2) % {KEYS})::BIGINT AS key, e, e + to_seconds(CASE WHEN hash(i, 4) % 20 = 0
                    THEN (hash(i, 5) % {3 * 86_400})::BIGINT ELSE 900 END) AS known, hash(i, 6) % 1000 / 10 AS a,
                    (hash(i, 7) % 1000)::INT AS b
                  FROM (SELECT i, TIMESTAMP '2023-12-25' + to_microseconds(i * {YEAR_S * 1_000_000 // rows}) AS e
                        FROM range({rows}) r(i))) TO '{folder}/group.parquet'""")


def connect(folder: Path, memory_mb: int = MEMORY_MB) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads=2; SET TimeZone='UTC'; SET python_enable_replacements=false")
    connection.execute(f"SET memory_limit='{memory_mb}MB'; SET temp_directory='{folder}/spill'")
    return connection


def join(folder: Path, groups: int, memory_mb: int) -> dict[str, float]:
    """One join in this process, whose answer is summed up rather than kept, as a dataset that is written on."""
    joins = [
        JoinedGroup(
            f"g{number}",
            1,
            (JoinedKey("key", "key", "integer"),),
            tuple(JoinedColumn(f"{name}{number}", name, "number") for name in "ab"),
            event_time="e",
            available_at="known",
            ttl_us=30 * 86_400_000_000,
        )
        for number in range(groups)
    ]
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    start, cpu = time.monotonic(), time.process_time()
    with connect(folder, memory_mb) as connection:
        joined = point_in_time(
            connection,
            connection.read_parquet(f"{folder}/spine.parquet"),
            joins,
            lambda group: connection.read_parquet(f"{folder}/group.parquet"),
            prediction_time="t",
        )
        joined.query("joined", f"COPY joined TO '{folder}/joined.parquet'")
    status = Path("/proc/self/status").read_text().splitlines()
    peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    os.remove(f"{folder}/joined.parquet")
    return {
        "wall_s": time.monotonic() - start,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": peak_kb / 1024,
    }


def alone(folder: Path, groups: int, memory_mb: int = MEMORY_MB) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--join", str(folder), str(groups), str(memory_mb)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else max(SIZES)
    per_million, peaks = {}, {}
    for spine, rows in SIZES.items():
        if spine > largest:
            continue
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), spine, rows)
            run = alone(Path(name), 1)
            per_million[spine], peaks[spine] = run["cpu_s"] / spine * 1_000_000, run["peak_mb"]
            print(
                f"{spine:>11,} x {rows:>10,} rows: {run['cpu_s']:7.1f} s of CPU, {run['wall_s']:7.1f} s, "
                f"{run['peak_mb']:6.0f} MB, {per_million[spine]:.2f} s per million",
                flush=True,
            )
    by_groups = dict[str, float]()
    with tempfile.TemporaryDirectory() as name:
        spine = min(10_000_000, largest)
        write(Path(name), spine, SIZES[spine])
        for groups, memory_mb in GROUPS:
            run = alone(Path(name), groups, memory_mb)
            by_groups[f"{groups} in {memory_mb}"] = run["peak_mb"]
            print(
                f"{spine:>11,} rows x {groups} groups in {memory_mb:,} MB: {run['cpu_s']:7.1f} s of CPU, {run['peak_mb']:6.0f} MB",
                flush=True,
            )
    base = min(10_000_000, largest)
    result = {
        "benchmark": "point_in_time_scale",
        "ratio": round(per_million[max(per_million)] / per_million[base], 2),
        "goal": GOAL,
        "cpu_s_per_million": {str(spine): round(seconds, 2) for spine, seconds in per_million.items()},
        "peak_mb": {str(spine): round(peak) for spine, peak in peaks.items()},
        "peak_mb_by_groups": {within: round(peak) for within, peak in by_groups.items()},
        "goal_mb": GOAL_MB,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--join"]:
        print(json.dumps(join(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
