"""A plain request that is answered where it is read gets what the application answers."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from typing import Any

import pytest

from fti_assets.inference.server import ServingApp
from fti_assets.inference.server.endpoints.served_predictor import ServedPredictor
from fti_assets.inference.server.messages.response import Response
from tests.inference.server.test_app import AT, PLAIN, made
from tests.inference.test_predictor import World, world
from tests.support.serving import listening

__all__ = ["world"]

BODY = json.dumps(PLAIN).encode()
PATH = f"/predict/delay_net?at={AT}"
STRANGE = {**PLAIN, "origin": "nowhere", "distance": 1e40}


def message(
    body: bytes = BODY,
    path: str = PATH,
    *headers: str,
    method: str = "POST",
    version: str = "1.1",
    length: str | None = None,
    token: str = "secret",
) -> bytes:
    lines = [
        f"{method} {path} HTTP/{version}",
        "Host: x",
        "X-Request-Id: mine",
        f"Authorization: Bearer {token}",
        *headers,
    ]
    lines.append(length or f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
DIRECT = {
    "plain": message(),
    "of now": message(path="/predict/delay_net"),
    "time with an offset": message(path="/predict/delay_net?at=2013-06-01T14%3A00%3A00%2B02%3A00"),
    "no time": message(path="/predict/delay_net?at=soon"),
    "missing rows": message(json.dumps(STRANGE).encode()),
    "a field too many": message(json.dumps({**PLAIN, "more": 1}).encode()),
    "no field": message(b"{}"),
    "a value of another type": message(json.dumps({**PLAIN, "distance": "far"}).encode()),
    "in chunks": message(CHUNKED, length="Transfer-Encoding: chunked"),
    "with other headers": message(BODY, PATH, "Accept: */*", "Connection: keep-alive", "X-Other: é"),
}
USUAL = {
    "a list": message(json.dumps([PLAIN, PLAIN]).encode()),
    "with overrides": message(json.dumps({"requests": [PLAIN], "overrides": {"temp": 3.0}}).encode()),
    "no JSON": message(b"{"),
    "no body": message(b""),
    "a number": message(b"7"),
    "another query": message(path=PATH + "&more=1"),
    "another model": message(path="/predict/nobody"),
    "a graph": message(path="/predict/simple"),
    "a slash": message(path="/predict/delay_net/?at=" + AT),
    "an escape": message(path="/predict/delay%5Fnet?at=" + AT),
    "nothing behind": message(path="/predict/"),
    "another method": message(b"", method="GET"),
    "packed": message(gzip.compress(BODY, mtime=0), PATH, "Content-Encoding: gzip"),
    "that closes": message(BODY, PATH, "Connection: close"),
    "an older version": message(version="1.0"),
    "that asks before": message(BODY, PATH, "Expect: 100-continue"),
}


class Connection:
    """A connection to an application, and what it is answered."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self._data = b""

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def answer(self) -> bytes:
        """The next answer without its date, ``100 Continue`` with what follows."""
        head = self._until(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            return head + self.answer()
        [length] = re.findall(rb"content-length: (\d+)", head)
        while len(self._data) < int(length):
            self._data += self._received()
        body, self._data = self._data[: int(length)], self._data[int(length) :]
        return re.sub(rb"date: [^\r]*\r\n", b"", head) + body

    def is_closed(self) -> bool:
        self._socket.settimeout(0.05)
        try:
            return self._socket.recv(1) == b""
        except TimeoutError:
            return False
        finally:
            self._socket.close()

    def _until(self, end: bytes) -> bytes:
        while end not in self._data:
            self._data += self._received()
        head, _, self._data = self._data.partition(end)
        return head + end

    def _received(self) -> bytes:
        data = self._socket.recv(65536)
        assert data, f"the connection was closed after {self._data!r}"
        return data


@pytest.fixture
def apps(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[ServingApp, ServingApp, list[Any]]:
    """One application that answers directly, and notes each such answer; and one that never does."""
    monkeypatch.setenv("FTI_NOW", AT)
    direct, usual = (made(world, "delay_net", tokens=["secret"]) for _ in range(2))
    answered: list[Any] = []
    answer_now = direct.answer_now
    assert answer_now is not None

    def noted(*arguments: Any) -> tuple[Response, str] | None:
        result = answer_now(*arguments)
        answered.append(result)
        return result

    direct.answer_now, usual.answer_now = noted, None
    return direct, usual, answered


def counted(app: ServingApp) -> list[str]:
    """What the metrics say, but for times and how long things took."""
    lines = [line for line in app.answering.metrics.text().decode().splitlines() if "_created" not in line]
    return [line for line in lines if "feature_age" in line or not re.search("seconds_(sum|bucket|total)", line)]


def test_answers_counts_and_lines_are_the_same_whichever_way_a_request_takes(apps) -> None:
    direct, usual, answered = apps
    lines: list[list[Any]] = [[], []]
    for app, of_app in zip((direct, usual), lines, strict=True):
        app.answering.write_lines_to(of_app.append)
    with listening(direct) as address, listening(usual) as other_address:
        for name, content in {**DIRECT, **USUAL}.items():
            answered.clear()
            results = []
            for connection in (Connection(address), Connection(other_address)):
                connection.send(content)
                results.append((connection.answer(), connection.is_closed()))
            assert results[0] == results[1], name
            assert [one is not None for one in answered].count(True) == (name in DIRECT), name
    assert [(*line[1:3], line[4]) for line in lines[0]] == [(*line[1:3], line[4]) for line in lines[1]]
    assert counted(direct) == counted(usual)
    assert (
        direct.repository.statistics["delay_net"].success[0] == usual.repository.statistics["delay_net"].success[0] > 0
    )


def test_requests_that_come_at_once_or_in_pieces_are_answered_in_order(apps) -> None:
    direct, usual, answered = apps
    bodies = [json.dumps({**PLAIN, "distance": float(i)}).encode() for i in range(4)]
    together = b"".join(message(body) for body in bodies)
    cuts = [[together], [together[:-1], together[-1:]], [together[i : i + 150] for i in range(0, len(together), 150)]]
    expected = None
    with listening(direct) as address, listening(usual) as other_address:
        for pieces in cuts:
            for own_address in (address, other_address):
                connection = Connection(own_address)
                for piece in pieces:
                    connection.send(piece)
                    time.sleep(0.002)
                results = [connection.answer() for _ in bodies]
                expected = expected or results
                assert results == expected
                assert not connection.is_closed()
    assert len({*expected}) == 4
    assert any(answered)


def test_a_request_without_its_token_is_refused_on_its_direct_way(apps) -> None:
    direct, _, answered = apps
    with listening(direct) as address:
        connection = Connection(address)
        connection.send(message(token="guess"))
        assert connection.answer().startswith(b"HTTP/1.1 401")
        assert connection.is_closed()
    assert answered == [None]


def test_a_model_with_a_goal_and_a_full_server_take_the_usual_way(apps, monkeypatch) -> None:
    direct, _, answered = apps
    with listening(direct) as address:
        direct.answering.active = direct.limits.requests
        connection = Connection(address)
        connection.send(message())
        assert connection.answer().startswith(b"HTTP/1.1 503")
        assert connection.is_closed()
        direct.answering.active = 0
        monkeypatch.setattr(ServedPredictor, "latency_goal", 5.0)
        connection = Connection(address)
        connection.send(message())
        assert connection.answer().startswith(b"HTTP/1.1 200")
        assert not connection.is_closed()
    assert answered == [None, None]
