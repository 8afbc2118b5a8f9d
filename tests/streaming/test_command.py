"""``fti stream`` as it is run: over a real broker, until it has caught up or a signal ends it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nats
import pytest
import redis

import fti_assets as fti
from fti_assets import testing
from fti_assets.cli.commands import main
from fti_assets.core.names import TableName
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from tests.support.brokers import needs_nats, needs_redis, unique

SYSTEM = """
from datetime import datetime

import dagster as dg
import pandera.pandas as pa

import fti_assets as fti


class Payments(pa.DataFrameModel):
    card: str
    at: datetime
    stored_at: datetime
    amount: float


payments = fti.stream_feature_group(
    name="payments", keys=["card"], event_time="at", available_at="stored_at", schema=Payments, online=True,
    partitions_def=dg.DailyPartitionsDefinition(start_date="2024-05-01"), stream={stream},
)
defs = fti.build_definitions([payments])
"""
NAMESPACE = "payments_v1"
FTI = "import sys; from fti_assets.cli.commands import main; raise SystemExit(main())"


def system(folder: Path, stream: str) -> Path:
    file = folder / "definitions.py"
    file.write_text(SYSTEM.replace("{stream}", stream))
    return file


def event(card: str, amount: float) -> dict[str, object]:
    return {"card": card, "at": datetime.now(UTC) - timedelta(minutes=1), "amount": amount}


def rows(folder: Path) -> list[tuple[object, ...]]:
    with OfflineStore(folder / "lake").connect() as lake:
        return lake.rows(TableName("features", NAMESPACE)).project("card, amount").order("ALL").fetchall()


@needs_nats
def test_a_stream_of_nats_is_taken_until_it_has_been_caught_up_with(tmp_path, monkeypatch, capfd):
    name = unique("payments")
    stream = fti.NatsStream(name, url="nats://127.0.0.1:4222")
    file = system(tmp_path, f"fti.{stream!r}")
    monkeypatch.setenv("FTI_HOME", str(tmp_path))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    command = ["stream", "payments", "-f", str(file), "--until-caught-up", "--batch-ms", "5"]
    try:
        testing.publish(stream, [event("a", 1.0), b"no JSON", event("b", 2.0)])
        assert main(command) == 0
        testing.publish(stream, [event("a", 3.0)])
        assert main(command) == 0
    finally:
        delete(name)
    assert rows(tmp_path) == [("a", 1.0), ("a", 3.0), ("b", 2.0)]
    reader = online_store(str(tmp_path / "online")).reader(NAMESPACE, columns=["amount"])
    assert reader.get(("a",), at_us=time.time_ns() // 1000).values == (3.0,)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines if line["event"] != "dead_letters"] == [
        "not_reported",
        "started",
        "flushed",
        "stopped",
    ] * 2
    assert next(line["reason"] for line in lines if line["event"] == "dead_letters").startswith(
        "it cannot be read: JSON is malformed"
    )


@needs_nats
def test_a_signal_ends_it_after_a_last_flush(tmp_path, monkeypatch, capfd):
    name, has_ended = unique("payments"), threading.Event()
    stream = fti.NatsStream(name, url="nats://127.0.0.1:4222")
    file = system(tmp_path, f"fti.{stream!r}")
    monkeypatch.setenv("FTI_HOME", str(tmp_path))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    testing.publish(stream, [event("a", 1.0)])

    def end_it() -> None:
        while not has_ended.wait(0.02):
            if _is_online(tmp_path):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ending = threading.Thread(target=end_it)
    ending.start()
    try:
        assert main(["stream", "payments", "-f", str(file), "--flush-every", "1h"]) == 0
    finally:
        has_ended.set()
        ending.join()
        signal.signal(signal.SIGTERM, before)
        delete(name)
    lines = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert lines == ["not_reported", "started", "flushed", "stopped"]
    assert rows(tmp_path) == [("a", 1.0)]


@needs_nats
@pytest.mark.soak
def test_a_signal_ends_a_process_of_its_own_after_a_last_flush(tmp_path):
    name = unique("payments")
    stream = fti.NatsStream(name, url="nats://127.0.0.1:4222")
    file = system(tmp_path, f"fti.{stream!r}")
    testing.publish(stream, [event("a", 1.0)])
    command = [sys.executable, "-c", FTI, "stream", "payments", "-f", str(file), "--flush-every", "1h"]
    env = {**os.environ, "FTI_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2]), "DAGSTER_HOME": ""}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as service:
        try:
            assert service.stderr is not None
            assert json.loads(service.stderr.readline())["event"] == "not_reported"
            assert json.loads(service.stderr.readline())["event"] == "started"
            until = time.monotonic() + 30
            while time.monotonic() < until and not _is_online(tmp_path):
                time.sleep(0.02)
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0
            assert [json.loads(line)["event"] for line in service.stderr] == ["flushed", "stopped"]
        finally:
            service.kill()
            delete(name)
    assert rows(tmp_path) == [("a", 1.0)]


@needs_redis
def test_values_are_in_redis_with_the_position(tmp_path, monkeypatch):
    name = unique("payments")
    stream = fti.RedisStream(name, url="redis://127.0.0.1:6379/0")
    store = f"redis://127.0.0.1:6379/0?prefix={name}"
    file = system(tmp_path, f"fti.{stream!r}")
    monkeypatch.setenv("FTI_HOME", str(tmp_path))
    command = ["stream", "payments", "-f", str(file), "--online", store, "--until-caught-up", "--batch-ms", "5"]
    online = online_store(store)
    try:
        testing.publish(stream, [event("a", 1.0), event("b", 2.0)])
        assert main(command) == 0
        testing.publish(stream, [event("a", 3.0)])
        assert main(command) == 0
        assert online.reader(NAMESPACE, columns=["amount"]).get(("a",), at_us=time.time_ns() // 1000).values == (3.0,)
        about = online.about(NAMESPACE)
        assert (about.keys, list(json.loads(about.origin)["positions"])) == (2, ["0"])
    finally:
        online.drop(NAMESPACE)
        with redis.Redis.from_url("redis://127.0.0.1:6379/0") as client:
            client.delete(name, *client.keys(f"{name}:*"))
    assert rows(tmp_path) == [("a", 1.0), ("a", 3.0), ("b", 2.0)]


def test_a_group_without_a_stream_is_refused_with_the_ones_that_have_one(tmp_path, capfd):
    file = system(tmp_path, 'fti.NatsStream("payments", url="nats://127.0.0.1:4222")')
    assert main(["stream", "cards", "-f", str(file)]) == 1
    assert "no feature group 'cards' has a stream here: the groups with one are 'payments_v1'" in capfd.readouterr().err


def _is_online(folder: Path) -> bool:
    about = online_store(str(folder / "online")).about(NAMESPACE)
    return about is not None and about.keys > 0


def delete(name: str) -> None:
    """Delete a stream of NATS."""

    async def away() -> None:
        client = await nats.connect("nats://127.0.0.1:4222")
        await client.jetstream().delete_stream(name)
        await client.close()

    asyncio.run(away())
