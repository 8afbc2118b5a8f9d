"""``dagster dev`` and ``dagster run wipe`` on the event log that ``fti init`` writes into a new system."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

from fti_assets.event_log import PooledSqliteEventLogStorage

SYSTEM = Path(__file__).with_name("landing_system.py")
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE_S = 240
MESSAGES = """
{ logsForRun(runId: "%s", limit: 1000) { ... on EventConnection { events { ... on MessageEvent { message } } } } }"""


def new_system(folder: Path) -> dict[str, str]:
    """The settings that ``fti init`` writes and a landed day; the environment of a command there."""
    text = (resources.files("fti_assets.scaffold") / "template" / "dagster.yaml.tmpl").read_text()
    (folder / "dagster.yaml").write_text(text)
    (folder / "landing").mkdir()
    hours = [f"{hour},corner,2024-01-01 {hour:02}:30:00,1.5" for hour in range(24)]
    (folder / "landing" / "2024-01-01.csv").write_text("\n".join(["visit,shop,at,spent", *hours]) + "\n")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("FTI_", "DAGSTER_"))}
    return {**environment, "LANDING": str(folder / "landing"), "FTI_HOME": str(folder / "fti"), "PYTHONPATH": str(ROOT)}


@contextmanager
def dagster_dev(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with open(folder / "dev.log", "w") as log:
        process = subprocess.Popen(
            [BIN / "dagster", "dev", "-f", SYSTEM, "-d", ROOT, "-h", "127.0.0.1", "-p", port],
            cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(folder: Path, what: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with suppress(OSError):
            if result := what():
                return result
        time.sleep(0.5)
    raise AssertionError((folder / "dev.log").read_text()[-4000:])


def asked(url: str, query: str) -> Any:
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def finished(instance: dg.DagsterInstance, asset: str) -> str | None:
    runs = [run for run in instance.get_runs() if run.asset_selection == {dg.AssetKey(asset)} and run.is_finished]
    assert all(run.status is dg.DagsterRunStatus.SUCCESS for run in runs)
    return runs[0].run_id if runs else None


@pytest.mark.soak  # the daemon's test shows the runs, and that of the UI the pages, on the same event log
def test_dagster_dev_runs_what_lands_and_its_pages_tell_every_event(tmp_path: Path) -> None:
    environment = new_system(tmp_path)
    with dagster_dev(tmp_path, environment) as url:
        (home,) = wait_for(tmp_path, lambda: list(tmp_path.glob(".tmp_dagster_home_*")))
        wait_for(tmp_path, lambda: asked(url, "{ version }"))
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), config_dir=str(tmp_path))) as instance:
            assert isinstance(instance.event_log_storage, PooledSqliteEventLogStorage)
            for asset in ("visits_v1", "spending_v1"):
                run = wait_for(tmp_path, lambda asset=asset: finished(instance, asset))
                stored = [event.message for event in instance.all_logs(run)]
                page = asked(url, MESSAGES % run)["logsForRun"]["events"]
                assert [event["message"] for event in page][: len(stored)] == stored  # the launcher's last may follow
                assert any(message.startswith("Finished execution of run") for message in stored)


@pytest.mark.soak
def test_dagster_run_wipe_is_heard_by_who_has_log_open(tmp_path: Path) -> None:
    @dg.asset
    def orders() -> None: ...

    home = tmp_path / "dagster"
    home.mkdir()
    environment = {**new_system(tmp_path), "DAGSTER_HOME": str(home)}
    shutil.copy(tmp_path / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        wiped = dg.materialize([orders], instance=instance).run_id
        assert instance.all_logs(wiped)
        done = subprocess.run(
            [BIN / "dagster", "run", "wipe", "--force"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        assert instance.get_runs() == []
        assert instance.all_logs(wiped) == []
        assert instance.get_latest_materialization_event(orders.key) is None
        made = dg.materialize([orders], instance=instance).run_id
        assert [event.run_id for event in instance.all_logs(made)][:1] == [made]
        assert instance.get_latest_materialization_event(orders.key).run_id == made
