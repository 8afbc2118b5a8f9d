"""CPU time of windows at the time of each prediction, beside windows on a grid and the join to it, and beside a plain group's read.

``python benchmarks/request_windows.py`` joins four aggregates over three windows of a million payments of 2,000 cards in 60 days to
a million predictions at random instants: at each instant, and on a grid of hours that is made first and then joined. The values are
not the same: those of the grid are up to an hour old. Online it reads one key in SQLite, of windows and of a plain group of as many
columns, and puts micro-batches of 100 rows into the windows' blobs.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from fti_assets.core.manifest import Column, JoinedColumn, JoinedGroup, JoinedKey, RequestWindows, WindowLength
from fti_assets.core.times import duration, microseconds
from fti_assets.features.online.rows import online_schema
from fti_assets.features.online.tails import TailMerge, tails_of, with_sources
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.features.rows.table import Grid, Table
from fti_assets.features.windows import Aggregate, Count, Max, Mean, Sum, window_aggregate
from fti_assets.features.windows.records import record_of
from fti_assets.stores.online.store import SqliteOnlineStore

ROWS, CARDS, DAYS, RUNS, READS = 1_000_000, 2_000, 60, 3, 2_000
GOAL = 1.5
WINDOWS, EVERY = ("10min", "24h", "30d"), "1h"
AGGREGATES: dict[str, Aggregate] = {
    "spent": Sum("amount"),
    "paid": Count(),
    "mean": Mean("amount"),
    "most": Max("amount"),
}
START = np.datetime64("2025-01-01", "us")
END = datetime(2025, 3, 2)


def tables() -> tuple[pa.Table, pa.Table]:
    """The payments and the predictions."""
    rng = np.random.default_rng(0)

    def at() -> np.ndarray:
        return START + rng.integers(0, DAYS * 86_400 * 10**6, ROWS).astype("timedelta64[us]")

    cards = [f"c{number}" for number in range(CARDS)]
    paid_at = np.sort(at())
    payments = {
        "card": pa.array(cards).take(pa.array(rng.integers(0, CARDS, ROWS))),
        "paid_at": paid_at,
        "known_at": paid_at + np.timedelta64(50_000, "us"),
        "amount": np.round(rng.gamma(2, 20, ROWS), 2),
    }
    predictions = {"card": pa.array(cards).take(pa.array(rng.integers(0, CARDS, ROWS))), "at": at()}
    return pa.table(payments), pa.table(predictions)


def group(windows: bool) -> JoinedGroup:
    """The join of the windows at the time of the request, or on a grid."""
    lengths = tuple(WindowLength(text, microseconds(duration(text))) for text in WINDOWS)
    aggregates = tuple(record_of(name, aggregate) for name, aggregate in AGGREGATES.items())
    record = RequestWindows("payments", 1, microseconds(duration(EVERY)), lengths, aggregates)
    columns = tuple(JoinedColumn(f"f_{name}", name, "number") for name in record.columns)
    key = (JoinedKey("card", "card", "text"),)
    if not windows:
        return JoinedGroup("grid", 1, key, columns, event_time="hour")
    return JoinedGroup(
        "windows", 1, key, columns, event_time="paid_at", available_at="known_at",
        windows=with_sources(record, {"amount": "DOUBLE"}),
    )  # fmt: skip


def connect(payments: pa.Table, predictions: pa.Table) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'; SET threads=1")
    connection.register("given", payments)
    connection.execute("CREATE TABLE payments AS FROM given")
    connection.register("asked", predictions)
    connection.execute("CREATE TABLE predictions AS FROM asked")
    return connection


def cpu_s(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def at_request(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.table("payments")
    result = point_in_time(
        connection, connection.table("predictions"), [group(True)], lambda _: rows, prediction_time="at"
    )
    connection.execute(f"CREATE TEMP TABLE exact AS {result.sql_query()}")


def on_grid(connection: duckdb.DuckDBPyConnection) -> None:
    grid = Grid("hour", datetime(2025, 1, 1), END)
    rows = Table(connection.table("payments"), connection, "payments_v1", ("card",), "paid_at", "known_at", grid=grid)
    hours = window_aggregate(rows, keys=["card"], every=EVERY, windows=WINDOWS, aggregates=AGGREGATES)
    connection.execute(f"CREATE TEMP TABLE hours AS {hours.relation.sql_query()}")
    rows_of = connection.table("hours")
    result = point_in_time(
        connection, connection.table("predictions"), [group(False)], lambda _: rows_of, prediction_time="at"
    )
    connection.execute(f"CREATE TEMP TABLE hourly AS {result.sql_query()}")


def online(payments: pa.Table) -> dict[str, float]:
    """Microseconds of a read of one key of both kinds of group, and milliseconds of a micro-batch of 100 rows."""
    whole, now = group(True), microseconds(END)
    since = now - microseconds(duration("1h"))
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as folder:
        connection.execute("SET TimeZone='UTC'; SET threads=1")
        blobs = dict(tails_of(connection, connection.from_arrow(payments), whole, since))
        store = SqliteOnlineStore(folder)
        schema = online_schema(whole)
        with store.writing("windows_v1") as writer:
            writer.load(schema, iter(blobs.items()), answers_from=datetime(2025, 3, 1, 23), snapshot=1, origin="")
        store.load(
            "plain_v1", key_types=("text",), columns=tuple(Column(one.name, "number") for one in schema.columns),
            rows=[((key.decode(),), [(since, since, [1.5] * len(schema.columns))]) for key in blobs],
            answers_from=None, snapshot=1, event_time=True,
        )  # fmt: skip
        keys = [(key.decode(),) for key in list(blobs)[:READS]]

        def read_us(namespace: str) -> float:
            reader = store.reader(namespace)
            reader.get(keys[0], now)
            return cpu_s(lambda: [reader.get(key, now) for key in keys]) / len(keys) * 1e6

        merge = TailMerge(whole)

        def batch_ms(number: int) -> float:
            rows = payments.slice(ROWS - 100 * (number + 1), 100)

            def put() -> None:
                keyed = merge.rows_by_key(rows)
                merge.blobs(keyed, {key: blobs[key] for key in keyed if key in blobs}, since)

            return cpu_s(put) * 1e3

        return {
            "read_us": round(statistics.median(read_us("windows_v1") for _ in range(RUNS)), 1),
            "plain_read_us": round(statistics.median(read_us("plain_v1") for _ in range(RUNS)), 1),
            "micro_batch_ms": round(statistics.median(batch_ms(number) for number in range(20)), 2),
            "bytes_a_key": round(statistics.mean(map(len, blobs.values()))),
        }


def main() -> None:
    payments, predictions = tables()
    times = []
    for _ in range(RUNS):
        with connect(payments, predictions) as connection:
            times.append((cpu_s(lambda: at_request(connection)), cpu_s(lambda: on_grid(connection))))
    exact_s, grid_s = (statistics.median(of_kind) for of_kind in zip(*times, strict=True))
    result = {
        "benchmark": "request_windows",
        "ratio": round(exact_s / grid_s, 2),
        "goal": GOAL,
        "at_request_cpu_s": round(exact_s, 2),
        "grid_cpu_s": round(grid_s, 2),
        **online(payments),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
