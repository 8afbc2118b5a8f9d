"""The train part as a stream of shuffled, encoded tensors beside a loop by hand over Arrow batches, and its memory by rows.

``python -m benchmarks.stream`` makes 1 and 10 million rows of 12 numbers and two texts in a lake, and goes over each twice: as
``data.train.stream(...).tensors()``, and as a loop by hand that reads record batches of a file in an order of its own, standardizes with
numpy, looks categories up with pyarrow, shuffles within some batches and slices tensors. Each is a process of its own, after one
that made the lake; DuckDB has 512 MB. Seconds are the CPU's of an epoch, the better of two; the stream's memory is what
the process had at most in its epochs above what it had before them. Other numbers of rows are its arguments.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from fti_assets.core.manifest import Column
from fti_assets.core.names import DATASETS, WHOLE, TableName
from fti_assets.core.sql import quote
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.kinds.categories import Embedding, FittedEmbedding
from fti_assets.training.encoders.kinds.scales import FittedStandardize
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.parts.split_rows import train_rows

GOAL, FLAT = 1.2, 1.3
ROWS = (1_000_000, 10_000_000)
MEMORY = "512MB"
BATCH, BLOCK, BLOCKS = 4_096, 16_384, 16
NUMBERS, TEXTS = [f"f{at}" for at in range(12)], ["shop", "kind"]
FEATURES = [*(Column(name, "number") for name in NUMBERS), *(Column(name, "text") for name in TEXTS)]
TABLE = TableName(DATASETS, "visits_v1")


def make(folder: Path, rows: int) -> None:
    numbers = ", ".join(f"(hash(i, {at}) % 1000)::DOUBLE / 500 - 1 AS {name}" for at, name in enumerate(NUMBERS))
    texts = "'shop' || (hash(i, 90) % 500) AS shop, 'kind' || (hash(i, 91) % 20) AS kind"
    with OfflineStore(folder / "lake").connect() as lake:
        lake.connection.execute(
            f"CREATE TEMP TABLE staged AS SELECT i AS id, {numbers}, {texts}, (hash(i, 92) % 2)::BIGINT AS y, 'train' AS split, "
            f"'{WHOLE}' AS _partition FROM range({rows}) r(i)"
        )
        lake.replace(TABLE, "staged", [WHOLE], asset="visits_v1")


def peak_mb() -> float:
    return (
        float(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1])
        / 1024
    )


def best_epoch(epoch: Any) -> float:
    """The seconds of the better of two passes."""
    seconds = []
    for _ in range(2):
        start, total = time.process_time(), 0
        for _x, y in epoch():
            total += len(y)
        seconds.append(time.process_time() - start)
    return min(seconds)


def ours(folder: Path) -> dict[str, float]:
    before = peak_mb()
    start = time.process_time()
    with OfflineStore(folder / "lake").connect() as lake:
        view = SimpleNamespace(features=FEATURES, order=("id",))
        dataset = SimpleNamespace(view=view, label=Column("y", "integer"))
        model = SimpleNamespace(dataset=SimpleNamespace(table=TABLE))
        rows = train_rows(lake, cast(Any, model), WHOLE, cast(Any, dataset), lake.snapshot(), folder)
    written = peak_mb()
    encoders = fit_encoders(FEATURES, {name: Embedding() for name in TEXTS}, rows.stored.columns)
    none = {column.name: np.empty(0, object if column.type == "text" else float) for column in FEATURES}
    nothing = np.empty(0)
    data = TrainingData(
        FEATURES,
        encoders,
        {"train": rows.stored, "validation": none, "test": none},
        {"train": rows.labels, "validation": nothing, "test": nothing},
        task="binary",
    )
    ready, fitted = time.process_time() - start, peak_mb()
    stream = data.train.stream(BATCH, seed=0, shuffle_blocks=BLOCKS).tensors()
    # From here on the most is counted again, so that it is that of the stream alone.
    Path("/proc/self/clear_refs").write_text("5")
    held = peak_mb()
    seconds = best_epoch(lambda: stream)
    return {
        "seconds": seconds, "ready": ready, "write_mb": written - before, "fit_mb": fitted - before, "held_mb": held - before,
        "stream_mb": peak_mb() - held,
    }  # fmt: skip


def by_hand(folder: Path) -> dict[str, float]:
    path = folder / "by_hand.arrow"
    columns = ", ".join(map(quote, [*NUMBERS, *TEXTS, "y"]))
    with OfflineStore(folder / "lake").connect() as lake:
        reader = lake.connection.sql(f"SELECT {columns} FROM {TABLE.sql} ORDER BY id").to_arrow_reader(BLOCK)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
    encoders = json.loads((folder / "encoders.json").read_text())
    means, deviations = (np.array(encoders[name], np.float32) for name in ("means", "deviations"))
    categories = {name: pa.array(encoders[name]) for name in TEXTS}
    rng = np.random.default_rng(0)

    def epoch() -> Any:
        rest: tuple[np.ndarray, ...] = ()
        with pa.OSFile(str(path)) as file:
            reader = pa.ipc.open_file(file)
            order = rng.permutation(reader.num_record_batches)
            for at in range(0, len(order), BLOCKS):
                table = pa.Table.from_batches([reader.get_batch(int(one)) for one in order[at : at + BLOCKS]])
                dense = np.empty((table.num_rows, len(NUMBERS)), np.float32)
                for place, name in enumerate(NUMBERS):
                    dense[:, place] = table[name].to_numpy()
                dense = (dense - means) / deviations
                dense[~np.isfinite(dense)] = 0
                codes = [
                    pc.index_in(table[name], categories[name]).to_numpy().astype(np.int64)[:, None] + 1
                    for name in TEXTS
                ]
                shuffled = rng.permutation(table.num_rows)
                arrays = [one[shuffled] for one in (dense, *codes, table["y"].to_numpy().astype(np.float32))]
                if rest:
                    arrays = [np.concatenate(pair) for pair in zip(rest, arrays, strict=True)]
                whole = len(arrays[0]) - len(arrays[0]) % BATCH
                for start in range(0, whole, BATCH):
                    x, *others = (torch.from_numpy(one[start : start + BATCH]) for one in arrays)
                    yield {"dense": x, "shop": others[0], "kind": others[1]}, others[2]
                rest = tuple(one[whole:].copy() for one in arrays)
            if len(rest[0]):
                x, *others = map(torch.from_numpy, rest)
                yield {"dense": x, "shop": others[0], "kind": others[1]}, others[2]

    return {"seconds": best_epoch(epoch)}


def encoders_of(folder: Path) -> None:
    """What the loop by hand encodes with, learned from the first rows: what is learned does not change what it costs."""
    with OfflineStore(folder / "lake").connect() as lake:
        few = lake.connection.sql(f"FROM {TABLE.sql} LIMIT 100000").fetchnumpy()
    columns = {name: np.asarray(few[name], dtype=float) for name in NUMBERS} | {
        name: np.asarray(few[name], dtype=object) for name in TEXTS
    }
    fitted = fit_encoders(FEATURES, {name: Embedding() for name in TEXTS}, columns)
    scales = [cast(FittedStandardize, fitted[name]) for name in NUMBERS]
    words = {name: list(cast(FittedEmbedding, fitted[name]).categories) for name in TEXTS}
    content = {"means": [one.mean for one in scales], "deviations": [one.std for one in scales], **words}
    (folder / "encoders.json").write_text(json.dumps(content))


def measured(rows: int) -> dict[str, dict[str, float]]:
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "FTI_THREADS": "1", "FTI_MEMORY": MEMORY}
        for what in ("make", "ours", "by_hand"):
            command = [sys.executable, "-m", "benchmarks.stream", f"--{what}", folder, str(rows)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
            results[what] = json.loads(output)
    return results


def main() -> None:
    results = {}
    for rows in [int(argument) for argument in sys.argv[1:]] or list(ROWS):
        results[rows] = measured(rows)
        mine, hand = results[rows]["ours"], results[rows]["by_hand"]
        print(
            f"{rows:12,} rows: stream {rows / mine['seconds']:12,.0f} rows/s, by hand {rows / hand['seconds']:12,.0f} rows/s; stream "
            f"{mine['stream_mb']:.0f} MB more at most, held before {mine['held_mb']:.0f} MB (labels among them), the most while the "
            f"file was written {mine['write_mb']:.0f} MB, while encoders were fitted {mine['fit_mb']:.0f} MB; ready in "
            f"{mine['ready']:.1f} s",
            flush=True,
        )
    most, least = max(results), min(results)
    ratio = results[most]["ours"]["seconds"] / results[most]["by_hand"]["seconds"]
    growth = results[most]["ours"]["stream_mb"] / max(results[least]["ours"]["stream_mb"], 1.0)
    print(
        json.dumps(
            {
                "benchmark": "stream",
                "ratio": round(ratio, 2),
                "goal": GOAL,
                "reached": ratio <= GOAL and growth <= FLAT,
                "stream_mb": {rows: round(of_rows["ours"]["stream_mb"]) for rows, of_rows in results.items()},
                "fit_mb": {rows: round(of_rows["ours"]["fit_mb"]) for rows, of_rows in results.items()},
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2]), int(sys.argv[3]))
        encoders_of(Path(sys.argv[2]))
        print("{}")
    elif sys.argv[1:2] == ["--ours"]:
        print(json.dumps(ours(Path(sys.argv[2]))))
    elif sys.argv[1:2] == ["--by_hand"]:
        print(json.dumps(by_hand(Path(sys.argv[2]))))
    else:
        main()
