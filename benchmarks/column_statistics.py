"""What the statistics of a run cost, in CPU time, beside staging and storing the same rows.

1,000,000 rows x 20 columns in 10 partitions, then 50 rows x 2,000 columns; medians of several runs. The goal is at most a third of
what the run costs anyway; where rows are few, and each column a plan of its own, at most half.

    python -m benchmarks.column_statistics
"""

import argparse
import json
import statistics as of
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from fti_assets.core.names import TableName
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import stage
from fti_assets.features.rows.statistics import column_statistics, partition_statistics
from fti_assets.stores.lake.store import OfflineStore

START, DAYS = datetime(2013, 1, 1), 10


def rows_sql(rows: int) -> str:
    numbers = ", ".join(f"CASE WHEN i % 13 <> {n} THEN random() * {n + 1} END AS x{n}" for n in range(12))
    whole = ", ".join(f"(i * 7919) % {10 ** (n + 1)} AS n{n}" for n in range(4))
    text = "'c' || (i % 500) AS s0, 'u' || i AS s1"
    time_of = f"TIMESTAMP '{START}' + to_microseconds(i * {DAYS * 86_400_000_000 // rows}) AS t"
    return f"SELECT i AS k, {time_of}, {numbers}, {whole}, {text} FROM range({rows}) r(i)"


def wide_sql(columns: int) -> str:
    numbers = ", ".join(
        f"random() * {n + 1} AS x{n}" if n % 2 else f"(i * {n + 7}) % 40 AS x{n}" for n in range(columns)
    )
    return f"SELECT i AS k, TIMESTAMP '{START}' + to_hours(i) AS t, {numbers} FROM range(50) r(i)"


by_partition = partial(partition_statistics, event_time="t")


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    ratio = measured(f"{options.rows} rows x 20 columns", rows_sql(options.rows), options.runs)
    wide = measured(f"50 rows x {options.columns} columns", wide_sql(options.columns), options.runs)
    result = {"ratio": round(ratio, 3), "goal": 0.34, "ratio_of_wide": round(wide, 3), "goal_of_wide": 0.5}
    print(json.dumps({"benchmark": "column_statistics", **result}))


def measured(what: str, sql: str, runs: int) -> float:
    """What the statistics cost beside staging and storing the rows of a query."""
    windows = [Partition(str(day), START + timedelta(days=day), START + timedelta(days=day + 1)) for day in range(DAYS)]
    layout = Layout("benchmark", ("k", "t"), ("k", "t"), "t")
    columns, partitions, storing = [], [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder, OfflineStore(Path(folder) / "lake").connect() as lake:
            connection = lake.connection
            connection.execute(f"CREATE TEMP TABLE made AS {sql}")
            keys = [window.key for window in windows]
            made = connection.table("made")
            seconds, staged = cpu(lambda: stage(connection, made, layout, windows))  # noqa: B023
            stored, _ = cpu(lambda: lake.replace(TableName("features", "b"), staged.table, keys, asset="b"))  # noqa: B023
            storing.append(seconds + stored)
            rows = connection.table(quote(staged.table))
            displayed = rows.project("* EXCLUDE (_partition)")
            columns.append(cpu(lambda: column_statistics(connection, displayed))[0])  # noqa: B023
            names = [name for name in displayed.columns if name not in ("k", "t")]
            partitions.append(cpu(lambda: by_partition(connection, rows, names, now=START))[0])  # noqa: B023
    floor, of_columns, of_partitions = of.median(storing), of.median(columns), of.median(partitions)
    print(what)
    print(f"staging and storing      {floor:.2f} CPU s")
    print(f"statistics of columns    {of_columns:.2f} CPU s")
    print(f"null rates by partition  {of_partitions:.2f} CPU s")
    return (of_columns + of_partitions) / floor


if __name__ == "__main__":
    main()
