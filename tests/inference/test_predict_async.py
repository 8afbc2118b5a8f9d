"""Awaited predictions against a Redis server, some of them behind a wire that stalls."""

import asyncio
import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from fti_assets.errors import PredictionError
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.stores.online.store import online_store
from tests.inference import test_predictor
from tests.inference.test_predictor import NOON, REQUEST
from tests.inference.test_predictor_lifetime import open_files
from tests.stores.online_stores import redis_client, redis_location

world = test_predictor.world


@pytest.fixture
def location(world) -> Iterator[str]:
    """A Redis store with what the world's store holds."""
    with redis_location() as location:
        world.online, embedded = online_store(location), world.online
        world.fill()
        world.online = embedded
        yield location


class Wire:
    """A way to a server that passes bytes on while it is not stalled."""

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._open = threading.Event()
        self._open.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._ends: list[socket.socket] = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.set()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(self._there)
            self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while received := source.recv(65536):
                self._open.wait()
                sink.sendall(received)
        except OSError:
            pass


@contextmanager
def wired(location: str) -> Iterator[tuple[Wire, str]]:
    parts = urlsplit(location)
    wire = Wire(parts.hostname or "127.0.0.1", parts.port or 6379)
    try:
        yield wire, urlunsplit(parts._replace(netloc=f"127.0.0.1:{wire.port}"))
    finally:
        wire.close()


def load(world, location: str) -> Predictor:
    return Predictor.load("delay_net", models=world.models.root, online=location)


def test_the_loop_goes_on_while_the_server_stalls(world, location):
    async def asked(predictor: Predictor, wire: Wire) -> None:
        expected = await predictor.predict_async(REQUEST, at=NOON)
        wire.stall()
        waiting = [asyncio.create_task(predictor.predict_async(REQUEST, at=NOON)) for _ in range(8)]
        ticks = 0
        while (
            ticks < 50
        ):  # each tick is the loop's own: a prediction that blocked it would leave none until the server is back
            await asyncio.sleep(0.001)
            ticks += 1
        assert not any(task.done() for task in waiting)
        wire.resume()
        assert await asyncio.gather(*waiting) == [expected] * 8

    with wired(location) as (wire, through), load(world, through) as predictor:
        asyncio.run(asked(predictor, wire))


def test_cancelled_predictions_leave_the_connections_usable(world, location):
    async def asked(predictor: Predictor, wire: Wire) -> None:
        expected = await predictor.predict_async(REQUEST, at=NOON)
        for _ in range(3):
            wire.stall()
            waiting = [asyncio.create_task(predictor.predict_async(REQUEST, at=NOON)) for _ in range(8)]
            await asyncio.sleep(0.02)
            for task in waiting:
                task.cancel()
            assert all(
                isinstance(one, asyncio.CancelledError)
                for one in await asyncio.gather(*waiting, return_exceptions=True)
            )
            wire.resume()
            other = REQUEST | {"flight_id": 8}
            answers = await asyncio.gather(*(predictor.predict_async(one, at=NOON) for one in [REQUEST, other] * 6))
            assert answers[0::2] == [expected] * 6
            assert {answer.missing for answer in answers[1::2]} == {("planes_v1",)}

    with wired(location) as (wire, through), load(world, through) as predictor:
        asyncio.run(asked(predictor, wire))


def connections(name: str) -> int:
    """How many connections of a name the server has; other tests have theirs meanwhile."""
    with redis_client() as client:
        return sum(one["name"] == name for one in client.client_list())


def promoted(world, names: list[str]) -> list[str]:
    for number, name in enumerate(names):
        manifest = world.publish(number + 10, model=name)
        world.models.promote(name, manifest.reference, expected=None, reason="test")
    return names


def test_models_that_are_loaded_together_share_the_connections_of_redis(world, location):
    names = promoted(world, ["first", "second", "third"])
    name = f"fti-{uuid4().hex}"
    location += f"&client_name={name}"
    one = Predictor.load("first", models=world.models.root, online=location)
    expected = one.predict(REQUEST, at=NOON)
    of_one = connections(name)
    assert of_one > 0
    one.close()
    del one
    gc.collect()
    assert connections(name) == 0
    loaded = Predictor.load_many(names, models=world.models.root, online=location)
    assert [loaded[model].predict(REQUEST, at=NOON).value for model in names] == [expected.value] * 3
    assert connections(name) == of_one
    for model in names[:2]:
        loaded[model].close()
    gc.collect()
    assert connections(name) == of_one
    assert loaded["third"].predict(REQUEST, at=NOON).value == expected.value
    loaded["third"].close()
    gc.collect()
    assert connections(name) == 0


def test_models_that_are_loaded_together_share_the_files_of_the_embedded_store(world):
    names = promoted(world, ["first", "second", "third"])
    with Predictor.load("first", models=world.models.root, online=world.online.root) as one:
        one.predict(REQUEST, at=NOON)
        of_one = open_files(world.online.root)
    gc.collect()
    loaded = Predictor.load_many(names, models=world.models.root, online=world.online.root)
    for name in names:
        loaded[name].predict(REQUEST, at=NOON)
    assert open_files(world.online.root) == of_one
    for name in names:
        assert open_files(world.online.root) == of_one
        loaded.pop(name).close()
        gc.collect()
    assert open_files(world.online.root) == 0


def test_a_model_cannot_be_loaded_twice_together(world):
    with pytest.raises(PredictionError, match=r"\['delay_net', 'delay_net'\]: one of them comes twice"):
        Predictor.load_many(["delay_net", "delay_net"], models=world.models.root, online=world.online.root)
