"""Triton's client for gRPC, as it is, against the server on a socket."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import uvicorn

from fti_assets.core.extras import EXTRAS
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.inference.server import Limits, ServingApp, serving_app
from fti_assets.inference.server.messages.protobuf import POOL, message
from fti_assets.inference.server.rpc import start
from fti_assets.inference.server.service import Settings, _free, _Worker, http_config
from fti_assets.stores.models.plain import publish_graph
from tests.inference.server.test_app import AT, PLAIN, VALUE
from tests.inference.test_predictor import World, world
from tests.support.serving import ask, sum_and_difference

triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")
grpc: Any = pytest.importorskip("grpc")

__all__ = ["world"]
SHORTENED = {"ModelConfig", "ModelInput", "ModelOutput", "ModelStatistics"}


@contextmanager
def listening(app: ServingApp) -> Iterator[str]:
    """The application's gRPC side on a free port of 127.0.0.1."""
    started, over = threading.Event(), threading.Event()
    address = []

    async def run() -> None:
        server, port = await start(app.answering, "127.0.0.1", 0)
        address.append(f"127.0.0.1:{port}")
        started.set()
        while not over.is_set():
            await asyncio.sleep(0.01)
        await server.stop(0)

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield address[0]
    finally:
        over.set()
        thread.join()
        app.repository.close()


def made(world: World, **options: Any) -> ServingApp:
    publish_graph(world.models, "simple", sum_and_difference())
    return serving_app("delay_net", "simple", models=world.models.root, online=world.online.root, **options)


@pytest.fixture
def app(world: World) -> ServingApp:
    return made(world, limits=Limits(rows=20, body_bytes=100_000))


@pytest.fixture
def address(app: ServingApp) -> Iterator[str]:
    with listening(app) as where:
        yield where


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    with triton.InferenceServerClient(address) as opened:
        yield opened


def simple(rows: int = 1) -> tuple[list[Any], np.ndarray, np.ndarray]:
    first, second = np.tile(np.arange(16, dtype=np.int32), (rows, 1)), np.full((rows, 16), -1, np.int32)
    inputs = [triton.InferInput(f"INPUT{number}", [rows, 16], "INT32") for number in range(2)]
    inputs[0].set_data_from_numpy(first)
    inputs[1].set_data_from_numpy(second)
    return inputs, first, second


def flights(rows: int) -> list[Any]:
    kinds = {"flight_id": ("INT64", np.int64), "distance": ("FP64", np.float64)}
    inputs = []
    for name, value in PLAIN.items():
        datatype, dtype = kinds.get(name, ("BYTES", np.object_))
        inputs.append(triton.InferInput(name, [rows], datatype))
        inputs[-1].set_data_from_numpy(np.array([value] * rows, dtype=dtype))
    return inputs


def typed(model: str, *tensors: tuple[str, str, list[int], dict[str, list[Any]]], **more: Any) -> Any:
    return message("ModelInferRequest")(
        model_name=model,
        inputs=[
            {"name": name, "datatype": datatype, "shape": shape, "contents": contents}
            for name, datatype, shape, contents in tensors
        ],
        **more,
    )


def call(address: str, request: Any, name: str = "ModelInfer", metadata: Any = None) -> Any:
    """One call with messages of our own."""
    with grpc.insecure_channel(address) as channel:
        method = channel.unary_unary(
            f"/inference.GRPCInferenceService/{name}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=message(f"{name}Response").FromString,
        )
        return method(request, metadata=metadata, timeout=10)


def refused(code: str, said: str) -> Any:
    return pytest.raises(triton.InferenceServerException, match=f"(?s)StatusCode.{code}.*{said}")


def test_the_messages_are_those_of_the_protocol():
    from tritonclient.grpc import model_config_pb2, service_pb2

    theirs = {**service_pb2.DESCRIPTOR.message_types_by_name, **model_config_pb2.DESCRIPTOR.message_types_by_name}
    ours = POOL.FindFileByName("inference.proto")

    def fields(kind: Any) -> dict[str, Any]:
        return {
            field.name: (
                field.number,
                field.type,
                field.is_repeated,
                field.message_type and field.message_type.full_name,
                field.enum_type and field.enum_type.full_name,
                field.containing_oneof and field.containing_oneof.name,
            )
            for field in kind.fields
        }

    def compare(kind: Any, other: Any) -> None:
        if kind.name in SHORTENED:
            assert fields(kind).items() <= fields(other).items()
        else:
            assert fields(kind) == fields(other), kind.full_name
        for name, nested in kind.nested_types_by_name.items():
            compare(nested, other.nested_types_by_name[name])

    for name, kind in ours.message_types_by_name.items():
        compare(kind, theirs[name])
    assert [(one.name, one.number) for one in ours.enum_types_by_name["DataType"].values] == [
        (one.name, one.number) for one in model_config_pb2.DESCRIPTOR.enum_types_by_name["DataType"].values
    ]
    assert EXTRAS["grpc"] == "server"


