"""Champions are swapped and features loaded again under load, with the server, its clients and whoever promotes in processes of their own.

``FTI_SOAK_SECONDS`` (600) says how long, and ``FTI_SOAK_SWAPS`` (100) how many champions follow each other.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.inference.server import load
from tests.inference.server.test_app import AT, PLAIN, VALUE
from tests.inference.server.test_service import asked
from tests.inference.test_predictor import World, world

__all__ = ["world"]  # a fixture

SECONDS = float(os.environ.get("FTI_SOAK_SECONDS", "600"))
SWAPS = int(os.environ.get("FTI_SOAK_SWAPS", "100"))
SWAP_SECONDS = 1.0
"""How long after a promotion a request counts as during a swap: the server looks for a champion every half a second."""


@contextmanager
def process(command: list[str], environment: dict[str, str], errors: Path) -> Iterator[subprocess.Popen[bytes]]:
    with errors.open("a") as stderr:
        started = subprocess.Popen(command, env=os.environ | environment, stderr=stderr)
    try:
        yield started
        started.terminate()
        assert started.wait(60) in (0, -15), errors.read_text()[-2000:]
    finally:
        started.kill()
        started.wait()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
def test_swaps_of_champions_under_load_fail_no_request(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    champion = world.models.aliases("delay_net").champion
    shifted = [world.publish(number + 2, shift=float(number + 1)) for number in range(SWAPS)]
    values = {f"{champion}": VALUE} | {one.reference: VALUE + number + 1 for number, one in enumerate(shifted)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [sys.executable, "-c", "import sys; from fti_assets.cli import main; sys.exit(main())", "serve"]
    serve += ["delay_net", "--models", str(world.models.root), "--online", str(world.online.root), "--port", str(port)]
    path = os.pathsep.join([str(world.source.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    bodies = json.dumps([PLAIN, [PLAIN] * 3])  # the first is answered where it is read, in the others a task does
    out = tmp_path / "answers"
    ask = [
        sys.executable,
        load.__file__,
        str(port),
        f"/predict/delay_net?at={AT}",
        bodies,
        json.dumps(values),
        str(out),
    ]
    swapped, resident = [], []
    with process(serve, {"PYTHONPATH": path}, tmp_path / "server") as server:
        until = time.monotonic() + 120
        while asked(f"http://127.0.0.1:{port}/v2/health/ready")[0] != 200:
            assert server.poll() is None, (tmp_path / "server").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        with process(ask, {}, tmp_path / "client"):
            start = time.monotonic()
            for number, manifest in enumerate(shifted):
                time.sleep(max(0.0, start + (number + 0.5) * SECONDS / SWAPS - time.monotonic()))
                resident.append(resident_bytes(server.pid))
                os.truncate(tmp_path / "server", 0)  # a line for each request
                swapped.append(time.monotonic())
                world.fill()  # whose rows the server keeps
                world.promote(manifest)
            time.sleep(max(SWAP_SECONDS, start + SECONDS - time.monotonic()))
            resident.append(resident_bytes(server.pid))
    assert Path(f"{out}.wrong").read_text() == ""
    assert json.loads(Path(f"{out}.seen").read_text()) == sorted(values)
    sent, taken = np.fromfile(out).reshape(-1, 2).T
    assert len(sent) > SECONDS * 20
    since = sent - np.array([-np.inf, *swapped])[np.searchsorted(swapped, sent)]
    during, without = taken[since < SWAP_SECONDS], taken[since >= SWAP_SECONDS]
    settled, grown = resident[len(resident) // 4], resident[-1] - resident[len(resident) // 4]
    p99, usual = np.quantile(during, 0.99), np.quantile(without, 0.99)
    with capsys.disabled():
        print(
            f"\n{len(sent)} answers in {SECONDS:g} s with {SWAPS} swaps: p99 {p99 * 1000:.2f} ms in the second after each, "
            f"{usual * 1000:.2f} ms else, ratio {p99 / usual:.2f} (goal 1.5), longest {taken.max() * 1000:.0f} ms; "
            f"resident {settled / 2**20:.1f} MiB, then {grown / 2**20:+.1f}"
        )
    assert grown < 4_000_000 + 30_000 * SWAPS  # a session alone takes several times as much
