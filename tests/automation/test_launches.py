"""Requests whose run never began are made again, and no others, by the sensor over new data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

from fti_assets.core import clock
from tests.automation.test_new_data import LANDED, Ticks, visits

DAY = ("visits_v1", "2024-01-01")


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    LANDED.clear()
    LANDED["visits"] = {"2024-01-01": "a"}
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ticks(instance)


def at(ticks: Ticks, minute: str) -> list[tuple[str, ...]]:
    with clock.at(f"2024-01-02T{minute}"):
        return ticks.tick()


def run_key(ticks: Ticks, minute: str) -> str:
    """Tick, and give the key of the one run that is requested."""
    with clock.at(f"2024-01-02T{minute}"):
        result = ticks.evaluate()
    ticks.cursor = result.cursor
    [request] = result.run_requests
    assert request.partition_key == "2024-01-01"
    return str(request.run_key)


def ran(ticks: Ticks, key: str, status: dg.DagsterRunStatus) -> None:
    """A run of the request that came to this without a step."""
    tags = {"dagster/run_key": key, "dagster/sensor_name": "landed"}
    ticks.instance.add_run(dg.DagsterRun(job_name="job", run_id=str(uuid4()), status=status, tags=tags))


def test_run_that_failed_before_its_step_is_requested_again_with_backoff(ticks: Ticks) -> None:
    keys = [run_key(ticks, "00:00")]
    for early, minute in [
        ("00:00:59", "00:01"),
        ("00:02:59", "00:03"),
        ("00:06", "00:07"),
        ("00:14", "00:15"),
        ("00:30", "00:31"),
    ]:
        ran(ticks, keys[-1], dg.DagsterRunStatus.FAILURE)
        assert at(ticks, early) == [], "it waits"
        keys.append(run_key(ticks, minute))
    assert len(set(keys)) == 6
    ran(ticks, keys[-1], dg.DagsterRunStatus.FAILURE)
    assert at(ticks, "02:00") == [], "it is given up after five"
    assert at(ticks, "23:00") == []
    LANDED["visits"]["2024-01-01"] = "b"
    assert at(ticks, "23:01") == [DAY], "new data are another request"


def test_a_request_that_became_no_run_is_made_again(ticks: Ticks) -> None:
    first = run_key(ticks, "00:00")
    assert run_key(ticks, "00:01") != first


def test_run_never_launched_is_launched_by_its_own_key(ticks: Ticks) -> None:
    first = run_key(ticks, "00:00")
    ran(ticks, first, dg.DagsterRunStatus.NOT_STARTED)
    assert run_key(ticks, "00:01") == first


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED])
def test_a_run_that_ended_is_not_requested_again(ticks: Ticks, status: dg.DagsterRunStatus) -> None:
    ran(ticks, run_key(ticks, "00:00"), status)
    assert at(ticks, "00:05") == []
    assert at(ticks, "05:00") == []


def test_run_that_failed_in_its_step_is_not_requested_again(ticks: Ticks) -> None:
    @dg.asset
    def broken() -> None:
        raise ValueError("the file is broken")

    tags = {"dagster/run_key": run_key(ticks, "00:00"), "dagster/sensor_name": "landed"}
    assert not dg.materialize([broken], instance=ticks.instance, tags=tags, raise_on_error=False).success
    assert at(ticks, "00:05") == []


def test_a_run_under_way_is_waited_for(ticks: Ticks) -> None:
    ran(ticks, run_key(ticks, "00:00"), dg.DagsterRunStatus.STARTED)
    assert at(ticks, "10:00") == []


def test_newer_data_take_place_of_request_that_never_began(ticks: Ticks) -> None:
    run_key(ticks, "00:00")
    LANDED["visits"]["2024-01-01"] = "b"
    assert at(ticks, "00:05") == [DAY]


def test_two_daemons_make_the_same_request_again(ticks: Ticks) -> None:
    run_key(ticks, "00:00")
    with clock.at("2024-01-02T00:01"):
        first, second = ticks.evaluate(), ticks.evaluate()
    assert [request.run_key for request in first.run_requests] == [request.run_key for request in second.run_requests]


def test_tick_requests_a_bounded_number_of_runs() -> None:
    import fti_assets as fti

    days = [f"2024-01-{day:02}" for day in range(1, 32, 2)]

    @fti.new_data_sensor(targets=[visits], most_runs=6)
    def landed_days() -> dict[Any, Any]:
        return {visits: dict.fromkeys(days, "a")}

    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance, landed_days)
        ticks.definitions = dg.Definitions([visits.assets_def], resources={"fti": fti.Stores()}, sensors=[landed_days])
        with clock.at("2024-02-01"):
            questions = [ticks.tick() for _ in range(4)]
            again = ticks.evaluate()
    assert [len(requests) for requests in questions] == [6, 6, 4, 0]
    assert sorted(day for requests in questions for _, day in requests) == days
    assert "next ticks" not in again.skip_message
