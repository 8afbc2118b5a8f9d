"""Real brokers: streams of their own for a test, and a way between that can be cut."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import pytest

NATS_PORT, REDIS_PORT = 4222, 6379


def is_there(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


needs_nats = pytest.mark.skipif(not is_there(NATS_PORT), reason="no NATS server on port 4222")
needs_redis = pytest.mark.skipif(not is_there(REDIS_PORT), reason="no Redis server on port 6379")


def unique(prefix: str = "fti_test") -> str:
    return f"{prefix}_{uuid4().hex[:10]}"


class Nats:
    """Streams of JetStream for one test."""

    url = f"nats://127.0.0.1:{NATS_PORT}"

    def __init__(self, client: Any) -> None:
        self.client = client
        self.jetstream = client.jetstream()
        self._names: list[str] = []

    async def make(self, name: str | None = None, *, kept: bool = False, **config: Any) -> str:
        name = name or unique()
        await self.jetstream.add_stream(name=name, subjects=[name], **config)
        if not kept:
            self._names.append(name)
        return name

    async def send(self, name: str, payloads: Iterable[bytes]) -> None:
        sent = [await self.jetstream.publish_async(name, one) for one in payloads]
        await asyncio.gather(*sent)

    async def close(self) -> None:
        for name in self._names:
            try:
                await self.jetstream.delete_stream(name)
            except Exception:  # a test may have deleted it
                continue
        await self.client.close()


@asynccontextmanager
async def nats_server(url: str = Nats.url) -> AsyncIterator[Nats]:
    import nats

    server = Nats(await nats.connect(url))
    try:
        yield server
    finally:
        await server.close()


class Proxy:
    """A way to a server on this machine that can be cut, and shut for a while."""

    def __init__(self, port: int, *, says_where: bool = False) -> None:
        self._target = port
        self._says_where = says_where  # a server that tells clients its own port, in four bytes behind the host
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Proxy:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.shut()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Cut what is connected now; new connections are taken."""
        for writer in [*self._writers]:
            writer.transport.abort()

    async def shut(self) -> None:
        """As if the server were down."""
        if self._server is not None:
            loop = asyncio.get_running_loop()
            for one in self._server.sockets:
                loop.remove_reader(one.fileno())
            # A connection that was taken just now has its task a few turns of the loop later. One that asyncio is still making
            # when its server closes is left open for ever.
            for _ in range(5):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        while self._tasks:
            self.cut()
            await asyncio.wait(self._tasks, timeout=0.05)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        back: asyncio.StreamWriter | None = None
        try:
            present, back = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(back)
            old, new = (b"127.0.0.1" + port.to_bytes(4, "big") for port in (self._target, self.port))
            await asyncio.gather(_copy(reader, back), _copy(present, writer, (old, new) if self._says_where else None))
        except OSError:
            pass
        finally:
            for one in (writer, back):
                if one is not None:
                    one.transport.abort()
                    self._writers.discard(one)
            self._tasks.discard(task)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, instead: tuple[bytes, bytes] | None = None
) -> None:
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk if instead is None else chunk.replace(*instead))
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort()


async def all_of(subscription: Any, count: int, *, at_most: int = 100, within: float = 10.0) -> list[Any]:
    """The next events, as many as there must be; fewer if they do not come in time."""
    events: list[Any] = []
    deadline = asyncio.get_running_loop().time() + within
    while len(events) < count and asyncio.get_running_loop().time() < deadline:
        events += await subscription.fetch(at_most, 0.5)
    return events


def sequences(events: Sequence[Any]) -> list[int]:
    return [one.sequence for one in events]


class Redis:
    """Streams of Redis for one test."""

    url = f"redis://127.0.0.1:{REDIS_PORT}/0"

    def __init__(self, client: Any) -> None:
        self.client = client
        self._keys: list[str] = []

    async def make(self, key: str | None = None, *, kept: bool = False) -> str:
        key = key or unique()
        await self.client.xgroup_create(key, "made", "$", mkstream=True)
        await self.client.xgroup_destroy(key, "made")
        if not kept:
            self._keys.append(key)
        return key

    async def send(self, key: str, payloads: Iterable[bytes], *, field: str = "data") -> None:
        commands = self.client.pipeline(transaction=False)
        for payload in payloads:
            commands.xadd(key, {field: payload})
        await commands.execute()

    async def close(self) -> None:
        if self._keys:
            await self.client.delete(*self._keys)
        await self.client.aclose()


@asynccontextmanager
async def redis_server(url: str = Redis.url) -> AsyncIterator[Redis]:
    import redis.asyncio

    server = Redis(redis.asyncio.Redis.from_url(url))
    try:
        yield server
    finally:
        await server.close()


def kafka_threads() -> list[str]:
    """The threads of Kafka's clients and mock clusters that are alive in this process."""
    names = []
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it may have ended
            names.append((thread / "comm").read_text().strip())
    return sorted(name for name in names if name.startswith("rdk:"))


class Kafka:
    """The mock cluster of librdkafka, which lives in this process: one that is left to garbage collection is
    destroyed in the middle of another test, in whatever thread collects."""

    def __init__(self) -> None:
        from confluent_kafka import Producer

        self._producer = Producer({"test.mock.num.brokers": 1, "log_level": 3})
        (broker,) = self._producer.list_topics(timeout=10).brokers.values()
        self.port = broker.port
        self.url = f"kafka://127.0.0.1:{broker.port}"

    def __enter__(self) -> Kafka:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._producer.purge()  # a close waits for what is still to be sent
        self._producer.close()

    def send(
        self,
        topic: str,
        payloads: Iterable[bytes | None],
        *,
        partition: int = 0,
        at_ms: int = 0,
        key: str | None = None,
    ) -> None:
        where = {"partition": partition} if key is None else {"key": key}
        for number, payload in enumerate(payloads):
            self._producer.produce(topic, payload, timestamp=at_ms, **where)
            if number % 1_000 == 0:
                self._producer.poll(0)
        assert self._producer.flush(20) == 0

    @contextmanager
    def transaction(self) -> Iterator[Callable[[str, bytes], None]]:
        """Send messages in one transaction, whose marker follows them."""
        from confluent_kafka import Producer

        address = {"bootstrap.servers": f"127.0.0.1:{self.port}", "transactional.id": unique(), "log_level": 3}
        with Producer(address) as producer:
            producer.init_transactions(20)
            producer.begin_transaction()
            yield lambda topic, payload: producer.produce(topic, payload, partition=0)
            producer.commit_transaction(20)


class OwnServer:
    """A server of a test's own, which can be stopped, killed and started again on its port and its folder."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        self._command = command
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def redis(cls, folder: Path) -> OwnServer:
        port = free_port()
        options = {
            "port": port,
            "bind": "127.0.0.1",
            "dir": folder,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return cls(["redis-server", *arguments], port)

    @classmethod
    def nats(cls, folder: Path) -> OwnServer:
        port = free_port()
        return cls(["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)], port)

    def __enter__(self) -> OwnServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not is_there(self.port):
            assert time.monotonic() < deadline, f"{self._command[0]} does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
