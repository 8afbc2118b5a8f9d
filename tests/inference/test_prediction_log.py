"""The take-in of a prediction log: each line in one row, whatever kills it; what belongs nowhere is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.inference.log import take_in as taking
from fti_assets.inference.log import waiting
from fti_assets.inference.log.log import PredictionLog
from fti_assets.inference.log.take_in import Intake, take_in
from fti_assets.inference.log.waiting import outside_lines, stored_ledger, waiting_files
from fti_assets.inference.serving.log.lines import KEY, Redaction, encode_line
from fti_assets.inference.serving.log.writer import LogWriter
from fti_assets.stores.lake.lake import Lake
from tests.support.examples import examples
from tests.support.logged import BEGUN, BUYER, DAYS, answer, buyer_model, dropped, file_in, line_of
from tests.support.partitions import range_tags

LOG = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS)
PRIVATE = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS, redact=["shop", "x"])
DEFS = fti.build_definitions([LOG])
KEYS = DAYS.get_partition_keys()
NOON = datetime(2013, 6, 2, 12)


def on(day: int, hour: int = 12) -> datetime:
    return datetime(2013, 6, day, hour)


class Bench:
    """A folder of files and a lake beside it."""

    def __init__(self, root: Path) -> None:
        self.stores = fti.Stores(**{name: str(root / name) for name in ("lake", "models", "online", "log")})
        self.folder = root / "log" / "buyer"
        self.folder.mkdir(parents=True)

    def take_in(self, *partitions: str, log: PredictionLog = LOG) -> Intake:
        with self.stores.offline_store().connect() as lake:
            return take_in(log, lake, self.folder, partitions or KEYS, asset="buyer_log_v1")

    def rows(self, log: PredictionLog = LOG, **options: Any) -> list[dict[str, Any]]:
        with self.stores.offline_store().connect() as lake:
            if not lake.has(log.table):
                return []
        result: list[dict[str, Any]] = fti.read(log, stores=self.stores, as_="dicts", **options)
        return sorted(result, key=lambda row: (row["request_id"], row["row"]))

    def ids(self) -> Counter[str]:
        return Counter(row["request_id"] for row in self.rows())

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.is_file())

    def outside(self) -> Counter[str]:
        """The ids of the lines that are kept outside."""
        lines = [line for path in self.folder.glob("outside/*.jsonl") for line in path.read_bytes().splitlines()]
        entries = [json.loads(line) for line in lines]
        return Counter(entry["request_id"] for entry in entries if "request_id" in entry)

    def record(self, partition: str) -> dict[str, Any]:
        ledger = stored_ledger(LOG, self.stores.offline_store())
        return dict(json.loads(ledger[partition].record))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_line_is_a_row_with_all_that_was_logged(bench: Bench) -> None:
    writer = LogWriter(bench.folder.parent)
    with clock.at(NOON):
        writer.add("abc", [{"visit_id": 7, "shop": "é", "x": 0.5}], [answer(7, NOON, mood=None)])
    writer.close()
    taken = bench.take_in()
    assert (taken.answers, bench.files()) == (1, [])
    assert bench.rows() == [
        {
            "request_id": "abc",
            "row": 0,
            "visit_id": 7,
            "t": NOON,
            "answered_at": NOON,
            "build": "v1/b",
            "arm": "champion",
            "probability": 0.25,
            "request": '{"visit_id":7,"shop":"é","x":0.5}',
            "features": '{"x":0.5,"mood":null}',
            "ages": '{"shops_v1":60.0}',
            "missing": [],
            "unknown": ["shop"],
            "out_of_schema": [],
            "latency": None,
        }
    ]


@pytest.mark.parametrize(("slow", "passed"), [(1, True), (2, False)])
def test_more_than_one_slow_request_of_a_hundred_breaks_the_goal(bench: Bench, slow: int, passed: bool) -> None:
    log = fti.prediction_log(name="buyer_log", model=buyer_model(latency_goal="50ms"), partitions_def=DAYS)
    quick = [line_of(number, on(2), row=row, latency=number / 2000) for number in range(100 - slow) for row in (0, 1)]
    late = [line_of(number, on(2), row=row, latency=0.0501) for number in range(100, 100 + slow) for row in (0, 1, 2)]
    file_in(bench.folder, [*quick, *late, line_of(999, on(2))])  # the last one is nobody's wait
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [log.assets_def], resources={"fti": bench.stores}, instance=instance, partition_key="2013-06-02"
        )
    [check] = [one for one in result.get_asset_check_evaluations() if one.check_name == "within_latency_goal"]
    assert check.passed is passed
    facts = {name: value.value for name, value in check.metadata.items()}
    assert (facts["requests"], facts["slow_requests"]) == (100, slow)
    assert 24 <= facts["p50_ms"] <= 24.5
    assert passed or "2 of 100 requests to buyer took longer than its latency goal of 50 ms" in facts["problem"]
    assert {row["latency"] for row in bench.rows(log)} >= {None, 0.0501}


def test_a_log_of_an_earlier_release_gets_latencies(bench: Bench) -> None:
    """Its lines and its table say none."""
    old = json.loads(line_of(1, on(2)))
    del old["latency"]
    file_in(bench.folder, [encode_line(old)])
    bench.take_in()
    with bench.stores.offline_store().connect() as lake:
        lake.connection.execute(f"ALTER TABLE {LOG.table.sql} DROP COLUMN latency")
    file_in(bench.folder, [line_of(2, on(2), latency=0.25)], number=1)
    bench.take_in()
    assert [row["latency"] for row in bench.rows()] == [None, 0.25]


@pytest.mark.soak
@pytest.mark.parametrize("latency", [-1.0, "1", True, [1]])
def test_a_latency_that_is_none_puts_the_line_outside(bench: Bench, latency: Any) -> None:
    line = {**json.loads(line_of(1, on(2))), "latency": latency}
    file_in(bench.folder, [encode_line(line), line_of(2, on(2))])
    bench.take_in()
    assert bench.ids() == {"r2": 1}
    assert bench.outside() == {"r1": 1}


def test_late_lines_are_added_to_their_partition(bench: Bench) -> None:
    file_in(bench.folder, [line_of(1, on(2)), line_of(2, on(3))], number=1)
    bench.take_in()
    before = {key: record.data_version for key, record in stored_ledger(LOG, bench.stores.offline_store()).items()}
    file_in(bench.folder, [line_of(3, on(2, 5))], number=2)
    taken = bench.take_in("2013-06-02")
    after = {key: record.data_version for key, record in stored_ledger(LOG, bench.stores.offline_store()).items()}
    assert bench.ids() == {"r1": 1, "r2": 1, "r3": 1}
    assert taken.commit.changed == ("2013-06-02",)
    assert [key for key in KEYS if before[key] != after[key]] == ["2013-06-02"]


def test_a_run_without_files_changes_no_row(bench: Bench) -> None:
    file_in(bench.folder, [line_of(1, on(2))])
    bench.take_in()
    assert bench.take_in().commit.changed == ()
    assert bench.ids() == {"r1": 1}


@pytest.mark.soak
def test_a_file_is_there_until_all_partitions_of_its_lines_have_them(bench: Bench) -> None:
    path = file_in(bench.folder, [line_of(1, on(2)), line_of(2, on(3))])
    bench.take_in("2013-06-02")
    assert bench.files() == [path.name]
    assert list(waiting_files(LOG, bench.folder, stored_ledger(LOG, bench.stores.offline_store()))) == ["2013-06-03"]
    bench.take_in("2013-06-02")
    assert bench.ids() == {"r1": 1}
    bench.take_in("2013-06-03")
    assert (bench.files(), bench.ids()) == ([], {"r1": 1, "r2": 1})


@pytest.mark.soak
def test_names_of_deleted_files_are_forgotten(bench: Bench) -> None:
    for number in range(3):
        file_in(bench.folder, [line_of(number, on(2))], number=number)
        bench.take_in("2013-06-02")
    assert len(bench.record("2013-06-02")["files"]) == 1


@pytest.mark.soak
def test_a_folder_that_is_not_mounted_makes_nobody_forget(bench: Bench) -> None:
    path = file_in(bench.folder, [line_of(1, on(2)), line_of(2, on(3))])
    bench.take_in("2013-06-02")
    away = bench.folder.rename(bench.folder.with_name("away"))
    bench.take_in("2013-06-02")
    away.rename(bench.folder)
    assert bench.files() == [path.name]
    bench.take_in()
    assert bench.ids() == {"r1": 1, "r2": 1}


def test_what_a_crash_left_is_taken_in_up_to_its_last_whole_line(bench: Bench) -> None:
    file_in(bench.folder, [line_of(1, on(2)), line_of(2, on(2))], left=True)
    bench.take_in()
    assert (bench.files(), bench.ids()) == ([], {"r1": 1, "r2": 1})


def test_lines_of_no_partition_are_kept_outside(bench: Bench) -> None:
    strange = [b'{"at":"2013-06-02T12:00:00.000000","half\n', b'{"at":"2013-06-99T12:00:00.000000"}\n', b"\xff\x00\n"]
    lines = [line_of(1, on(2)), line_of(2, datetime(2013, 5, 31)), line_of(3, datetime(2013, 6, 5)), *strange]
    file_in(bench.folder, lines)
    taken = bench.take_in()
    assert (bench.ids(), bench.files(), taken.outside) == ({"r1": 1}, [], 5)
    [path] = bench.folder.glob("outside/*.jsonl")
    kept = path.read_bytes().splitlines(keepends=True)
    assert kept[1:] == lines[1:]
    assert outside_lines(bench.folder) == 5


DAMAGED = [
    b'{"log":1,"redacted":7}', b'{"log":1,"redacted":[[1]]}', b'{"log":1,"redacted":"shop"}', b'{"end":7}',
    b'{"end":{"rows":1,"hours":[[1]]}}', b'{"end":{"rows":1,"hours":[7]}}', b'{"end":{"rows":1,"hours":7}}',
    b'{"end":{"hours":{}}}', b"[" * 100_000, b'{"end":' + b"[" * 100_000, b"null", b'{"at":"\xff\xfe2013-06-02T12:00:00"}',
]  # fmt: skip


@pytest.mark.parametrize("place", [0, -1])
def test_damaged_first_and_last_lines_lose_no_answer(bench: Bench, place: int) -> None:
    """Each in a file of its own, of one answer of a partition and one of none."""
    for number, line in enumerate(DAMAGED):
        answers = [line_of(2 * number, on(2)), line_of(2 * number + 1, datetime(2013, 5, 31))]
        path = file_in(bench.folder, answers, number=number)
        lines = path.read_bytes().splitlines()
        lines[place] = line
        path.write_bytes(b"".join(one + b"\n" for one in lines))
    bench.take_in()
    assert bench.ids() == {f"r{2 * number}": 1 for number in range(len(DAMAGED))}
    assert bench.files() == []
    kept = [path.read_bytes() for path in bench.folder.glob("outside/*.jsonl")]
    for number in range(len(DAMAGED)):
        assert sum(f'"r{2 * number + 1}"'.encode() in one for one in kept) == 1, DAMAGED[number][:50]


def test_lines_that_are_put_back_are_taken_in_by_partitions_that_have_come(bench: Bench) -> None:
    file_in(bench.folder, [line_of(1, on(2)), line_of(2, datetime(2013, 5, 31))])
    bench.take_in()
    [path] = bench.folder.glob("outside/*.jsonl")
    path.rename(bench.folder / path.name)
    days = dg.DailyPartitionsDefinition(start_date="2013-05-01", end_date="2013-06-05")
    longer = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=days)
    bench.take_in("2013-05-31", log=longer)
    assert (bench.ids(), bench.files()) == ({"r1": 1, "r2": 1}, [])


def test_a_partition_in_the_far_future_keeps_no_file_waiting(bench: Bench) -> None:
    endless = fti.prediction_log(name="buyer_log", model=BUYER)
    file_in(
        bench.folder, [line_of(1, on(4)), line_of(2, BEGUN + timedelta(days=2)), line_of(3, datetime(9999, 12, 31, 23))]
    )
    bench.take_in("2013-06-04", log=endless)
    assert (bench.files(), bench.outside()) == ([], {"r2": 1, "r3": 1})


def test_lines_of_days_to_come_wait_for_them(bench: Bench) -> None:
    endless = fti.prediction_log(name="buyer_log", model=BUYER)
    path = file_in(bench.folder, [line_of(1, on(4)), line_of(2, BEGUN + timedelta(hours=20))])
    bench.take_in("2013-06-04", log=endless)
    assert bench.files() == [path.name]
    bench.take_in("2013-06-05", log=endless)
    assert (bench.files(), bench.ids()) == ([], {"r1": 1, "r2": 1})


def test_a_footer_that_names_too_few_hours_is_not_asked_where_partitions_are_short(bench: Bench) -> None:
    quarters = dg.TimeWindowPartitionsDefinition(
        start="2013-06-02-00:00", cron_schedule="*/15 * * * *", fmt="%Y-%m-%d-%H:%M"
    )
    short = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=quarters)
    file_in(bench.folder, [line_of(1, on(2)), line_of(2, on(2) + timedelta(minutes=40))])
    assert list(waiting_files(short, bench.folder, {})) == ["2013-06-02-12:00", "2013-06-02-12:30"]


def test_what_servers_left_in_clear_is_in_no_table(bench: Bench) -> None:
    file_in(bench.folder, [line_of(1, on(2), shop="secret"), line_of(2, datetime(2013, 5, 1), shop="secret")])
    file_in(bench.folder, [b'{"broken secret\n'], number=2)
    taken = bench.take_in(log=PRIVATE)
    assert taken.in_clear == {"shop": 1, "x": 1}
    assert len(taken.clear_files) == 1
    [row] = bench.rows(PRIVATE)
    assert json.loads(row["request"]) == {"visit_id": 1, "shop": None, "x": None}
    assert json.loads(row["features"]) == {"x": None}
    outside = b"".join(path.read_bytes() for path in bench.folder.rglob("*.jsonl"))
    assert b"secret" not in outside
    assert b"unreadable_bytes" in outside


def test_what_servers_redacted_stays_as_they_wrote_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "secret")
    hashed = Redaction.of(["shop", "visit_id"])
    file_in(bench.folder, [line_of(1, on(2), redaction=hashed)], redacted=["shop", "visit_id"])
    log = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS, redact=["shop", "visit_id"])
    taken = bench.take_in(log=log)
    assert not taken.in_clear
    [row] = bench.rows(log)
    assert row["visit_id"] is None
    assert json.loads(row["request"])["shop"].startswith("hmac-sha256:")


def test_drops_are_counted_with_the_rows_of_their_partition(bench: Bench) -> None:
    for number in range(2):
        file_in(bench.folder, [line_of(number, on(2)), dropped(on(2), 3), dropped(on(3), 1, "disk")], number=number)
    bench.take_in("2013-06-02")
    assert bench.take_in().drops == {"queue": 6, "disk": 2}
    assert [bench.record(key)["dropped"] for key in KEYS] == [{}, {"queue": 6}, {"disk": 2}, {}]


def test_answers_of_several_classes_are_maps(bench: Bench) -> None:
    sorter = fti.prediction_log(name="buyer_log", model=buyer_model("multiclass"), partitions_def=DAYS)
    writer = LogWriter(bench.folder.parent)
    with clock.at(on(2)):
        writer.add("abc", [{"visit_id": 1}], [answer(1, on(2), value={"a": 0.25, "b": float("nan")})])
    writer.close()
    bench.take_in(log=sorter)
    [row] = bench.rows(sorter)
    assert dict(row["probabilities"]) == {"a": 0.25, "b": None}


@pytest.mark.parametrize("value", [2**70, "\ud800", "seven", True, None, [1], 7.0])
def test_a_key_that_is_none_of_its_type_is_null(bench: Bench, value: Any) -> None:
    file_in(bench.folder, [line_of(1, on(2), visit_id=value)])
    bench.take_in()
    [row] = bench.rows()
    assert row["visit_id"] == (7 if value == 7.0 else None)


class Killed(BaseException):
    """What ends a process that nobody can catch."""


@contextmanager
def killed_at(step: int | None) -> Iterator[None]:
    """Whatever changes a disk is a step before and one after it; the process is gone at one of them."""
    steps = iter(range(10_000))

    def passing() -> None:
        if next(steps) == step:
            raise Killed

    def around(function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            passing()
            result = function(*arguments, **named)
            passing()
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lake, "replace", around(Lake.replace))
        patch.setattr(waiting, "write_atomically", around(waiting.write_atomically))
        patch.setattr(waiting, "sync_folder", around(waiting.sync_folder))
        patch.setattr(taking, "settle", around(taking.settle))
        patch.setattr(Path, "unlink", around(Path.unlink))
        yield


INSTANTS = st.sampled_from(
    [datetime(2013, 5, 31, 23), on(1, 0), on(1, 23), on(2, 0), on(3), on(4, 23), datetime(2013, 6, 5)]
)
FILES = st.lists(st.tuples(INSTANTS, st.booleans()), max_size=4)
RUNS = st.tuples(st.sets(st.sampled_from(KEYS), min_size=1), st.none() | st.integers(0, 16))
STEPS = st.lists(st.tuples(st.lists(FILES, max_size=2), st.booleans(), RUNS), min_size=1, max_size=4)


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_whatever_is_killed_each_line_is_in_one_place(tmp_path_factory: pytest.TempPathFactory, steps: Any) -> None:
    bench = Bench(tmp_path_factory.mktemp("killed"))
    inside, outside, drops, number = Counter[str](), Counter[str](), 0, 0
    for files, left, (partitions, step) in steps:
        for lines in files:
            content = []
            for at, is_drop in lines:
                number += 1
                is_inside = datetime(2013, 6, 1) <= at < datetime(2013, 6, 5)
                if is_drop:
                    drops += number if is_inside else 0
                    content.append(dropped(at, number))
                else:
                    (inside if is_inside else outside)[f"r{number}"] += 1
                    content.append(line_of(number, at))
            number += 1
            file_in(bench.folder, content, number=number, left=left)
        with killed_at(step), suppress(Killed):
            bench.take_in(*sorted(partitions))
        assert bench.ids() <= inside  # nothing twice, nothing of nobody
        assert bench.outside() <= outside
    taken = bench.take_in()
    bench.take_in()
    assert (bench.ids(), bench.outside(), bench.files()) == (inside, outside, [])
    assert sum(taken.drops.values()) == drops


@pytest.mark.soak
def test_a_kill_at_each_step_is_gone_on_from(tmp_path: Path) -> None:
    for step in range(100):
        bench = Bench(tmp_path / str(step))
        lines = [line_of(1, on(2)), line_of(2, on(3)), line_of(3, datetime(2013, 5, 1)), dropped(on(2), 5)]
        file_in(bench.folder, lines)
        file_in(bench.folder, [line_of(4, on(2))], number=2, left=True)
        is_killed = True
        with killed_at(step), suppress(Killed):
            bench.take_in()
            is_killed = False
        assert bench.take_in().drops == {"queue": 5}
        bench.take_in()
        assert (bench.ids(), bench.outside(), bench.files()) == ({"r1": 1, "r2": 1, "r4": 1}, {"r3": 1}, [])
        if not is_killed:
            break
    assert step > 12


def test_two_runs_at_once_take_each_line_in_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    file_in(bench.folder, [line_of(1, on(2)), line_of(2, on(3))])
    replace, other = Lake.replace, iter([1])

    def overtaken(*arguments: Any, **named: Any) -> Any:
        if next(other, None):
            bench.take_in()
        return replace(*arguments, **named)

    monkeypatch.setattr(Lake, "replace", overtaken)
    taken = bench.take_in()
    assert (bench.ids(), bench.files(), taken.answers) == ({"r1": 1, "r2": 1}, [], 0)


def test_a_run_that_is_overtaken_again_and_again_stores_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_in(bench.folder, [line_of(1, on(2))])
    replace = Lake.replace

    def overtaken(*arguments: Any, **named: Any) -> Any:
        path.write_bytes(path.read_bytes() + line_of(2, on(2)))
        return replace(*arguments, **named)

    monkeypatch.setattr(Lake, "replace", overtaken)
    with pytest.raises(StoreError, match="was written by others 5 times meanwhile"):
        bench.take_in()
    monkeypatch.undo()
    bench.take_in()
    assert bench.ids() == {"r1": 1, "r2": 5}


def test_checks_say_what_the_writers_did_not_do(bench: Bench) -> None:
    file_in(bench.folder, [line_of(1, on(2)), line_of(2, datetime(2013, 5, 1)), dropped(on(3), 4)])
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [PRIVATE.assets_def],
            resources={"fti": bench.stores},
            instance=instance,
            tags=range_tags(KEYS[0], KEYS[-1]),
        )
        records = instance.fetch_materializations(PRIVATE.key, limit=10).records
    checks = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert {name: one.passed for name, one in checks.items()} == {
        "redacted_by_servers": False,
        "nothing_dropped": False,
        "nothing_outside": False,
    }
    assert "--redact shop --redact x" in checks["redacted_by_servers"].description
    assert checks["nothing_dropped"].metadata["queue"].value == 4
    assert "1 lines are kept in" in checks["nothing_outside"].description
    assert {record.partition_key for record in records} == set(KEYS)


def test_the_sensor_asks_for_the_partitions_of_files_that_wait(bench: Bench) -> None:
    def tick(cursor: str | None = None) -> Any:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, resources={"fti": bench.stores}, definitions=DEFS
        )
        with clock.at(BEGUN):
            return LOG.sensor.evaluate_tick(context)

    with dg.DagsterInstance.ephemeral() as instance:
        assert not tick().run_requests
        file_in(bench.folder, [line_of(1, on(2)), line_of(2, on(4))])
        first = tick()
        assert [request.partition_key for request in first.run_requests] == ["2013-06-02", "2013-06-04"]
        assert not tick(first.cursor).run_requests
        bench.take_in("2013-06-02")
        file_in(bench.folder, [line_of(3, on(2))], number=2)
        second = tick(first.cursor)
        assert [request.partition_key for request in second.run_requests] == ["2013-06-02"]
        bench.take_in()
        assert not tick(second.cursor).run_requests


def test_a_file_of_lines_outside_alone_is_put_away_by_the_sensor(bench: Bench) -> None:
    file_in(bench.folder, [line_of(1, on(2))])
    bench.take_in()
    file_in(bench.folder, [line_of(2, datetime(2013, 5, 1))], number=2)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"fti": bench.stores})
        assert not LOG.sensor.evaluate_tick(context).run_requests
    assert (bench.files(), bench.outside()) == ([], {"r2": 1})


def test_definitions_have_the_sensor_and_the_description() -> None:
    defs = fti.build_definitions([PRIVATE])
    assert "buyer_log_v1_files" in [sensor.name for sensor in defs.sensors]
    from fti_assets.describe import describe

    [facts] = describe(defs)["logs"]
    assert (facts["model"], facts["redacted"]) == ("buyer_v1", ["shop", "x"])
    assert facts["schedule"] == ["sensor buyer_log_v1_files"]
    assert next(match.kind for match in fti.search("buyer_log", defs)) == "prediction log"


def test_a_log_is_declared_once_a_model_and_by_time() -> None:
    other = fti.prediction_log(name="other_log", model=BUYER)
    with pytest.raises(DeclarationError, match="buyer_log_v1 and other_log_v1 both log model 'buyer'"):
        fti.build_definitions([LOG, other])
    with pytest.raises(DeclarationError, match="partitions_def must be time windows"):
        fti.prediction_log(name="log", model=BUYER, partitions_def=dg.StaticPartitionsDefinition(["a"]))
    with pytest.raises(DeclarationError, match="redacts 'passport', which is no field"):
        fti.prediction_log(name="log", model=BUYER, redact=["passport"])
    assert other.partitions_def is not None
    assert other.partitions_def.get_first_partition_key() == "2013-06-01"
