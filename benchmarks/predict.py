"""Online predictions of a 2x64 net: CPU time over hand-written reads of the groups and a bare run on an input that is there already.

    python -m benchmarks.predict

Three groups and 20 features: one key; 100 keys as rows and in columns, over one statement a group for all keys. And as many groups and
numbers as the flagship has, one key. To make the requests is in neither. Each comes twice: with keys that were not asked for before, all of
whose rows are read as by hand, and with keys of which the predictor has kept the rows, of which it asks the store whether they still hold.
"""

import hashlib
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from fti_assets.core.manifest import (
    NUMBERS,
    Column,
    DatasetRecord,
    GraphInput,
    GraphOutput,
    JoinedColumn,
    JoinedGroup,
    JoinedKey,
    ModelManifest,
    ViewRecord,
)
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import SqliteOnlineStore

GOAL, GOAL_OF_MANY = 2, 1.4
ROWS = 100
KEYS = 20_000
KEPT = 500
BLOCKS = 400
CALLS = 20
HOUR_US = 3_600_000_000
AT = "2013-06-01T12:00:00"
AT_US = 1_370_088_000_000_000
WIDTHS = {"weather": 6, "carrier_delays": 6, "airport_delays": 6}
WIDE = {"weather": 6, "carrier": 17, "origin": 17, "dest": 17, "route": 17, "hour": 17, "legs": 2, "planes": 2}


def features_of(widths: dict[str, int]) -> list[str]:
    """The features: two of the request, and those of the groups."""
    return ["distance", "seats"] + [f"{group}_{i}" for group, width in widths.items() for i in range(width)]


FEATURES = features_of(WIDTHS)


def graph(features: int, *, encoder: bool) -> bytes:
    """A net of 2x64 on one dense input, with a standardizing encoder in front of it or bare."""
    random = np.random.default_rng(7)
    nodes, constants = [], []

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    dense = "numbers"
    if encoder:
        nodes += [
            helper.make_node("IsNaN", [dense], ["absent"]),
            helper.make_node("Where", ["absent", constant("mean", random.normal(size=features)), dense], ["filled"]),
            helper.make_node("Sub", ["filled", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", constant("scale", random.uniform(1, 2, features))], ["dense"]),
        ]
        dense = "dense"
    for layer, (width, units) in enumerate([(features, 64), (64, 64), (64, 1)]):
        weights = constant(f"w{layer}", random.normal(size=(width, units)) / 8)
        bias = constant(f"b{layer}", random.normal(size=units))
        nodes.append(helper.make_node("Gemm", [dense, weights, bias], [f"z{layer}"]))
        if units > 1:
            nodes.append(helper.make_node("Relu", [f"z{layer}"], [f"a{layer}"]))
            dense = f"a{layer}"
    nodes.append(helper.make_node("Sigmoid", ["z2"], ["p"]))
    constants.append(numpy_helper.from_array(np.array([-1]), "flat"))
    nodes.append(helper.make_node("Reshape", ["p", "flat"], ["probability"]))
    made = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["n", features])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n"])],
        constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def build_ours(root: Path, widths: dict[str, int] = WIDTHS) -> Predictor:
    """Fill both stores and load a predictor from them."""
    names = features_of(widths)
    random = np.random.default_rng(11)
    online = SqliteOnlineStore(root / "online")
    joins = []
    for group, width in widths.items():
        columns = tuple(Column(f"c{i}", "number") for i in range(width))
        values = random.normal(size=(KEYS, width)).tolist()
        rows = (((f"K{key}",), [(AT_US - HOUR_US, AT_US - 2 * HOUR_US, values[key])]) for key in range(KEYS))
        online.load(
            f"{group}_v1",
            key_types=("text",),
            columns=columns,
            rows=rows,
            answers_from=None,
            snapshot=1,
            event_time=True,
        )
        brought = tuple(JoinedColumn(f"{group}_{i}", f"c{i}", "number") for i in range(width))
        key = JoinedKey(f"{group}_key", "key", "text")
        joins.append(JoinedGroup(group, 1, (key,), brought, event_time="t", ttl_us=6 * HOUR_US))
    request = [Column("flight_id", "integer"), Column("distance", "number"), Column("seats", "number")]
    request += [Column(f"{group}_key", "text") for group in widths]
    features = tuple(Column(name, "number") for name in names)
    view = ViewRecord(
        "delay", 1, "flights", 1, ("flight_id",), "predict_at", tuple(request), tuple(joins), (), features
    )
    merged = graph(len(names), encoder=True)
    manifest = ModelManifest(
        model="delay_net",
        version=1,
        build="20130601T000000Z-00000000",
        task="binary",
        status="accepted",
        cutoff="2013-06-01T00:00:00",
        created_at="2013-06-01T01:00:00",
        view=view,
        dataset=DatasetRecord("delays", 1, "2013-06-01", "", {}, point_in_time=True),
        inputs=(GraphInput(NUMBERS, "float32", tuple(names)),),
        outputs=(GraphOutput("probability", "tensor(float)"),),
        encoders={},
        metrics={},
        baseline={},
        gates=(),
        snapshot=1,
        code_version="",
        packages={},
        sha256=hashlib.sha256(merged).hexdigest(),
    )
    models = ModelStore(root / "models")
    models.publish(manifest, merged, "")
    models.promote("delay_net", manifest.reference, expected=None, reason="benchmark")
    return Predictor.load("delay_net", models=root / "models", online=root / "online")


def build_floor(root: Path, widths: dict[str, int] = WIDTHS, rows: int = 1) -> Callable[[list[str]], object]:
    """Reads of some keys by primary key, each of its own file, and a run of the core on an input that is there already."""
    random = np.random.default_rng(13)
    reads = []
    for group, width in widths.items():
        path = root / f"{group}.sqlite"
        is_new = not path.exists()
        connection = sqlite3.connect(path, isolation_level=None)
        if is_new:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, blob BLOB) WITHOUT ROWID")
            connection.execute("BEGIN")
            values = ((f"K{key}", random.normal(size=width).astype(np.float32).tobytes()) for key in range(KEYS))
            connection.executemany("INSERT INTO rows VALUES (?, ?)", values)
            connection.execute("COMMIT")
        reads.append(connection.cursor())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    width = len(features_of(widths))
    run = onnxruntime.InferenceSession(graph(width, encoder=False), options).run
    dense = np.zeros((rows, width), dtype=np.float32)
    several = f"SELECT key, blob FROM rows WHERE key IN ({', '.join('?' * rows)})"

    def floor(keys: list[str]) -> object:
        if rows == 1:
            for cursor in reads:
                cursor.execute("SELECT blob FROM rows WHERE key = ?", keys).fetchone()
        else:
            for cursor in reads:
                cursor.execute(several, keys).fetchall()
        return run(None, {"numbers": dense})

    return floor


