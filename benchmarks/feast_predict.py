"""A prediction beside what people put together today: Feast's online store and a bare onnxruntime, or MLflow's pyfunc.

``make feast && python -m benchmarks.feast_predict`` looks up three groups of 5,000 keys by one key, adds two numbers of the request and
runs the net of ``benchmarks/predict.py``: one key and 100 keys, on SQLite and, where a server answers on 127.0.0.1:6379, on Redis, there
also with Feast's precomputed feature service. The graph, the rows and the requests are the same, and so must the answers be. Feast runs
in an environment of its own; the CPU time of the asking process is counted, the imports and the loading are not.
"""

import json
import os
import secrets
import statistics
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import predict as bench
from fti_assets.core.manifest import Column
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.online.redis.store import RedisOnlineStore
from fti_assets.stores.online.store import OnlineStore, SqliteOnlineStore

FEAST = Path(os.environ.get("FTI_FEAST_PYTHON", ".venv-feast/bin/python"))
PEER = Path(__file__).parent / "peers" / "feast_predict.py"
REDIS = "127.0.0.1:6379"
KEYS = 5_000
CALLS = {1: 150, 100: 12}
OURS_TIMES = 10
GOAL, GOAL_OF_PYFUNC = 7.0, 35.0
AT_US = bench.AT_US


def rows_of(group: str) -> np.ndarray:
    """The numbers of a group, ``[keys, width]``."""
    seed = list(bench.WIDTHS).index(group)
    return np.random.default_rng(seed).normal(size=(KEYS, bench.WIDTHS[group]))


def requests_of(count: int) -> list[list[dict[str, object]]]:
    """The requests of each call."""
    return [
        [
            {"key": f"K{(call * count + row) * 7919 % KEYS}", "distance": 733.0, "seats": 150.0 + row}
            for row in range(count)
        ]
        for call in range(CALLS[count])
    ]


def write_files(folder: Path) -> None:
    """What Feast is given."""
    for group, width in bench.WIDTHS.items():
        frame = pd.DataFrame(rows_of(group), columns=[f"c{i}" for i in range(width)])
        frame.insert(0, "key", [f"K{key}" for key in range(KEYS)])
        frame["seen_at"] = pd.Timestamp(datetime.fromisoformat(bench.AT), tz="UTC") - pd.Timedelta(hours=1)
        frame.to_parquet(folder / f"{group}.parquet")
    (folder / "groups.json").write_text(json.dumps(list(bench.WIDTHS)))
    (folder / "model.onnx").write_bytes(bench.graph(len(bench.FEATURES), encoder=True))
    (folder / "asked.json").write_text(json.dumps({count: requests_of(count) for count in CALLS}))


def load(store: OnlineStore) -> None:
    """The same rows for us."""
    for group in bench.WIDTHS:
        values = rows_of(group).tolist()
        store.load(
            f"{group}_v1",
            key_types=("text",),
            columns=tuple(Column(f"c{i}", "number") for i in range(bench.WIDTHS[group])),
            rows=(((f"K{key}",), [(AT_US, AT_US - bench.HOUR_US, values[key])]) for key in range(KEYS)),
            answers_from=None,
            snapshot=1,
            event_time=True,
        )


def ours(predictor: Predictor) -> dict[int, tuple[float, list[float]]]:
    """By the number of keys the median CPU microseconds of a call, and the answers of the first."""
    results = {}
    for count in CALLS:
        calls = [
            [
                {"flight_id": row, "distance": one["distance"], "seats": one["seats"]}
                | dict.fromkeys([f"{group}_key" for group in bench.WIDTHS], one["key"])
                for row, one in enumerate(requests)
            ]
            for requests in requests_of(count)
        ]

        def call(requests: list[dict[str, object]], is_one: bool = count == 1) -> list[float]:
            if is_one:
                return [predictor.predict(requests[0], at=bench.AT).value]  # type: ignore[list-item]
            return [one.value for one in predictor.predict(requests, at=bench.AT)]  # type: ignore[misc]

        first = call(calls[0])
        times = []
        for requests in calls * OURS_TIMES:
            start = time.process_time_ns()
            call(requests)
            times.append((time.process_time_ns() - start) / 1000)
        results[count] = statistics.median(times), first
    return results


def feast(folder: Path, location: str) -> dict[str, dict[str, Any]]:
    """What the peer measured."""
    done = subprocess.run([str(FEAST), str(PEER), str(folder), location], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"Feast failed: {done.stderr[-2000:]}")
    results: dict[str, dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return results


def redis_answers() -> bool:
    """Whether there is a Redis server."""
    try:
        import redis

        return bool(redis.Redis.from_url(f"redis://{REDIS}/0", socket_connect_timeout=1).ping())
    except Exception:
        return False


def main() -> None:
    """Measure one after the other, and print the medians."""
    os.environ.pop("FTI_NOW", None)
    if not FEAST.exists():
        raise SystemExit(f"there is no Feast at {FEAST}: make feast")
    least: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="feast_predict_") as name:
        root = Path(name)
        bench.build_ours(root).close()
        write_files(root)
        stores: list[tuple[str, OnlineStore, str]] = [("sqlite", SqliteOnlineStore(root / "few"), "sqlite")]
        if redis_answers():
            own = RedisOnlineStore(f"redis://{REDIS}/0?prefix=fti-bench-{secrets.token_hex(4)}")
            stores.append(("redis", own, f"{REDIS},db=0"))
        for kind, store, location in stores:
            try:
                load(store)
                with Predictor.load("delay_net", models=root / "models", online=store.location) as predictor:
                    own_times = ours(predictor)
            finally:
                for group in bench.WIDTHS:
                    store.drop(f"{group}_v1")
            for way, result in feast(root, location).items():
                peer, count = way.rsplit(" ", 1)
                own_us, own_answers = own_times[int(count)]
                assert np.allclose(own_answers, result["answers"], rtol=1e-5), f"{kind}: the answers of {peer} differ"
                ratio = float(result["us"]) / own_us
                line = f"{kind}, {count} keys: {peer} {result['us']:,.0f} us, ours {own_us:,.0f} us: {ratio:.1f}x"
                print(line, flush=True)
                runtime = peer.rpartition("+")[2]
                least[runtime] = min(ratio, least.get(runtime, ratio))
    result = {"benchmark": "feast_predict", "ratio": round(least["onnxruntime"], 1), "goal": GOAL}
    print(json.dumps(result | {"pyfunc_ratio": round(least["pyfunc"], 1), "pyfunc_goal": GOAL_OF_PYFUNC}))


if __name__ == "__main__":
    main()
