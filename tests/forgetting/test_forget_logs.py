"""``fti forget`` and prediction logs: a key is gone from the log's table and from files that are not taken in yet."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.errors import DamagedError
from fti_assets.features.online.load import load_online
from fti_assets.forget import Forgotten, as_text, forget
from fti_assets.inference.log.take_in import take_in
from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.log.files import close_left
from fti_assets.inference.serving.log.limits import LogLimits
from fti_assets.inference.serving.log.lines import KEY, Redaction, answer_line, header
from fti_assets.inference.serving.log.writer import LogWriter
from fti_assets.stores.lake.lake import Lake
from tests.forgetting import library
from tests.forgetting.library import ANN, PEOPLE
from tests.support.damage import content_of
from tests.support.logged import file_in

NOON = datetime(2025, 1, 3, 12)
DAY = "2025-01-03"
LOG = fti.prediction_log(name="late_log", model=library.late_model, partitions_def=library.DAYS)
FORGETTING = Path(__file__).parent


def answer(at: datetime = NOON) -> Prediction:
    return Prediction(0.5, {"pages": 1.5, "borrowed": 3.0}, (), at, "late_model", "v1/b")


def line_of(person: Any, number: int, at: datetime = NOON, redaction: Redaction | None = None) -> bytes:
    request = {"loan_id": number, "borrower": person, "pages": 1.5}
    return answer_line(answer(at), request, f"r{number}", 0, at, None, redaction or Redaction())


class Home:
    """A lake with a log's table, and files beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stores = fti.Stores(**{name: str(root / name) for name in ("lake", "models", "online", "log")})
        self.folder = root / "log" / "late_model"
        self.defs = fti.build_definitions([*library.GROUPS, LOG], resources={"fti": self.stores})

    def take_in(self) -> None:
        with self.stores.offline_store().connect() as lake:
            take_in(LOG, lake, self.folder, [DAY], asset="late_log_v1")

    def forget(self, group: str = "members", **options: Any) -> Forgotten:
        key = options.pop("key", {"person": ANN})
        return forget(self.defs, group, key, stores=self.stores, **{"log_seconds": 0.0, **options})

    def people(self) -> list[str]:
        rows = fti.read(LOG, stores=self.stores, as_="dicts")
        return sorted(str(json.loads(row["request"])["borrower"]) for row in rows)

    def holding(self) -> list[str]:
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return [path.name for path in files if ANN.encode() in path.read_bytes()]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Of each person an answer in the table, in a file, in one that a crash left, and outside the partitions."""
    home, before = Home(tmp_path), datetime(2024, 12, 1)
    file_in(home.folder, [line_of(person, number) for number, person in enumerate(PEOPLE)], begun=NOON)
    file_in(
        home.folder, [line_of(person, number, before) for number, person in enumerate(PEOPLE)], number=1, begun=NOON
    )
    home.take_in()
    file_in(home.folder, [line_of(person, 10 + number) for number, person in enumerate(PEOPLE)], number=2, begun=NOON)
    left = [line_of(person, 20 + number) for number, person in enumerate(PEOPLE)]
    file_in(home.folder, left, number=3, left=True, begun=NOON)
    return home


def test_a_forgotten_key_is_in_no_log_any_more(home: Home) -> None:
    done = home.forget(expire=True)
    assert done.logged == {"late_model": (3, 3)}
    assert [held.occurrences.table.name for held in done.tables] == ["late_log_v1"]
    assert not done.still_logged
    assert not home.holding()
    home.take_in()
    assert home.people() == sorted(PEOPLE[1:] * 3)
    assert len(list(home.folder.glob("outside/*.jsonl"))) == 1
    assert "logged answers of late_model: 3 in 3 files, taken out" in as_text(done)


def test_a_damaged_build_is_told_before_a_log_is_changed(home: Home) -> None:
    manifest = home.root / "models" / "late_model" / "v1" / "20250101T000000Z-00000001" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{")
    close_left(*home.folder.glob("*.open"))
    before = content_of(home.root)
    with pytest.raises(DamagedError, match=str(manifest)):
        home.forget()
    assert content_of(home.root) == before


def test_an_online_store_that_cannot_be_written_is_told_before_a_log_is_changed(home: Home) -> None:
    with home.stores.offline_store().connect() as lake:
        lake.connection.execute(
            f"CREATE TEMP TABLE staged AS SELECT '{ANN}' AS person, TIMESTAMP '{DAY}' AS t, 1.0 AS borrowed, '{DAY}' AS _partition"
        )
        lake.replace(library.members_v1.table, "staged", [DAY], asset="members_v1")
        load_online(lake, home.stores.online_store(), library.members_v1)
    lock = home.root / "online" / ".members_v1.lock"
    lock.unlink()
    lock.mkdir()
    close_left(*home.folder.glob("*.open"))
    before = content_of(home.root)
    with pytest.raises(DamagedError, match=f"{lock} is a folder where a file belongs"):
        home.forget()
    assert content_of(home.root) == before


def test_looking_at_logs_changes_nothing(home: Home) -> None:
    before = {path: path.read_bytes() for path in home.folder.rglob("*.jsonl")}
    done = home.forget(dry_run=True)
    assert done.logged == {"late_model": (3, 3)}
    assert {path: path.read_bytes() for path in before} == before
    assert "logged answers of late_model: 3 in 3 files\n" in as_text(done)


def test_a_spines_own_key_is_found_in_its_requests(home: Home) -> None:
    done = home.forget("loans", key={"loan_id": "10"})
    assert done.logged == {"late_model": (1, 1)}
    home.take_in()
    assert len(home.people()) == 3 * len(PEOPLE) - 1


def test_a_file_that_is_being_written_is_waited_for(home: Home) -> None:
    writer = LogWriter(home.folder.parent, limits=LogLimits(file_seconds=1.0))
    writer.add("new", [{"loan_id": 1, "borrower": ANN, "pages": 1.5}], [answer()])
    writer.flush()
    done = home.forget(log_seconds=600.0)  # and no second longer than the file is open
    assert (done.logged, done.still_logged) == ({"late_model": (4, 4)}, [])
    writer.close()


def test_a_file_that_stays_open_is_named(home: Home) -> None:
    writer = LogWriter(home.folder.parent, limits=LogLimits(file_seconds=3600))
    writer.add("new", [{"loan_id": 1, "borrower": ANN, "pages": 1.5}], [answer()])
    writer.flush()
    done = home.forget()
    [path] = home.folder.glob("*.open")
    assert done.still_logged == [str(path)]
    assert "files of prediction logs that hold it still" in as_text(done)
    writer.close()
    assert not home.forget().still_logged
    assert not [path for path in home.folder.rglob("*.jsonl") if ANN.encode() in path.read_bytes()]


@pytest.mark.soak
def test_what_is_hashed_is_found_by_who_has_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "secret")
    home, hashed = Home(tmp_path), Redaction.of(["borrower", "loan_id"])
    file_in(
        home.folder, [line_of(person, number, redaction=hashed) for number, person in enumerate(PEOPLE)], begun=NOON
    )
    home.take_in()
    file_in(home.folder, [line_of(person, number, redaction=hashed) for number, person in enumerate(PEOPLE)], number=1)
    done = home.forget()
    assert done.logged == {"late_model": (1, 1)}
    assert len(home.people()) == len(PEOPLE) - 1
    assert home.forget("loans", key={"loan_id": "2"}).logged == {"late_model": (1, 1)}
    assert len(home.people()) == len(PEOPLE) - 2


@pytest.mark.soak
def test_a_take_in_that_has_read_the_key_before_does_not_bring_it_back(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, first = Lake.replace, iter([1])

    def overtaken(*arguments: Any, **named: Any) -> Any:
        if next(first, None):
            home.forget()
        return replace(*arguments, **named)

    monkeypatch.setattr(Lake, "replace", overtaken)
    home.take_in()
    assert home.people() == sorted(PEOPLE[1:] * 3)


def test_a_line_that_nobody_can_read_goes_by_its_bytes(home: Home) -> None:
    path = home.folder / "outside" / "broken.jsonl"
    path.write_bytes(header("late_model", Redaction()) + f'{{"at":"{ANN}\n'.encode() + b'{"at":"other\n')
    home.forget()
    assert path.read_bytes().splitlines()[1:] == [b'{"at":"other']


def test_what_a_killed_rewrite_left_goes_once_it_is_old(home: Home) -> None:
    import os

    old, new = home.folder / ".x.jsonl.abc.tmp", home.folder / ".y.jsonl.abc.tmp"
    for path in (old, new):
        path.write_bytes(line_of(ANN, 1))
    os.utime(old, (0, 0))
    done = home.forget()
    assert not old.exists()
    assert done.still_logged == [str(new)]


def test_the_command_fails_where_a_log_holds_the_key_still(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fti_assets.cli import rows

    monkeypatch.setattr(rows, "load_definitions", lambda *_: home.defs)
    (home.folder / ".y.jsonl.abc.tmp").write_bytes(line_of(ANN, 1))
    command = ["forget", "members", "--key", f"person={ANN}", "--log", str(home.root / "log")]
    assert main(command) == 1
    displayed = capsys.readouterr()
    assert "is shown to be without the key" in displayed.err
    assert ".y.jsonl.abc.tmp" in displayed.out


def test_days_of_the_log_get_new_versions_and_keep_their_files(home: Home) -> None:
    with home.stores.offline_store().connect() as lake:
        before = lake.ledger(LOG.table)[DAY]
    home.forget()
    with home.stores.offline_store().connect() as lake:
        after = lake.ledger(LOG.table)[DAY]
    assert (after.rows, after.record) == (before.rows - 1, before.record)
    assert after.data_version != before.data_version
    assert timedelta(0) == after.run_at - before.run_at
