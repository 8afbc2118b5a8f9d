"""``fti why``: a logged answer is computed again from the lake and the build, and what differs is said."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.errors import DamagedError, NotMaterializedError
from fti_assets.inference.log.take_in import take_in
from fti_assets.testing import ParityBroken, assert_logged_parity
from fti_assets.why import Why, as_text, why
from tests.support.visits import BUYER, DAYS, SOURCE, Bench, crowds, make_answered_week
from tests.support.worlds import made_once

LOG = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS)
PRIVATE = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS, redact=["shop"])
AT = "2013-01-07T12:00:00"
VISIT = SOURCE[SOURCE["shop"] == "a"].iloc[-1]
REQUEST = {"visit_id": int(VISIT["visit_id"]), "shop": "a", "member": True, "x": 0.25}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "answered_week", make_answered_week)


class Place(Bench):
    """Stores with a champion whose answers are logged."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        super().__init__(root, instance)
        self.stores = fti.Stores(**{name: str(root / name) for name in ("lake", "models", "online", "log")})

    def answered(self, requests: Any = REQUEST, *, at: str = AT, **options: Any) -> str:
        """The id of a request that was answered and logged."""
        folders = {name: self.root / name for name in ("models", "online", "log")}
        with fti.Predictor.load("buyer", **folders, **options) as predictor:
            answer = predictor.predict(requests, at=at)
        return str((answer[0] if isinstance(answer, list) else answer).request_id)

    def why(self, request_id: str, log: Any = LOG, **options: Any) -> list[Why]:
        defs = fti.build_definitions([log], resources={"fti": self.stores})
        return why(defs, request_id, stores=self.stores, **options)

    def take_in(self) -> None:
        with self.stores.offline_store().connect() as lake:
            take_in(LOG, lake, self.root / "log" / "buyer", ["2013-01-07"], asset="buyer_log_v1")

    def crowd_again(self) -> None:
        """The day of the request gets other rows."""
        with self.stores.offline_store().connect() as lake:
            lake.connection.execute(
                f"CREATE TEMP TABLE other AS SELECT * REPLACE (people + 1 AS people, 'odd' AS mood) FROM {crowds.table.sql} "
                "WHERE _partition = '2013-01-07'"
            )
            lake.replace(crowds.table, "other", ["2013-01-07"], asset="crowds_v1")


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Iterator[Place]:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Place(tmp_path, instance)


def test_an_answer_is_the_one_of_the_lake_and_the_graph(place: Place) -> None:
    request_id = place.answered([REQUEST, {**REQUEST, "shop": "nowhere"}])
    for _ in ("in a file", "in the table"):
        first, second = place.why(request_id)
        for one in (first, second):
            assert one.replay.again is not None
            assert not one.replay.differences
            assert one.replay.was_newest
        assert first.manifest is not None
        assert first.logged.build == first.manifest.reference
        rows = {row.table: row for row in first.replay.rows}
        assert set(rows) == {"crowds_v1", "shops_v1"}
        assert rows["crowds_v1"].partition == "2013-01-07"
        assert {name: rows["crowds_v1"].row[name] for name in ("mood", "queue")} == {
            name: first.replay.again.features[name] for name in ("mood", "queue")
        }
        assert rows["shops_v1"].row == {"shop": "a", "size": 3, "rent": 1.5}
        assert [row.row for row in second.replay.rows] == [None, None]
        place.take_in()
    assert not list((place.root / "log" / "buyer").glob("*.jsonl"))
    assert "the same; 8 of 8 features are the same" in as_text([first])
    assert "shops_v1 (shop='nowhere'): no row" in as_text([second])


@pytest.mark.parametrize(
    "damage",
    [
        "a flipped bit",
        *(pytest.param(one, marks=pytest.mark.soak) for one in ("half a file", "an empty file")),
        "a FIFO",
    ],
)
def test_a_damaged_file_that_may_hold_the_answer_is_named(place: Place, damage: str) -> None:
    request_id, other = place.answered(), place.answered()
    first, second = sorted((place.root / "log" / "buyer").glob("*.jsonl"))
    [file] = (one for one in (first, second) if request_id in one.read_text())
    content = file.read_bytes()
    if damage == "a FIFO":
        file.unlink()
        os.mkfifo(file)
    elif damage == "an empty file":
        file.write_bytes(b"")
    elif damage == "half a file":
        file.write_bytes(content[: content.index(request_id.encode()) + 10])
    else:
        file.write_bytes(content.replace(b'"answered_at"', b'"answered_at\xa2'))
    with pytest.raises(DamagedError, match=re.escape(str(file))):
        place.why(request_id)
    if damage == "a FIFO":
        return
    assert place.why(other)[0].replay.again is not None
    with pytest.raises(
        DamagedError, match=rf"no answer to a request 'unknown' can be read.*{file}.*put that file back"
    ):
        place.why("unknown")
    file.write_bytes(content)
    assert place.why(request_id)[0].replay.again is not None
    with pytest.raises(NotMaterializedError, match="no answer to a request 'unknown'"):
        place.why("unknown")


