"""Dagster is told of what a service flushes, and a service does not mind if it cannot be told."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from datetime import datetime, timedelta

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.alerts.checks import broken_checks
from fti_assets.core import clock
from fti_assets.core.names import Commit, PartitionRecord
from fti_assets.streaming.flush import Flush
from fti_assets.streaming.reports import Reports, reporting
from fti_assets.streaming.service import Settings, stream
from fti_assets.testing import MemoryStream
from tests.streaming.test_runs_beside import frame, group_over
from tests.streaming.test_service import World
from tests.support.payments import DAY, MINUTE, payment, payments

AT = DAY + 660 * MINUTE
NOW = datetime(2024, 5, 1, 11, 0, 30)
LONG = 3600.0


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def told():
    return []


@pytest.fixture
def say(told):
    return lambda what, **facts: told.append((what, facts))


def flush_of(group, version: str, *, rows: int = 3, lag: int = 0, dead: int = 0, age_s: int = 30, run_at=NOW) -> Flush:
    record = PartitionRecord("2024-05-01", version, rows, NOW, run_at, "", "{}")
    return Flush(
        group.table, Commit(7, (record,), ("2024-05-01",), {}), {"2024-05-01": 3}, 0, {"no JSON": dead} if dead else {},
        {0: 12}, {0: lag}, NOW - timedelta(seconds=age_s), NOW - timedelta(seconds=age_s + 60),
    )  # fmt: skip


def events_of(instance, group) -> list[dg.AssetMaterialization]:
    records = instance.fetch_materializations(group.key, limit=100).records
    return [record.asset_materialization for record in reversed(records)]


def newest_check(instance, group, name: str):
    [record] = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(group.key, name), limit=1)
    return record.event.dagster_event.event_specific_data


def wait_for(what) -> None:
    until = time.monotonic() + 30
    while not what() and time.monotonic() < until:
        time.sleep(0.01)
    assert what()


def test_the_first_change_of_a_partition_is_reported_at_once_and_the_last_one_at_the_end(instance, say, told):
    group = payments(MemoryStream("payments"))
    with clock.at(NOW), closing(Reports(lambda: instance, [group], LONG, say)) as reports:
        reports.flushed(flush_of(group, "2.a"))
        wait_for(lambda: events_of(instance, group))
        for version in ("2.b", "2.c", "2.d"):
            reports.flushed(flush_of(group, version))
    first, last = events_of(instance, group)
    assert [one.tags["dagster/data_version"] for one in (first, last)] == ["2.a", "2.d"]
    assert [one.metadata["rows_added"].value for one in (first, last)] == [3, 9]
    facts = {name: value.value for name, value in last.metadata.items()}
    assert facts["position"] == {"0": 12}
    assert (facts["dagster/partition_row_count"], facts["lag"], facts["freshness_s"], facts["snapshot"]) == (
        3,
        0,
        30,
        7,
    )
    assert not told


def test_a_change_that_had_to_wait_is_reported_without_another_flush(instance, say):
    group = payments(MemoryStream("payments"))
    with clock.at(NOW), closing(Reports(lambda: instance, [group], 0.2, say)) as reports:
        reports.flushed(flush_of(group, "2.a"))
        wait_for(lambda: len(events_of(instance, group)) == 1)
        reports.flushed(flush_of(group, "2.b"))
        wait_for(lambda: len(events_of(instance, group)) == 2)


def test_a_service_that_is_behind_or_has_dead_letters_warns(instance, say):
    group = payments(MemoryStream("payments"))
    for lag, age_s, dead, passed in ((5, 30, 0, (True, True)), (0, 300, 0, (True, True)), (5, 300, 2, (False, False))):
        with clock.at(NOW), closing(Reports(lambda: instance, [group], LONG, say)) as reports:
            reports.flushed(flush_of(group, "2.a", lag=lag, age_s=age_s, dead=dead))
        checks = [newest_check(instance, group, name) for name in ("lag", "dead_letters")]
        assert tuple(check.passed for check in checks) == passed
        assert {check.severity for check in checks} == {dg.AssetCheckSeverity.WARN}
    assert "5 events are to be read, and its newest row is of 300 s ago" in checks[0].description
    assert "2 events of the last day are no rows of payments_v1" in checks[1].description
    causes = broken_checks(instance, [group.assets_def], []).findings(gates=(), warnings=True).causes
    assert {cause.title for cause in causes} == {
        f"Check {name} of payments_v1 warns" for name in ("lag", "dead_letters")
    }


def test_a_service_says_whether_the_newest_row_still_answers(instance, say):
    """Also once nothing more comes: then time alone makes it too old."""
    group = payments(MemoryStream("payments"), ttl="10min")

    def passed(name: str) -> bool | None:
        history = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(group.key, name), limit=1
        )
        return history[0].event.dagster_event.event_specific_data.passed if history else None

    with clock.at(NOW), closing(Reports(lambda: instance, [group], 0.05, say)) as reports:
        reports.flushed(flush_of(group, "2.a", lag=5))
        wait_for(lambda: passed("fresh"))
    assert newest_check(instance, group, "fresh").metadata["age_s"].value == 90
    for age_s, fresh in ((540, True), (541, False)):
        with clock.at(NOW), closing(Reports(lambda: instance, [group], 0.05, say)) as reports:
            reports.flushed(flush_of(group, "2.a", age_s=age_s))
        assert passed("fresh") is fresh
    ticking = iter(NOW + timedelta(seconds=20 * n) for n in range(1_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fti_assets.streaming.reports.clock.now", lambda: next(ticking))
        with closing(Reports(lambda: instance, [group], 0.01, say)) as reports:
            reports.flushed(flush_of(group, "2.a", lag=5))
            wait_for(lambda: passed("fresh") is True)
            wait_for(lambda: passed("fresh") is False)
            assert passed("lag") is False
    assert "older than its ttl, so it answers nothing" in newest_check(instance, group, "fresh").description


def test_an_instance_that_is_away_is_asked_again_and_stops_nothing(instance, say, told):
    group, requests = payments(MemoryStream("payments")), []

    def connect() -> dg.DagsterInstance:
        requests.append(1)
        if len(requests) <= 2:
            raise OSError("no route")
        return instance

    with clock.at(NOW), closing(Reports(connect, [group], 0.05, say)) as reports:
        reports.flushed(flush_of(group, "2.a"))
        wait_for(lambda: events_of(instance, group))
    assert told == [("report_failed", {"group": "payments_v1", "error": "OSError: no route"})]


def test_without_an_instance_the_service_says_so_once(monkeypatch, say, told):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    group = payments(MemoryStream("payments"))
    with reporting([group], LONG, say) as flushed:
        flushed(flush_of(group, "2.a"))
    assert [what for what, _ in told] == ["not_reported"]


def test_a_run_that_gives_the_same_rows_has_the_version_and_tags_of_the_report(tmp_path, instance, say):
    world, events = World(tmp_path), MemoryStream("payments")
    contents = [payment("a", amount=1.0), payment("b", amount=2.0)]
    group = group_over([frame(*contents, stored_at=AT)], events)
    events.put(*contents, b"no JSON", at=AT)
    with clock.at(NOW), closing(Reports(lambda: instance, [group], LONG, say)) as reports:
        asyncio.run(
            stream(
                [group], world.offline, world.online, tmp_path / "outbox", flushed=reports.flushed,
                settings=Settings(until_caught_up=True, batch_seconds=0.0),
            )
        )  # fmt: skip
    stores = fti.Stores(lake=tmp_path / "lake", online=tmp_path / "online")
    with clock.at("2024-05-03T00:00:00Z"):
        dg.materialize([group.assets_def], partition_key="2024-05-01", resources={"fti": stores}, instance=instance)
    streamed, batch = events_of(instance, group)
    assert streamed.tags == {**batch.tags, "fti/provisional": "true"}
    assert streamed.metadata["freshness_s"].value == pytest.approx(30, abs=1)
    assert newest_check(instance, group, "equals_stream").passed
