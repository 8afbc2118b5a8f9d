"""Scoring a join's result in batch: a hand-written Arrow + onnxruntime loop over ours in CPU time, and the peak of memory.

``python -m benchmarks.batch`` scores 1 and 10 million rows of 20 features with a 2 x 64 net, each in a process of its own; other
numbers of rows are its arguments (``python -m benchmarks.batch 1000000 100000000``). The rows lie in a table of DuckDB, as the
join leaves them, and the answers are written to a Parquet file with their keys. DuckDB has 1 GB, and what is more goes to disk. The
loop reads the same table in batches of the same size, and writes with pyarrow. The two take turns.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.predict import graph as net
from fti_assets.core.manifest import NUMBERS, Column, DatasetRecord, GraphInput, GraphOutput, ModelManifest, ViewRecord
from fti_assets.features.point_in_time.arrays import CHUNK_ROWS
from fti_assets.inference.batch.scoring import Scorer, numbered_table, score
from fti_assets.stores.models.answering import Answering
from fti_assets.stores.models.graphs.graph import Graph

GOAL = 0.8
ROWS = (1_000_000, 10_000_000)
FEATURES = [f"f{i}" for i in range(20)]
MEMORY = "1GB"


def manifest() -> ModelManifest:
    columns = tuple(Column(name, "number") for name in FEATURES)
    return ModelManifest(
        model="net",
        version=1,
        build="20130601T000000Z-00000000",
        task="binary",
        status="accepted",
        cutoff="2013-06-01T00:00:00",
        created_at="2013-06-01T01:00:00",
        view=ViewRecord("view", 1, "visits", 1, ("id",), None, columns, (), (), columns),
        dataset=DatasetRecord("rows", 1, "2013-06-01", "", {}, point_in_time=True),
        inputs=(GraphInput(NUMBERS, "float32", tuple(FEATURES)),),
        outputs=(GraphOutput("probability", "tensor(float)"),),
        encoders={},
        metrics={},
        baseline={},
        gates=(),
        snapshot=1,
        code_version="",
        packages={},
        sha256="",
    )


def made(connection: duckdb.DuckDBPyConnection, rows: int) -> str:
    """What the join leaves: keys and features, numbered."""
    values = ", ".join(f"hash(i, {seed}) % 1000 / 500 - 1 AS {name}" for seed, name in enumerate(FEATURES))
    return numbered_table(connection, f"(SELECT i AS id, {values} FROM range({rows}) rows(i))")


def ours(connection: duckdb.DuckDBPyConnection, table: str, onnx_bytes: bytes, file: Path) -> None:
    build = manifest()
    scorer = Scorer(Answering(build, Graph.from_bytes(onnx_bytes, build.inputs, what="net")), "probability")
    answers = score(connection, table, [scorer], columns=["id"])
    connection.execute(f"COPY {answers} TO '{file}' (FORMAT parquet)")
    connection.execute(f"DROP TABLE {answers}")


def by_hand(connection: duckdb.DuckDBPyConnection, table: str, onnx_bytes: bytes, file: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    schema = pa.schema([("id", pa.int64()), ("probability", pa.float64())])
    with pq.ParquetWriter(file, schema) as writer:
        for batch in connection.sql(f"SELECT id, {', '.join(FEATURES)} FROM {table}").to_arrow_reader(CHUNK_ROWS):
            dense = np.empty((batch.num_rows, len(FEATURES)), np.float32)
            for position, name in enumerate(FEATURES):
                dense[:, position] = batch.column(name).to_numpy()
            (answers,) = session.run(None, {NUMBERS: dense})
            columns = [batch.column("id"), pa.array(answers.astype(np.float64))]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def measured(rows: int) -> dict[str, float]:
    """One size, in this process: CPU seconds of both, and the peak of memory before and after."""
    onnx_bytes = net(len(FEATURES), encoder=True)
    seconds: dict[Callable[..., None], list[float]] = {by_hand: [], ours: []}
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{MEMORY}'; SET threads = 1; SET temp_directory = '{folder}/spilled'")
        table = made(connection, rows)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for run in range(3 if rows <= ROWS[0] else 1):
            for way in (ours, by_hand) if run % 2 == 0 else (by_hand, ours):
                start = time.process_time()
                way(connection, table, onnx_bytes, Path(folder, f"{way.__name__}.parquet"))
                seconds[way].append(time.process_time() - start)
        one, other = (f"FROM '{folder}/{way.__name__}.parquet'" for way in (ours, by_hand))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        differing = f"SELECT count(*) FROM (({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one}))"
        assert connection.execute(differing).fetchall() == [(0,)], "the answers differ"
    cpu, cpu_by_hand = (sorted(seconds[way])[len(seconds[way]) // 2] for way in (ours, by_hand))
    return {"rows": rows, "cpu_s": cpu, "by_hand_s": cpu_by_hand, "joined_mb": before / 1024, "peak_mb": peak / 1024}


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or list(ROWS)
    print(f"{'rows':>12} {'ours: CPU s':>12} {'by hand':>9} {'ratio':>6} {'peak RSS MB: joined':>20} {'scored':>7}")
    results = []
    for rows in sizes:
        command = [sys.executable, "-m", "benchmarks.batch", "--one", str(rows)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)
        results.append(result)
        ratio = result["by_hand_s"] / result["cpu_s"]
        seconds = f"{result['cpu_s']:12.2f} {result['by_hand_s']:9.2f} {ratio:6.2f}"
        print(f"{rows:12,} {seconds} {result['joined_mb']:20.0f} {result['peak_mb']:7.0f}", flush=True)
    ratio = min(result["by_hand_s"] / result["cpu_s"] for result in results)
    print(
        json.dumps(
            {
                "benchmark": "batch",
                "ratio": round(ratio, 2),
                "goal": GOAL,
                "reached": ratio >= GOAL,
                "peak_mb": {result["rows"]: round(result["peak_mb"]) for result in results},
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(int(sys.argv[2]))))
    else:
        main()
