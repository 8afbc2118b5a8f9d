"""The prediction log's files: what is in them, what never is, and what disks, crashes and forks do to them."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fti_assets.core import clock
from fti_assets.errors import DeclarationError
from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.log import lines as log_lines
from fti_assets.inference.serving.log.files import LogFile, closed_files, open_files
from fti_assets.inference.serving.log.limits import LogLimits
from fti_assets.inference.serving.log.lines import KEY, encode_line, instant_of
from fti_assets.inference.serving.log.writer import LogWriter
from tests.support.examples import repetitions
from tests.support.full_disks import files_at_most

NOON = datetime(2013, 6, 1, 12)
MODEL = "delay_net"
LONG = LogLimits(file_seconds=3600)


def answer(number: int = 0, at: datetime = NOON, value: Any = 0.25, **features: Any) -> Prediction:
    return Prediction(
        value, {"temp": 20.5, "number": number, **features}, (), at, MODEL, "v1/b", ages={"weather_v1": 60.0}
    )


def answers_in(folder: Path) -> list[dict[str, Any]]:
    """The answers of the closed files."""
    return [one for one in said_in(folder) if "request_id" in one]


def said_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in closed_files(folder / MODEL) for line in file.lines()]


def dropped_in(folder: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in said_in(folder):
        if "dropped" in one:
            counts[one["reason"]] = counts.get(one["reason"], 0) + one["dropped"]
    return counts


def test_an_answer_is_a_line_with_all_that_is_needed_to_ask_why(tmp_path):
    writer = LogWriter(tmp_path)
    with clock.at(NOON + timedelta(seconds=3)):
        writer.add("r1", [{"flight_id": 7, "origin": "JFK"}], [answer(7)], latency=0.25)
    writer.close()
    assert answers_in(tmp_path) == [
        {
            "at": "2013-06-01T12:00:00.000000",
            "answered_at": "2013-06-01T12:00:03.000000",
            "request_id": "r1",
            "row": 0,
            "model": MODEL,
            "build": "v1/b",
            "arm": "champion",
            "value": 0.25,
            "request": {"flight_id": 7, "origin": "JFK"},
            "features": {"temp": 20.5, "number": 7},
            "ages": {"weather_v1": 60.0},
            "missing": [],
            "unknown": [],
            "out_of_schema": [],
            "latency": 0.25,
        }
    ]


@pytest.mark.parametrize("fast", [True, False])
def test_numbers_and_times_come_back_as_they_were(tmp_path, monkeypatch, fast):
    if not fast:
        monkeypatch.setattr(log_lines, "_fast", None)
    eastern = timezone(timedelta(hours=-4))
    request = {
        "whole": 2**53 + 1,
        "huge": 2**70,
        "third": 1 / 3,
        "small": np.float32(0.1).item(),
        "numpy": np.int64(7),
        "nan": float("nan"),
        "inside": {"nan": [float("inf")]},
        "at": datetime(2013, 6, 1, 8, tzinfo=eastern),
        "text": 'é"\n\ud800',
    }
    writer = LogWriter(tmp_path)
    writer.add("r1", [request], [answer(value=float("nan"))])
    writer.close()
    [line] = answers_in(tmp_path)
    came = line["request"]
    assert line["value"] is None
    assert [came[name] for name in ("whole", "huge", "third", "small", "numpy")] == [
        2**53 + 1,
        2**70,
        1 / 3,
        np.float32(0.1).item(),
        7,
    ]
    assert (came["nan"], came["inside"]) == (None, {"nan": [None]})
    assert came["text"] == request["text"]
    assert datetime.fromisoformat(came["at"]).replace(tzinfo=UTC) == request["at"]


def test_a_line_begins_with_its_prediction_time_whatever_encodes_it():
    assert instant_of(encode_line({"at": "2013-06-01T12:00:00.000000", "x": 1})) == "2013-06-01T12:00:00.000000"
    assert instant_of(encode_line({"end": {}})) is None


def test_what_is_redacted_is_in_no_byte_of_any_file(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    writer = LogWriter(tmp_path, redact=["card", "age"])
    writer.add("r1", [{"card": "4111-1111", "shop": "a"}], [answer(card="4111-1111", age=55.125)])
    writer.flush()
    files = [*open_files(tmp_path / MODEL)]
    assert files
    writer.close()
    content = b"".join(path.read_bytes() for path in (tmp_path / MODEL).iterdir())
    assert b"4111" not in content
    assert b"55.125" not in content
    [line] = answers_in(tmp_path)
    assert line["request"] == {"card": None, "shop": "a"}
    assert (line["features"]["card"], line["features"]["age"]) == (None, None)
    assert closed_files(tmp_path / MODEL)[0].redactions() == {"card", "age"}


def test_with_a_key_equal_values_stay_equal_and_others_do_not(tmp_path, monkeypatch):
    hashed = []
    for key in ("one", "one", "other"):
        monkeypatch.setenv(KEY, key)
        folder = tmp_path / str(len(hashed))
        writer = LogWriter(folder, redact=["card"])
        writer.add("r1", [{"card": 17}, {"card": 18}, {"card": None}], [answer(), answer(), answer()])
        writer.close()
        hashed.append([line["request"]["card"] for line in answers_in(folder)])
    assert hashed[0] == hashed[1]
    assert hashed[0][0] != hashed[0][1]
    assert hashed[0][2] is None
    assert hashed[0][0].startswith("hmac-sha256:")
    assert set(hashed[0][:2]).isdisjoint(hashed[2])


def test_a_long_file_is_closed_and_another_begun(tmp_path):
    writer = LogWriter(tmp_path, limits=LogLimits(file_bytes=500, file_seconds=3600))
    for number in range(5):
        writer.add(f"r{number}", [{}], [answer(number, at=NOON + timedelta(hours=number))])
        writer.flush()
    writer.close()
    files = closed_files(tmp_path / MODEL)
    assert len(files) > 1
    assert [line["request_id"] for line in answers_in(tmp_path)] == [f"r{number}" for number in range(5)]
    assert set().union(*(file.hours() for file in files)) == {f"2013-06-01T{12 + number}" for number in range(5)}


def test_an_old_file_is_closed_though_nothing_more_is_answered(tmp_path):
    writer = LogWriter(tmp_path, limits=LogLimits(file_seconds=0.05))
    writer.add("r1", [{}], [answer()])
    for _ in range(600):
        if closed_files(tmp_path / MODEL):
            break
        time.sleep(0.05)
    assert len(answers_in(tmp_path)) == 1
    assert not open_files(tmp_path / MODEL)
    writer.close()


def test_answers_beyond_what_memory_may_hold_are_counted_where_they_would_have_been(tmp_path):
    observed: list[tuple[str, str, int]] = []
    writer = LogWriter(
        tmp_path, limits=LogLimits(waiting_rows=3, file_seconds=3600), tally=lambda *one: observed.append(one)
    )
    with writer._work.writing:  # a disk that hangs
        writer.add("many", [{}] * 5, [answer(number) for number in range(5)])
        writer.add("more", [{}], [answer()])
    writer.close()
    assert [(line["request_id"], line["row"]) for line in answers_in(tmp_path)] == [
        ("many", 0),
        ("many", 1),
        ("many", 2),
    ]
    assert dropped_in(tmp_path) == {"queue": 3}
    assert writer.counts(MODEL) == {"logged": 3, "queue": 3}
    assert sorted(observed) == [(MODEL, "logged", 3), (MODEL, "queue", 1), (MODEL, "queue", 2)]


def test_a_full_disk_loses_answers_and_says_how_many_as_soon_as_it_has_room(tmp_path):
    writer = LogWriter(tmp_path, limits=LONG)
    writer.add("before", [{}], [answer(text="x" * 100)])
    writer.flush()
    [path] = open_files(tmp_path / MODEL)
    whole = path.stat().st_size
    with files_at_most(whole + 40):
        for number in range(3):
            writer.add("while", [{}], [answer(number, text="x" * 100)])
            writer.flush()
    assert path.stat().st_size == whole  # and no half line
    assert writer.counts(MODEL) == {"logged": 1, "disk": 3}
    writer.add("after", [{}], [answer()])
    writer.close()
    assert [line["request_id"] for line in answers_in(tmp_path)] == ["before", "after"]
    assert dropped_in(tmp_path) == {"disk": 3}


def test_the_files_that_wait_have_a_limit_in_all(tmp_path):
    writer = LogWriter(tmp_path, limits=LogLimits(total_bytes=3_000, file_bytes=1_000, file_seconds=3600))
    for number in range(30):
        writer.add(f"r{number}", [{}], [answer(number)])
        writer.flush()
    sizes = sum(path.stat().st_size for path in (tmp_path / MODEL).iterdir())
    assert sizes <= 3_500
    counts = writer.counts(MODEL)
    assert counts["logged"] + counts["size"] == 30
    assert counts["size"]
    for file in closed_files(tmp_path / MODEL)[:2]:
        file.path.unlink()  # taken in
    writer._work._measured.clear()  # a second later
    writer.add("room", [{}], [answer()])
    writer.close()
    assert answers_in(tmp_path)[-1]["request_id"] == "room"
    assert dropped_in(tmp_path) == {"size": counts["size"]}


def test_a_value_that_no_json_holds_costs_its_own_answer_alone(tmp_path):
    class Strange:
        def __str__(self) -> str:
            raise RuntimeError

    writer = LogWriter(tmp_path)
    writer.add("r1", [{"x": Strange()}, {"x": 1}], [answer(0), answer(1)])
    writer.close()
    assert [line["row"] for line in answers_in(tmp_path)] == [1]
    assert dropped_in(tmp_path) == {"form": 1}


def test_who_asked_may_change_his_request_afterwards(tmp_path):
    writer = LogWriter(tmp_path)
    request = {"x": 1}
    with writer._work.writing:
        writer.add("r1", [request], [answer()])
        request["x"] = 2
    writer.close()
    assert answers_in(tmp_path)[0]["request"] == {"x": 1}


CRASH = """
import os, sys
from datetime import datetime
from fti_assets.inference.serving.log.writer import LogWriter
from fti_assets.inference.serving.answers.prediction import Prediction
writer = LogWriter(sys.argv[1])
for number in range(20):
    writer.add(f"r{number}", [{}], [Prediction(0.5, {}, (), datetime(2013, 6, 1, 12 + number // 10), "delay_net", "v1/b")])
    if number == 14:
        writer.flush()
[path] = __import__("pathlib").Path(sys.argv[1], "delay_net").glob("*.open")
with writer._work.writing:
    os.write(next(iter(writer._work._files.values())).descriptor, b'{"at":"half a li')
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_wrote_is_there_up_to_the_last_whole_line(tmp_path):
    killed = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], check=False)
    assert killed.returncode == -9
    [file] = closed_files(tmp_path / MODEL)
    assert [line["request_id"] for line in answers_in(tmp_path)] == [f"r{number}" for number in range(15)]
    assert file.hours() == {"2013-06-01T12", "2013-06-01T13"}
    assert not open_files(tmp_path / MODEL)


def test_a_file_that_is_being_written_is_left_to_its_writer(tmp_path):
    writer = LogWriter(tmp_path, limits=LONG)
    writer.add("r1", [{}], [answer()])
    writer.flush()
    assert (len(closed_files(tmp_path / MODEL)), len(open_files(tmp_path / MODEL))) == (0, 1)
    writer.close()
    assert len(answers_in(tmp_path)) == 1


def test_a_child_writes_files_of_its_own_and_none_of_its_parents_answers(tmp_path):
    writer = LogWriter(tmp_path, limits=LONG)
    writer.add("before", [{}], [answer()])
    writer.flush()
    with writer._work.writing:
        writer.add("waits", [{}], [answer()])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            writer.add("child", [{}], [answer()])
            writer.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [line["request_id"] for line in answers_in(tmp_path)] == ["child"]  # the parent's is open still
    writer.add("after", [{}], [answer()])
    writer.close()
    assert sorted(line["request_id"] for line in answers_in(tmp_path)) == ["after", "before", "child", "waits"]


@pytest.mark.soak
def test_forks_while_others_answer_lose_nothing(tmp_path):
    writer = LogWriter(tmp_path, limits=LogLimits(file_bytes=2_000, file_seconds=3600))
    over, numbers, forks = threading.Event(), [], repetitions(20)

    def answering() -> None:
        while not over.is_set():
            writer.add(f"p{len(numbers)}", [{}], [answer()])
            numbers.append(1)
            time.sleep(0.0005)

    thread = threading.Thread(target=answering)
    thread.start()
    try:
        for number in range(forks):
            writer.flush()
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    writer.add(f"c{number}", [{}], [answer()])
                    writer.close()
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        over.set()
        thread.join()
    writer.close()
    ids = [line["request_id"] for line in answers_in(tmp_path)]
    assert sorted(ids) == sorted(
        [f"p{number}" for number in range(len(numbers))] + [f"c{number}" for number in range(forks)]
    )


def test_a_writer_that_nobody_has_any_more_closes_its_files(tmp_path):
    writer = LogWriter(tmp_path, limits=LONG)
    writer.add("r1", [{}], [answer()])
    del writer
    assert len(answers_in(tmp_path)) == 1


def test_a_process_that_ends_writes_what_is_left(tmp_path):
    code = CRASH.split("[path]")[0]
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert len(answers_in(tmp_path)) == 20


def test_what_comes_after_closing_is_counted(tmp_path):
    writer = LogWriter(tmp_path)
    writer.close()
    writer.add("late", [{}], [answer()])
    assert writer.counts(MODEL) == {"queue": 1}


def test_limits_are_more_than_nothing():
    with pytest.raises(DeclarationError, match="total_bytes of a prediction log is 0"):
        LogLimits(total_bytes=0)


def test_ids_are_new_in_a_child_too(tmp_path):
    writer = LogWriter(tmp_path)
    ids = [writer.new_id() for _ in range(3)]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, writer.new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert len({*ids, writer.new_id(), os.read(reading, 100).decode()}) == 5
    os.close(reading)
    os.close(writing)


def test_a_file_without_lines_has_no_hours(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\xff\n{")
    assert (LogFile(path).hours(), LogFile(path).redactions()) == (set(), frozenset())
