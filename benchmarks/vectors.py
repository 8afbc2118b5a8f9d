"""Embeddings of 384 numbers from the online store, beside the same bytes read by hand: CPU medians, in turns.

    python -m benchmarks.vectors

By hand is a SELECT of a blob by its key in an SQLite file in WAL mode, and ``numpy.frombuffer``: no checksum, no times, no schema. One
key, and 100 keys as the rows of a matrix.
"""

import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fti_assets.core.manifest import Column
from fti_assets.core.times import EPOCH
from fti_assets.core.types.vectors import matrix
from fti_assets.stores.online.store import SqliteOnlineStore

KEYS, DIM, CALLS, TURNS = 50_000, 384, 200, 31
GOAL = 2.0
AT_US = 1_370_088_000_000_000


def by_hand(path: Path, vectors: np.ndarray) -> sqlite3.Connection:
    """The floor's file, open."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, content BLOB)")
    connection.execute("BEGIN")
    rows = ((f"k{number:06}", vector.tobytes()) for number, vector in enumerate(vectors))
    connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)
    connection.execute("COMMIT")
    return connection


def in_turns(calls: Sequence[Callable[[], object]], count: int) -> list[float]:
    """The median CPU time of each, in microseconds a call of ``count``."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(TURNS):
        for call, of_call in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            of_call.append((time.process_time() - start) / count * 1e6)
    return [statistics.median(one) for one in times]


def main() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(KEYS, DIM)).astype("<f4")
    keys = [f"k{number:06}" for number in rng.integers(0, KEYS, CALLS).tolist()]
    hundreds = [
        [f"k{number:06}" for number in rng.choice(KEYS, 100, replace=False).tolist()] for _ in range(CALLS // 10)
    ]
    with tempfile.TemporaryDirectory() as folder:
        store, floor = SqliteOnlineStore(Path(folder)), by_hand(Path(folder) / "by_hand.sqlite", vectors)
        store.load(
            "texts_v1",
            key_types=("text",),
            columns=(Column("embedding", "vector"),),
            rows=(((f"k{number:06}",), [(number, number, (vector,))]) for number, vector in enumerate(vectors)),
            answers_from=EPOCH,
            snapshot=1,
            event_time=True,
        )
        reader = store.readers([("texts_v1", ["embedding"])], [[0]])
        one = "SELECT content FROM rows WHERE key = ?"
        many = f"SELECT key, content FROM rows WHERE key IN ({', '.join('?' * 100)})"

        def ours_one() -> list[np.ndarray]:
            return [reader.find([key], AT_US)[0][2][0] for key in keys]  # type: ignore[index]

        def floor_one() -> list[np.ndarray]:
            return [np.frombuffer(floor.execute(one, (key,)).fetchone()[0], "<f4") for key in keys]

        def ours_many() -> list[np.ndarray]:
            results = [reader.find_many([some], AT_US)[0].winners for some in hundreds]
            return [matrix(winners.values(0), DIM, what="vectors") for winners in results]  # type: ignore[arg-type]

        def floor_many() -> list[np.ndarray]:
            results = [dict(floor.execute(many, some).fetchall()) for some in hundreds]
            return [
                np.frombuffer(b"".join([rows[key] for key in some]), "<f4").reshape(-1, DIM)
                for some, rows in zip(hundreds, results, strict=True)
            ]

        for ours, hand in ((ours_one, floor_one), (ours_many, floor_many)):
            assert all(np.array_equal(own, other) for own, other in zip(ours(), hand(), strict=True))
        own, hand_us = in_turns([ours_one, floor_one], len(keys))
        own_many, hand_many = in_turns([ours_many, floor_many], len(hundreds))
        floor.close()
    print(f"one key: {own:.1f} us, by hand {hand_us:.1f} us: {own / hand_us:.2f}x")
    print(f"100 keys: {own_many:.0f} us, by hand {hand_many:.0f} us: {own_many / hand_many:.2f}x")
    ratio = max(own / hand_us, own_many / hand_many)
    print(json.dumps({"benchmark": "vectors", "ratio": round(ratio, 2), "goal": GOAL}))


if __name__ == "__main__":
    main()
