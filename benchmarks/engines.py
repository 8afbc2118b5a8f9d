"""The point-in-time join and scoring on each engine: DuckDB, Sail, and Spark's own server on two threads.

``python -m benchmarks.engines`` joins a spine of a million rows to a group of two million whose available-at may be late, and scores a
million rows of 20 features with a 2 x 64 net. Larger sizes are its arguments, ``python -m benchmarks.engines 1000000 10000000 100000000``:
a hundred million are joined to fifty. All engines have two cores, and DuckDB and Spark 4 GB. Each runs in a process of its own, with a
small plan before it that is not measured: Java and Sail start cold. CPU seconds and peak memory are those of the step and of the
server together; what lies on disk at most is looked at five times a second. Spark's own server takes ``make spark``; without it, it is
left out.

The answers of all engines are compared. What ``auto`` goes by is printed last: the CPU seconds for a million rows, and from how many
cores on Spark is the faster one. ``--picture docs/images/engines.svg`` draws how long ``auto`` expects a join to take.
"""

import contextlib
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.batch import made as made_features
from benchmarks.batch import manifest
from benchmarks.predict import graph as net
from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.names import TableName
from fti_assets.engines.choice import JOIN_SPEED
from fti_assets.engines.running import RunningEngine, SparkPlace
from fti_assets.engines.spark.lake_files import LakeTable
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.features.point_in_time.on_spark import SparkJoins
from fti_assets.inference.batch.on_spark import score_on_spark
from fti_assets.inference.batch.scoring import Scorer, score
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.models.answering import Answering
from fti_assets.stores.models.graphs.graph import Graph
from tests.support.spark import PYTHON, spark_server

ROWS = {1_000_000: 2_000_000, 10_000_000: 20_000_000, 100_000_000: 50_000_000}
"""The rows of the group by those of the spine."""
MEMORY, CORES = "4GB", 2
GROUP = TableName("features", "g_v1")
WARM_ROWS = 2_000
YEAR_S, KEYS = 365 * 86_400, 1_000_000
JOIN = JoinedGroup(
    "g",
    1,
    (JoinedKey("key", "key", "integer"),),
    tuple(JoinedColumn(name, name, "number") for name in ("a", "b")),
    event_time="e",
    available_at="known",
    ttl_us=30 * 86_400 * 1_000_000,
)


def write(folder: Path, spine: int) -> None:
    """A lake with the group by months, and a spine beside it."""
    rows = ROWS[spine]
    with OfflineStore(folder / "lake").connect() as lake:
        run = lake.connection.execute
        run(f"""CREATE TEMP TABLE staged AS
            SELECT (hash(i, 2) % {KEYS})::BIGINT AS key, e, e + to_seconds(CASE WHEN hash(i, 4) % 20 = 0
                THEN (hash(i, 5) % {3 * 86_400})::BIGINT ELSE 900 END) AS known, hash(i, 6) % 1000 / 10 AS a,
                (hash(i, 7) % 1000)::INT AS b, strftime(e, '%Y-%m') AS _partition
            FROM (SELECT i, TIMESTAMP '2023-12-25' + to_microseconds(i * {YEAR_S * 1_000_000 // rows}) AS e FROM range({rows}) r(i))""")
        months = [month for (month,) in run("SELECT DISTINCT _partition FROM staged ORDER BY 1").fetchall()]
        lake.replace(GROUP, "staged", months, asset="g")
        run(f"""COPY (SELECT i AS id, (hash(i) % {KEYS})::BIGINT AS key,
                TIMESTAMP '2024-01-01' + to_seconds((hash(i, 1) % {YEAR_S})::BIGINT) AS t FROM range({spine}) r(i))
            TO '{folder}/spine.parquet'""")


def join(lake: Lake, engine: RunningEngine | None, folder: Path, *, warm: bool = False) -> list[Any]:
    """One join, and what its answers add up to."""
    run, snapshot = lake.connection, lake.snapshot()
    spine = run.sql(f"FROM '{folder}/spine.parquet'" + (f" LIMIT {WARM_ROWS}" if warm else ""))
    by = None
    if engine is not None:
        by = SparkJoins(engine, run, lambda group, bounds: LakeTable(lake, GROUP, snapshot=snapshot, bounds=bounds))
    rows = lake.rows(GROUP, snapshot=snapshot)
    joined = point_in_time(run, spine, [JOIN], lambda _: rows, prediction_time="t", by=by)
    return list(joined.aggregate("count(*), count(a), sum(hash(id, a, b))").fetchall()[0])


