"""``fti forget``: a key is gone from everything that is stored, everything else stays as it was, and the report is true."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.core import clock
from fti_assets.core.names import PartitionRecord, TableName
from fti_assets.errors import DamagedError, DataError, DeclarationError, FtiError, NotMaterializedError
from fti_assets.forget import Forgotten, as_text, forget
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tiles import tiles_of
from fti_assets.stores.lake.upkeep import forgetting
from fti_assets.stores.lake.upkeep.rejected_rows import rejected_rows
from tests.forgetting import library
from tests.forgetting.library import ANN, CUTOFF, END, FIRST, LAST, PEOPLE, SOURCE
from tests.support.instances import dagster_home
from tests.support.partitions import range_tags
from tests.support.worlds import made_once

LOANS, RETURNS, MEMBERS, MEMBERS_2, VISITS = (
    TableName("features", name) for name in ("loans_v1", "returns_v1", "members_v1", "members_v2", "visits_v1")
)
DATASET, ANSWERS = TableName("datasets", "late_dataset_v1"), TableName("predictions", "answers_v1")
TABLES = (LOANS, RETURNS, MEMBERS, MEMBERS_2, VISITS, DATASET, ANSWERS)
ROOT = Path(__file__).parents[2]
NEWEST = "2025-01-06"
"""The last day of the source, which is stored where nothing but the members is."""
HERS = set(SOURCE.loc[SOURCE["borrower"] == ANN, "loan_id"])


def stores_in(home: Path) -> fti.Stores:
    return fti.Stores(**{name: str(home / name) for name in ("lake", "models", "online")})


def run(stores: fti.Stores, *assets: Any, instance: dg.DagsterInstance | None = None, **options: Any) -> None:
    with clock.at(library.NOW):
        assert dg.materialize(
            [asset.assets_def for asset in assets], resources={"fti": stores}, instance=instance, **options
        ).success


def run_all(stores: fti.Stores, instance: dg.DagsterInstance | None = None) -> None:
    days = range_tags(FIRST, LAST)
    run(stores, *library.GROUPS, tags=days, instance=instance)
    run(stores, library.dataset, library.late_model, partition_key=CUTOFF, instance=instance)
    with clock.at(library.NOW):
        store = stores.model_store()
        (build,) = store.builds("late_model")
    with clock.at(f"{LAST}T12:00:00"):  # answered by the champion: as of a clock at which its window was open
        assert store.aliases("late_model").champion == build.reference
        assert dg.materialize(
            [library.answers.assets_def], resources={"fti": stores}, partition_key=LAST, instance=instance
        ).success


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "library", lambda home: run_all(stores_in(home)))


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def stores(home: Path) -> fti.Stores:
    return stores_in(home)


@pytest.fixture
def lake(stores: fti.Stores) -> Iterator[Lake]:
    with stores.offline_store().connect() as lake:
        yield lake


@pytest.fixture(scope="module")
def members_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake and an online store of nothing but one group."""

    def make(home: Path) -> None:
        run(stores_in(home), library.members_v1, tags=range_tags(FIRST, NEWEST))

    return made_once(tmp_path_factory, "members", make)


