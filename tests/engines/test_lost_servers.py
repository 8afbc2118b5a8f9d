"""What is lost while Spark is at work: a worker, whose part runs again elsewhere, and the server, which is named."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import duckdb
import pytest

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.engines.running import RunningEngine, SparkPlace
from fti_assets.errors import EngineError
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.features.point_in_time.on_spark import SparkJoins
from tests.features import oracles
from tests.support.spark import spark_server

pytestmark = pytest.mark.soak

JOIN = JoinedGroup("g", 1, (JoinedKey("k", "k", "integer"),), (JoinedColumn("v", "v", "integer"),), event_time="e")
ROWS = 400_000


def sums(connection: duckdb.DuckDBPyConnection, engine: RunningEngine | None) -> tuple[int, ...]:
    spine = connection.sql(f"SELECT i % 1000 AS k, TIMESTAMP '2024-01-01' + to_seconds(i) AS t FROM range({ROWS}) r(i)")
    rows = connection.sql(
        f"SELECT i % 1000 AS k, TIMESTAMP '2024-01-01' + to_seconds(i * 3) AS e, i AS v FROM range({ROWS}) r(i)"
    )
    by = None if engine is None else SparkJoins(engine, connection, lambda group, bounds: None)
    joined = point_in_time(connection, spine, [JOIN], lambda _: rows, prediction_time="t", by=by)
    numbers: tuple[int, ...] = joined.aggregate("count(*), count(v), sum(v * (k + 1))").fetchall()[0]
    return numbers


def killed_when_busy(process: subprocess.Popen[bytes], folder: Path) -> threading.Thread:
    """Kill a process, and what it has started, as soon as Spark shuffles rows."""

    def kill() -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until and not any(folder.rglob("shuffle_*")):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def test_a_lost_worker_costs_time_and_no_row(tmp_path: Path) -> None:
    with oracles.connection() as connection, spark_server(tmp_path, workers=2) as server:
        place = SparkPlace(server.url, tmp_path / "scratch")
        with RunningEngine("spark", place, connection, what="tests", log=lambda _: None) as engine:
            engine.tables()
            killer = killed_when_busy(server.workers[0], tmp_path)
            by_spark = sums(connection, engine)
            killer.join()
            assert server.workers[0].wait() == -signal.SIGKILL
            assert by_spark == sums(connection, None)


@pytest.mark.filterwarnings("ignore:.*RETRIES_EXCEEDED")
def test_a_lost_server_is_named(tmp_path: Path) -> None:
    with oracles.connection() as connection, spark_server(tmp_path) as server:
        place = SparkPlace(server.url, tmp_path / "scratch")

        def work() -> None:
            with RunningEngine("spark", place, connection, what="tests", log=lambda _: None) as engine:
                engine.tables()
                killed_when_busy(server.process, tmp_path)
                sums(connection, engine)

        with pytest.raises(
            EngineError, match=r"Spark at sc://127.0.0.1:\d+ does not answer any more: .*Nothing was stored"
        ):
            work()
        assert list((tmp_path / "scratch").iterdir()) == []