class _Builds:
    """The model store of a benchmark: one graph."""

    def __init__(self, onnx_bytes: bytes) -> None:
        self._graph = onnx_bytes

    def load(self, model: str, reference: str) -> tuple[None, bytes]:
        return None, self._graph


def scored(lake: Lake, engine: RunningEngine | None, rows: int) -> list[Any]:
    """Scoring of some rows, whose features are a table of DuckDB as the join leaves them."""
    onnx_bytes, build = net(20, encoder=True), manifest()
    table = made_features(lake.connection, rows)
    scorers = [Scorer(Answering(build, Graph.from_bytes(onnx_bytes, build.inputs, what="net")), "probability")]
    start = _State.now()
    if engine is None:
        answers = score(lake.connection, table, scorers, columns=["id"])
    else:
        answers = score_on_spark(engine, lake.connection, _Builds(onnx_bytes), table, scorers, columns=["id"])  # type: ignore[arg-type]
    _State.started = start
    return list(lake.connection.execute(f"SELECT count(*), sum(hash(id, probability)) FROM {answers}").fetchall()[0])


class _State:
    started: dict[str, float]
    server: int | None = None

    @classmethod
    def now(cls) -> dict[str, float]:
        own = resource.getrusage(resource.RUSAGE_SELF)
        cpu, peak = own.ru_utime + own.ru_stime, own.ru_maxrss / 1024
        if cls.server is not None:
            server_cpu, server_peak = of_group(cls.server)
            cpu, peak = cpu + server_cpu, peak + server_peak
        return {"wall": time.perf_counter(), "cpu": cpu, "peak_mb": peak}


def of_group(leader: int) -> tuple[float, float]:
    """CPU seconds and the peaks of memory in MB of the processes of a group, those that have ended included."""
    cpu, peak = 0.0, 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader:
                cpu += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
                status = (entry / "status").read_text()
                peak += int(status.partition("VmHWM:")[2].split()[0]) / 1024 if "VmHWM:" in status else 0
    return cpu, peak


@contextlib.contextmanager
def watched(*folders: Path) -> Iterator[dict[str, float]]:
    """How much lies in some folders at most while the block runs, in MB."""
    result, over = {"disk_mb": 0.0}, threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            size = 0
            for folder in folders:
                for file in folder.rglob("*"):
                    with contextlib.suppress(OSError):
                        size += file.stat().st_size if file.is_file() else 0
            result["disk_mb"] = max(result["disk_mb"], size / 1e6)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield result
    finally:
        over.set()
        thread.join()


def measured(what: str, url: str, folder: Path, rows: int, server: int | None) -> dict[str, Any]:
    """One plan on one engine, in this process."""
    _State.server = server
    (folder / "scratch").mkdir(exist_ok=True)
    (folder / "spill").mkdir(exist_ok=True)
    with OfflineStore(folder / "lake").connect() as lake, contextlib.ExitStack() as stack:
        lake.connection.execute(
            f"SET threads={CORES}; SET memory_limit='{MEMORY}'; SET temp_directory='{folder}/spill'"
        )
        engine = None
        if url != "duckdb":
            place = SparkPlace(url, folder / "scratch")
            engine = stack.enter_context(
                RunningEngine("spark", place, lake.connection, what="benchmark", log=lambda _: None)
            )

        def plan(*, warm: bool = False) -> list[Any]:
            if what == "join":
                return join(lake, engine, folder, warm=warm)
            return scored(lake, engine, WARM_ROWS if warm else rows)

        plan(warm=True)
        with watched(folder / "spill", folder / "scratch", folder / "spark") as disk:
            _State.started = _State.now()
            answers = plan()
            end = _State.now()
    result = {name: end[name] - _State.started[name] for name in ("wall", "cpu")}
    return {**result, "peak_mb": end["peak_mb"], **disk, "answers": answers}


