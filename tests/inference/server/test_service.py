"""The command that serves, in processes of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.inference.server.answering import access_line
from fti_assets.inference.server.service import Lines
from fti_assets.inference.serving.log.files import closed_files
from fti_assets.stores.models.store import ModelStore
from tests.inference.server.test_app import AT, PLAIN
from tests.inference.test_predictor import World, world
from tests.support.serving import sum_and_difference

__all__ = ["world"]  # a fixture

ROW = [list(range(16))]
INPUTS = [{"name": f"INPUT{number}", "datatype": "INT32", "shape": [1, 16], "data": ROW} for number in range(2)]


def asked(url: str, body: Any = None, token: str = "s3cret") -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0, ""


def test_workers_count_together_and_drain_before_they_stop(tmp_path: Path) -> None:
    file = tmp_path / "simple.onnx"
    file.write_bytes(sum_and_difference())
    assert main(["publish", "simple", str(file), "--models", str(tmp_path / "models")]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "import sys; from fti_assets.cli import main; sys.exit(main())", "serve", "simple"]
    command += ["--models", str(tmp_path / "models"), "--port", str(port), "--workers", "2", "--drain", "3"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | {"FTI_SERVE_TOKENS": "s3cret,other"}, stderr=log)
    try:
        here, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while asked(f"{here}/v2/health/ready")[0] != 200:
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        assert asked(f"{here}/v2/models/simple", token="wrong")[0] == 401
        for _ in range(8):
            status, body = asked(f"{here}/v2/models/simple/infer", {"inputs": INPUTS})
            assert status == 200
            assert json.loads(body)["outputs"][0]["data"] == [2 * number for number in range(16)]
        build = ModelStore(tmp_path / "models").champion("simple").reference
        counted = f'fti_predictions_total{{arm="champion",build="{build}",model="simple"}} 8.0'
        assert counted in asked(f"{here}/metrics")[1]
        server.send_signal(signal.SIGTERM)
        while asked(f"{here}/v2/health/ready")[0] == 200:
            time.sleep(0.05)
        assert asked(f"{here}/v2/health/live")[0] == 200
        server.wait(timeout=60)
    finally:
        server.kill()
        server.wait()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("{")]
    assert sum(line["path"] == "/v2/models/simple/infer" and line["status"] == 200 for line in lines) == 8


def test_lines_of_log_are_written_whole_and_in_order(tmp_path):
    file = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    lines = Lines(file, b"%d".__mod__)

    async def write() -> None:
        for number in range(100_000):
            lines.write(number)
        await asyncio.sleep(0.5)

    asyncio.run(write())
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(100_000)]


def test_a_line_says_when_its_request_was_answered_and_not_when_it_was_written():
    access = (1_370_088_000.25, 'a"b', ("POST", "/predict/delay_net", 200, "delay_net", "v1/x", "10.0.0.1"), 0.0015, 2)
    assert json.loads(access_line(access)) == {
        "at": "2013-06-01T12:00:00.250Z", "request_id": 'a"b', "method": "POST", "path": "/predict/delay_net", "status": 200,
        "model": "delay_net", "build": "v1/x", "client": "10.0.0.1", "ms": 1.5, "rows": 2,
    }  # fmt: skip
    with clock.at("2014-01-01"):
        assert json.loads(access_line(access))["at"] == "2014-01-01T00:00:00.000Z"


def test_a_log_that_cannot_be_written_stops_no_request(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    lines = Lines(writer, bytes)

    async def write() -> None:
        lines.write(b"lost")

    asyncio.run(write())
    lines.flush()


@pytest.mark.soak
def test_workers_log_each_answer_once_and_all_of_them(world: World, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "import sys; from fti_assets.cli import main; sys.exit(main())",
        "serve",
        "delay_net",
    ]
    command += ["--models", str(world.models.root), "--online", str(world.online.root), "--port", str(port)]
    command += ["--workers", "2", "--log", str(tmp_path / "log"), "--redact", "dest", "--refuse", "unknown_keys"]
    path = os.pathsep.join([str(world.source.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    with (tmp_path / "stderr").open("w") as errors:
        server = subprocess.Popen(command, env=environment, stderr=errors)
    ids = []
    try:
        here, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while asked(f"{here}/v2/health/ready")[0] != 200:
            assert server.poll() is None, (tmp_path / "stderr").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        writers = set[str]()
        while len(writers) < 2 or len(ids) < 20:  # a connection each, so that both workers answer
            status, body = asked(f"{here}/predict/delay_net?at={AT}", PLAIN)
            assert status == 200, body
            ids.append(json.loads(body)["request_id"])
            if len(ids) == 1:
                assert asked(f"{here}/predict/delay_net?at={AT}", PLAIN | {"origin": "LGA"})[0] == 400
            writers = {path.name.split("-")[1] for path in (tmp_path / "log").glob("delay_net/2*")}
            assert time.monotonic() < until
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)
    finally:
        server.kill()
        server.wait()
    files = closed_files(tmp_path / "log" / "delay_net")
    lines = [json.loads(line) for file in files for line in file.lines()]
    answers = [line for line in lines if "request_id" in line]
    assert sorted(line["request_id"] for line in answers) == sorted(ids)
    assert not [line for line in lines if "dropped" in line]
    assert {line["request"]["dest"] for line in answers} == {None}
    assert sum(line["end"]["rows"] for line in lines if "end" in line) == len(ids)
    requests = Counter[str]()
    for line in lines:
        requests.update(line.get("service", {}).get("requests", {}))
    assert requests == {"200": len(ids), "400": 1}
