"""What a prediction log says of the service: figures beside brute force, usage taken in once, limits that warn."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.errors import DeclarationError
from fti_assets.inference.log.service import limit_verdicts, services_of
from fti_assets.inference.log.service_limits import ServiceLimits
from fti_assets.inference.log.take_in import take_in
from fti_assets.inference.serving.log import service as usage_module
from fti_assets.inference.serving.log.files import closed_files
from fti_assets.inference.serving.log.lines import encode_line, usage_line
from fti_assets.inference.serving.log.service import Usage, UsageTally
from fti_assets.inference.serving.log.writer import LogWriter
from tests.support.examples import examples
from tests.support.logged import BUYER, DAYS, answer, dropped, file_in, line_of

LIMITS = ServiceLimits(error_rate=0.1, unknown_rate=0.5, p99_ms=50, peak_memory_mb=100, min_requests=3)
LOG = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS, limits=LIMITS)
NOON = datetime(2013, 6, 2, 12)
USED = Usage(5.0, 1.0, 80_000_000, {"200": 8, "400": 1, "503": 1})


@pytest.fixture
def stores(tmp_path: Path) -> fti.Stores:
    return fti.Stores(**{name: str(tmp_path / name) for name in ("lake", "models", "online", "log")})


def materialize(stores: fti.Stores) -> tuple[dict[str, Any], dict[str, dg.AssetCheckEvaluation]]:
    """The metadata of the log's second of June, and its checks by name."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [LOG.assets_def], resources={"fti": stores}, instance=instance, partition_key="2013-06-02"
        )
    [event] = result.asset_materializations_for_node("buyer_log_v1")
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    return {name: value.value for name, value in event.metadata.items()}, checks


ROWS = st.lists(
    st.tuples(
        st.sampled_from("ab"),  # part
        st.integers(0, 6),  # request
        st.one_of(st.none(), st.floats(0, 1)),
        st.booleans(),  # of a shadow
        st.lists(st.sampled_from("xyz"), unique=True),
        st.lists(st.sampled_from("uv"), unique=True),
    ),
    min_size=1,
    max_size=30,
)


@given(rows=ROWS)
@settings(max_examples=examples(120), deadline=None)
def test_figures_are_those_of_brute_force(rows: list[Any]) -> None:
    records = [
        {
            "part": part, "request_id": f"{part}{request}{'~shadow' if shadow else ''}", "answered_at": NOON,
            "arm": "shadow" if shadow else "champion", "latency": None if shadow else latency, "missing": missing,
            "unknown": unknown, "out_of_schema": [],
        }
        for part, request, latency, shadow, missing, unknown in rows
    ]  # fmt: skip
    with duckdb.connect() as connection:
        frame = pd.DataFrame(records)  # noqa: F841 - DuckDB reads it
        casts = "latency::DOUBLE AS latency, missing::VARCHAR[] AS missing, unknown::VARCHAR[] AS unknown, [] AS out_of_schema"
        rows_sql = f"SELECT part, request_id, answered_at, arm, {casts} FROM frame"
        connection.execute(f"CREATE TABLE logged AS {rows_sql}")
        services = services_of(connection, "SELECT * FROM logged", "part", {"c": USED})
    assert services.pop("c").figures["error_rate"] == 0.1
    of_people = [one for one in records if one["arm"] == "champion"]
    assert set(services) == {one["part"] for one in of_people}
    for part, service in services.items():
        own = [one for one in of_people if one["part"] == part]
        latest: dict[str, float] = {}
        for one in own:
            if one["latency"] is not None:
                latest[one["request_id"]] = max(latest.get(one["request_id"], 0.0), one["latency"])
        assert (service.answers, service.requests) == (len(own), len(latest))
        ordered = sorted(latest.values())
        assert service.p99_ms == (ordered[-1] * 1000 if ordered else None)
        counts = Counter(name for one in own for name in one["missing"])
        assert service.counts.get("missing", {}) == counts
        assert service.figures["missing_rate"] == max(counts.values(), default=0) / len(own)


def test_partition_says_how_it_was_served(stores: fti.Stores) -> None:
    folder = stores.log_folder() / "buyer"
    lines = [line_of(number, NOON, latency=number / 1000) for number in range(1, 9)]
    file_in(folder, [*lines, usage_line(NOON, USED), dropped(NOON, 2), usage_line(NOON, USED)])
    metadata, checks = materialize(stores)
    assert {name: metadata[name] for name in ("requests", "error_rate", "status/503", "cpu_share", "peak_memory_mb")} == {
        "requests": 20, "error_rate": 0.1, "status/503": 2, "cpu_share": 0.2, "peak_memory_mb": 80.0
    }  # fmt: skip
    assert (metadata["p50_ms"], metadata["p99_ms"], metadata["unknown/shop"]) == (4.0, 8.0, 1.0)
    assert {name for name, check in checks.items() if not check.passed} == {
        "nothing_dropped",
        "unknown_rate_within_limit",
    }
    assert checks["unknown_rate_within_limit"].severity is dg.AssetCheckSeverity.WARN
    result = "unknown_rate of buyer is 1 in 2013-06-02, above its limit of 0.5 by 'shop'"
    assert checks["unknown_rate_within_limit"].description == result


