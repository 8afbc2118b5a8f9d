"""The point-in-time join beside Feast's DuckDB store, on the same files: CPU time, memory, and rows that differ.

``make feast && python benchmarks/beside_feast.py [spine rows]`` joins a spine (by default a million rows) to three groups of two
million rows in all. Feast runs in an environment of its own (``.venv-feast``), since its dependencies are not ours. It knows no
available-at, so that both join on event time; with it equal, each row of the two answers must be. Feast makes its registry
and imports before the clock starts; both read Parquet and give an Arrow table.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import point_in_time as bench
from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.features.point_in_time.join import point_in_time

FEAST = Path(os.environ.get("FTI_FEAST_PYTHON", ".venv-feast/bin/python"))
PEER = Path(__file__).parent / "peers" / "feast_join.py"
GOAL, RUNS, FEAST_RUNS = 15.0, 5, 3


def write_files(folder: Path, rows: int) -> None:
    bench.SPINE_ROWS = rows
    bench.write_files(folder)
    with bench.connect() as connection:  # one type of features, which Feast declares as numbers
        for key in bench.GROUPS:
            connection.execute(
                f"COPY (SELECT key, e, a::DOUBLE AS a, b::DOUBLE AS b, c::INT::DOUBLE AS c FROM '{folder}/{key}.parquet') "
                f"TO '{folder}/{key}.new.parquet'"
            )
            (folder / f"{key}.new.parquet").replace(folder / f"{key}.parquet")
    groups = {
        key: {"key": key, "features": list(bench.VALUES), "ttl_s": bench.TTL_US // 1_000_000} for key in bench.GROUPS
    }
    (folder / "groups.json").write_text(json.dumps(groups))


def feast(folder: Path) -> dict[str, float]:
    done = subprocess.run([str(FEAST), str(PEER), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"Feast failed: {done.stderr[-2000:]}")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])[0]
    return answer


def ours(folder: Path) -> float:
    groups = json.loads((folder / "groups.json").read_text())
    joins = [
        JoinedGroup(
            name,
            1,
            (JoinedKey(group["key"], "key", "text"),),
            tuple(JoinedColumn(f"{name}__{feature}", feature, "number") for feature in group["features"]),
            event_time="e",
            ttl_us=None if group["ttl_s"] is None else group["ttl_s"] * 1_000_000,
        )
        for name, group in groups.items()
    ]
    with bench.connect() as connection:
        start = time.process_time()
        joined = point_in_time(
            connection,
            connection.read_parquet(f"{folder}/spine.parquet"),
            joins,
            lambda group: connection.read_parquet(f"{folder}/{group.group}.parquet"),
            prediction_time="t",
        )
        answer = joined.to_arrow_table()
        seconds = time.process_time() - start
        connection.from_arrow(answer).write_parquet(f"{folder}/ours.parquet")
    return seconds


def differences(folder: Path) -> int:
    """Rows of one answer that are not in the other, counted with their duplicates."""
    with bench.connect() as connection:
        features = [
            f"{name}__{feature}"
            for name, group in json.loads((folder / "groups.json").read_text()).items()
            for feature in group["features"]
        ]
        columns = ", ".join(["id", *features])
        counts = connection.sql(f"""
            SELECT (SELECT count(*) FROM (SELECT {columns} FROM '{folder}/ours.parquet'
                        EXCEPT ALL SELECT {columns} FROM '{folder}/feast.parquet')),
                (SELECT count(*) FROM (SELECT {columns} FROM '{folder}/feast.parquet'
                        EXCEPT ALL SELECT {columns} FROM '{folder}/ours.parquet'))""").fetchall()[0]
        return int(sum(counts))


def main() -> None:
    if not FEAST.exists():
        raise SystemExit("there is no .venv-feast/bin/python: make feast")
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, rows)
        theirs = [feast(folder) for _ in range(FEAST_RUNS)]
        mine = statistics.median(ours(folder) for _ in range(RUNS))
        different = differences(folder)
    feast_s = statistics.median(run["cpu_s"] for run in theirs)
    print(f"{rows} spine rows: Feast {feast_s:.1f} s of CPU, ours {mine:.2f} s, {different} rows differ", flush=True)
    result = {
        "benchmark": "beside_feast",
        "ratio": round(feast_s / mine, 1),
        "goal": GOAL,
        "feast_cpu_s": round(feast_s, 2),
        "ours_cpu_s": round(mine, 2),
        "feast_peak_mb": round(max(run["peak_mb"] for run in theirs)),
        "differences": different,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
