"""A parity finds what was broken on purpose, names it, and counts what nobody can replay."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.times import Partition
from fti_assets.errors import DeclarationError
from fti_assets.features.online.load import load_online
from fti_assets.forget.forget import forget
from fti_assets.inference.log.take_in import take_in
from fti_assets.monitoring.replays.findings import LATE, REWRITTEN, SERVED, STORE
from fti_assets.monitors.parity.parity import Parity
from fti_assets.monitors.parity.rows import facts_of, rows_of
from fti_assets.monitors.parity.run import compare_partition
from fti_assets.stores.lake.snapshots import commit_times
from fti_assets.stores.lake.store import OfflineStore
from tests.automation.test_conditions import launched, report
from tests.stores.online_stores import KINDS, redis_location
from tests.support.visits import BUYER, DAYS, SCORES, SOURCE, crowds, make_answered_week, run, shops
from tests.support.worlds import made_once

LOG = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS)
LOGGED = fti.parity(name="logged", log=LOG)
ANSWERED = fti.parity(name="answered", predictions=SCORES, sample=40)
DAY = Partition("2013-01-07", datetime(2013, 1, 7), datetime(2013, 1, 8))
AT = "2013-01-07T12:00:00"
REQUESTS = [
    {"visit_id": number, "shop": shop, "member": number % 2 == 0, "x": 0.25}
    for number, shop in enumerate(["a", "b", "nowhere"] * 5)
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "answered_week", make_answered_week)


def stores_in(root: Path, online: str | None = None) -> fti.Stores:
    online = online or str(root / "online")
    return fti.Stores(lake=root / "lake", models=root / "models", online=online, log=root / "log")


class Place:
    """Stores whose champion has answered at noon of the day."""

    def __init__(self, root: Path, online: str | None = None) -> None:
        self.root, self.stores = root, stores_in(root, online)

    def answer(self, requests: Any = REQUESTS, *, at: str = AT, now: str | None = None, **options: Any) -> None:
        folders: dict[str, Any] = {
            "models": self.root / "models",
            "online": self.stores.online,
            "log": self.root / "log",
        }
        with (
            fti.Predictor.load("buyer", **folders, **options) as predictor,
            nullcontext() if now is None else clock.at(now),
        ):
            predictor.predict(requests, at=at)
        with self.stores.offline_store().connect() as lake:
            take_in(LOG, lake, self.root / "log" / "buyer", ["2013-01-07"], asset="buyer_log_v1")

    def change_crowds(self, selection: str, *, store: OfflineStore | None = None, load: bool = True) -> None:
        """Replace a day of the crowds by a selection of it, and load the online store from that."""
        with (store or self.stores.offline_store()).connect() as lake:
            lake.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE other AS {selection.format(rows=crowds.table.sql)} WHERE _partition = '2013-01-07'"
            )
            lake.replace(crowds.table, "other", ["2013-01-07"], asset="crowds_v1")
            if load:
                with clock.at("2013-01-09T00:00:00"):
                    load_online(lake, self.stores.online_store(), crowds)

    def late_row(self) -> None:
        """A row of shop a comes after the answers, and says that it was known a quarter before noon."""
        row = "'a' AS shop, TIMESTAMP '2013-01-07 11:30' AS t, TIMESTAMP '2013-01-07 11:45' AS known, 77 AS people, 'good' AS mood"
        others = "FROM {rows} WHERE _partition = '2013-01-07'"
        self.change_crowds(f"FROM ({others} UNION ALL BY NAME SELECT {row}, 0.5 AS queue, '2013-01-07' AS _partition)")

    def compare(
        self, parity: Parity = LOGGED, partition: Partition = DAY
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The counts, and the differences."""
        redactions: frozenset[str] = getattr(parity.of, "redact", frozenset())
        with self.stores.offline_store().connect() as lake, clock.at("2013-01-09T00:00:00"):
            result, _ = compare_partition(parity, lake, self.stores, partition, redactions)
            rows = rows_of(parity, partition, result, clock.now(), redactions)
        return facts_of(result), [row for row in rows if row["kind"] in ("break", "delay_breach")]


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Place:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return Place(tmp_path)


@pytest.fixture(params=KINDS)
def on_each_store(request: pytest.FixtureRequest, trained: Path, tmp_path: Path) -> Iterator[Place]:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    if request.param == "sqlite":
        yield Place(tmp_path)
        return
    with redis_location() as location:
        place = Place(tmp_path, location)
        with place.stores.offline_store().connect() as lake, clock.at("2013-01-09T00:00:00"):
            for group in (crowds, shops):
                load_online(lake, place.stores.online_store(), group)
        yield place


