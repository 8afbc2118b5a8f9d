"""CPU time of a request to the server, over that of the same server's echo and beside other servers.

``python -m benchmarks.server`` starts one server after the other, each with one worker, and asks it from another process over
eight connections that stay open. Ours answers ``POST /predict/delay_net`` and the protocol's ``/v2/models/delay_net/infer`` in
JSON: three groups are looked up by their keys and the net of ``benchmarks/predict.py`` runs on 20 features. The floor is an
application that reads the same request and sends it back, under the same protocol settings.

After ``make peers`` the same graph is asked of FastAPI, with the same three look-ups written by hand, and of LitServe, MLServer and
BentoML, which look nothing up and get the 20 numbers in the request. What is counted is the user and system time of the server's
process and its children. With an argument, such as ``5000``, so many requests are sent in each of seven rounds.
"""

import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.predict import AT, FEATURES, KEYS, WIDTHS, build_ours, graph

GOAL = 4.0
CONNECTIONS = 8
ROUNDS = 7
REQUESTS = 2000
HERE = Path(__file__).parent


class Server(NamedTuple):
    """A server and how to ask it."""

    name: str
    command: Sequence[str]
    path: str
    bodies: Sequence[bytes]
    ready: str
    environment: dict[str, str] = {}
    folder: str | None = None


def keys_of(i: int) -> dict[str, object]:
    """A request by its keys."""
    return {"flight_id": i, "distance": 733.0, "seats": 150.0} | {
        f"{group}_key": f"K{i * 7919 % KEYS}" for group in WIDTHS
    }


def tensors_of(i: int) -> dict[str, object]:
    """The same request as tensors of fields."""
    kinds = {int: "INT64", float: "FP64", str: "BYTES"}
    return {
        "parameters": {"at": AT},
        "inputs": [
            {"name": name, "datatype": kinds[type(value)], "shape": [1], "data": [value]}
            for name, value in keys_of(i).items()
        ],
    }


def bodies(make: object) -> list[bytes]:
    """A hundred requests as JSON."""
    return [json.dumps(make(i)).encode() for i in range(100)]  # type: ignore[operator]


def servers(root: Path) -> list[Server]:
    """Ours, its echo, and the peers that are installed."""
    numbers = np.random.default_rng(3).normal(size=(100, len(FEATURES))).round(3).tolist()
    dense = [{"name": "numbers", "shape": [1, len(FEATURES)], "datatype": "FP32", "data": row} for row in numbers]
    fti = [str(Path(sys.executable).with_name("fti")), "serve", "delay_net", "--models", str(root / "models")]
    fti += ["--online", str(root / "online"), "--port", "{port}"]
    echo = [sys.executable, str(HERE / "peers" / "echo_server.py"), "{port}"]
    made = [
        Server("echo", echo, "/echo", bodies(keys_of), "/v2/health/ready"),
        Server("predict", fti, f"/predict/delay_net?at={AT}", bodies(keys_of), "/v2/health/ready"),
        Server("infer", fti, "/v2/models/delay_net/infer", bodies(tensors_of), "/v2/health/ready"),
    ]
    for name, path, body, ready in (
        ("fastapi", "/predict", bodies(keys_of), "/docs"),
        ("litserve", "/predict", [json.dumps({"numbers": row}).encode() for row in numbers], "/health"),
        (
            "mlserver",
            "/v2/models/delay_net/infer",
            [json.dumps({"inputs": [one]}).encode() for one in dense],
            "/v2/health/ready",
        ),
        ("bentoml", "/predict", [json.dumps({"numbers": [row]}).encode() for row in numbers], "/readyz"),
    ):
        python = Path(f".venv-peers/{name}/bin/python").absolute()
        if python.exists():
            script = [
                str(python),
                str((HERE / "peers" / f"{name}_server.py").absolute()),
                str(root / "peers"),
                "{port}",
            ]
            made.append(Server(name, script, path, body, ready, folder=str(root / "peers")))
        else:
            print(f"{name} is not measured: make peers installs it", file=sys.stderr)
    return made


def write_peers(root: Path) -> None:
    """What the peers serve: the graph, and the rows of the three groups for the one that looks them up."""
    root.mkdir()
    (root / "model.onnx").write_bytes(graph(len(FEATURES), encoder=True))
    random = np.random.default_rng(13)
    for group, width in WIDTHS.items():
        connection = sqlite3.connect(root / f"{group}.sqlite", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, blob BLOB) WITHOUT ROWID")
        connection.execute("BEGIN")
        rows = ((f"K{key}", random.normal(size=width).astype(np.float32).tobytes()) for key in range(KEYS))
        connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)
        connection.execute("COMMIT")
        connection.close()


@contextmanager
def started(server: Server) -> Iterator[tuple[int, int]]:
    """Start a server; give its process id and its port once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [part.replace("{port}", str(port)) for part in server.command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FTI_THREADS": "1"} | server.environment
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, cwd=server.folder, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 120
            while not _answers(f"http://127.0.0.1:{port}{server.ready}"):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{server.name} does not start: {log.read()[-2000:].decode()}")
                time.sleep(0.2)
            yield process.pid, port
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def cpu_us(root: int) -> float:
    """User and system time of a process and all below it, in microseconds, by the processes' own clocks."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    total, wanted = 0.0, [root]
    while wanted:
        one = wanted.pop()
        with suppress(OSError):
            total += (
                time.clock_gettime_ns((~one << 3) | 2) / 1000
            )  # what clock_getcpuclockid gives: finer than the ticks of /proc
        wanted += [child for child, parent in parents.items() if parent == one]
    return total


def ask(port: int, server: Server, requests: int) -> list[float]:
    """Send so many requests over eight connections; the seconds that each answer took."""
    taken: list[float] = []
    share = requests // CONNECTIONS
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    texts = [head % (server.path.encode(), len(body), body) for body in server.bodies]
    problems: list[str] = []

    def client(first: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for i in range(share):
                start = time.perf_counter()
                connection.sendall(texts[(first + i) % len(texts)])
                answer = _read(connection)
                taken.append(time.perf_counter() - start)
                if not answer.startswith(b"HTTP/1.1 200"):
                    problems.append(answer[:500].decode())
                    return

    threads = [threading.Thread(target=client, args=(share * i,)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise RuntimeError(f"{server.name} answered {problems[0]}")
    return taken


def _read(connection: socket.socket) -> bytes:
    """One answer, by its length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + body


def main() -> None:
    """Measure round by round, so that noise meets all alike, and print the medians."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    os.environ.pop("FTI_NOW", None)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        build_ours(root).close()
        write_peers(root / "peers")
        all_servers = servers(root)
        running = [(server, *stack.enter_context(started(server))) for server in all_servers]
        costs: dict[str, list[float]] = {server.name: [] for server in all_servers}
        for turn in range(ROUNDS + 1):
            for server, pid, port in running:
                start = cpu_us(pid)
                ask(port, server, requests if turn else 200)
                if turn:  # the first round warms up
                    costs[server.name].append((cpu_us(pid) - start) / requests)
    medians = {name: round(statistics.median(all_costs), 1) for name, all_costs in costs.items()}
    result = {"benchmark": "server", "ratio": round(medians["predict"] / medians["echo"], 2), "goal": GOAL}
    beside = {f"{name}_over_ours": round(medians[name] / medians["predict"], 2) for name in list(medians)[3:]}
    print(json.dumps(result | {f"{name}_us": us for name, us in medians.items()} | beside))


if __name__ == "__main__":
    main()