def test_the_server_and_its_models_are_described(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata().name == "fti_assets"
    described = client.get_model_metadata("delay_net.graph")
    assert [(one.name, one.datatype, list(one.shape)) for one in described.inputs] == [
        ("numbers", "FP32", [-1, 6]),
        ("text.origin", "BYTES", [-1, 1]),
        ("integer.tail", "INT64", [-1, 1]),
    ]
    config = client.get_model_config("delay_net.graph").config
    assert (config.name, config.platform, config.backend) == ("delay_net.graph", "onnxruntime_onnx", "onnxruntime")
    assert [one.data_type for one in config.input] == [11, 13, 9]


def test_tritons_client_gets_sum_and_difference(client):
    inputs, first, second = simple()
    for outputs in (None, [triton.InferRequestedOutput("OUTPUT1")]):
        result = client.infer("simple", inputs, outputs=outputs, request_id="mine")
        assert (result.as_numpy("OUTPUT1") == first - second).all()
        assert (result.as_numpy("OUTPUT0") is None) == (outputs is not None)
        assert result.get_response().id == "mine"


def test_tritons_client_asks_asynchronously(client):
    inputs, first, second = simple()
    arrived: list[Any] = []
    came = threading.Semaphore(0)

    def take(result: Any, error: Any) -> None:
        arrived.append(error or result)
        came.release()

    for _ in range(5):
        client.async_infer("simple", inputs, take)
    assert all(came.acquire(timeout=10) for _ in range(5))
    assert all((one.as_numpy("OUTPUT0") == first + second).all() for one in arrived)


def test_texts_get_the_features_looked_up(client):
    result = client.infer("delay_net", flights(2), parameters={"at": AT})
    assert result.as_numpy("probability").tolist() == [VALUE, VALUE]
    assert result.get_response().parameters["build"].string_param == "v1/20130601T000000Z-00000001"


def test_a_typed_request_gets_typed_outputs(address):
    contents = {"flight_id": ("INT64", "int64_contents"), "distance": ("FP64", "fp64_contents")}
    tensors = []
    for name, value in PLAIN.items():
        datatype, place = contents.get(name, ("BYTES", "bytes_contents"))
        tensors.append((name, datatype, [1], {place: [value.encode() if isinstance(value, str) else value]}))
    response = call(address, typed("delay_net", *tensors, parameters={"at": {"string_param": AT}}))
    assert list(response.outputs[0].contents.fp32_contents) == [VALUE]
    assert not response.raw_output_contents


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (("INPUT0", "INT32", [1, 16], {"int_contents": [1]}), "'INPUT0' of shape .* has 1 values: 16"),
        (("INPUT0", "INT32", [1, 1], {"fp32_contents": [1.0]}), "'INPUT0' .* has fp32_contents: int_contents"),
        (("INPUT0", "INT8", [1], {"int_contents": [1000]}), "'INPUT0' .*beyond those of INT8"),
        (("INPUT0", "FP16", [1], {}), "'INPUT0' is FP16, which has no typed contents"),
        (("INPUT0", "BYTES", [1], {"bytes_contents": [b"\xff"]}), "'INPUT0' has bytes that are not UTF-8"),
        (("INPUT0", "INT32", [-1], {}), "'INPUT0' has the shape"),
        (("INPUT9", "INT32", [1], {"int_contents": [1]}), "needs the inputs"),
    ],
    ids=["length", "contents", "range", "half", "text", "shape", "name"],
)
def test_a_wrong_tensor_is_refused_by_its_name(address, tensor, said):
    with pytest.raises(grpc.RpcError, match=said) as caught:
        call(address, typed("simple", tensor))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_raw_contents_must_be_one_for_each_input(address):
    tensor = ("INPUT0", "INT32", [1], {"int_contents": [1]})
    for raw, result in (([b"", b""], "has 2 tensors"), ([b"abcd"], "both contents and raw")):
        with pytest.raises(grpc.RpcError, match=result):
            call(address, typed("simple", tensor, raw_input_contents=raw))


def test_models_are_controlled(client):
    assert client.is_model_ready("simple", "1")
    names = {entry.name for entry in client.get_model_repository_index().models}
    assert names == {"simple", "delay_net", "delay_net.graph"}
    client.unload_model("simple")
    assert not client.is_model_ready("simple")
    with refused("NOT_FOUND", "Request for unknown model"):
        client.infer("simple", simple()[0])
    client.load_model("simple")
    client.infer("simple", simple()[0])
    [counted] = client.get_inference_statistics("simple").model_stats
    assert counted.inference_stats.success.count == counted.inference_count == 1
    with refused("INVALID_ARGUMENT", "no parameters"):
        client.load_model("simple", config="{}")


def test_too_much_is_refused(client, app):
    with refused("RESOURCE_EXHAUSTED", "21 rows: at most 20"):
        client.infer("delay_net", flights(21))
    with refused("RESOURCE_EXHAUSTED", "larger than max"):
        client.infer("simple", simple(rows=1_000)[0])
    with refused("UNIMPLEMENTED", ""):
        client.infer("simple", simple()[0], compression_algorithm="gzip")
    app.answering.active = app.limits.requests
    with refused("UNAVAILABLE", "takes no more now"):
        client.infer("simple", simple()[0])


