"""A real service in a process of its own over real brokers: killed at random instants, its connections cut, poison among its events.

What there is in the end is held against what the broker has: every event once, as a row or as a dead letter; the version of each day is
that of a run over the same rows; and the newest event of each key is online.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.core import clock
from fti_assets.core.times import from_microseconds, microseconds
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from fti_assets.stores.streams.event import Event
from fti_assets.streaming.service import Settings, stream
from tests.support.brokers import (
    NATS_PORT,
    REDIS_PORT,
    Kafka,
    Nats,
    OwnServer,
    Proxy,
    Redis,
    nats_server,
    needs_nats,
    needs_redis,
    redis_server,
    unique,
)
from tests.support.payments import Payments, payments
from tests.support.real_service import stream_of

ROOT = Path(__file__).parents[2]
COLUMNS = ["card", "at", "stored_at", "amount", "terminal", "online"]
POISON = [
    b"", b"\xff\xfe", b"{", b"[1]", b'{"card": null}', b'{"card": "a", "card": "b"}', b'{"card": "a", "what": 1}', b"[" * 50_000,
    b'{"card": "a", "at": "2024-13-01"}', b'{"amount": 1e999}', b"9" * 100_000,
]  # fmt: skip


@dataclass
class Broker:
    """A stream of a test's own, and what it has."""

    kind: str
    stream: Any
    port: int
    names: list[str]
    cluster: Any = None

    def behind(self, proxy: Proxy) -> list[Any]:
        """What declares the same stream, over a way that can be cut."""
        suffix = "/0" if self.kind == "redis" else ""
        return [self.kind, self.stream.name, self.names, f"{self.kind}://127.0.0.1:{proxy.port}{suffix}"]

    def everything(self) -> list[Event]:
        async def read() -> list[Event]:
            batches = self.stream.read(datetime(2020, 1, 1), datetime(2100, 1, 1))
            return [event async for batch in batches for event in batch]

        return asyncio.run(read())


BROKERS = [pytest.param("nats", marks=needs_nats), pytest.param("redis", marks=needs_redis), "kafka"]


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    kind = request.param
    if kind == "kafka":
        pytest.importorskip("confluent_kafka")
        topic = unique()
        with Kafka() as cluster:
            cluster.send(topic, [])
            yield Broker(kind, fti.KafkaStream(topic, url=cluster.url), cluster.port, [], cluster)
        return
    names, url = [unique() for _ in range(4)], Nats.url if kind == "nats" else Redis.url
    stream = stream_of(kind, "payments", names, url)
    testing.publish(stream, [])
    yield Broker(kind, stream, NATS_PORT if kind == "nats" else REDIS_PORT, names)

    async def remove() -> None:
        if kind == "redis":
            async with redis_server() as server:
                await server.client.delete(*names)
            return
        async with nats_server() as other:
            for name in names:
                await other.jetstream.delete_stream(name)

    asyncio.run(remove())