@pytest.mark.soak
def test_usage_is_taken_in_once_with_the_answers(stores: fti.Stores) -> None:
    folder = stores.log_folder() / "buyer"
    keys = DAYS.get_partition_keys()
    tomorrow = NOON + timedelta(days=1)
    file_in(folder, [line_of(1, NOON), line_of(2, tomorrow), usage_line(NOON, USED)])
    with stores.offline_store().connect() as lake:
        # The file stays until its second day is taken in, and is read again.
        for partitions in (["2013-06-02"], ["2013-06-02"], keys, keys):
            intake = take_in(LOG, lake, folder, partitions, asset="buyer_log_v1")
            assert intake.usage["2013-06-02"] == USED
        file_in(folder, [usage_line(NOON, USED)], number=1)
        intake = take_in(LOG, lake, folder, keys, asset="buyer_log_v1")
        assert intake.usage["2013-06-02"] == USED + USED
        assert intake.commit.changed == (), "the rows are the same"


@pytest.mark.parametrize(
    "service",
    [{}, {"requests": {"200": -1}}, {"requests": {"2000": 1}}, {"seconds": -1}, {"seconds": "1"}, {"cpu_seconds": None}, 7],
)  # fmt: skip
def test_usage_that_is_none_is_kept_outside(stores: fti.Stores, service: Any) -> None:
    line = json.loads(usage_line(NOON, USED))
    line["service"] = {**line["service"], **service} if isinstance(service, dict) and service else service
    folder = stores.log_folder() / "buyer"
    file_in(folder, [encode_line(line), line_of(1, NOON)])
    with stores.offline_store().connect() as lake:
        intake = take_in(LOG, lake, folder, DAYS.get_partition_keys(), asset="buyer_log_v1")
    assert (intake.outside, intake.usage["2013-06-02"]) == (1, Usage())


def test_usage_of_no_partition_is_left_out(stores: fti.Stores) -> None:
    folder = stores.log_folder() / "buyer"
    file_in(folder, [line_of(1, NOON), usage_line(datetime(2013, 5, 1), USED)])
    with stores.offline_store().connect() as lake:
        intake = take_in(LOG, lake, folder, DAYS.get_partition_keys(), asset="buyer_log_v1")
    assert intake.outside == 0


def test_limits_say_nothing_of_few_requests_or_what_nobody_counts() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE logged AS SELECT 'a' AS part, 'r' AS request_id, TIMESTAMP '2013-06-02' AS answered_at, 'champion' AS arm, "
            "9.0::DOUBLE AS latency, ['x'] AS missing, [''] AS unknown, [''] AS out_of_schema FROM range(5)"
        )
        services = services_of(connection, "SELECT * FROM logged", "part", {})
    verdicts = {one.rule.name: one for one in limit_verdicts(LIMITS, services, "buyer")}
    assert verdicts["p99_ms_within_limit"].passed, "five rows of one request"
    assert verdicts["p99_ms_within_limit"].facts["judged"] == "no: there are fewer than 3 requests"
    assert verdicts["error_rate_within_limit"].facts["judged"] == "no: no server counted its requests"
    assert not verdicts["unknown_rate_within_limit"].passed


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "has no limit"),
        ({"error_rate": 1.5}, "error_rate=1.5: a number from 0 to 1 is expected"),
        ({"p99_ms": -1}, "p99_ms=-1.0: a number from 0 on"),
        ({"p99_ms": float("nan")}, "p99_ms is nan"),
        ({"p99_ms": 5, "min_requests": 0}, "min_requests=0"),
    ],
)
def test_impossible_limits_are_refused(limits: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        ServiceLimits(**limits)


def test_an_app_without_server_says_what_it_used(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.add("abc", [{"x": 0.5}], [answer(7, NOON)], latency=0.1)
    writer.close()
    [file] = closed_files(tmp_path / "buyer")
    [messages] = [entry for line in file.lines() if "service" in (entry := json.loads(line))]
    assert messages["at"].startswith("2013-06-02T12"), "of the partition of its answers"
    assert messages["service"]["requests"] == {}
    assert messages["service"]["peak_memory_bytes"] > 10_000_000


CRASH = """
import os, signal, sys, time
from fti_assets.inference.serving.log.writer import LogWriter
writer = LogWriter(sys.argv[1])
for number in range(3):
    writer.count_request("buyer", 503)
writer.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_errors_outlive_a_killed_server(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    [file] = closed_files(tmp_path / "buyer")
    messages = [json.loads(line)["service"]["requests"] for line in file.lines() if b"service" in line]
    assert messages == [{"503": 3}]


def test_what_cannot_be_written_is_said_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(usage_module.time, "monotonic", lambda: float(next(clock)))
    tally = UsageTally()
    tally.count("a", 200)
    first = tally.take("a")
    assert first is not None
    assert tally.take("a") is None
    tally.give_back("a", first)
    tally.count("a", 500)
    second = tally.take("a")
    assert second is not None
    assert (second.requests, second.seconds > first.seconds) == ({"200": 1, "500": 1}, True)
