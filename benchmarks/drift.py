"""What the drift of a day costs, in CPU time: 1,000,000 rows x 25 columns against the profile of a dataset, and all figures of them.

Beside it is the query that somebody would write by hand for the same bins and categories, with the same distances in numpy, in turns;
the goal is at most 1.2 times that. With ``make peers`` before, Evidently's preset is measured on the same rows in its own environment: it
is given the train rows, of which we make the profile, too.

    python -m benchmarks.drift
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from fti_assets.core.manifest import Column
from fti_assets.core.manifest.profiles import Profile
from fti_assets.monitoring.drift.counts import CountedColumn, count_columns
from fti_assets.monitoring.drift.drift import DEFAULT_RULES, TRAINING
from fti_assets.monitoring.drift.judging import Comparison, measured
from fti_assets.monitoring.measurement import Measurement
from fti_assets.training.datasets.profiling import profile_of

ROOT = Path(__file__).parent
PEER = ROOT.parent / ".venv-peers" / "evidently" / "bin" / "python"
NUMBERS, WHOLE, TEXTS = 16, 4, 5
DAY = datetime(2013, 7, 1)


def rows_sql(rows: int, shift: float) -> str:
    numbers = [
        f"CASE WHEN hash(i, {n}) % 31 <> 0 THEN sqrt(-2 * ln(random())) * cos(6.283 * random()) + {shift * n} END AS x{n}"
        for n in range(NUMBERS)
    ]
    whole = [f"(hash(i, {n}) % {10 ** (n + 1)})::BIGINT AS n{n}" for n in range(WHOLE)]
    texts = [f"'c' || (sqrt(random()) * {4 ** (n + 1)})::INT AS t{n}" for n in range(TEXTS)]
    return f"SELECT 'day' AS part, 'build' AS build, {', '.join([*numbers, *whole, *texts])} FROM range({rows}) r(i)"


def columns() -> list[Column]:
    return [
        *(Column(f"x{n}", "number") for n in range(NUMBERS)),
        *(Column(f"n{n}", "integer") for n in range(WHOLE)),
        *(Column(f"t{n}", "text") for n in range(TEXTS)),
    ]


def ours(connection: duckdb.DuckDBPyConnection, profile: Profile) -> list[Measurement]:
    counted = [CountedColumn(one.name, one.type, one.edges, tuple(one.categories)) for one in profile.features]
    (counts,) = count_columns(connection, "day", counted, ["part", "build"]).values()
    return [
        figure
        for one in profile.features
        for figure in measured(
            Comparison(DAY, "feature", one.name, counts[one.name], TRAINING, one, "build"), DEFAULT_RULES
        )
    ]


def by_hand(connection: duckdb.DuckDBPyConnection, profile: Profile) -> dict[str, list[float]]:
    """The same by one query of numbers, one of each text, and the textbook's formulas."""
    numbers = [one for one in profile.features if one.edges]
    texts = [one for one in profile.features if not one.edges]
    items = ", ".join(
        f"count({one.name}), histogram({one.name}::DOUBLE, '{list(one.edges)}'::DOUBLE[])" for one in numbers
    )
    [(total, *counts)] = connection.execute(f"SELECT count(*), {items} FROM day").fetchall()
    results = {}
    for place, one in enumerate(numbers):
        present, bins = counts[2 * place], counts[2 * place + 1]
        q = np.array([bins.get(edge, 0) for edge in one.edges] + [present - sum(bins.get(e, 0) for e in one.edges)])
        p, q = np.array(one.counts) / sum(one.counts), q / q.sum()
        distances = np.abs(np.cumsum(p) - np.cumsum(q))
        moved = float(distances[:-1] @ np.diff([*one.edges, one.edges[-1]]))
        results[one.name] = [1 - present / total, *_of_shares(p, q), float(distances.max()), moved]
    query = " UNION ALL ".join(f"SELECT {n}, {one.name}, count(*) FROM day GROUP BY 2" for n, one in enumerate(texts))
    rows_read: list[dict[str, int]] = [{} for _ in texts]
    for place, value, count in connection.execute(query).fetchall():
        rows_read[place][value] = count
    for one, values in zip(texts, rows_read, strict=True):
        nulls = values.pop(None, 0)  # type: ignore[call-overload]
        now = [values.get(name, 0) for name in one.categories]
        present = sum(values.values())
        p = np.array([*one.categories.values(), one.rest])
        q = np.array([*now, present - sum(now)])
        results[one.name] = [nulls / total, *_of_shares(p / p.sum(), q / q.sum()), 1 - sum(now) / present]
    return results


def _of_shares(p: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    middle = (p + q) / 2
    divergence = sum(float((s[s > 0] * np.log2(s[s > 0] / middle[s > 0])).sum()) for s in (p, q)) / 2
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    return float(((q - p) * np.log(q / p)).sum()), divergence**0.5


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--peer", type=Path, default=PEER, help="Evidently's python")
    options = parser.parse_args()
    with duckdb.connect() as connection:
        connection.execute("SELECT setseed(0.5)")
        for name, shift in (("learned", 0.0), ("day", 0.01)):
            connection.execute(f"CREATE TABLE {name} AS {rows_sql(options.rows, shift)}")
        profiling, profile = cpu(lambda: profile_of(connection, "learned", columns(), Column("n0", "integer"), "n0"))
        own, hand = [], []
        for _ in range(options.runs):
            seconds, figures = cpu(lambda: ours(connection, profile))
            own.append(seconds)
            seconds, textbook = cpu(lambda: by_hand(connection, profile))
            hand.append(seconds)
        for one in figures:
            if one.statistic == "psi":
                assert abs(one.value - textbook[one.column_name][1]) < 1e-9, (one, textbook[one.column_name])
        ratio = statistics.median(own) / statistics.median(hand)
        print(
            f"{options.rows} rows x {len(columns())} columns: ours {statistics.median(own):.3f} s, by hand {statistics.median(hand):.3f} s"
        )
        result: dict[str, Any] = {
            "benchmark": "drift",
            "ratio": round(ratio, 3),
            "goal": 1.2,
            "profile_s": round(profiling, 3),
        }
        if options.peer.exists():
            result |= beside_evidently(connection, options.peer, statistics.median(own), profiling)
    print(json.dumps(result))


def beside_evidently(
    connection: duckdb.DuckDBPyConnection, python: Path, own: float, profiling: float
) -> dict[str, Any]:
    names = ", ".join(one.name for one in columns())
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{name}.csv" for name in ("learned", "day")]
        for name, file in zip(("learned", "day"), files, strict=True):
            connection.execute(f"COPY (SELECT {names} FROM {name}) TO '{file}' (HEADER)")
        command = [str(python), str(ROOT / "peers" / "evidently_drift.py"), *files]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = json.loads(done.stdout.splitlines()[-1])["cpu_s"]
    print(
        f"Evidently {seconds:.2f} s; ours with the profile of the train rows {own + profiling:.3f} s, without {own:.3f} s"
    )
    return {
        "evidently_s": round(seconds, 2),
        "evidently_ratio": round(seconds / own, 1),
        "evidently_ratio_with_profile": round(seconds / (own + profiling), 1),
        "evidently_goal": 15,
    }


if __name__ == "__main__":
    main()