def test_a_damaged_line_that_was_put_outside_is_named(place: Place) -> None:
    request_id = place.answered()
    [file] = (place.root / "log" / "buyer").glob("*.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"answered_at"', b'"answered_at\xa2'))
    place.take_in()
    with pytest.raises(DamagedError, match=re.escape(str(file.parent / "outside" / file.name.removesuffix(".jsonl")))):
        place.why(request_id)


@pytest.mark.soak
def test_rows_that_came_later_change_nothing_of_what_was_answered(place: Place) -> None:
    request_id = place.answered()
    place.crowd_again()
    [one] = place.why(request_id, at="2013-01-07T13:00:00")
    assert not one.replay.differences
    place.take_in()
    [one] = place.why(request_id)
    assert not one.replay.differences


def test_an_answer_from_values_that_the_lake_has_not_is_seen(place: Place) -> None:
    place.crowd_again()  # and the online store was not loaded
    request_id = place.answered()
    [one] = place.why(request_id)
    by_feature = {str(two["feature"]): two for two in one.replay.differences}
    assert "mood" in by_feature
    assert by_feature["mood"]["offline"] == "odd"
    assert "is in the lake" in as_text([one])


def test_another_time_and_another_build_say_what_differs(place: Place) -> None:
    request_id = place.answered()
    other = place.build("2013-01-06T00:00:00")
    [one] = place.why(request_id, at="2013-01-05T03:00:00", build=other)
    under, then = one.others
    assert (under.build, list(under.differences)) == (other, [])
    assert {str(two["feature"]) for two in then.differences} >= {"hour_of_day", "queue"}
    text = as_text([one])
    assert f"under build {other}" in text
    assert "at 2013-01-05 03:00:00, as of snapshot" in text
    [unknown] = place.why(request_id, build="v1/20130101T000000Z-00000000")
    assert "it cannot be asked" in as_text([unknown])


def test_what_was_redacted_cannot_be_asked_again(place: Place) -> None:
    request_id = place.answered(redact=["shop"])
    [one] = place.why(request_id, log=PRIVATE)
    assert one.replay.again is None
    assert "'shop' was redacted when it was logged" in as_text([one])


def test_logged_answers_are_those_of_the_offline_join(place: Place) -> None:
    shops_asked = ["a", "b", "nowhere"] * 5
    place.answered([{**REQUEST, "visit_id": number, "shop": shop} for number, shop in enumerate(shops_asked)])
    place.take_in()
    report = assert_logged_parity(LOG, stores=place.stores)
    assert (report.rows, report.behind, report.expired) == (15, 0, 0)
    assert assert_logged_parity(LOG, stores=place.stores, sample=4).rows == 4
    place.crowd_again()
    place.answered()
    place.take_in()
    assert assert_logged_parity(LOG, stores=place.stores).behind == 1
    with pytest.raises(ParityBroken, match="of 16 answers, .*mood 1") as broken:
        assert_logged_parity(LOG, stores=place.stores, lag="0s")
    assert broken.value.rows.iloc[0]["build"] == place.store.champion("buyer").reference


def test_answers_of_an_expired_snapshot_are_not_compared(place: Place) -> None:
    place.answered()
    place.take_in()
    with clock.at("2013-01-07T12:00:00"):  # before there was a lake
        place.answered({**REQUEST, "visit_id": 5})
    place.take_in()
    assert assert_logged_parity(LOG, stores=place.stores).expired == 1


@pytest.mark.parametrize("request_id", ["nobody", "no\0body"])
def test_a_request_that_no_log_has_is_said(place: Place, request_id: str) -> None:
    place.take_in()
    with pytest.raises(
        NotMaterializedError, match=f"no answer to a request {re.escape(repr(request_id))} is in 'buyer_log_v1'"
    ):
        place.why(request_id)
    with pytest.raises(NotMaterializedError, match="the definitions have no prediction log"):
        why(fti.build_definitions([BUYER]), "nobody", stores=place.stores)


def test_the_command_prints_why(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fti_assets.cli import why as command

    request_id = place.answered()
    defs = fti.build_definitions([LOG], resources={"fti": place.stores})
    monkeypatch.setattr(command, "load_definitions", lambda *_: defs)
    assert main(["why", request_id]) == 0
    displayed = capsys.readouterr().out
    assert displayed.startswith(f"request {request_id}, row 0: buyer answered 0.")
    assert json.dumps(REQUEST["visit_id"]) in displayed
