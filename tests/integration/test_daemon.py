"""The real daemon over a landing folder: it runs what has landed, and what that changes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest

SYSTEM = Path(__file__).with_name("landing_system.py")
ROOT = Path(__file__).parents[2]
PATIENCE_S = 240


class Daemon:
    """One ``dagster-daemon run`` or more over the system, its instance, and its landing folder."""

    def __init__(self, folder: Path) -> None:
        self.home, self.landing = folder / "dagster", folder / "landing"
        self.home.mkdir()
        self.landing.mkdir()
        shutil.copy(ROOT / "dagster.yaml", self.home)
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "FTI_HOME": str(folder / "fti"),
            "LANDING": str(self.landing),
        }

    def start(self) -> None:
        """Start one, beside those that run already."""
        with (self.folder / f"daemon_{len(self.processes)}.log").open("w") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-f", str(SYSTEM), "-d", str(ROOT)],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)

    def stop(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):  # it ended by itself, which the test has told
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def said(self) -> str:
        return "\n".join(log.read_text()[-4000:] for log in sorted(self.folder.glob("daemon_*.log")))

    def land(self, *days: str, spent: str = "1.5") -> None:
        """Write the files of some days and put them in place at once, as a good loader does."""
        for day in days:
            rows = [f"{day.replace('-', '')}{hour:02},corner,{day} {hour:02}:30:00,{spent}" for hour in range(24)]
            made = self.landing / f".{day}"
            made.write_text("\n".join(["visit,shop,at,spent", *rows]) + "\n")
            made.rename(self.landing / f"{day}.csv")

    def wait(self, what: str, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            if any(process.poll() is not None for process in self.processes) or time.monotonic() > deadline:
                pytest.fail(f"{what} did not happen; the daemon said:\n{self.said()}")
            time.sleep(0.5)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    try:
        yield daemon
    finally:
        daemon.stop()


def runs(instance: dg.DagsterInstance, asset: str) -> list[tuple[str, str, str]]:
    """The finished runs of an asset, oldest first: its partition or range, and how it ended."""
    results = []
    for run in reversed(instance.get_runs()):
        if run.asset_selection == {dg.AssetKey(asset)} and run.is_finished:
            tags = run.tags
            first = tags.get("dagster/asset_partition_range_start") or tags.get("dagster/partition", "")
            results.append((first, tags.get("dagster/asset_partition_range_end") or first, run.status.value))
    return results


WHOLE = ("2024-01-01", "2024-01-05", "SUCCESS")


@pytest.fixture
def landed(daemon: Daemon) -> Iterator[dg.DagsterInstance]:
    """The instance of a daemon that has run what landed at once, and what that changed."""
    daemon.land(*(f"2024-01-0{n}" for n in range(1, 6)))
    with dg.DagsterInstance.from_config(str(daemon.home)) as instance:  # makes its tables before anyone else does
        daemon.start()
        daemon.wait("a run of what changed", lambda: bool(runs(instance, "spending_v1")))
        yield instance


def test_the_daemon_runs_what_lands_and_what_that_changes(landed: dg.DagsterInstance) -> None:
    assert runs(landed, "visits_v1") == [WHOLE], "a range that has landed at once is one run"
    assert runs(landed, "spending_v1") == [WHOLE]


@pytest.mark.soak
def test_two_daemons_on_an_instance_run_a_new_day_once(daemon: Daemon, landed: dg.DagsterInstance) -> None:
    daemon.start()  # by mistake, as it happens
    daemon.land("2024-01-06")
    daemon.wait("the day after it", lambda: len(landed.get_materialized_partitions(dg.AssetKey("spending_v1"))) == 6)
    assert runs(landed, "visits_v1") == [WHOLE, ("2024-01-06", "2024-01-06", "SUCCESS")]
