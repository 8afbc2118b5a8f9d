"""What the server answers is in the prediction log, by whichever protocol it was asked, and counted there."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

from fti_assets.inference.serving.log.files import closed_files
from tests.inference.server.test_app import AT, PLAIN, VALUE, infer, made, tensors
from tests.inference.test_predictor import World, world
from tests.support.serving import ask

__all__ = ["world"]


def logged(folder: Path, model: str = "delay_net") -> list[dict[str, Any]]:
    messages = [json.loads(line) for file in closed_files(folder / model) for line in file.lines()]
    return [one for one in messages if "request_id" in one]


def services(folder: Path, model: str = "delay_net") -> list[dict[str, Any]]:
    messages = [json.loads(line) for file in closed_files(folder / model) for line in file.lines()]
    return [one["service"] for one in messages if "service" in one]


def shut_down(app: Any) -> None:
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        assert message["type"].endswith("complete")

    asyncio.run(app({"type": "lifespan"}, receive, send))


def test_plain_requests_and_tensors_are_logged_with_the_id_that_the_client_has(world: World, tmp_path: Path) -> None:
    app = made(world, "delay_net", log=tmp_path, redact=["dest"])
    ask(app, "POST", f"/predict/delay_net?at={AT}", PLAIN, {"X-Request-Id": "plain"})
    answered = infer(app, tensors(PLAIN, PLAIN | {"origin": "LGA"}))
    shut_down(app)
    lines = logged(tmp_path)
    tensor_id = answered.headers["x-request-id"]
    assert [(line["request_id"], line["row"]) for line in lines] == [("plain", 0), (tensor_id, 0), (tensor_id, 1)]
    assert [line["value"] for line in lines[:2]] == [VALUE, VALUE]
    assert lines[0]["request"] == PLAIN | {"dest": None}
    assert {line["arm"] for line in lines} == {"champion"}
    assert all(0 < line["latency"] < 60 for line in lines)
    assert lines[2]["missing"] == ["weather_v1"]
    assert b"BOS" not in b"".join(file.path.read_bytes() for file in closed_files(tmp_path / "delay_net"))


def test_what_is_logged_and_dropped_is_counted_in_the_metrics(world: World, tmp_path: Path) -> None:
    app = made(world, "delay_net", log=tmp_path)
    ask(app, "POST", f"/predict/delay_net?at={AT}", [PLAIN, PLAIN])
    app.answering.log.flush()
    shut_down(app)
    ask(app, "POST", f"/predict/delay_net?at={AT}", PLAIN)
    text = ask(app, "GET", "/metrics").body.decode()
    assert 'fti_logged_total{model="delay_net"} 2.0' in text
    assert 'fti_log_dropped_total{model="delay_net",reason="queue"} 1.0' in text
    assert len(logged(tmp_path)) == 2


def test_what_is_refused_is_no_answer_and_is_not_logged(world: World, tmp_path: Path) -> None:
    app = made(world, "delay_net", log=tmp_path)
    assert ask(app, "POST", "/predict/delay_net", {"origin": "JFK"}).status == 400
    shut_down(app)
    assert logged(tmp_path) == []
    [service] = services(tmp_path)
    assert service["requests"] == {"400": 1}


def test_log_says_how_requests_ended_and_what_the_process_used(world: World, tmp_path: Path) -> None:
    app = made(world, "delay_net", log=tmp_path / "log")
    for request in (PLAIN, PLAIN, {"origin": "JFK"}):
        ask(app, "POST", f"/predict/delay_net?at={AT}", request)
    app.answering.active = app.answering.limits.requests  # so many are being answered
    assert ask(app, "POST", "/predict/delay_net", PLAIN).status == 503
    assert ask(app, "POST", "/predict/nobody", PLAIN).status == 404
    assert infer(app, tensors(PLAIN), "delay_net.graph").status == 503
    shut_down(app)
    messages = services(tmp_path / "log")
    assert sum((Counter(one["requests"]) for one in messages), Counter()) == {"200": 2, "400": 1, "503": 1}
    assert 0 < messages[-1]["peak_memory_bytes"] < 2**40
    assert all(one["seconds"] > 0 and one["cpu_seconds"] >= 0 for one in messages)
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["delay_net"], "nobody else has a log"
