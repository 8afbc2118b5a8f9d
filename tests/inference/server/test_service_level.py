"""A model's latency goal: what cannot be answered within it is refused at once, and the others are answered."""

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.inference.server.endpoints.endpoint import Stages
from fti_assets.inference.server.reading import START_TIME
from fti_assets.inference.server.service_level import ServiceLevel
from tests.inference.server.test_app import AT, PLAIN, VALUE, made
from tests.inference.test_predictor import world
from tests.support.serving import ask, listening

__all__ = ["world"]

PATH = f"/predict/delay_net?at={AT}"
SECONDS = st.floats(0, 1000)


@given(st.floats(0.001, 10), st.lists(SECONDS, max_size=20), st.integers(1, 8))
def test_without_a_queue_every_request_is_answered(goal, times, threads):
    level = ServiceLevel(threads)
    for seconds in times:
        level.observe(seconds)
    assert not level.is_out_of_reach(goal, 0.0, 0)
    assert not level.is_out_of_reach(goal, goal / 4, threads - 1)


@given(st.floats(0.001, 10), st.lists(SECONDS, max_size=20), SECONDS, st.integers(0, 100), SECONDS, st.integers(0, 100))
def test_a_longer_queue_never_turns_a_refusal_into_an_answer(goal, times, waited, active, longer, more):
    level = ServiceLevel(8)
    for seconds in times:
        level.observe(seconds)
    if level.is_out_of_reach(goal, waited, active):
        assert level.is_out_of_reach(goal, waited + longer, active + more)


def test_what_a_request_takes_follows_a_change():
    level = ServiceLevel(1)
    level.observe(1.0)
    assert level.is_out_of_reach(0.1, 0.0, 1)
    for _ in range(60):
        level.observe(0.01)
    assert not level.is_out_of_reach(0.1, 0.0, 1)


def test_a_request_that_waited_too_long_is_told_to_come_back(world):
    app = made_with_goal(world, 0.5)
    late = ask(app, "POST", PATH, PLAIN, more={START_TIME: time.perf_counter() - 0.4})
    assert (late.status, late.headers["retry-after"]) == (503, "1")
    assert "within the 500 ms that are the goal of 'delay_net'" in late.json["error"]
    assert ask(app, "POST", PATH, PLAIN).json["value"] == VALUE
    displayed = ask(app, "GET", "/metrics").body.decode()
    for line in (
        'fti_latency_goal_seconds{model="delay_net"} 0.5',
        'fti_requests_total{model="delay_net",status="503"} 1.0',
        'fti_late_total{model="delay_net"} 0.0',
        "fti_requests_in_flight 0.0",
    ):
        assert line in displayed


def test_requests_answered_after_the_goal_are_counted(world):
    app = made_with_goal(world, 1e-9)
    assert ask(app, "POST", PATH, PLAIN, more={START_TIME: time.perf_counter()}).status == 503
    app.answering.metrics.count("delay_net", 200, read=0.0, stages=Stages(0.5, 0.5), total=1.0)
    assert 'fti_late_total{model="delay_net"} 1.0' in ask(app, "GET", "/metrics").body.decode()


def test_without_a_goal_a_request_waits(world):
    app = made(world, "delay_net")
    assert ask(app, "POST", PATH, PLAIN, more={START_TIME: time.perf_counter() - 100}).status == 200


def test_a_crowd_is_answered_in_part_and_the_server_recovers(world, monkeypatch):
    app = made_with_goal(world, 2.0)
    served = type(app.repository.get("delay_net", None))
    fast = served.predict

    def slow(*arguments, **named):
        time.sleep(0.4)
        return fast(*arguments, **named)

    monkeypatch.setattr(served, "predict", slow)
    now = time.perf_counter()
    with ThreadPoolExecutor(1) as turns:  # one request after the other, as a loop answers those that came at once
        statuses = [
            turns.submit(lambda: ask(app, "POST", PATH, PLAIN, more={START_TIME: now}).status) for _ in range(40)
        ]
    assert {one.result() for one in statuses} == {200, 503}
    assert statuses[0].result() == 200
    assert statuses[-1].result() == 503
    assert ask(app, "POST", PATH, PLAIN).status == 200


@pytest.mark.soak
def test_the_server_knows_when_a_request_was_read(world):
    with listening(made_with_goal(world, 1e-9)) as address:
        assert status_of(f"http://{address}{PATH}") == 503
    with listening(made(world, "delay_net")) as address:
        world.promote(world.publish(10))
        until = time.monotonic() + 60
        while status_of(f"http://{address}{PATH}") != 200:
            assert time.monotonic() < until


def made_with_goal(world, goal):
    world.promote(world.publish(9, latency_goal=goal))
    return made(world, "delay_net")


def status_of(url):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(PLAIN).encode()), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