def test_late_rows_are_delay_breaches_on_both_stores(on_each_store: Place) -> None:
    place = on_each_store
    place.answer()
    counts, differences = place.compare()
    assert not differences
    assert (counts["logged_compared"], counts["replayed_compared"], counts["breaks"]) == (15, 15, 0)
    place.late_row()
    counts, differences = place.compare()
    assert (counts["breaks"], {one["request_id"] for one in differences}) == (0, {differences[0]["request_id"]})
    assert {one["row"] for one in differences} == {row for row, one in enumerate(REQUESTS) if one["shop"] == "a"}
    assert {one["feature"] for one in differences} <= {"people", "mood", "queue"}
    for one in differences:
        assert (one["kind"], one["path"], one["reason"]) == ("delay_breach", "replayed", LATE)
        assert json.loads(one["key"]) == {"shop": "a"}
        assert one["online_time"] == datetime(2013, 1, 7, 11, 30) > one["offline_time"]
        assert json.loads(one["online"]) == {"people": 77.0, "mood": "good", "queue": 0.5}[one["feature"]]
        assert one["online"] != one["offline"]


def test_other_rows_in_the_online_store_are_a_break(place: Place) -> None:
    place.answer()
    shutil.copytree(place.root / "lake", place.root / "elsewhere")
    other = OfflineStore(place.root / "elsewhere")
    place.change_crowds("SELECT * REPLACE (queue + 1 AS queue) FROM {rows}", store=other)
    counts, differences = place.compare()
    assert counts["breaks"] == len(differences) == 10
    for one in differences:
        assert (one["kind"], one["path"], one["reason"], one["feature"]) == ("break", "replayed", STORE, "queue")
        assert json.loads(one["online"]) == pytest.approx(json.loads(one["offline"]) + 1)
        assert one["online_time"] == one["offline_time"] is not None


@pytest.mark.soak
def test_history_that_was_rewritten_is_a_break(place: Place) -> None:
    place.answer()
    place.change_crowds("SELECT * REPLACE (queue + 1 AS queue) FROM {rows}")
    counts, differences = place.compare()
    assert counts["delay_breaches"] == 0
    assert {(one["feature"], one["path"], one["reason"]) for one in differences} == {("queue", "replayed", REWRITTEN)}


def test_values_that_were_served_and_never_were_in_the_lake_are_a_break(place: Place) -> None:
    place.change_crowds("SELECT * REPLACE ('odd' AS mood) FROM {rows}", load=False)
    place.answer()
    exact = fti.parity(name="exact", log=LOG, lag="0s")
    counts, differences = place.compare(exact)
    logged = [one for one in differences if one["path"] == "logged"]
    assert {(one["feature"], one["reason"], one["offline"]) for one in logged} == {("mood", SERVED, '"odd"')}
    # Within the lag the answer is that of the snapshot before; the store is still behind, and the replay says so.
    counts, differences = place.compare()
    assert counts["behind"] == len(logged) > 0
    assert {one["path"] for one in differences} == {"replayed"}


def test_what_cannot_be_replayed_is_counted_by_reason(place: Place) -> None:
    place.answer(REQUESTS[:3])
    place.answer(REQUESTS[3:5], at="2013-01-07T13:00:00")
    place.answer(REQUESTS[5:6], now="2013-01-07T12:00:00")  # before there was a lake
    with place.stores.offline_store().connect() as lake, clock.at("2013-02-06T12:30:00"):
        load_online(lake, place.stores.online_store(), crowds)
    counts, differences = place.compare()
    assert not differences
    assert {name: number for name, number in counts.items() if "not_" in name} == {
        "not_replayed/before_answers_from": 3,
        "not_logged/snapshot_is_expired": 1,
        "not_replayed/snapshot_is_expired": 1,
    }
    assert (counts["logged_compared"], counts["replayed_compared"]) == (5, 2)
    shutil.rmtree(next((place.root / "models" / "buyer" / "v1").iterdir()))
    counts, differences = place.compare()
    assert (counts["not_replayed/build_is_gone"], counts["logged_compared"], differences) == (6, 0, [])


def test_redacted_requests_are_counted_and_hidden(place: Place) -> None:
    private = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS, redact=["shop"])
    place.answer(REQUESTS[:3], redact=["shop"])
    counts, differences = place.compare(fti.parity(name="private", log=private))
    assert (counts["not_logged/redacted"], counts["not_replayed/redacted"], differences) == (3, 3, [])


