"""Features are looked up here while another server runs the graph: ours, which serves ``<model>.graph`` as Triton would."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from fti_assets.errors import PredictionError, StoreError
from fti_assets.inference.server import serving_app
from fti_assets.inference.server.remote.connection import GraphServer
from tests.inference.server.test_app import AT, PLAIN, infer, tensors
from tests.inference.test_predictor import NOON, REQUEST, world
from tests.support.serving import ask, listening

__all__ = ["world"]


def app_of(world: Any, **options: Any) -> Any:
    return serving_app("delay_net", models=world.models.root, online=world.online.root, **options)


@contextmanager
def answering(respond: Callable[[bytes], tuple[int, dict[str, str], bytes]]) -> Iterator[str]:
    """A server of somebody else's, by its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, headers, body = respond(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            for name, value in ({"content-length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_answers_are_those_of_a_server_that_runs_its_own_graph(world):
    alone = app_of(world, tokens=["s3cret"])
    with pytest.MonkeyPatch.context() as patch, listening(alone) as graphs:
        patch.setenv("FTI_GRAPH_TOKEN", "s3cret")
        transformer = app_of(world, graph_server=f"http://{graphs}")
        expected = world.load().predict([REQUEST, REQUEST | {"origin": "é", "dest": None}], at=NOON)
        requests = [PLAIN, PLAIN | {"origin": "é", "dest": None}]
        messages = ask(transformer, "POST", f"/predict/delay_net?at={AT}", requests)
        assert [one["value"] for one in messages.json["predictions"]] == [one.value for one in expected]
        assert [one["features"]["temp"] for one in messages.json["predictions"]] == [70.0, None]
        fields = infer(transformer, tensors(PLAIN, PLAIN)).json
        assert fields["outputs"][0]["data"] == [expected[0].value] * 2
        metadata = [
            ask(one, "GET", "/v2/models/delay_net.graph", headers={"Authorization": "Bearer s3cret"}).json
            for one in (transformer, alone)
        ]
        assert metadata[0] == metadata[1]
        patch.setenv("FTI_GRAPH_TOKEN", "wrong")
        refused = ask(transformer, "POST", f"/predict/delay_net?at={AT}", PLAIN)
        assert (refused.status, "with status 401" in refused.json["error"]) == (503, True)
        transformer.repository.close()
    alone.repository.close()


def test_a_graph_server_that_goes_away_is_503_until_it_is_back(world):
    alone = app_of(world)
    with listening(alone) as graphs:
        transformer = app_of(world, graph_server=f"http://{graphs}")
        assert ask(transformer, "POST", f"/predict/delay_net?at={AT}", PLAIN).status == 200
    removed = ask(transformer, "POST", f"/predict/delay_net?at={AT}", PLAIN)
    assert removed.status == 503
    assert removed.headers["retry-after"] == "1"
    assert f"the graph server http://{graphs} does not answer" in removed.json["error"]
    for app in (alone, transformer):
        app.repository.close()


def test_server_with_another_build_is_refused(world):
    older = app_of(world)
    with listening(older) as graphs:
        transformer = app_of(world, graph_server=f"http://{graphs}")
        older.repository.close()
        world.promote(world.publish(2, shift=7.0))
        with pytest.raises(
            PredictionError, match="does not answer as delay_net/v1/.*00000002 does: it has another build"
        ):
            app_of(world, graph_server=f"http://{graphs}")
        transformer.repository.follow()  # which keeps the build that the graph server has
        assert ask(transformer, "POST", f"/predict/delay_net?at={AT}", PLAIN).json["build"].endswith("00000001")
        transformer.repository.close()


def test_a_connection_that_the_server_closed_is_opened_again():
    def respond(body: bytes) -> tuple[int, dict[str, str], bytes]:
        calls.append(body)
        answer = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1.5, None]}]}
        return 200, {"connection": "close"} if len(calls) % 2 else {}, json.dumps(answer).encode()

    calls: list[bytes] = []
    feeds = {"x": np.array([[1.0]], np.float32), "t": np.array([["é"]], object)}
    with answering(respond) as url:
        server = GraphServer(url)
        for _ in range(5):
            assert repr(server.infer("m.graph", feeds, ["y"])[0].tolist()) == "[1.5, nan]"
    assert len(calls) == 5
    assert calls[0].endswith(np.float32(1).tobytes() + b"\x02\x00\x00\x00" + "é".encode())


OUTPUT = {"name": "y", "datatype": "FP32", "shape": [1]}


@pytest.mark.parametrize(
    ("status", "headers", "body", "problem"),
    [
        (200, {}, b"", "what is no inference, JSONDecodeError"),
        (200, {}, b"[" * 100_000, "what is no inference, RecursionError"),
        (200, {}, b"{}", "what is no inference, KeyError"),
        (200, {}, b'{"outputs": []}', "what is no inference, KeyError"),
        (200, {}, json.dumps({"outputs": [OUTPUT]}).encode(), "what is no inference, KeyError"),
        (
            200,
            {},
            json.dumps({"outputs": [OUTPUT | {"shape": [9], "data": [1]}]}).encode(),
            "has 1 values: 9 are expected",
        ),
        (200, {"Inference-Header-Content-Length": "x"}, b"{}", "what is no inference, ValueError"),
        (
            200,
            {},
            json.dumps({"outputs": [OUTPUT | {"parameters": {"binary_data_size": 4}}]}).encode(),
            "has 0 bytes: 4",
        ),
        (404, {}, b'{"error": "no such model"}', "with status 404: 'no such model'"),
        (500, {}, b"\xff<html>", "with status 500"),
    ],
)
def test_answer_that_is_none_is_an_error_that_names_server(status, headers, body, problem):
    with answering(lambda _: (status, headers, body)) as url:
        with pytest.raises(StoreError, match=problem) as caught:
            GraphServer(url).infer("m.graph", {"x": np.zeros((1, 1), np.float32)}, ["y"])
        assert url in str(caught.value)
        assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "url", ["", "triton:8000", "ftp://host", "http://", "http://h:x", "http://user:pw@h:1", "http://h/?a=1"]
)
def test_what_is_no_url_is_refused_without_its_password(url):
    with pytest.raises(StoreError, match="has no address: write http://host:port") as caught:
        GraphServer(url)
    assert "pw" not in str(caught.value)