def in_process(what: str, url: str, folder: Path, rows: int, server: int | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.engines", "--one", what, url, str(folder), str(rows), str(server or 0)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": str(CORES)}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def picture(file: Path) -> None:
    """Draw the seconds that ``auto`` expects of a join by its rows, both on a logarithmic scale."""
    exponents, width, height, left, top = (6.0, 10.0), 560, 300, 60, 20
    lines = [("DuckDB, 2 threads", "duckdb", 2, "#1f77b4")]
    lines += [
        (f"Spark, {cores} cores", "spark", cores, color)
        for cores, color in ((2, "#d62728"), (16, "#ff7f0e"), (64, "#2ca02c"), (256, "#9467bd"))
    ]

    def place(exponent: float, seconds: float) -> str:
        x = left + (exponent - exponents[0]) / (exponents[1] - exponents[0]) * width
        return f"{x:.1f},{top + height - (math.log10(seconds) + 1) / 6 * height:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 160} {top + height + 45}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888"/>',
    ]
    for power in range(-1, 6):
        y = top + height - (power + 1) / 6 * height
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#777">{10**power:g} s</text>')
        parts.append(f'<path d="M{left} {y:.1f}h{width}" stroke="#8884"/>')
    for power, text in zip(range(6, 11), ("1 M", "10 M", "100 M", "1 G", "10 G"), strict=True):
        x = left + (power - exponents[0]) / (exponents[1] - exponents[0]) * width
        parts.append(f'<text x="{x:.1f}" y="{top + height + 18}" text-anchor="middle" fill="#777">{text}</text>')
    parts.append(
        f'<text x="{left + width / 2}" y="{top + height + 38}" text-anchor="middle" fill="#777">rows of both sides</text>'
    )
    steps = [exponents[0] + number / 20 for number in range(int((exponents[1] - exponents[0]) * 20) + 1)]
    for number, (text, engine, cores, color) in enumerate(lines):
        points = " ".join(place(step, JOIN_SPEED[engine].seconds(int(10**step), cores)) for step in steps)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{left + width + 12}" y="{top + 16 + 20 * number}" fill="{color}">{text}</text>')
    file.write_text("\n".join([*parts, "</svg>", ""]))


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [1_000_000]
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("    plan         rows   engine   wall s    CPU s       rows/s  peak MB  disk MB  CPU / DuckDB")
    results: dict[tuple[str, int, str], dict[str, Any]] = {}
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder, rows)
            (folder / "spark").mkdir()
            with contextlib.ExitStack() as stack:
                engines: list[tuple[str, str, int | None]] = [("duckdb", "duckdb", None)]
                if rows <= 10_000_000:
                    engines.append(("sail", "sail", None))
                if PYTHON.exists():
                    server = stack.enter_context(spark_server(folder / "spark", memory="4g"))
                    engines.append(("spark", server.url, server.process.pid))
                for what in ("join", "score"):
                    for engine, url, leader in engines:
                        result = results[what, rows, engine] = in_process(what, url, folder, rows, leader)
                        first = results[what, rows, "duckdb"]
                        assert result["answers"] == first["answers"], f"{engine} gives other answers than DuckDB"
                        print(
                            f"{what:>8} {rows:12,} {engine:>8} {result['wall']:8.1f} {result['cpu']:8.1f} {rows / result['wall']:12,.0f} "
                            f"{result['peak_mb']:8,.0f} {result['disk_mb']:8,.0f} {result['cpu'] / first['cpu']:13.1f}",
                            flush=True,
                        )
    largest = sizes[-1]
    engine = "spark" if ("join", largest, "spark") in results else "sail"
    ratio = results["join", largest, engine]["cpu"] / results["join", largest, "duckdb"]["cpu"]
    print(
        json.dumps(
            {
                "benchmark": "engines",
                "ratio": round(ratio, 1),
                "cpu_s_per_million_rows": {
                    f"{what} on {name}": round(one["cpu"] / ((rows + ROWS[rows]) if what == "join" else rows) * 1e6, 2)
                    for (what, rows, name), one in results.items()
                    if rows == largest
                },
                "spark_is_faster_from_cores": round(ratio * CORES),
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        of_what, at, root, number, group = sys.argv[2:]
        print(json.dumps(measured(of_what, at, Path(root), int(number), int(group) or None)))
    elif sys.argv[1:2] == ["--picture"]:
        picture(Path(sys.argv[2]))
    else:
        main()
