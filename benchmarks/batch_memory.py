"""The peak of memory of batch answers from the join to the answers: that of the largest number of rows over that of the smallest.

``python -m benchmarks.batch_memory`` answers 1 and 10 million rows, each in a process of its own; other numbers of rows are its
arguments. A spine row has four numbers of its own, four joined point in time from a group of 24,000 rows, and one on-demand feature; a
net of 2 x 64 answers. DuckDB has 512 MB, and what is more goes to disk. The lake is made by another process.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.batch import manifest
from benchmarks.predict import graph
from fti_assets.core.manifest import (
    NUMBERS,
    Column,
    GraphInput,
    JoinedColumn,
    JoinedGroup,
    JoinedKey,
    OnDemandCall,
    ViewRecord,
)
from fti_assets.core.names import FEATURES, WHOLE, TableName
from fti_assets.core.on_demand.meaning import meaning
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.inference.batch.scoring import Scorer, numbered_table, score
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.models.answering import Answering
from fti_assets.stores.models.graphs.graph import Graph

GOAL = 1.3
ROWS = (1_000_000, 10_000_000)
MEMORY = "512MB"
OWN, JOINED = [f"f{i}" for i in range(4)], [f"g{i}" for i in range(4)]
ON_DEMAND = "tests.on_demand", "doubled_sum"


def view() -> ViewRecord:
    join = JoinedGroup(
        "crowds",
        1,
        (JoinedKey("shop", "shop", "integer"),),
        tuple(JoinedColumn(name, name, "number") for name in JOINED),
        event_time="t",
    )
    module, function = ON_DEMAND
    outputs = (Column("doubled", "number"),)
    call = OnDemandCall(
        "doubled_sum", 1, module, function, "", ("f0", "g0"), outputs, meaning=meaning(module, function)
    )
    own = tuple(Column(name, "number") for name in OWN)
    features = (*own, *(Column(name, "number") for name in JOINED), *outputs)
    return ViewRecord(
        "view", 1, "visits", 1, ("id",), "t", (*own, Column("shop", "integer")), (join,), (call,), features
    )


def make(folder: Path, rows: int) -> None:
    with OfflineStore(folder / "lake").connect() as lake:
        values = ", ".join(f"hash(i, {seed}) % 1000 / 500 - 1 AS {{}}{seed}" for seed in range(4))
        hours = "TIMESTAMP '2024-01-01' + to_seconds"
        for table, sql in (
            ("crowds_v1", f"SELECT i % 1000 AS shop, {hours}(i // 1000 * 3600) AS t, {values} FROM range(24000) r(i)"),
            (
                "visits_v1",
                f"SELECT i AS id, hash(i) % 1000 AS shop, {hours}(i % 86400) AS t, {values} FROM range({rows}) r(i)",
            ),
        ):
            name = "g" if table == "crowds_v1" else "f"
            sql = sql.replace("hash(i) % 1000", "(hash(i) % 1000)::BIGINT").format(*[name] * 4)
            lake.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE staged AS SELECT *, '{WHOLE}' AS _partition FROM ({sql})"
            )
            lake.replace(TableName(FEATURES, table), "staged", [WHOLE], asset=table)


def answer(folder: Path) -> float:
    """The peak of this process in MB."""
    record, onnx_bytes = view(), graph(9, encoder=True)
    inputs = (GraphInput(NUMBERS, "float32", tuple(feature.name for feature in record.features)),)
    build = type(manifest())(**{**vars(manifest()), "view": record, "inputs": inputs})
    with OfflineStore(folder / "lake").connect() as lake:
        spine = lake.rows(record.spine_table)
        joined = relation_name(assemble(lake, record, spine, snapshot=lake.snapshot()))
        table = numbered_table(lake.connection, joined)
        scorer = Scorer(Answering(build, Graph.from_bytes(onnx_bytes, build.inputs, what="net")), "probability")
        answers = score(lake.connection, table, [scorer], columns=["id", "t"])
        [(count, wrong)] = lake.connection.execute(
            f"SELECT count(*), count(*) FILTER (probability NOT BETWEEN 0 AND 1) FROM {answers}"
        ).fetchall()
        assert (count, wrong) == (lake.connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0], 0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_mb(rows: int, memory: str = MEMORY) -> float:
    """The peak of a process that answers so many rows."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "FTI_THREADS": "1", "FTI_MEMORY": memory}
        for what in ("--make", "--answer"):
            command = [sys.executable, "-m", "benchmarks.batch_memory", what, folder, str(rows)]
            made = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    return float(json.loads(made))


def main() -> None:
    peaks = {}
    for rows in [int(argument) for argument in sys.argv[1:]] or list(ROWS):
        peaks[rows] = peak_mb(rows)
        print(f"{rows:12,} rows: {peaks[rows]:7.0f} MB", flush=True)
    ratio = peaks[max(peaks)] / peaks[min(peaks)]
    megabytes = {rows: round(peak) for rows, peak in peaks.items()}
    print(
        json.dumps(
            {
                "benchmark": "batch_memory",
                "ratio": round(ratio, 2),
                "goal": GOAL,
                "reached": ratio <= GOAL,
                "peak_mb": megabytes,
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2]), int(sys.argv[3]))
        print("0")
    elif sys.argv[1:2] == ["--answer"]:
        print(answer(Path(sys.argv[2])))
    else:
        main()
