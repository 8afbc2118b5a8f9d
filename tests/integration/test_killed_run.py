"""What is left of a run, or of a publication, whose process is killed without warning."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.times import microseconds
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.store import ModelStore, build_id
from fti_assets.stores.online.store import SqliteOnlineStore
from tests.graphs import constant_graph
from tests.support.examples import repetitions
from tests.support.records import model_manifest

ROWS = 2_000
ROOT = Path(__file__).parents[2]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

# Imports once, which takes seconds, and forks a worker for each line of input; it tells when one has died.
NURSERY = """
import importlib.util, os, sys, traceback
spec = importlib.util.spec_from_file_location("killed_run", sys.argv[1])
killed_run = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = killed_run
spec.loader.exec_module(killed_run)
for line in sys.stdin:
    worker, first = line.split()
    pid = os.fork()
    if not pid:
        try:
            print("pid", os.getpid(), flush=True)
            getattr(killed_run, worker)(sys.argv[2], int(first))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    print("dead 0", flush=True)
"""

days = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-03")


class Content(dg.Config):
    """What a run stores."""

    content: int


@fti.feature_group(
    keys=["sensor"], event_time="seen_at", serving_delay="1s", partitions_def=days, online=True, online_history="20000d"
)
def readings(context: dg.AssetExecutionContext, config: Content) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sensor": [f"s{number}" for number in range(ROWS)],
            "seen_at": pd.Timestamp(context.partition_key),
            "content": config.content,
        }
    )


def materialize(home: str, day: str, content: int) -> None:
    folders = {name: str(Path(home) / name) for name in ("lake", "models", "online")}
    dg.materialize(
        [readings.assets_def],
        partition_key=day,
        resources={"fti": fti.Stores(**folders)},
        run_config={**QUIET, "ops": {"readings_v1": {"config": {"content": content}}}},
    )


def announced(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which says that a worker has come to it."""

    def call(*arguments: Any, **named: Any) -> Any:
        print(phase, 0, flush=True)
        return function(*arguments, **named)

    return call


def materialize_again_and_again(home: str, first: int) -> None:
    """Rounds of three phases: what comes before, ``lake`` and ``online``."""
    Lake.replace = announced("lake", Lake.replace)
    SqliteOnlineStore.writing = announced("online", SqliteOnlineStore.writing)
    for content in count(first):
        materialize(home, "2013-01-02", content)
        print("done", content, flush=True)


def publish_again_and_again(home: str, first: int) -> None:
    ModelStore.publish = announced("publish", ModelStore.publish)
    for number in count(first):
        ModelStore(home).publish(*build_of(number), "# card")
        print("done", number, flush=True)


def build_of(number: int) -> tuple[ModelManifest, bytes]:
    graph = constant_graph(number, size=500_000)
    build = build_id(datetime(2013, 1, 1), f"{number:08x}")
    return model_manifest(graph, build=build, cutoff="2013-01-01T00:00:00"), graph


class Nursery:
    """Starts workers, and kills each at a random instant."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._random = random.Random()
        self._seconds: dict[str, float] = {}

    def kill(self, worker: str, first: int, phase: str) -> int:
        """Let a worker finish the first round, kill it while it is at a phase of the next one or has just left it,
        and give the last round that it finished.

        ``done`` is the phase between a round and the first phase of the next.
        """
        assert self._process.stdin is not None
        print(worker, first, file=self._process.stdin, flush=True)
        result, pid = self._line()
        assert result == "pid"
        since, last = time.monotonic(), 0
        while not last or result != phase:
            before = result
            result, number = self._line()
            assert result != "dead", "the worker ended by itself"
            now = time.monotonic()
            self._seconds[before] = min(self._seconds.get(before, 10), now - since)
            since, last = now, number if result == "done" else last
        time.sleep(self._random.uniform(0, self._seconds.get(phase, self._seconds["pid"])))
        os.kill(pid, signal.SIGKILL)
        while result != "dead":
            last = number if result == "done" else last
            result, number = self._line()
        return last

    def _line(self) -> tuple[str, int]:
        assert self._process.stdout is not None
        output, number = self._process.stdout.readline().split()
        return output, int(number)


@contextmanager
def nursery(home: Path, temporary: Path) -> Iterator[Nursery]:
    """A process that works under ``home`` and leaves its temporary files with the test's own."""
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY, __file__, str(home)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


def in_the_lake(stores: fti.Stores) -> dict[str, dict[int, int]]:
    """For each partition, how many rows have which content."""
    rows = fti.read(readings, stores=stores)
    assert not rows.duplicated(["sensor", "seen_at"]).any()
    days = rows.groupby(rows["seen_at"].dt.strftime("%Y-%m-%d"))["content"]
    return {day: dict(Counter(content.tolist())) for day, content in days}


def online(stores: fti.Stores, at: datetime) -> dict[int, int]:
    """How many sensors have which content online, as of an instant."""
    reader = stores.online_store().reader("readings_v1", columns=["content"])
    winners = reader.get_many([(f"s{number}",) for number in range(ROWS)], microseconds(at))
    return dict(Counter(winner.values[0] for winner in winners if winner is not None))


@pytest.mark.parametrize(
    "phases",
    [["lake"], pytest.param(["lake", "lake", "lake", "online", "online", "done"], marks=pytest.mark.soak)],
    ids=len,
)
def test_a_killed_run_leaves_old_rows_or_new(tmp_path: Path, phases: list[str]) -> None:
    home = tmp_path / "home"
    stores = fti.Stores(lake=str(home / "lake"), models=str(home / "models"), online=str(home / "online"))
    first_day, second_day = datetime(2013, 1, 1, 12), datetime(2013, 1, 2, 12)
    materialize(str(home), "2013-01-01", -1)
    with nursery(home, tmp_path / "temporary") as workers:
        for kill, phase in enumerate(phases, start=1):
            done = workers.kill("materialize_again_and_again", 100 * kill, phase)

            offline = in_the_lake(stores)
            assert offline in [{"2013-01-01": {-1: ROWS}, "2013-01-02": {new: ROWS}} for new in (done, done + 1)]
            assert online(stores, first_day) == offline["2013-01-01"]
            # The online store follows the lake, and is never before it.
            assert online(stores, second_day) in (offline["2013-01-02"], {done: ROWS})

            materialize(str(home), "2013-01-02", -100 * kill)
            assert in_the_lake(stores) == {"2013-01-01": {-1: ROWS}, "2013-01-02": {-100 * kill: ROWS}}
            assert online(stores, second_day) == {-100 * kill: ROWS}


def test_killed_publication_leaves_a_whole_build_or_none(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", lock_timeout=10)
    with nursery(store.root, tmp_path / "temporary") as workers:
        for kill in range(1, 1 + repetitions(4)):
            done = workers.kill("publish_again_and_again", 100_000 * kill, "publish")

            present = [manifest.build for manifest in store.builds("delay_net")]
            finished = [build_of(number)[0].build for number in range(100_000 * kill, done + 1)]
            unheard = build_of(done + 1)[0].build
            of_this_worker = [name for name in present if name >= finished[0]]
            assert of_this_worker in (finished, [*finished, unheard])
            for name in of_this_worker[-3:]:
                manifest, graph = store.load("delay_net", f"v1/{name}")
                assert (manifest, graph) == build_of(int(name[-8:], 16))

            following = build_of(100_000 * kill + 90_000)
            store.publish(*following, "# card")
            assert store.load("delay_net", following[0].reference) == following
            assert not [path.name for path in (store.root / "delay_net" / "v1").iterdir() if path.name.startswith(".")]
