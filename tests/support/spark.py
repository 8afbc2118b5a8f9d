"""Spark's own servers, of Java, in the environment that ``make spark`` makes: on threads of this machine, or a master with two workers."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-spark" / "bin" / "python"
_SECONDS = 120


@dataclass
class SparkServer:
    """A server of Spark Connect, its process, and the workers behind it if it has any of their own."""

    url: str
    process: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)


@contextmanager
def spark_server(folder: Path, *, workers: int = 0, memory: str = "2g") -> Iterator[SparkServer]:
    """Start a server of Spark Connect for a block.

    Args:
        folder: where it may write, and where its logs are.
        workers: how many workers of one core a master has; 0 for two threads of the server itself.
        memory: what the server has.
    """
    with ExitStack() as stack:
        master, processes = "local[2]", []
        if workers:
            port = free_port()
            master = f"spark://127.0.0.1:{port}"
            of_master = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(free_port())]
            stack.enter_context(_running(folder / "master.log", "org.apache.spark.deploy.master.Master", *of_master))
            _wait_for(port, folder / "master.log")
            for number in range(workers):
                of_worker = [
                    "--cores",
                    "1",
                    "--memory",
                    "1g",
                    "--webui-port",
                    str(free_port()),
                    "--work-dir",
                    str(folder / f"worker_{number}"),
                ]
                log = folder / f"worker_{number}.log"
                processes.append(
                    stack.enter_context(_running(log, "org.apache.spark.deploy.worker.Worker", *of_worker, master))
                )
        port = free_port()
        settings = {
            "spark.connect.grpc.binding.port": str(port),
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "4",
            "spark.executor.memory": "768m",
            "spark.executor.cores": "1",
            "spark.local.dir": str(folder),
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
        }
        submit = [f"--conf={name}={value}" for name, value in settings.items()]
        server = stack.enter_context(
            _running(
                folder / "server.log", "org.apache.spark.deploy.SparkSubmit", "--master", master, "--driver-memory", memory, *submit,
                "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal",
            )
        )  # fmt: skip
        _wait_for(port, folder / "server.log")
        yield SparkServer(f"sc://127.0.0.1:{port}", server, processes)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _running(log: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A class of Spark as a process of a group of its own, with the executors that it starts, until the block ends."""
    spark = subprocess.run(
        [PYTHON, "-c", "import pyspark; print(pyspark.__path__[0])"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {**os.environ, "SPARK_HOME": spark, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": str(PYTHON)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [f"{spark}/bin/spark-class", name, *arguments], env=environment, stdout=output, stderr=output, cwd=log.parent,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_for(port: int, log: Path) -> None:
    """Wait until somebody answers at a port."""
    until = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise AssertionError(f"nobody answers at {port}: {log.read_text()[-2000:]}") from None
            time.sleep(0.2)