def test_connections_beyond_the_limit_are_refused_and_others_served(world):
    app = made(world, limits=Limits(connections=2))
    with listening(app) as address, ExitStack() as opened:
        clients = [opened.enter_context(alone(address)) for _ in range(2)]
        assert [client.is_server_live() for client in clients] == [True, True]
        with alone(address) as third, refused("UNAVAILABLE", ""):
            third.is_server_live()
        assert [client.is_server_live() for client in clients] == [True, True]
        clients[0].close()
        assert comes_true(lambda: is_live(address))


@pytest.mark.parametrize(
    "begun", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"], ids=["silent", "greeted"]
)
def test_a_connection_without_calls_loses_its_place(world, begun):
    app = made(world, limits=Limits(connections=1, header_seconds=0.3))
    with listening(app) as address, socket.create_connection(address.split(":"), timeout=10) as hung:
        hung.sendall(begun)
        assert hung.recv(1)  # the server's greeting: the place is taken
        assert not is_live(address)
        while hung.recv(1000):
            pass
        assert comes_true(lambda: is_live(address))


def test_a_message_that_does_not_come_is_waited_for_so_long(world, caplog):
    app = made(world, limits=Limits(connections=1, header_seconds=0.4, body_seconds=0.3))
    held = threading.Event()

    def nothing() -> Iterator[Any]:
        held.wait(10)
        yield from ()

    with listening(app) as address, grpc.insecure_channel(address) as channel, caplog.at_level(logging.INFO):
        method = channel.stream_unary("/inference.GRPCInferenceService/ServerLive")
        with pytest.raises(grpc.RpcError, match="within 0.3 s") as caught:
            method(nothing())
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert json.loads(caplog.messages[-1])["status"] == 408
        assert comes_true(lambda: is_live(address))  # the channel is open: its connection is not
        held.set()
        with pytest.raises(grpc.RpcError, match="no message"):
            method(iter(()), wait_for_ready=True, timeout=20)  # the place may still be that of the call before


def alone(address: str) -> Any:
    """A client with a connection of its own: clients of one process share theirs."""
    return triton.InferenceServerClient(address, channel_args=[("grpc.use_local_subchannel_pool", 1)])


def is_live(address: str) -> bool:
    try:
        with alone(address) as client:
            return bool(client.is_server_live())
    except triton.InferenceServerException:
        return False


def comes_true(happens: Callable[[], bool]) -> bool:
    """Whether something is so within ten seconds."""
    until = time.monotonic() + 10
    while not (is_so := happens()) and time.monotonic() < until:
        time.sleep(0.02)
    return is_so


def test_a_store_that_cannot_be_read_is_unavailable(client, app, monkeypatch):
    def fail(*_: Any, **__: Any) -> Any:
        raise StoreError("the online store cannot be read")

    monkeypatch.setattr(app.repository.get("delay_net"), "infer", fail)
    with refused("UNAVAILABLE", "the online store cannot be read"):
        client.infer("delay_net", flights(1))


def test_a_token_is_asked_for_except_for_health(world):
    with (
        listening(made(world, tokens=["secret"])) as address,
        triton.InferenceServerClient(address) as client,
    ):
        assert client.is_server_live()
        assert client.is_server_ready()
        for headers in (None, {"authorization": "Bearer other"}):
            with refused("UNAUTHENTICATED", "no valid token"):
                client.infer("simple", simple()[0], headers=headers)
        client.infer("simple", simple()[0], headers={"authorization": "Bearer secret"})


def test_calls_stand_in_metrics_and_log_beside_requests(client, app, caplog):
    with caplog.at_level(logging.INFO, logger="fti_assets.access"):
        client.infer("simple", simple()[0], headers={"x-request-id": "mine"})
    line = json.loads(caplog.messages[-1])
    assert line["path"] == "/inference.GRPCInferenceService/ModelInfer"
    assert (line["request_id"], line["status"], line["model"], line["rows"]) == ("mine", 200, "simple", 1)
    assert line["client"] == "127.0.0.1"
    assert 'fti_requests_total{model="simple",status="200"} 1.0' in ask(app, "GET", "/metrics").body.decode()


def test_one_worker_answers_both_protocols_and_ends_both(world):
    app = made(world)
    settings = Settings(("simple",), port=0, grpc_port=_free("127.0.0.1", 0), stop_seconds=5)
    server = uvicorn.Server(http_config(settings, _Worker(app, settings)))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=10) as answer:
            assert answer.status == 200
        with triton.InferenceServerClient(f"127.0.0.1:{settings.grpc_port}") as client:
            inputs, first, second = simple()
            assert (client.infer("simple", inputs).as_numpy("OUTPUT0") == first + second).all()
    finally:
        server.should_exit = True
        thread.join()
        app.repository.close()
    assert _free("127.0.0.1", settings.grpc_port or 0) == settings.grpc_port


def test_a_port_that_is_taken_is_refused(address):
    with pytest.raises(DeclarationError, match="name another --grpc-port"):
        _free("127.0.0.1", int(address.rpartition(":")[2]))
    assert _free("127.0.0.1", 0) > 0