class Ways:
    """A proxy in a thread of its own, which is cut now and then."""

    def __init__(self, broker: Broker, seed: int, seconds: float) -> None:
        self._draw = random.Random(seed)
        self._seconds = seconds  # between two cuts, at most
        self._loop = asyncio.new_event_loop()
        self.proxy = Proxy(broker.port, says_where=broker.kind == "kafka")
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._ended = threading.Event()

    def __enter__(self) -> Ways:
        self._thread.start()
        self._do(self.proxy.open())
        self._cuts = threading.Thread(target=self._cut_now_and_then)
        self._cuts.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.leave_alone()
        self._do(self.proxy.shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def leave_alone(self) -> None:
        self._ended.set()
        self._cuts.join()

    def _cut_now_and_then(self) -> None:
        while not self._ended.wait(self._draw.uniform(0.2, self._seconds)):
            if self._draw.random() < 0.7:
                self._loop.call_soon_threadsafe(self.proxy.cut)
            else:
                self._do(self.proxy.shut())
                self._ended.wait(0.1)
                self._do(self.proxy.open())

    def _do(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)


def contents(count: int, seed: int) -> Iterator[Any]:
    """Events of now, some of them late, some from an hour ahead, some that are none."""
    draw, now = random.Random(seed), datetime.now(UTC)
    for number in range(count):
        if draw.random() < 0.03:
            yield draw.choice(POISON)
        else:
            at = now - timedelta(seconds=draw.choice([0, 1, 1, 90_000, -3_600]), microseconds=number)
            yield {
                "card": f"c{draw.randint(0, 40)}",
                "at": at.isoformat(),
                "amount": number / 4,
                "terminal": number,
                "online": number % 2 == 0,
            }


PART = 40


def send(broker: Broker, count: int, seed: int, ended: threading.Event, pause: float = 0.1) -> None:
    """Send events little by little, those of a key to its shard, until it is ended: then the rest at once."""
    draw, part = random.Random(seed), list[Any]()
    for number, content in enumerate(contents(count, seed)):
        part.append(content)
        if len(part) >= PART or number == count - 1:
            testing.publish(broker.stream, [one for one in part if isinstance(one, dict)], key="card")
            if poison := [one for one in part if isinstance(one, bytes)]:
                testing.publish(broker.stream, poison)
            part = []
            ended.wait(draw.uniform(0.0, pause))


def check(broker: Broker, folder: Path, count: int) -> None:
    """Hold lake and online store against what the broker has."""
    events = broker.everything()
    assert len(events) == count
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for event in events:
        try:
            content = json.loads(event.payload)
            assert content.keys() == {"card", "at", "amount", "terminal", "online"}
        except (ValueError, AssertionError, AttributeError, RecursionError):
            continue
        at = datetime.fromisoformat(content["at"]).astimezone(UTC).replace(tzinfo=None)
        stored_at = from_microseconds(event.stored_at)
        rows[event.shard, event.sequence] = {**content, "at": at, "stored_at": stored_at}
    frame = pd.DataFrame(list(rows.values()))[COLUMNS]

    @fti.feature_group(
        name="payments", keys=["card"], event_time="at", available_at="stored_at", schema=Payments,
        partitions_def=dg.DailyPartitionsDefinition(start_date="2024-04-01", end_offset=2),
    )  # fmt: skip
    def by_batch(context: dg.AssetExecutionContext) -> pd.DataFrame:
        window = context.partition_time_window
        start, end = window.start.replace(tzinfo=None), window.end.replace(tzinfo=None)
        return frame[(frame["at"] >= start) & (frame["at"] < end)]

    with OfflineStore(folder / "lake").connect() as lake:
        ledger = lake.ledger(by_batch.table)
        stored = lake.rows(by_batch.table, partitions=list(ledger)).select(*map(duckdb.ColumnExpression, COLUMNS))
        assert sorted(stored.fetchall()) == sorted(tuple(row[name] for name in COLUMNS) for row in rows.values())
        letters = lake.rows(by_batch.table.dead_letters).project("shard, sequence, reason").fetchall()
    assert sorted((shard, sequence) for shard, sequence, _ in letters) == sorted(
        (one.shard, one.sequence) for one in events if (one.shard, one.sequence) not in rows
    )
    assert all(reason for *_, reason in letters)

    # A run over the same rows gives every day the same version.
    stores = testing.stores_in(folder / "batch")
    for key, record in ledger.items():
        testing.materialize(by_batch, stores=stores, partition=key)
        with stores.offline_store().connect() as lake:
            assert lake.ledger(by_batch.table)[key].data_version == record.data_version

    now = datetime.now(UTC).replace(tzinfo=None)
    reader = online_store(str(folder / "online")).reader("payments_v1", columns=["amount"])
    visible = frame[(frame["at"] <= now) & (frame["stored_at"] <= now)].sort_values(["at", "stored_at"])
    for card, amount in visible.groupby("card")["amount"].last().items():
        winner = reader.get((card,), at_us=microseconds(now))
        assert winner is not None
        assert winner.values == (amount,), card


def disturb(
    broker: Broker, folder: Path, *, kills: int, count: int, instances: int, seed: int, seconds: float = 0.6
) -> None:
    ended = threading.Event()
    with Ways(broker, seed, 2 * seconds) as ways:
        plan = {
            "stream": broker.behind(ways.proxy), "folder": str(folder), "instances": instances, "batch_events": 60, "kills": kills,
            "seed": seed, "seconds": seconds,
        }  # fmt: skip
        pause = 2 * kills * seconds * PART / count  # so that events come for as long as there are kills
        sender = threading.Thread(target=send, args=(broker, count, seed, ended, pause))
        sender.start()
        log = (folder / "service.log").open("w")
        service = subprocess.Popen(
            [sys.executable, "-m", "tests.support.real_service", json.dumps(plan)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        try:
            assert service.stdout is not None
            output = service.stdout.readline()
            assert output == "killed\n", (folder / "service.log").read_text()[-2_000:]
            ended.set()
            sender.join()
            ways.leave_alone()
            service.communicate("go on\n", timeout=120)
            assert service.returncode == 0, (folder / "service.log").read_text()[-2_000:]
        finally:
            ended.set()
            service.kill()
            service.communicate()
            log.close()
            sender.join()


@pytest.mark.soak
@pytest.mark.parametrize("broker", BROKERS[:1], indirect=True)
def test_no_event_is_lost_or_doubled_by_kills_and_cut_connections(broker: Broker, tmp_path: Path) -> None:
    disturb(broker, tmp_path, kills=3, count=600, instances=1, seed=1)
    check(broker, tmp_path, 600)


@pytest.mark.parametrize("broker", BROKERS[:1], indirect=True)
def test_a_replay_from_the_beginning_gives_the_same_versions_and_so_does_a_clock_that_is_a_minute_off(
    broker: Broker, tmp_path: Path
) -> None:
    send(broker, 120, 5, threading.Event())
    group = payments(broker.stream, online=True)
    now = datetime.now(UTC).replace(tzinfo=None)
    versions, answers = [], []
    for number, seconds in enumerate((0, -60, 60)):
        folder = tmp_path / str(number)
        offline, online = OfflineStore(folder / "lake"), online_store(str(folder / "online"))
        settings = Settings(batch_seconds=0.01, batch_events=50, until_caught_up=True)
        with clock.at(now + timedelta(seconds=seconds)):
            asyncio.run(stream([group], offline, online, folder / "outbox", settings=settings))
        with offline.connect() as lake:
            versions.append({key: (one.data_version, one.rows) for key, one in lake.ledger(group.table).items()})
        reader = online.reader("payments_v1", columns=["amount"])
        at_us = microseconds(now + timedelta(minutes=2))
        answers.append([reader.get((f"c{card}",), at_us=at_us) for card in range(41)])
    assert versions[0]
    assert versions[1:] == versions[:1] * 2
    assert answers[1:] == answers[:1] * 2
    assert any(answers[0])


@pytest.mark.parametrize("kind", ["nats", pytest.param("redis", marks=pytest.mark.soak)])
def test_a_service_goes_on_when_its_broker_was_killed_and_started_again(kind: str, tmp_path: Path) -> None:
    if shutil.which(f"{kind}-server") is None:
        pytest.skip(f"no {kind}-server to start")
    messages: list[str] = []
    taken: dict[str, int] = {}

    def say(what: str, **facts: Any) -> None:
        messages.append(what)
        taken.update(facts.get("positions", {}) if what == "flushed" else {})

    async def disturbed(own: OwnServer) -> None:
        suffix = "/0" if kind == "redis" else ""
        events = stream_of(kind, "payments", ["payments"], f"{kind}://127.0.0.1:{own.port}{suffix}")
        await asyncio.to_thread(send, Broker(kind, events, own.port, []), 40, 1, threading.Event())
        stop = asyncio.Event()
        stores = OfflineStore(tmp_path / "lake"), online_store(str(tmp_path / "online"))
        settings = Settings(batch_seconds=0.02, flush_seconds=0.1)
        group = payments(events, online=True)
        service = asyncio.ensure_future(
            stream([group], *stores, tmp_path / "outbox", settings=settings, say=say, stop=stop)
        )
        await until(lambda: "flushed" in messages, service)
        own.kill()
        await until(lambda: "broker_away" in messages, service)
        await asyncio.to_thread(own.start)
        await asyncio.to_thread(send, Broker(kind, events, own.port, []), 40, 2, threading.Event())
        stored = [one async for batch in events.read(datetime(2020, 1, 1), datetime(2100, 1, 1)) for one in batch]
        assert len(stored) == 80
        await until(lambda: taken.get("0") == stored[-1].sequence, service)
        stop.set()
        await service
        with stores[0].connect() as lake:
            rows = lake.rows(group.table).aggregate("count(*)").fetchone()
            letters = lake.rows(group.table.dead_letters).aggregate("count(*)").fetchone()
        assert rows is not None
        assert letters is not None
        assert rows[0] + letters[0] == 80

    async def until(condition: Any, service: asyncio.Future[None]) -> None:
        deadline = asyncio.get_running_loop().time() + 60
        while not condition():
            assert not service.done(), service
            assert asyncio.get_running_loop().time() < deadline, messages
            await asyncio.sleep(0.02)

    (tmp_path / "broker").mkdir()
    own = OwnServer.nats(tmp_path / "broker") if kind == "nats" else OwnServer.redis(tmp_path / "broker")
    with own:
        asyncio.run(disturbed(own))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("broker", BROKERS, indirect=True)
def test_no_event_is_lost_or_doubled_by_many_kills(broker: Broker, tmp_path: Path, seed: int) -> None:
    disturb(broker, tmp_path, kills=20, count=6_000, instances=1 + seed % 2, seed=100 + seed, seconds=4.0)
    check(broker, tmp_path, 6_000)
