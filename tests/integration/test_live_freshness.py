"""Freshness policies as the real daemon evaluates them and the real webserver tells them: a group grows stale, and recovers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

SYSTEM = Path(__file__).with_name("stale_system.py")
ROOT = Path(__file__).parents[2]
PATIENCE_S = 240
HOUR = 3600.0
QUERY = """{ assetNodes { assetKey { path } freshnessStatusInfo { freshnessStatus }
internalFreshnessPolicy { ... on TimeWindowFreshnessPolicy { failWindowSeconds warnWindowSeconds } } } }"""
POLICY = {"failWindowSeconds": 6 * HOUR, "warnWindowSeconds": 2 * HOUR + 600}

pytestmark = pytest.mark.soak


class Dagster:
    """A daemon and a webserver over the system, and their instance."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "dagster"
        self.home.mkdir()
        shutil.copy(ROOT / "dagster.yaml", self.home)
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "FTI_HOME": str(folder / "fti"),
            "FRESHNESS_DAEMON_INTERVAL_SECONDS": "2",
        }

    def start(self) -> None:
        """Start both."""
        code = ["-f", str(SYSTEM), "-d", str(ROOT)]
        for command in (
            ["dagster-daemon", "run", *code],
            ["dagster-webserver", "-h", "127.0.0.1", "-p", str(self.port), *code],
        ):
            with (self.folder / f"{command[0]}.log").open("w") as log:
                program = str(Path(sys.executable).with_name(command[0]))
                process = subprocess.Popen(
                    [program, *command[1:]],
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.processes.append(process)

    def stop(self) -> None:
        """Stop both."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def nodes(self) -> dict[str, Any]:
        """What the UI asks of each asset; nothing while the webserver starts."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": QUERY}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                nodes = json.load(answer)["data"]["assetNodes"]
        except (OSError, ValueError):
            return {}
        return {one["assetKey"]["path"][-1]: one for one in nodes}

    def wait(self, states: dict[str, str | None]) -> None:
        """Wait until the UI tells these states."""
        deadline, result = time.monotonic() + PATIENCE_S, dict[str, Any]()
        while result != states:
            if time.monotonic() > deadline or any(one.poll() is not None for one in self.processes):
                logs = "\n".join(log.read_text()[-3000:] for log in self.folder.glob("*.log"))
                pytest.fail(f"the UI tells {result}, not {states}:\n{logs}")
            time.sleep(0.5)
            result = {
                name: None if node["freshnessStatusInfo"] is None else node["freshnessStatusInfo"]["freshnessStatus"]
                for name, node in self.nodes().items()
            }


@pytest.fixture
def dagster(tmp_path: Path) -> Iterator[Dagster]:
    running = Dagster(tmp_path)
    try:
        yield running
    finally:
        running.stop()


def report(instance: dg.DagsterInstance, ago_s: float) -> None:
    """A materialization as a run that long ago has left it."""
    from dagster._core.events import AssetMaterialization, DagsterEvent, DagsterEventType, StepMaterializationData
    from dagster._core.events.log import EventLogEntry
    from dagster._core.utils import make_new_run_id

    made = AssetMaterialization("meters_v1", partition="2024-01-01-00:00")
    run_id = make_new_run_id()
    event = DagsterEvent(
        DagsterEventType.ASSET_MATERIALIZATION.value, "metering", event_specific_data=StepMaterializationData(made)
    )
    instance.store_event(EventLogEntry(None, 10, "", run_id, time.time() - ago_s, dagster_event=event))


def test_a_stale_group_warns_then_fails_and_recovers_with_a_run(dagster: Dagster) -> None:
    others = {"readers_v1": "UNKNOWN", "ended_v1": None}
    with dg.DagsterInstance.from_config(str(dagster.home)) as instance:
        report(instance, 7 * HOUR)
        dagster.start()
        dagster.wait({"meters_v1": "DEGRADED", **others})
        assert dagster.nodes()["meters_v1"]["internalFreshnessPolicy"] == POLICY
        report(instance, 3 * HOUR)
        dagster.wait({"meters_v1": "WARNING", **others})
        report(instance, 2 * HOUR)
        dagster.wait({"meters_v1": "HEALTHY", **others})
        report(instance, 5 * HOUR)  # what comes last is what counts, whichever partition it is of
        dagster.wait({"meters_v1": "WARNING", **others})
        subprocess.run(
            [sys.executable, "-m", "dagster", "asset", "materialize", "-f", str(SYSTEM), "-d", str(ROOT),
             "--select", "meters_v1", "--partition", "2024-01-01-03:00"],
            env=dagster.environment, check=True, capture_output=True,
        )  # fmt: skip
        dagster.wait({"meters_v1": "HEALTHY", **others})
        states = instance.event_log_storage.get_freshness_state_records(
            [dg.AssetKey("meters_v1"), dg.AssetKey("ended_v1")]
        )
        assert {key.path[-1]: one.freshness_state.value for key, one in states.items()} == {
            "meters_v1": "PASS",
            "ended_v1": "NOT_APPLICABLE",
        }