def key_of(i: int, keys: int = KEYS) -> str:
    """The key of the i-th request, of so many keys."""
    return f"K{i * 7919 % keys}"


def keys_of(i: int, rows: int, keys: int = KEYS) -> list[str]:
    """The keys of the rows of the i-th request."""
    return [key_of(i * rows + row, keys) for row in range(rows)]


def block_us(call: Callable[[Any], object], inputs: list[Any]) -> float:
    """CPU microseconds a call, over one block of calls, whose inputs are there already."""
    start = time.process_time_ns()
    for one in inputs:
        call(one)
    return (time.process_time_ns() - start) / len(inputs) / 1000


def compare(
    what: str,
    goal: float | None,
    ours: Callable[[Any], object],
    make: Callable[[int], Any],
    floor: Callable[[list[str]], object],
    calls: int,
    rows: int = 1,
    keys: int = KEYS,
) -> None:
    """Measure both in turn, and print the medians."""
    times: tuple[list[float], list[float]] = ([], [])
    for block in range(BLOCKS):
        numbers = range(block * calls, (block + 1) * calls)
        times[0].append(block_us(ours, [make(i) for i in numbers]))
        times[1].append(block_us(floor, [keys_of(i, rows, keys) for i in numbers]))
    ours_us, floor_us = (statistics.median(one[BLOCKS // 10 :]) for one in times)
    result = {"benchmark": "predict", "what": what, "ratio": round(ours_us / floor_us, 2), "goal": goal}
    print(json.dumps(result | {"ours_us": round(ours_us, 1), "floor_us": round(floor_us, 1)}))


def compare_all(root: Path, what: str, keys: int) -> None:
    """Measure a predictor that is loaded just now, with so many keys in turn."""
    predictor, wider = (
        Predictor.load("delay_net", models=root / name / "models", online=root / name / "online")
        for name in ("narrow", "wide")
    )

    def request(i: int, widths: dict[str, int] = WIDTHS) -> dict[str, object]:
        of_groups = dict.fromkeys([f"{group}_key" for group in widths], key_of(i, keys))
        return {"flight_id": i, "distance": 733.0, "seats": 150.0, **of_groups}

    def requests(i: int) -> list[dict[str, object]]:
        return [request(i * ROWS + row) for row in range(ROWS)]

    def columns(i: int) -> dict[str, list[Any]]:
        of_groups = {f"{group}_key": keys_of(i, ROWS, keys) for group in WIDTHS}
        return {"flight_id": [*range(ROWS)], "distance": [733.0] * ROWS, "seats": [150.0] * ROWS, **of_groups}

    def predict(request: Any) -> object:
        return predictor.predict(request, at=AT)

    assert not predictor.predict(request(1), at=AT).missing
    compare(f"1 key, {what}", GOAL, predict, request, build_floor(root / "narrow"), CALLS, keys=keys)
    many = build_floor(root / "narrow", rows=ROWS)
    compare(f"100 keys, rows, {what}", GOAL_OF_MANY, predict, requests, many, 1, ROWS, keys)
    of_columns = partial(predictor.predict_columns, at=AT)
    compare(f"100 keys, columns, {what}", GOAL_OF_MANY, of_columns, columns, many, 1, ROWS, keys)
    of_wide = partial(wider.predict, at=AT)
    floor = build_floor(root / "wide", WIDE)
    compare(
        f"97 numbers of 8 groups, 1 key, {what}", None, of_wide, lambda i: request(i, WIDE), floor, CALLS, keys=keys
    )


def main() -> None:
    """Measure, alternating, and print the medians."""
    os.environ.pop("FTI_NOW", None)
    with tempfile.TemporaryDirectory() as folder:
        for name, widths in (("narrow", WIDTHS), ("wide", WIDE)):
            Path(folder, name).mkdir()
            build_ours(Path(folder, name), widths).close()
        os.environ["FTI_ROW_CACHE_MB"] = "0"
        compare_all(Path(folder), "new", KEYS)
        del os.environ["FTI_ROW_CACHE_MB"]
        compare_all(Path(folder), "kept", KEPT)


if __name__ == "__main__":
    main()
