"""Steps on several machines: Celery workers that share no folder, with all stores by URL; one of them is killed over a step."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from examples.flight_delays import sources
from fti_assets.core.names import FEATURES, TableName
from tests.support.buckets import BucketServer, bucket_server
from tests.support.flights import landed_year
from tests.support.partitions import range_tags
from tests.support.team_lakes import HOST, database, lake_location

ROOT = Path(__file__).parents[2]
SYSTEM = Path(__file__).with_name("machines_system.py")
BIN = Path(sys.executable).parent
FIRST, LAST = "2013-01-01", "2013-01-03"
NOW = "2014-01-05T00:00:00Z"
TABLES = ("schedule", "departures", "arrivals", "weather", "carrier_delays", "airport_now", "slow_counts")

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:Parameter .* is currently in beta")]
celery = pytest.importorskip("celery")
redis = pytest.importorskip("redis")


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a Redis of its own, so that nobody else's tasks are taken."""
    program = shutil.which("redis-server") or pytest.skip("there is no redis-server here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        url = f"redis://127.0.0.1:{port}"
        waited_for(lambda: answers(url), "Redis")
        yield url
    finally:
        server.terminate()
        server.wait()


def answers(url: str) -> bool:
    try:
        return bool(redis.Redis.from_url(url).ping())
    except redis.ConnectionError:
        return False


def waited_for(ready: Callable[[], Any], what: str, seconds: float = 600) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if result := ready():
            return result
        time.sleep(0.2)
    raise AssertionError(f"{what} did not come in {seconds:g} s")


@dataclass
class Machine:
    """A machine: a home with a copy of the code that it runs, its own files that have landed, and nothing of the others'."""

    name: str
    home: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, *words: str, log: str) -> subprocess.Popen[str]:
        with (self.home / log).open("w") as output:
            process = subprocess.Popen(
                [str(BIN / words[0]), *words[1:]], cwd=self.home, env=self.environment, stdout=output, stderr=subprocess.STDOUT,
                text=True, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def said(self, log: str) -> str:
        return (self.home / log).read_text()

    def work(self) -> subprocess.Popen[str]:
        worker = self.run(
            "dagster-celery", "worker", "start", "-n", self.name, "-A", "dagster_celery.app", "-y", "celery.yaml", "--", "-c", "1",
            log="worker.log",
        )  # fmt: skip
        waited_for(lambda: "ready." in self.said("worker.log"), f"worker {self.name}")
        return worker

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass(frozen=True)
class Park:
    """The machines, what they share by URL alone, and what is written on it."""

    launcher: Machine
    workers: list[Machine]
    board: Any
    environment: dict[str, str]

    def launch(self, *assets: str, log: str) -> subprocess.Popen[str]:
        return self.launcher.run(
            "dagster", "asset", "materialize", "-m", "machines_system", "--select", ",".join(assets), "-c", "run.yaml",
            "--partition-range", f"{FIRST}...{LAST}", log=log,
        )  # fmt: skip

    def versions(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
        return versions_of(fti.Stores(lake=self.environment["FLIGHTS_LAKE"]))


def versions_of(stores: fti.Stores) -> dict[str, dict[str, str]]:
    with stores.offline_store().connect() as lake:
        tables = {name: TableName(FEATURES, f"{name}_v1") for name in TABLES}
        ledgers = {name: lake.ledger(table) for name, table in tables.items()}
        rows = {
            name: lake.rows(table).aggregate("count(*)").fetchall() for name, table in tables.items() if ledgers[name]
        }
    assert all(rows[name] == [(sum(one.rows for one in ledgers[name].values()),)] for name in rows)
    return {name: {key: one.data_version for key, one in ledger.items()} for name, ledger in ledgers.items()}


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return landed_year(tmp_path_factory)[0]


@pytest.fixture(scope="module")
def expected(landing: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What one process makes of the same days in a folder."""
    home = tmp_path_factory.mktemp("one_machine")
    stores = fti.Stores(lake=str(home / "lake"), models=str(home / "models"), online=str(home / "online"))
    with pytest.MonkeyPatch.context() as patch, redis_server(home) as board:
        patch.setenv("MACHINES_BOARD", board)
        patch.setenv("MACHINE", "one")
        patch.setenv("FTI_NOW", NOW)
        from tests.integration.machines_system import GROUPS

        dg.materialize(
            [one.assets_def for one in GROUPS],
            resources={"fti": stores, "landing": sources.LandingZone(folder=str(landing))},
            tags=range_tags(FIRST, LAST),
        )
    return versions_of(stores)


@pytest.fixture
def visibility() -> int:
    """After how many seconds a step of a worker that is gone is given to another."""
    return 900


@pytest.fixture
def park(landing: Path, tmp_path: Path, visibility: int) -> Iterator[Park]:
    """Two workers and a launcher, with Postgres for catalog and Dagster's events, a bucket, and Redis."""
    with ExitStack() as stack:
        bucket: BucketServer = stack.enter_context(bucket_server("team"))
        lake, events = stack.enter_context(database()), stack.enter_context(database())
        queue = stack.enter_context(redis_server(tmp_path))
        shared = {
            **bucket.environment,
            "FLIGHTS_LAKE": lake_location(lake, f"s3://team/{lake}"),
            "FLIGHTS_MODELS": f"s3://team/{lake}/models",
            "FLIGHTS_ONLINE": f"{queue}/2?prefix=flights",
            "MACHINES_BOARD": f"{queue}/3",
            "DAGSTER_POSTGRES": f"postgresql+psycopg2://postgres@{HOST}/{events}",
            "FTI_NOW": NOW,
        }
        machines = [
            _machine(tmp_path / name, name, shared, landing, _config(queue, visibility))
            for name in ("launcher", "north", "south")
        ]
        try:
            for worker in machines[1:]:
                worker.work()
            yield Park(machines[0], machines[1:], redis.Redis.from_url(shared["MACHINES_BOARD"]), shared)
        finally:
            for machine in machines:
                machine.stop()


def _machine(home: Path, name: str, shared: dict[str, str], landing: Path, config: str) -> Machine:
    for folder in ("code", "dagster", "landing"):
        (home / folder).mkdir(parents=True)
    shutil.copy(SYSTEM, home / "code")
    for package in ("examples", "resources", "fti_assets"):
        shutil.copytree(
            ROOT / package, home / "code" / package, ignore=shutil.ignore_patterns("__pycache__", "data", "year")
        )
    for source in ("schedule", "departures", "arrivals", "weather"):
        (home / "landing" / source).mkdir()
        for file in (landing / source).glob("2013-01-0[1-3]*"):
            shutil.copy(file, home / "landing" / source)
    (home / "dagster" / "dagster.yaml").write_text(
        "storage: {postgres: {postgres_url: {env: DAGSTER_POSTGRES}}}\ntelemetry: {enabled: false}\n"
    )
    (home / "celery.yaml").write_text(config)
    (home / "run.yaml").write_text(config)
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(home / "code"), "HOME": str(home), "TMPDIR": str(home)}
    own = {
        "DAGSTER_HOME": str(home / "dagster"),
        "FLIGHTS_LANDING": str(home / "landing"),
        "MACHINE": name,
        "FTI_THREADS": "1",
    }
    return Machine(name, home, {**path, **own, **shared})


def _config(queue: str, visibility: int) -> str:
    return (
        f"execution:\n  config:\n    broker: {queue}/0\n    backend: {queue}/1\n    config_source:\n"
        "      task_acks_late: true\n      task_reject_on_worker_lost: true\n"
        f"      broker_transport_options: {{visibility_timeout: {visibility}}}\n"
    )


def ended(process: subprocess.Popen[str], seconds: float = 900) -> int:
    return process.wait(seconds)


def test_steps_of_a_run_are_shared_and_give_the_rows_of_one_machine(
    park: Park, expected: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = park.launch(*(f"{name}_v1" for name in TABLES), log="run.log")
    assert ended(run) == 0, park.launcher.said("run.log")[-4000:]
    took = [worker.said("worker.log").count("succeeded in") for worker in park.workers]
    assert sum(took) == len(TABLES)
    assert min(took) >= 1
    assert park.versions(monkeypatch) == expected


@pytest.mark.parametrize("visibility", [60])  # longer than a step takes on a busy machine
def test_a_step_whose_worker_is_killed_is_done_by_another_and_leaves_the_right_rows(
    park: Park, expected: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    park.board.set("hold", "1")
    run = park.launch(*(f"{name}_v1" for name in TABLES), log="run.log")
    name, _ = waited_for(lambda: park.board.lpop("began"), "the slow step").decode().split()
    killed = next(worker for worker in park.workers if worker.name == name)
    killed.stop()
    park.board.delete("hold")
    assert ended(run) == 0, park.launcher.said("run.log")[-4000:]
    again = park.board.lpop("began")
    assert again is not None, "nobody did the step again"
    assert again.decode().split()[0] != name
    assert park.versions(monkeypatch) == expected