def test_rows_of_batch_predictions_are_replayed(place: Place) -> None:
    expected = (SOURCE["t"].dt.day == 7).sum()
    counts, differences = place.compare(ANSWERED)
    assert (counts["logged_compared"], counts["replayed_compared"], differences) == (expected, expected, [])
    with clock.at("2013-01-09T01:00:00"):
        place.late_row()
    counts, differences = place.compare(ANSWERED)
    requests = SOURCE[(SOURCE["shop"] == "a") & SOURCE["t"].between("2013-01-07 11:45", "2013-01-07 16:30")]
    names = {one["request_id"] for one in differences}
    assert {one["kind"] for one in differences} == {"delay_breach"}
    assert names
    assert names <= {f"visit_id={visit}" for visit in requests["visit_id"]}


@pytest.mark.soak
def test_a_sample_is_the_same_each_time(place: Place) -> None:
    place.answer()
    some = fti.parity(name="some", log=LOG, sample=4)
    place.late_row()
    (counts, first), (_, second) = (place.compare(some) for _ in range(2))
    assert counts["logged_compared"] == 4
    assert [one["row"] for one in first] == [one["row"] for one in second]


def test_the_asset_stores_differences_and_they_can_be_forgotten(place: Place) -> None:
    place.answer()
    place.change_crowds("SELECT * REPLACE (queue + 1 AS queue) FROM {rows}")
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(LOGGED, stores=place.stores, instance=instance, partition_key="2013-01-07", raise_on_error=False)
    assert not result.success
    checks = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert {name: one.passed for name, one in checks.items()} == {
        "online_is_offline": False,
        "no_delay_breaches": True,
        "requests_replayed": True,
    }
    assert checks["online_is_offline"].severity is dg.AssetCheckSeverity.ERROR
    assert "queue 10 (replayed:" in str(checks["online_is_offline"].metadata["problem"].value)
    rows = fti.read(LOGGED, stores=place.stores)
    assert rows["kind"].value_counts().to_dict() == {"break": 10, "compared": 2}
    assert set(rows["partition_start"]) == {datetime(2013, 1, 7)}
    assert json.loads(rows[rows["kind"] == "break"]["request"].iloc[0])["x"] == 0.25
    defs = fti.build_definitions([LOGGED], resources={"fti": place.stores})
    forget(defs, "visits", {"visit_id": "3"}, stores=place.stores)
    later = fti.read(LOGGED, stores=place.stores)
    assert len(later) == len(rows) - 1
    assert 3 not in [json.loads(one)["visit_id"] for one in later["request"].dropna()]


def test_a_day_is_compared_once_it_is_over_and_when_its_log_changes_then() -> None:
    log = fti.prediction_log(name="log_of_today", model=BUYER)
    compared = fti.parity(name="compared", log=log)
    defs, cursor = fti.build_definitions([compared]), None
    with dg.DagsterInstance.ephemeral() as instance:
        report(instance, log.key, "2013-01-05")  # before the first tick, which sees no change
        ticks = []
        moments = {
            "07T09:00": None,
            "07T10:00": "1",
            "08T00:00": None,
            "08T00:05": None,
            "08T00:10": "2",
            "08T00:15": None,
        }
        for moment, version in moments.items():
            at = datetime.fromisoformat(f"2013-01-{moment}:00")
            if version is not None:
                report(instance, log.key, "2013-01-07", early=version)
            with clock.at(at):
                result = dg.evaluate_automation_conditions(
                    defs,
                    instance,
                    dg.AssetSelection.assets(compared.key),
                    evaluation_time=at.replace(tzinfo=UTC),
                    cursor=cursor,
                )
            cursor = result.cursor
            ticks.append(set(result.get_requested_partitions(compared.key)))
            if ticks[-1]:
                launched(instance, {compared.key: ticks[-1]})
    day = {"2013-01-07"}
    assert ticks == [set(), set(), day, set(), day, set()]


def test_a_commit_has_the_time_of_the_clock_that_was_set(place: Place) -> None:
    with place.stores.offline_store().connect() as lake:
        times = commit_times(lake)
    assert times.current(datetime(2013, 1, 8)) in (None, 0)
    assert times.current(datetime(2013, 1, 9)) == max(times.by_number)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "give either log= or predictions="),
        ({"log": LOG, "predictions": SCORES}, "give either log= or predictions="),
        ({"log": LOG, "sample": 0}, "sample=0: give a whole number above 0"),
        ({"log": LOG, "partitions_def": dg.StaticPartitionsDefinition(["a"])}, "must be time windows"),
    ],
)
def test_impossible_declarations_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem):
        fti.parity(name="wrong", **options)
