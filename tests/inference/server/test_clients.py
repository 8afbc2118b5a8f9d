"""Other people's clients, as they are, against the server on a socket; and clients that mean it ill."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fti_assets.inference.server import Limits, serving_app
from fti_assets.stores.models.plain import publish_graph
from tests.inference.server.test_app import AT, PLAIN, VALUE
from tests.inference.test_predictor import World, world
from tests.support.serving import listening, sum_and_difference

triton: Any = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")

__all__ = ["world"]
LIMITS = Limits(header_bytes=2_000, header_seconds=0.5, body_seconds=0.5, body_bytes=100_000, connections=8)


@pytest.fixture
def address(world: World) -> Iterator[str]:
    publish_graph(world.models, "simple", sum_and_difference())
    app = serving_app("delay_net", "simple", models=world.models.root, online=world.online.root, limits=LIMITS)
    with listening(app) as where:
        yield where
    app.repository.close()


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    made = triton.InferenceServerClient(address)
    yield made
    made.close()


def simple(binary: bool) -> tuple[list[Any], np.ndarray, np.ndarray]:
    first, second = np.arange(16, dtype=np.int32)[None], np.full((1, 16), -1, np.int32)
    inputs = [triton.InferInput(f"INPUT{number}", [1, 16], "INT32") for number in range(2)]
    inputs[0].set_data_from_numpy(first, binary_data=binary)
    inputs[1].set_data_from_numpy(second, binary_data=True)
    return inputs, first, second


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritons_client_gets_sum_and_difference(client, binary, compression):
    inputs, first, second = simple(binary)
    outputs = [
        triton.InferRequestedOutput("OUTPUT0", binary_data=binary),
        triton.InferRequestedOutput("OUTPUT1", binary_data=False),
    ]
    for wanted in (outputs, None):
        result = client.infer(
            "simple", inputs, outputs=wanted, query_params={"x": 1}, request_compression_algorithm=compression
        )
        assert (result.as_numpy("OUTPUT0") == first + second).all()
        assert (result.as_numpy("OUTPUT1") == first - second).all()


def test_tritons_client_asks_asynchronously(client):
    inputs, first, second = simple(True)
    pending = [client.async_infer("simple", inputs) for _ in range(5)]
    assert all((one.get_result().as_numpy("OUTPUT0") == first + second).all() for one in pending)


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_asks_with_texts(client, binary):
    kinds = {"flight_id": ("INT64", np.int64), "distance": ("FP64", np.float64)}
    inputs = []
    for name, value in PLAIN.items():
        datatype, dtype = kinds.get(name, ("BYTES", np.object_))
        array = np.array([value, value], dtype=dtype)
        inputs.append(triton.InferInput(name, [2], datatype))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    result = client.infer("delay_net", inputs, parameters={"at": AT}, request_id="mine")
    assert result.as_numpy("probability").tolist() == [VALUE, VALUE]
    assert result.get_response()["id"] == "mine"


def test_tritons_client_controls_models(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("simple", "1")
    assert client.get_server_metadata()["name"] == "fti_assets"
    assert client.get_model_metadata("simple")["outputs"][1]["name"] == "OUTPUT1"
    assert client.get_model_config("simple")["backend"] == "onnxruntime"
    assert {entry["name"] for entry in client.get_model_repository_index()} == {
        "simple",
        "delay_net",
        "delay_net.graph",
    }
    client.unload_model("simple")
    assert not client.is_model_ready("simple")
    with pytest.raises(triton.InferenceServerException, match="^.*Request for unknown model"):
        client.infer("simple", simple(True)[0])
    client.load_model("simple")
    client.infer("simple", simple(True)[0])
    [counted] = client.get_inference_statistics("simple")["model_stats"]
    assert counted["inference_stats"]["success"]["count"] == 1


def connected(address: str) -> socket.socket:
    host, port = address.split(":")
    made = socket.create_connection((host, int(port)), timeout=10)
    return made


def answer(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection, or nothing comes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except (ConnectionResetError, BrokenPipeError):
        pass
    return b"".join(parts)


def is_well(address: str) -> bool:
    return triton.InferenceServerClient(address).is_server_ready()


def test_headers_without_end_are_cut_off(address):
    with connected(address) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\n")
        for _ in range(50):
            try:
                connection.sendall(b"x: " + b"a" * 100 + b"\r\n")
            except (ConnectionResetError, BrokenPipeError):
                break
        assert b" 431 " in answer(connection)
    with connected(address) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nx: " + b"a" * 3_000 + b"\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 431 ")
    with connected(address) as connection:
        connection.sendall(b"GET /v2?" + b"a" * 3_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 431 ")
    with connected(address) as connection:
        many = b"".join(b"h%d: %b\r\n" % (number, b"a" * 20) for number in range(100))
        connection.sendall(b"POST /v2 HTTP/1.1\r\n" + many + b"content-length: 3\r\n\r\nabc")
        assert answer(connection).count(b"HTTP/1.1 ") == 1
    assert is_well(address)


@pytest.mark.parametrize("start", [b"", b"GET /v2 HT", b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"])
def test_a_connection_that_says_nothing_is_closed(address, start):
    with connected(address) as connection:
        connection.sendall(start)
        since = time.monotonic()
        result = answer(connection)
        assert time.monotonic() - since < 8
        assert (b'{"live":true}' in result) == start.endswith(b"\r\n\r\n")
    assert is_well(address)


@pytest.mark.parametrize("header", [b"content-length: 1000\r\n", b"transfer-encoding: chunked\r\n"])
def test_a_client_that_hangs_half_way_is_answered(address, header):
    with connected(address) as connection:
        connection.sendall(b"POST /predict/delay_net HTTP/1.1\r\nhost: x\r\n" + header + b"\r\n")
        assert b" 408 " in answer(connection)
    assert is_well(address)


def test_chunks_without_end_are_cut_off(address):
    with connected(address) as connection:
        connection.sendall(b"POST /predict/delay_net HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
        try:
            for _ in range(1_000):
                connection.sendall(chunk)
        except (ConnectionResetError, BrokenPipeError):
            pass
        else:
            pytest.fail("ten megabytes were taken")
    assert is_well(address)


def test_connections_beyond_limit_are_refused_and_others_served(address):
    kept = [connected(address) for _ in range(LIMITS.connections)]
    time.sleep(0.1)
    with connected(address) as late:
        late.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer(late).startswith(b"HTTP/1.1 503 ")
    body = json.dumps(PLAIN).encode()
    kept[0].sendall(
        b"POST /predict/delay_net HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    assert answer(kept[0]).startswith(b"HTTP/1.1 200 ")
    for connection in kept:
        connection.close()
    time.sleep(0.6)
    assert is_well(address)


@pytest.mark.parametrize("reads", [False, True])
def test_a_client_that_takes_no_answer_loses_its_place(reads):
    size = 20_000_000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": b"a" * size})

    limits = Limits(header_seconds=0.4, connections=1)
    with listening(app, limits) as address, connected(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        if reads:  # slowly: three times as long as the server waits for a client that does not
            came = len(connection.recv(1000))
            for _ in range(24):
                time.sleep(0.05)
                came += len(connection.recv(2_000_000))
                assert came > 1000
            while part := connection.recv(2_000_000):
                came += len(part)
                if came > size:
                    break
            assert came > size
        else:
            time.sleep(1.2)
            with connected(address) as other:
                other.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                assert answer(other).startswith(b"HTTP/1.1 200 ")


def test_a_swap_of_champions_fails_no_request(world: World, tmp_path: Path):
    app = serving_app("delay_net", models=world.models.root, online=world.online.root)
    with listening(app) as address, connected(address) as connection:
        body = json.dumps(PLAIN).encode()
        request = b"POST /predict/delay_net?at=%b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (
            AT.encode(),
            len(body),
            body,
        )
        values = set()
        for token in range(2, 6):
            world.promote(world.publish(token, shift=float(token)))
            until = time.monotonic() + 10
            while VALUE + token not in values and time.monotonic() < until:
                connection.sendall(request)
                result = b""
                while not result.endswith(b"}"):
                    result += connection.recv(65536)
                assert result.startswith(b"HTTP/1.1 200 ")
                values.add(json.loads(result.partition(b"\r\n\r\n")[2])["value"])
        assert values == {VALUE, *(VALUE + token for token in range(2, 6))}