@pytest.fixture
def members_home(members_made: Path, tmp_path: Path) -> Path:
    shutil.copytree(members_made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def members(members_home: Path) -> fti.Stores:
    return stores_in(members_home)


def forget_member(stores: fti.Stores, **options: Any) -> Forgotten:
    """Forget her where nothing but the members is stored."""
    declared = fti.build_definitions([library.members_v1], resources={"fti": stores})
    return forget(declared, "members", {"person": ANN}, stores=stores, **options)


def definitions(stores: fti.Stores) -> dg.Definitions:
    return fti.build_definitions([*library.GROUPS, library.answers], resources={"fti": stores})


def forget_in(
    stores: fti.Stores, group: str = "members", key: dict[str, str] | None = None, **options: Any
) -> Forgotten:
    return forget(definitions(stores), group, key or {"person": ANN}, stores=stores, **options)


def rows(lake: Lake, table: TableName, snapshot: int | None = None) -> Counter[tuple[Any, ...]]:
    return Counter(lake.rows(table, snapshot=snapshot, with_partition=True).fetchall())


def hers(lake: Lake, table: TableName, among: Counter[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """Her rows among those of a table, by the source itself: whose loan it is, or whose name stands in it."""
    columns = [*lake.types(table), "_partition"]
    return {row for row in among if ANN in row or dict(zip(columns, row, strict=True)).get("loan_id") in HERS}


def everything(lake: Lake) -> dict[TableName, Counter[tuple[Any, ...]]]:
    return {table: rows(lake, table) for table in TABLES}


def test_damage_that_stops_it_is_seen_before_anything_changes(stores: fti.Stores, lake: Lake) -> None:
    file = lake.store.rejected / "members_v1" / "rows.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("null\n")
    before = lake.snapshot()
    with pytest.raises(DamagedError, match="rows.jsonl keeps rejected rows aside, and a line of it is not a row"):
        forget_in(stores)
    assert lake.snapshot() == before


@dataclass(frozen=True)
class Tables:
    """What the tables of a lake hold, and its newest snapshot."""

    rows: dict[TableName, Counter[tuple[Any, ...]]]
    ledgers: dict[TableName, dict[str, PartitionRecord]]
    snapshot: int

    @classmethod
    def of(cls, stores: fti.Stores) -> Tables:
        with stores.offline_store().connect() as lake:
            return cls(everything(lake), {table: lake.ledger(table) for table in TABLES}, lake.snapshot())


@dataclass(frozen=True)
class Story:
    """She was forgotten: first as a dry run, then really, and then once more."""

    home: Path
    before: Tables
    holding: list[int]
    dry: Forgotten
    after_dry: Tables
    online_after_dry: tuple[bool, bytes]
    done: Forgotten
    after: Tables
    again: Forgotten

    @property
    def stores(self) -> fti.Stores:
        return stores_in(self.home)


def of_online(home: Path) -> tuple[bool, bytes]:
    """Whether the online store answers for her, and its bytes."""
    answers = stores_in(home).online_store().reader("members_v1").get((ANN,), at_us=_late()) is not None
    return answers, b"".join(file.read_bytes() for file in (home / "online").glob("members_v1.sqlite*"))


@pytest.fixture(scope="module")
def story(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = tmp_path_factory.mktemp("story")
    shutil.copytree(made, home, dirs_exist_ok=True)
    stores = stores_in(home)
    before = Tables.of(stores)
    with stores.offline_store().connect() as lake:
        tables = (MEMBERS, MEMBERS_2, ANSWERS, DATASET)
        holding = [
            snapshot
            for snapshot in range(before.snapshot + 1)
            if any(_holds(lake, table, snapshot) for table in tables)
        ]
    dry = forget_in(stores, dry_run=True, expire=True)
    after_dry, online_after_dry = Tables.of(stores), of_online(home)
    done = forget_in(stores)
    after = Tables.of(stores)
    return Story(home, before, holding, dry, after_dry, online_after_dry, done, after, forget_in(stores))


def test_forgotten_key_leaves_all_versions_and_predictions_only(story: Story) -> None:
    touched = {MEMBERS, MEMBERS_2, ANSWERS}
    with story.stores.offline_store().connect() as lake:
        commits = lake.connection.execute(
            "SELECT author, commit_message, commit_extra_info FROM lake.snapshots() WHERE snapshot_id > ?",
            [story.before.snapshot],
        ).fetchall()
        for table, old in story.before.rows.items():
            removed = hers(lake, table, old) if table in touched else set()
            left = Counter({row: n for row, n in old.items() if row not in removed})
            assert story.after.rows[table] == left
            assert (left != old) == (table in touched)
            for partition, record in story.after.ledgers[table].items():
                of_partition = sum(n for row, n in left.items() if row[-1] == partition)
                was = story.before.ledgers[table][partition]
                assert record.rows == of_partition
                assert (record.data_version != was.data_version) == (record.rows != was.rows)
                assert (record.run_id, record.run_at, record.record) == (was.run_id, was.run_at, was.record)
    assert {held.occurrences.table for held in story.done.tables if held.taken_out} == touched
    assert len(commits) == 3  # one a table
    assert {message for _, message, _ in commits} == {f"forget a key of members in {table.name}" for table in touched}
    assert all(json.loads(extra)["columns"] == ["person"] for *_, extra in commits)
    assert ANN not in str(commits)


def test_report_says_which_datasets_snapshots_models_and_groups_hold_it(story: Story) -> None:
    done, newest = story.done, story.before.snapshot
    (build,) = story.stores.model_store().builds("late_model")
    text = as_text(done)
    (of_dataset,) = [held for held in done.tables if held.kind == "dataset"]
    with story.stores.offline_store().connect() as lake:
        number = len(hers(lake, DATASET, story.after.rows[DATASET]))
    assert of_dataset.occurrences.rows == {CUTOFF: number}
    assert list(of_dataset.made_from) == [build.snapshot]
    assert f"in 1 partition ('{CUTOFF}'), made from snapshots {build.snapshot}" in text
    # The dataset holds it still.
    assert list(done.snapshots) == [*story.holding, *range(newest + 1, story.after.snapshot + 1)]
    assert done.models == [f"late_model {build.reference} (accepted, snapshot {build.snapshot})"]
    assert {table: command for table, (_, command) in done.elsewhere.items()} == {
        "features.loans_v1": "fti forget loans --key borrower=...",
        "features.visits_v1": "fti forget visits --key person=...",
    }
    assert ANN not in text


def _holds(lake: Lake, table: TableName, snapshot: int) -> bool:
    try:
        return bool(hers(lake, table, rows(lake, table, snapshot)))
    except (FtiError, duckdb.Error):
        return False


def test_a_dry_run_says_the_same_and_changes_nothing(story: Story) -> None:
    assert story.after_dry == story.before
    assert story.online_after_dry[0]
    assert story.dry.online == {"members_v1": 1}
    assert as_text(story.dry).startswith("would forget the key of members (person)")
    assert [(held.kind, held.occurrences) for held in story.dry.tables] == [
        (held.kind, held.occurrences) for held in story.done.tables
    ]
    assert story.dry.models == story.done.models
    assert story.dry.elsewhere.keys() == story.done.elsewhere.keys()


def _late() -> int:
    return int(1e6 * 1737331200)  # 2025-01-20


def test_online_store_forgets_the_key_and_its_bytes(story: Story) -> None:
    assert ANN.encode() in story.online_after_dry[1]
    assert story.done.online == {"members_v1": 1}
    answers, content = of_online(story.home)
    assert not answers
    assert story.stores.online_store().reader("members_v1").get((PEOPLE[1],), at_us=_late()) is not None
    assert ANN.encode() not in content


def test_a_second_time_says_where_it_is_still(story: Story) -> None:
    assert not story.again.nothing
    assert "no rows now, but at snapshots" in as_text(story.again)
    assert not any(held.taken_out for held in story.again.tables)
    assert list(story.again.snapshots) == list(story.done.snapshots)


def test_data_version_is_that_of_rows_that_are_left(story: Story) -> None:
    with story.stores.offline_store().connect() as lake:
        record = lake.ledger(MEMBERS)[FIRST]
        lake.connection.execute(f"CREATE TEMP TABLE again AS SELECT * FROM {MEMBERS.sql} WHERE _partition = '{FIRST}'")
        assert lake.replace(MEMBERS, "again", [FIRST], asset="members_v1").changed == ()
        assert lake.ledger(MEMBERS)[FIRST].data_version == record.data_version


@pytest.mark.soak
def test_part_of_key_forgets_every_key_that_has_it(stores: fti.Stores, lake: Lake) -> None:
    done = forget_in(stores, "visits")
    assert done.online == {"visits_v1": len({row[2] for row in SOURCE_VISITS if row[0] == ANN})}
    assert {row[0] for row in rows(lake, VISITS)} == set(PEOPLE[1:])
    reader = stores.online_store().reader("visits_v1")
    assert [reader.get((ANN, branch), at_us=_late()) for branch in (0, 1)] == [None, None]
    both = forget_in(stores, "visits", {"person": PEOPLE[1], "branch": "1"})
    assert both.online == {"visits_v1": 1}
    assert rows(lake, VISITS).total() == sum(1 for row in SOURCE_VISITS if row[0] in PEOPLE[2:])


SOURCE_VISITS = [(row.borrower, row.t, row.loan_id % 2) for row in SOURCE[SOURCE["t"] < CUTOFF].itertuples()]


def test_spine_is_forgotten_by_column_that_joins_others_to_it(stores: fti.Stores, lake: Lake) -> None:
    done = forget_in(stores, "loans", {"borrower": ANN}, expire=True)
    assert not hers(lake, LOANS, rows(lake, LOANS))
    assert not hers(lake, ANSWERS, rows(lake, ANSWERS))
    assert not hers(lake, DATASET, rows(lake, DATASET))
    assert {table: command for table, (_, command) in done.elsewhere.items()} == {
        "features.members_v1": "fti forget members --key person=..."
    }


@pytest.mark.soak
def test_expire_leaves_no_file_that_holds_it(stores: fti.Stores, home: Path, lake: Lake) -> None:
    (build,) = stores.model_store().builds("late_model")
    manifest = json.loads(lake.ledger(DATASET)[CUTOFF].record)
    others = {table: rows(lake, table) for table in (RETURNS,)}
    for group, column in (("members", "person"), ("visits", "person"), ("loans", "borrower")):
        done = forget_in(stores, group, {column: ANN}, expire=True)
        if group == "members":
            assert done.deleted_files > 0
            assert build.snapshot in done.snapshots
            assert any(build.reference in what for what in done.pinned[build.snapshot])
            assert f"datasets.late_dataset_v1 {CUTOFF}" in done.pinned[build.snapshot]
            assert "can no longer be made again from the same rows" in as_text(done)
            assert build.snapshot not in {
                s for (s,) in lake.connection.execute("SELECT snapshot_id FROM lake.snapshots()").fetchall()
            }
            with pytest.raises(NotMaterializedError, match=f"no snapshot {build.snapshot} any more"):
                lake.rows(MEMBERS, snapshot=build.snapshot)
    files = sorted((home / "lake" / "data").rglob("*.parquet"))
    assert files
    for file in files:
        results = duckdb.read_parquet(str(file))
        named = [column for column in ("person", "borrower") if column in results.columns]
        assert not [row for row in results.fetchall() if named and ANN in row]
    for file in (path for path in home.rglob("*") if path.is_file()):
        assert ANN.encode() not in file.read_bytes(), f"{file} has her name"
    for table in (LOANS, DATASET, ANSWERS):
        assert not hers(lake, table, rows(lake, table))
    assert {table: rows(lake, table) for table in others} == others
    left = json.loads(lake.ledger(DATASET)[CUTOFF].record)
    splits = Counter(row["split"] for row in lake.rows(DATASET).df().to_dict("records"))
    assert left["rows"] == dict(splits)
    assert sum(left["rows"].values()) < sum(manifest["rows"].values())
    assert {**left, "rows": 0} == {**manifest, "rows": 0}


KILLED = """
import os, signal, sys
from fti_assets.stores.lake import lake as lakes
from fti_assets.stores.lake.upkeep import forgetting, occurrences
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.core.names import PartitionRecord, TableName

root, *wheres = sys.argv[1:]
kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
table, person = TableName("features", "members_v1"), "person = 'ann'"

def be_killed(lake, where):
    if where == "write":  # new rows of hers, whose files are there and not committed
        lake.connection.execute(
            f"CREATE TEMP TABLE staged AS SELECT * REPLACE ('ann' AS person) FROM {table.sql} WHERE _partition = '2024-01-02'"
        )
        lakes.Lake.sync_new_files = kill
        lake.replace(table, "staged", ["2024-01-02"], asset="members_v1")
    if where == "first":  # the first rows of a table that the catalog does not know
        lake.connection.execute(f"CREATE TEMP TABLE staged AS SELECT * FROM {table.sql} WHERE {person} AND _partition = '2024-01-02'")
        lakes.Lake.sync_new_files = kill
        lake.replace(TableName("features", "members_v9"), "staged", ["2024-01-02"], asset="members_v9")
    if where == "taking":  # a forget that is killed while it writes a partition without her and others
        lakes.Lake.sync_new_files = kill
        forgetting.take_out(lake, table, "person = 'bob'", message="forget", extra={})
    if where == "forget":  # a forget that took her out, and was killed before it deleted the files
        forgetting.take_out(lake, table, person, message="forget", extra={})
        forgetting.delete_unneeded = kill
        found = occurrences.find(lake, table, person)
        forgetting.expire_snapshots(lake, sorted(found.snapshots), {table: person})

for where in wheres:
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, where
    else:
        with OfflineStore(root).connect() as lake:
            be_killed(lake, where)
        os._exit(1)
"""


def kill(home: Path, *wheres: str) -> None:
    """Let writers and forgets of a lake be killed, one after the other."""
    script = KILLED.replace("'ann'", f"'{ANN}'").replace("'bob'", f"'{next(one for one in PEOPLE if one != ANN)}'")
    script = script.replace("2024-01-02", FIRST)
    subprocess.run([sys.executable, "-c", script, str(home / "lake"), *wheres], cwd=ROOT, timeout=120, check=True)


@pytest.mark.soak
def test_nothing_of_a_killed_writer_or_forget_holds_it(
    members: fti.Stores, members_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = members_home
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    (home / "fti_spill_killed").mkdir()
    (home / "fti_spill_killed" / "duckdb_temp_storage.tmp").write_bytes(b"rows of ann")
    kill(home, "first", "write", "taking", "forget")
    rejected = home / "lake" / "rejected" / "members_v1"
    rejected.mkdir(parents=True, exist_ok=True)
    begun = rejected / ".run.jsonl.0a1b2c3d.tmp"
    begun.write_text(json.dumps({"person": ANN})[:-2])
    os.utime(begun, (time.time() - 100,) * 2)
    # The first rows are of no table that is known; the taking left a file of each day.
    assert forget_member(members, dry_run=True).of_killed_writers == 1 + 6
    done = forget_member(members, expire=True)
    assert done.expired is not None
    assert (done.expired.holding, done.expired.unreadable) == ((), ())
    searched = f"no file under {home / 'lake' / 'data'} holds it: {done.expired.searched} were searched, and nothing outside of it"
    assert searched in as_text(done)
    assert done.expired.beside == ()
    files = sorted((home / "lake" / "data").rglob("*.parquet"))
    assert len(files) == done.expired.searched > 0
    for file in files:
        assert not [row for row in duckdb.read_parquet(str(file)).fetchall() if ANN in row], file
    for file in (path for path in home.rglob("*") if path.is_file()):
        assert ANN.encode() not in file.read_bytes(), f"{file} has her name"
    assert not begun.exists()
    assert not list((home / "fti_spill_killed").iterdir())


def test_an_emptied_catalog_lets_no_forget_delete_the_only_copy_of_the_rows(stores: fti.Stores, home: Path) -> None:
    with stores.offline_store().connect() as lake:
        before = everything(lake)
    kept = {file: file.read_bytes() for file in (home / "lake").glob("catalog.sqlite*")}
    files = set((home / "lake" / "data").rglob("*.parquet"))
    store = stores.offline_store()
    with store.lock():
        store.put_catalog(store.new_catalog())  # as good as new, and empty
    for dry_run in (True, False):
        with pytest.raises(DamagedError, match="seems to be an old one.*Nothing was deleted.*fti lake repair --lake"):
            forget_in(stores, expire=True, dry_run=dry_run)
    assert set((home / "lake" / "data").rglob("*.parquet")) == files
    for file in (home / "lake").glob("catalog.sqlite*"):
        file.unlink()
    for file, content in kept.items():
        file.write_bytes(content)
    with stores.offline_store().connect() as lake:
        assert everything(lake) == before


@pytest.mark.soak
def test_an_old_copy_of_the_catalog_lets_no_forget_delete_the_newest_commits(
    members: fti.Stores, members_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = members_home
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(tmp_path / "dagster")))
    catalog = home / "lake" / "catalog.sqlite"
    assert not catalog.with_name("catalog.sqlite-wal").exists()
    old, day = catalog.read_bytes(), END
    more = SOURCE.assign(t=SOURCE["t"] + pd.Timedelta(days=1))
    monkeypatch.setattr(library, "SOURCE", more)
    with dg.DagsterInstance.get() as instance:
        run(members, library.members_v1, partition_key=day, instance=instance)
    assert not catalog.with_name("catalog.sqlite-wal").exists()
    (newest,) = (home / "lake" / "data" / "features" / "members_v1" / f"_partition={day}").glob("*.parquet")
    catalog.write_bytes(old)
    with pytest.raises(DamagedError, match=f"lacks what Dagster recorded of 1 partition.*'features.members_v1 {day}'"):
        forget_member(members, expire=True)
    assert newest.exists()
    assert main(["lake", "repair", "--lake", str(home / "lake"), "--online", str(home / "online")]) == 0
    done = forget_member(members, expire=True)
    assert done.expired is not None
    assert done.expired.holding == ()
    with members.offline_store().connect() as lake:
        left = [row for row in rows(lake, MEMBERS) if row[-1] == day]
    assert len(left) == 18
    assert not [row for row in left if ANN in row]


def test_files_that_hold_it_still_or_were_not_searched_are_said(
    members: fti.Stores, members_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = members_home
    folder = home / "lake" / "data" / "features" / "members_v1"
    copied = next(
        file for file in sorted(folder.rglob("*.parquet")) if ANN in str(duckdb.read_parquet(str(file)).fetchall())
    )
    left, notes = folder / "left.parquet", folder / "notes.csv"
    left.write_bytes(copied.read_bytes())
    notes.write_text(ANN)
    beside = [home / "lake" / "loose.parquet", home / "lake" / "rejected" / "members_v1" / "by_hand.parquet"]
    for file in beside:
        file.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"person": [ANN]}).to_parquet(file)
    with monkeypatch.context() as patch:
        patch.setattr(forgetting, "delete_unnamed", lambda lake: 0)
        done = forget_member(members, expire=True)
    assert done.expired is not None
    assert done.expired.holding == (str(left),)
    assert "files that hold it still" in as_text(done)
    assert done.expired.unreadable == (str(notes),)
    assert "cannot be searched" in as_text(done)
    assert done.expired.beside == tuple(map(str, beside))
    assert f"files beside it, which were not searched: 2 ('{beside[0]}' and '{beside[1]}')" in as_text(done)
    (home / "definitions.py").write_text(
        DEFINITIONS.replace("[*library.GROUPS, library.answers]", "[library.members_v1]")
    )
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(home)
    folders = ["--lake", str(home / "lake"), "--models", str(home / "models"), "--online", str(home / "online")]
    assert main(["forget", "members", "--key", f"person={ANN}", *folders, "--expire"]) == 1
    assert "not every file" in capsys.readouterr().err
    notes.unlink()
    assert main(["forget", "members", "--key", f"person={ANN}", *folders, "--expire"]) == 0


@pytest.mark.soak
def test_lake_answers_rightly_after_its_catalogs_bounds_were_narrowed(members: fti.Stores) -> None:
    forget_member(members, expire=True)  # she was the first by name, and so the least value that the catalog knew
    with members.offline_store().connect() as lake:
        for person in PEOPLE:
            results = lake.rows(MEMBERS).filter(f"person = '{person}'").fetchall()
            assert len(results) == (0 if person == ANN else len(SOURCE) // 4)
        assert lake.rows(MEMBERS).aggregate("min(person), max(t)").fetchall()[0][0] == min(PEOPLE[1:])
    run(members, library.members_v1, partition_key=FIRST)  # the source has her still
    with members.offline_store().connect() as lake:
        assert len(lake.rows(MEMBERS).filter(f"person = '{ANN}'").fetchall()) == 6


def test_rejected_rows_are_taken_out_of_their_files(stores: fti.Stores, home: Path) -> None:
    folder = home / "lake" / "rejected"
    (folder / "members_v1").mkdir(parents=True)
    (folder / "answers_v1").mkdir()
    kept = [{"person": PEOPLE[1], "t": "2025-01-01T00:00:00.000", "borrowed": None}, {"borrowed": 1.0}]
    lines = [kept[0], {"person": ANN, "borrowed": -1.0}, kept[1]]
    (folder / "members_v1" / "run.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    hers, theirs = SOURCE[SOURCE["borrower"] == ANN].iloc[0], SOURCE[SOURCE["borrower"] != ANN].iloc[0]
    answers = [{"loan_id": float(row.loan_id), "t": row.t.isoformat(), "probability": 2.0} for row in (hers, theirs)]
    (folder / "answers_v1" / "run.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    assert forget_in(stores, dry_run=True).rejected == {"members_v1": (1, 1), "answers_v1": (1, 1)}
    done = forget_in(stores)
    assert done.rejected == {"members_v1": (1, 1), "answers_v1": (1, 1)}
    assert [json.loads(line) for line in (folder / "members_v1" / "run.jsonl").read_text().splitlines()] == kept
    assert [json.loads(line) for line in (folder / "answers_v1" / "run.jsonl").read_text().splitlines()] == answers[1:]


def test_version_no_longer_declared_is_cleaned_too(stores: fti.Stores, lake: Lake) -> None:
    left = fti.build_definitions([library.members_v1], resources={"fti": stores})
    lake.connection.execute(
        f"CREATE TEMP TABLE old AS SELECT '{ANN}' AS person, 'all' AS _partition UNION ALL SELECT 'bob', 'all'"
    )
    lake.replace(TableName("features", "members_v9"), "old", ["all"], asset="members_v9")
    forget(left, "members", {"person": ANN}, stores=stores)
    assert lake.rows(TableName("features", "members_v9")).fetchall() == [("bob",)]
    assert not [row for row in rows(lake, MEMBERS_2) if ANN in row]


def test_a_key_that_is_nowhere_is_said(stores: fti.Stores, lake: Lake) -> None:
    snapshot = lake.snapshot()
    done = forget_in(stores, key={"person": "nobody"})
    assert done.nothing
    assert "is nowhere" in as_text(done)
    assert lake.snapshot() == snapshot
    assert "is nowhere" in as_text(forget_in(stores, key={"person": "nobody"}, dry_run=True))  # members are online


@pytest.mark.soak
def test_row_that_change_deleted_is_in_no_file_afterwards(tmp_path: Path) -> None:
    batches: list[Any] = [fti.Changes(upserts=pd.DataFrame({"person": PEOPLE, "books": 1}))]
    batches.append(fti.Changes(deletes=pd.DataFrame({"person": [ANN]})))

    @fti.feature_group(keys=["person"])
    def shelves() -> Any:
        return batches.pop(0)

    small = stores_in(tmp_path)
    run(small, shelves)
    run(small, shelves)
    declared = fti.build_definitions([shelves], resources={"fti": small})
    done = forget(declared, "shelves", {"person": ANN}, stores=small, expire=True)
    assert [(held.occurrences.rows, held.taken_out) for held in done.tables] == [({}, True)]
    assert done.deleted_files > 0
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert ANN.encode() not in file.read_bytes(), f"{file} has her name"
    with small.offline_store().connect() as lake:
        assert sorted(lake.rows(shelves.table).project("person").fetchall()) == [(one,) for one in PEOPLE[1:]]
    assert forget(declared, "shelves", {"person": ANN}, stores=small, dry_run=True).nothing


@fti.feature_group(
    keys=["person"], event_time="t", lookback="5d", partitions_def=library.DAYS, ins={"members": library.members_v1}
)
def habits(members: fti.Table) -> fti.Table:
    most = {"most": fti.Max("borrowed")}
    return fti.window_aggregate(members, keys=["person"], every="1h", windows=["5d"], aggregates=most)


def test_what_windows_keep_of_it_is_gone_too(members: fti.Stores, members_home: Path) -> None:
    declared = fti.build_definitions([library.members_v1], resources={"fti": members})

    def forget_one(person: str, **options: Any) -> Forgotten:
        return forget(declared, "members", {"person": person}, stores=members, **options)

    def people_of(table: TableName) -> list[str]:
        with members.offline_store().connect() as lake:
            return [name for (name,) in lake.rows(table).project("person").distinct().order("person").fetchall()]

    def nobody_has(person: str) -> bool:
        files = list((members_home / "lake" / "data" / "tiles").rglob("*.parquet"))
        return not any(person.encode() in file.read_bytes() for file in files)

    run(members, habits, partition_key=NEWEST)
    with members.offline_store().connect() as lake:
        (tiles,) = tiles_of(lake, MEMBERS)
    assert people_of(tiles) == PEOPLE
    assert forget_one(ANN, dry_run=True).tiles == [tiles.full_name]
    done = forget_one(ANN)
    assert f"{tiles}: what windows keep of its partitions, dropped" in as_text(done)
    with members.offline_store().connect() as lake:
        assert not lake.has(tiles)
    run(members, habits, partition_key=NEWEST)  # which makes them again without her
    assert people_of(tiles) == PEOPLE[1:]
    assert forget_one(ANN, dry_run=True).tiles == []
    done = forget_one(ANN, expire=True)
    assert (done.tiles, done.written_again) == ([], [])
    assert nobody_has(ANN)
    # Another one, who is forgotten and expired at once.
    done = forget_one(PEOPLE[1], expire=True)
    assert (done.tiles, done.written_again) == ([tiles.full_name], [])
    assert nobody_has(PEOPLE[1])
    run(members, habits, partition_key=NEWEST)
    assert people_of(tiles) == PEOPLE[2:]


@pytest.mark.soak
def test_a_version_with_another_key_type_is_passed_over(tmp_path: Path) -> None:
    @fti.feature_group(keys=["id"], online=True, name="weather")
    def of_numbers() -> pd.DataFrame:
        return pd.DataFrame({"id": [1, 2], "rain": 1.0})

    @fti.feature_group(keys=["id"], online=True, name="weather", version=2)
    def of_names() -> pd.DataFrame:
        return pd.DataFrame({"id": ["abc", "2"], "rain": 1.0})

    small = stores_in(tmp_path)
    run(small, of_numbers, of_names)
    declared = fti.build_definitions([of_numbers, of_names], resources={"fti": small})
    done = forget(declared, "weather", {"id": "abc"}, stores=small)
    assert done.online == {"weather_v1": 0, "weather_v2": 1}
    forget(declared, "weather", {"id": "2"}, stores=small)
    with small.offline_store().connect() as lake:
        assert lake.rows(of_numbers.table).project("id").fetchall() == [(1,)]
        assert lake.rows(of_names.table).fetchall() == []


@pytest.mark.parametrize("line", ["{", "[]", "null", "[" * 100_000])
def test_a_rejected_row_that_is_none_names_its_file(tmp_path: Path, line: str) -> None:
    (tmp_path / "run.jsonl").write_text(f'{{"person": "{ANN}"}}\n{line}\n')
    with pytest.raises(DamagedError, match=r"run.jsonl keeps rejected rows aside, and a line of it is not a row"):
        rejected_rows(tmp_path, lambda row: True, remove=True)


def test_half_line_at_the_end_goes_with_rejected_rows(tmp_path: Path) -> None:
    file, kept = tmp_path / "run.jsonl", json.dumps({"person": "bob"})
    file.write_text(f'{kept}\n{{"person": "{ANN}", "borr')
    for remove in (False, True):
        assert rejected_rows(tmp_path, lambda row: row["person"] == ANN, remove=remove) == (1, 1)
    assert file.read_text() == f"{kept}\n"
    file.write_text(kept)  # a row without the end of its line
    assert rejected_rows(tmp_path, lambda row: row["person"] == ANN, remove=True) == (0, 0)
    assert file.read_text() == kept


ODD = ["a\0b", "\0", "a\0'; DROP TABLE x; --", "a", "a'b\"", "%", "é", "e\u0301", "\n", "1", "null", "x" * 5_000]


@pytest.mark.soak
def test_odd_characters_of_a_value_find_it_and_no_other(tmp_path: Path) -> None:
    @fti.feature_group(keys=["who"], online=True)
    def notes() -> pd.DataFrame:
        return pd.DataFrame({"who": ODD, "x": range(len(ODD))})

    stores, left = stores_in(tmp_path), list(ODD)
    run(stores, notes)
    defs = fti.build_definitions([notes], resources={"fti": stores})
    for value in ODD[:5]:
        forget(defs, "notes", {"who": value}, stores=stores, expire=value == "\0")
        left.remove(value)
        assert sorted(fti.read(notes, stores=stores)["who"]) == sorted(left)
        reader = stores.online_store().reader("notes_v1")
        assert [one for one in ODD if reader.get((one,), 0) is not None] == left
    with pytest.raises(DataError, match=r"who of features\.notes_v1 cannot be '.udcff', which is not valid Unicode"):
        forget(defs, "notes", {"who": "\udcff"}, stores=stores)


def test_what_there_is_is_listed_in_an_error(stores: fti.Stores) -> None:
    with pytest.raises(
        NotMaterializedError, match="no feature group 'guests': the definitions have 'loans', 'members'"
    ):
        forget_in(stores, "guests")
    with pytest.raises(DeclarationError, match="'name' is not a key of feature group 'members': name one of 'person'"):
        forget_in(stores, key={"name": ANN})
    with pytest.raises(DataError, match="loan_id of features.loans_v1 is BIGINT, which 'seven' is not"):
        forget_in(stores, "loans", {"loan_id": "seven"})


def test_dagster_is_told_the_new_versions(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch, stores: fti.Stores, lake: Lake
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(tmp_path / "dagster")))
    with dg.DagsterInstance.get() as instance:
        run(stores, library.members_v1, partition_key=FIRST, instance=instance)
        (before,) = _events(instance)
        done = forget_in(stores)
        after = next(event for event in _events(instance) if event.partition == FIRST)
        assert after.tags["dagster/data_version"] == lake.ledger(MEMBERS)[FIRST].data_version
        assert after.tags["dagster/data_version"] != before.tags["dagster/data_version"]
        assert after.tags["dagster/code_version"] == before.tags["dagster/code_version"]
        assert after.metadata["dagster/partition_row_count"].value == lake.ledger(MEMBERS)[FIRST].rows
    assert done.reported_partitions == 3 + 3 + 1
    assert "Dagster was told the new data versions of 7 partitions" in as_text(done)


def _events(instance: dg.DagsterInstance) -> list[dg.AssetMaterialization]:
    results = instance.fetch_materializations(library.members_v1.key, limit=100).records
    return [record.asset_materialization for record in results if record.asset_materialization is not None]


DEFINITIONS = """
import fti_assets as fti
from tests.forgetting import library

defs = fti.build_definitions([*library.GROUPS, library.answers])
"""


def test_the_command(
    home: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "definitions.py"
    file.write_text(DEFINITIONS)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(home)
    folders = ["--lake", str(home / "lake"), "--models", str(home / "models"), "--online", str(home / "online")]
    assert main(["forget", "members", "--key", f"person={ANN}", *folders, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("would forget the key of members (person)\n")
    assert main(["forget", "members", "--key", f"person={ANN}", *folders, "-f", str(file), "--expire"]) == 0
    output = capsys.readouterr().out
    assert "  features.members_v1: taken out: 18 rows in 3 partitions" in output
    assert "snapshots expired: " in output
    assert not [row for row in rows(lake, MEMBERS) if ANN in row]
    assert main(["forget", "members", "--key", "person", *folders]) == 1
    assert "--key takes a column and its value" in capsys.readouterr().err
    assert main(["forget", "members", "--key", f"person={ANN}", "--lake", str(home / "nowhere")]) == 1
    assert "there is no offline store" in capsys.readouterr().err
    assert main(["forget", "guests", "--key", f"person={ANN}", *folders]) == 1
    with closing(sqlite3.connect(home / "lake" / "catalog.sqlite")) as catalog:
        assert catalog.execute("PRAGMA journal_mode").fetchone() == ("wal",)
