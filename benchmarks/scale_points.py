"""The points of ``scale_model.py`` that are measured for it: commits, loads of the online stores and reads, each at several sizes.

``python -m benchmarks.scale_points`` commits rows of a key, a time and 20 numbers to a lake, loads them into SQLite and, where a server
answers, into Redis, and reads keys of three such groups from SQLite. Each quantity has sizes that the model's line is fitted to, and a
larger or an inner one that is held out. CPU seconds, medians; bytes on disk, or in Redis as it says by ``MEMORY USAGE``. It prints JSON for
``benchmarks/scale_constants.json``; the sizes are in millions of rows or keys, those of reads in keys.
"""

from __future__ import annotations

import json
import secrets
import statistics
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.online import AT, READ, REDIS, Reads, cpu_s, declared, fill, server
from fti_assets.core import clock
from fti_assets.features.online.load import load_online
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store

FITTED, HELD_OUT = (50_000, 200_000), 1_000_000
LOAD_FITTED, LOAD_HELD_OUT = (25_000, 100_000), 300_000
READ_FITTED, READ_HELD_OUT, READ_KEYS = (1, 100), 30, 20_000
RUNS = 3
Points = dict[str, list[list[float]]]


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def commits(root: Path) -> dict[str, Points]:
    """CPU seconds and bytes of commits, each into a lake of its own."""
    seconds, sizes = {}, {}
    for rows in (*FITTED, HELD_OUT):
        taken = []
        for run in range(RUNS):
            folder = root / f"{rows}_{run}"
            with OfflineStore(folder).connect() as lake:
                group = declared("rows")
                fill(lake, group, 10)  # makes the table
                _stage(lake, rows)
                replace = partial(lake.replace, group.table, "staged", ["more"], asset=group.table_name)
                taken.append(cpu_s(replace))
            sizes[rows] = bytes_in(folder / "data")
        seconds[rows] = statistics.median(taken)
    return {"commit_cpu_s": _split(seconds, FITTED), "lake_bytes": _split(sizes, FITTED)}


def _stage(lake: Lake, rows: int) -> None:
    numbers = ", ".join(f"random() AS f{i}" for i in range(20))
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE staged AS SELECT 'user_' || hash(i) AS \"user\", TIMESTAMP '2013-06-01' + "
        f"to_seconds((hash(i, 1) % 80000)::BIGINT) AS seen_at, {numbers}, 'more' AS _partition FROM range({rows}) r(i)"
    )


def loads(root: Path, location: str, kind: str, client: Any, prefix: str) -> dict[str, Points]:
    """CPU seconds of loading an online store, and what it takes there."""
    seconds, sizes = {}, {}
    with OfflineStore(root / "lake").connect() as lake:
        for keys in (*LOAD_FITTED, LOAD_HELD_OUT):
            store, group = online_store(location), declared(f"{kind}{keys}")
            fill(lake, group, keys)
            taken = []
            for run in range(RUNS):
                with clock.at(AT):
                    taken.append(cpu_s(partial(load_online, lake, store, group)))
                if client is None:
                    sizes[keys] = bytes_in(root / "online")
                else:
                    names = list(client.scan_iter(f"{prefix}:*", count=1000))
                    sizes[keys] = sum(client.memory_usage(name, samples=1000) for name in names)
                if run < RUNS - 1:
                    store.drop(group.table_name)
            store.drop(group.table_name)
            seconds[keys] = statistics.median(taken)
    return {
        f"{kind}_load_cpu_s": _split(seconds, LOAD_FITTED),
        f"{kind}_bytes": _split(sizes, LOAD_FITTED),
    }


def reads(root: Path) -> dict[str, Points]:
    """CPU seconds of reading some keys of three groups in SQLite."""
    with OfflineStore(root / "lake").connect() as lake:
        for name in READ:
            fill(lake, declared(name), READ_KEYS)
        of_store = Reads(READ, "sqlite", online_store(str(root / "online")), lake, root, None, "")
        taken = {count: of_store.p50_us(count)[0] / 1e6 for count in (*READ_FITTED, READ_HELD_OUT)}
    points = [[float(count), round(seconds, 7)] for count, seconds in taken.items()]
    return {"read_cpu_s": {"fitted": points[:2], "held_out": points[2:]}}


def _split(measured: dict[int, Any], fitted: tuple[int, ...]) -> Points:
    points = {size: [size / 1e6, round(float(value), 5)] for size, value in measured.items()}
    return {
        "fitted": [points[size] for size in fitted],
        "held_out": [point for size, point in points.items() if size not in fitted],
    }


def main() -> None:
    prefix, client = f"fti-scale-{secrets.token_hex(4)}", server()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measured = commits(root / "commits")
        measured |= loads(root / "sqlite", str(root / "sqlite" / "online"), "sqlite", None, "")
        measured |= reads(root / "sqlite")
        if client is not None:
            try:
                measured |= loads(root / "redis", f"{REDIS}?prefix={prefix}", "redis", client, prefix)
            finally:
                for name in list(client.scan_iter(f"{prefix}:*", count=1000)):
                    client.unlink(name)
                client.close()
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
