"""Upkeep: what somebody is pinned to stays as it was, and what nobody needs goes, also when it is killed in the middle."""

import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fti_assets.core import clock
from fti_assets.core.manifest import Status
from fti_assets.core.names import Commit, TableName
from fti_assets.errors import DamagedError, NotMaterializedError, StoreError
from fti_assets.stores.lake import lake as lake_module
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep import expiry as upkeep_module
from fti_assets.stores.lake.upkeep.expiry import Upkeep, delete_spilled, size, upkeep
from fti_assets.stores.lake.upkeep.pins import pins
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import SqliteOnlineStore
from fti_assets.stores.temporary_folders import TEMPORARY
from tests.graphs import constant_graph
from tests.support.examples import repetitions
from tests.support.records import model_manifest

ROOT = Path(__file__).parents[2]
ROWS = TableName("features", "rows_v1")
DATASET = TableName("datasets", "learned_v1")
NOW, HOUR = timedelta(0), timedelta(hours=1)


GRAPH = constant_graph()


class House:
    """The three stores under one folder."""

    def __init__(self, root: Path) -> None:
        self.offline, self.models, self.online = (
            OfflineStore(root / "lake"),
            ModelStore(root / "models"),
            SqliteOnlineStore(root / "online"),
        )

    def keep(self, keep: timedelta = NOW, **options: Any) -> Upkeep:
        return upkeep(self.offline, self.models, self.online, keep=keep, **options)

    def build(self, snapshot: int, token: str, status: Status = "accepted") -> str:
        build = f"20130501T000000Z-0000000{token}"
        manifest = model_manifest(GRAPH, model="net", build=build, status=status, snapshot=snapshot)
        self.models.publish(manifest, GRAPH, "a card")
        return manifest.reference

    def load_online(self, snapshot: int) -> None:
        self.online.load(
            "rows_v1", key_types=("text",), columns=(), rows=[], answers_from=None, snapshot=snapshot, event_time=False
        )

    def backdate(self, versions: Sequence[int], age: timedelta) -> None:
        """Make snapshots as old as if they had been committed that long ago."""
        with closing(sqlite3.connect(self.offline.catalog)) as catalog, catalog:
            for version in versions:
                catalog.execute(
                    "UPDATE ducklake_snapshot SET snapshot_time = strftime('%Y-%m-%d %H:%M:%S+00', 'now', ?) WHERE snapshot_id = ?",
                    (f"-{int(age.total_seconds())} seconds", version),
                )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def put(lake: Lake, number: int, partitions: str = "ab", table: TableName = ROWS, record: str = "{}") -> Commit:
    lake.connection.execute(
        "CREATE OR REPLACE TEMP TABLE staged AS SELECT r AS id, ?::BIGINT AS number, p AS _partition "
        "FROM range(10) rows(r), (SELECT unnest(?) AS p)",
        [number, list(partitions)],
    )
    records = dict.fromkeys(partitions, record)
    return lake.replace(table, "staged", list(partitions), asset="rows_v1", records=records)


def content(lake: Lake, snapshot: int, table: TableName = ROWS) -> list[tuple[Any, ...]]:
    return sorted(lake.rows(table, snapshot=snapshot, with_partition=True).fetchall())


def parquet(house: House) -> set[Path]:
    return set((house.offline.root / "data").rglob("*.parquet"))


def readable(lake: Lake) -> list[int]:
    results = lake.connection.execute("SELECT snapshot_id FROM lake.snapshots() ORDER BY 1").fetchall()
    return [int(snapshot) for (snapshot,) in results]


def test_every_pinned_snapshot_stays_row_for_row_and_others_go(house: House) -> None:
    with house.offline.connect() as lake:
        numbered = {put(lake, number).snapshot: number for number in range(8)}
        first, of_dataset, of_champion, of_former, of_accepted, of_rejected, of_online, last = numbered
        put(lake, 0, table=DATASET, record=f'{{"snapshot": {of_dataset}}}')
        former, champion = house.build(of_former, "1"), house.build(of_champion, "2")
        house.models.promote("net", former, expected=None, reason="first")
        house.models.promote("net", champion, expected=former, reason="better")
        house.build(of_accepted, "3")
        house.build(of_rejected, "4", "rejected")
        house.load_online(of_online)
        before = {snapshot: content(lake, snapshot) for snapshot in numbered}
        newest, newest_rows = lake.snapshot(), content(lake, lake.snapshot())
    done = house.keep()
    kept = [of_dataset, of_champion, of_former, of_accepted, of_online, newest]
    assert sorted(done.pinned) == sorted(kept)
    assert done.pinned[of_dataset] == ("datasets.learned_v1 a", "datasets.learned_v1 b")
    assert done.pinned[of_champion] == (f"model net {champion}",)
    assert done.pinned[of_online] == ("online rows_v1",)
    assert {first, of_rejected, last} <= set(done.expired)
    with house.offline.connect() as lake:
        assert readable(lake) == sorted(kept)
        for snapshot in kept[:-1]:
            assert content(lake, snapshot) == before[snapshot]
            assert {record.rows for record in lake.ledger(ROWS, snapshot=snapshot).values()} == {10}
        assert content(lake, newest) == newest_rows
        with pytest.raises(NotMaterializedError, match=f"has no snapshot {first} any more: it was expired"):
            lake.rows(ROWS, snapshot=first)
        with pytest.raises(NotMaterializedError, match="any more"):
            lake.ledger(ROWS, snapshot=first)
    assert len(parquet(house)) == 2 * 6 + 2  # of five pinned snapshots and the newest, and the dataset
    assert done.deleted == 2 * 2
    assert (done.before.files, done.after.files) == (18, 14)
    assert done.after.data_bytes < done.before.data_bytes
    assert (done.before.snapshots, done.after.snapshots) == (11, 6)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 10))])
def test_random_histories_with_random_pins(house: House, seed: int) -> None:
    chance = random.Random(seed)
    with house.offline.connect() as lake:
        snapshots = [put(lake, 0, "abc").snapshot]
        for number in range(1, 12):
            snapshots.append(put(lake, number, "".join(chance.sample("abcde", chance.randint(1, 4)))).snapshot)
        pinned = chance.sample(snapshots, 4)
        before = {snapshot: content(lake, snapshot) for snapshot in (*pinned, snapshots[-1])}
    for token, snapshot in enumerate(pinned):
        house.build(snapshot, str(token))
    house.keep(grace=NOW)
    with house.offline.connect() as lake:
        assert readable(lake) == sorted({*pinned, snapshots[-1]})
        assert {snapshot: content(lake, snapshot) for snapshot in before} == before
        put(lake, 99)
        assert {row[1] for row in content(lake, lake.snapshot()) if row[2] in "ab"} == {99}


@pytest.mark.soak
def test_snapshot_is_kept_for_so_long_after_next_one_came(house: House) -> None:
    with house.offline.connect() as lake:
        old, replaced_just_now, newest = (put(lake, number).snapshot for number in range(3))
    house.backdate(range(newest), 3 * HOUR)
    done = house.keep(HOUR)
    assert old in done.expired
    with house.offline.connect() as lake:
        assert readable(lake) == [replaced_just_now, newest]  # it is old, but readers were at it until just now
    assert house.keep(HOUR).expired == ()
    house.backdate([newest], 2 * HOUR)
    assert house.keep(HOUR).expired == (replaced_just_now,)


@pytest.mark.soak
def test_a_dataset_replaced_during_training_stays_pinned(house: House) -> None:
    with house.offline.connect() as lake:
        pinned, other = put(lake, 1).snapshot, put(lake, 2).snapshot
        before_run = put(lake, 0, table=DATASET, record=f'{{"snapshot": {pinned}}}').snapshot
        put(lake, 1, table=DATASET, record=f'{{"snapshot": {before_run}}}')
        assert pinned not in pins(lake, house.models, house.online)
        newest = lake.snapshot()
    house.backdate(range(newest), 3 * HOUR)  # the dataset was replaced just now
    done = house.keep(HOUR)
    assert pinned not in done.expired
    assert other in done.expired
    house.backdate([newest], 2 * HOUR)
    assert pinned in house.keep(HOUR).expired


def test_a_manifest_that_cannot_be_read_expires_nothing(house: House) -> None:
    with house.offline.connect() as lake:
        before = [put(lake, number).snapshot for number in range(3)]
    reference = house.build(before[0], "1")
    (house.models.root / "net" / reference / "manifest.json").write_text("{")
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        house.keep()
    with house.offline.connect() as lake:
        assert set(before) <= set(readable(lake))


@pytest.mark.soak
def test_compaction_merges_small_files_and_keeps_snapshots(house: House) -> None:
    with house.offline.connect() as lake:
        first = put(lake, 1).snapshot
        for number in (2, 3):  # as a writer with many threads leaves them
            lake.connection.execute(f"INSERT INTO {ROWS.sql} VALUES (1, {number}, 'a'), (2, {number}, 'b')")
        before = {snapshot: content(lake, snapshot) for snapshot in (first, first + 1, first + 2)}
        for token, snapshot in enumerate(before):
            house.build(snapshot, str(token))
        files = parquet(house)
        done = house.keep()
        assert done.merged == {ROWS.full_name: (6, 2)}
        assert files < parquet(house)  # a reader may be at those that were merged
        assert {snapshot: content(lake, snapshot) for snapshot in before} == before
        message = lake.connection.execute(
            "SELECT commit_message FROM lake.snapshots() ORDER BY snapshot_id DESC LIMIT 1"
        ).fetchall()[0][0]
        assert message == "merge small files of features.rows_v1"
        assert house.keep().merged == {}  # there is nothing left to merge
        assert files < parquet(house)
        house.keep(grace=NOW)
        assert len(parquet(house)) == 2
        assert not files & parquet(house)
        assert {snapshot: content(lake, snapshot) for snapshot in before} == before


def test_a_merged_file_is_durable_before_the_commit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    with house.offline.connect() as lake:
        put(lake, 1)
        lake.connection.execute(f"INSERT INTO {ROWS.sql} VALUES (1, 2, 'a')")
        snapshot, files = lake.snapshot(), parquet(house)

        def sync(file: Path) -> None:
            with house.offline.connect() as other:
                assert other.snapshot() == snapshot
            synced.append(file)

        monkeypatch.setattr(upkeep_module, "sync_file", sync)
        house.keep()
        assert set(synced) == parquet(house) - files
        assert len(synced) == 1


def test_full_disk_is_said_and_next_upkeep_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with house.offline.connect() as lake:
        put(lake, 1)
        lake.connection.execute(f"INSERT INTO {ROWS.sql} VALUES (1, 2, 'a')")
        before = content(lake, lake.snapshot())

        def no_room(file: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(upkeep_module, "sync_file", no_room)
            with pytest.raises(StoreError, match="No space left on device.*No row is lost.*run it again"):
                house.keep()
        assert content(lake, lake.snapshot()) == before
        assert house.keep().merged == {ROWS.full_name: (2, 1)}
        assert content(lake, lake.snapshot()) == before


@pytest.mark.soak
def test_tiles_that_no_run_adds_to_go_and_others_are_merged(house: House) -> None:
    old, new = TableName("tiles", "rows_v1_0"), TableName("tiles", "rows_v1_1")
    with house.offline.connect() as lake:
        put(lake, 0)
        with clock.at(clock.now() - 3 * HOUR):
            put(lake, 1, "ab", table=old)
            put(lake, 1, "a", table=new)
        put(lake, 1, "b", table=new)
        lake.connection.execute(f"INSERT INTO {new.sql} VALUES (1, 2, 'a')")
        before, rows = lake.snapshot(), content(lake, lake.snapshot(), new)
        done = house.keep(HOUR)
        assert (done.tiles, done.merged) == ((old.full_name,), {new.full_name: (2, 1)})
        assert lake.tiles() == [new]
        assert content(lake, lake.snapshot(), new) == rows
        assert sorted(lake.ledger(new)) == ["a", "b"]
        assert lake.ledger(old) == {}
        assert len(content(lake, before, ROWS)) == len(
            lake.connection.sql(f"FROM {old.sql} AT (VERSION => {before})").fetchall()
        )
        put(lake, 1, table=old)
        assert lake.tiles() == [old, new]


def test_files_of_dropped_tiles_go_with_snapshots_that_read_them(house: House) -> None:
    tiles = TableName("tiles", "rows_v1_0")
    with house.offline.connect() as lake:
        put(lake, 0)
        with clock.at(clock.now() - 3 * HOUR):
            put(lake, 1, table=tiles)
    assert house.keep(HOUR).deleted == 0
    done = house.keep(NOW)
    assert (done.before.files, done.deleted, done.after.files) == (4, 2, 2)
    assert not list((house.offline.root / "data" / "tiles").rglob("*.parquet"))


def test_orphans_go_when_they_are_day_old_and_nobody_writes(house: House) -> None:
    with house.offline.connect() as lake:
        put(lake, 1)
    folder = house.offline.root / "data" / "features" / "rows_v1" / "_partition=a"
    fresh, stale = folder / "fresh.parquet", folder / "stale.parquet"
    for file in (fresh, stale):
        file.write_bytes(b"of a killed writer")
    os.utime(stale, (time.time() - 90_000,) * 2)
    with house.offline.lock():
        thread = threading.Thread(target=house.keep)
        thread.start()
        thread.join(1.5)
        assert thread.is_alive()
        assert stale.exists()
    thread.join(60)
    assert not stale.exists()
    assert fresh.exists()


def test_the_ledgers_lose_the_rows_that_no_snapshot_has(house: House) -> None:
    def ledger_rows(lake: Lake) -> int:
        with closing(sqlite3.connect(house.offline.catalog)) as catalog:
            (name,) = catalog.execute("SELECT table_name FROM ducklake_inlined_data_tables").fetchone()
            return int(catalog.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])

    with house.offline.connect() as lake:
        snapshots = [put(lake, number).snapshot for number in range(6)]
        assert ledger_rows(lake) == 12
        house.build(snapshots[2], "1")
        before = lake.ledger(ROWS, snapshot=snapshots[2]), lake.ledger(ROWS)
        house.keep()
        assert ledger_rows(lake) == 4
        assert (lake.ledger(ROWS, snapshot=snapshots[2]), lake.ledger(ROWS)) == before


def test_what_killed_runs_spilled_goes_after_a_day(tmp_path: Path) -> None:
    for name, age in (("fti_spill_old", 90_000), ("fti_spill_new", 10), ("another", 90_000)):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "duckdb_temp_storage.tmp"
        file.write_bytes(b"spilled")
        for path in (file, file.parent):
            os.utime(path, (time.time() - age,) * 2)
    assert delete_spilled(tmp_path) == 1
    assert sorted(file.parent.name for file in tmp_path.glob("*/*")) == ["another", "fti_spill_new"]
    assert not (tmp_path / "fti_spill_old").exists()


LEFT = """
import os, signal, sys, tempfile
from contextlib import ExitStack
from pathlib import Path
from fti_assets.stores.temporary_folders import TEMPORARY, temporary_folder
tempfile.tempdir = sys.argv[1]
with ExitStack() as stack:
    for prefix in TEMPORARY:
        folder = stack.enter_context(temporary_folder(prefix))
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("rows of somebody")
        (folder / "link").symlink_to("nowhere")
    print("made", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_folders_of_killed_processes_go_and_of_living_ones_stay(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEFT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        for path in sorted(tmp_path.rglob("*"), reverse=True):
            os.utime(path, (time.time() - 90_000,) * 2, follow_symlinks=False)
        assert delete_spilled(tmp_path) == 0
        process.communicate("die\n")
    assert len(list(tmp_path.iterdir())) == len(TEMPORARY)
    assert delete_spilled(tmp_path) == 2 * len(TEMPORARY)
    assert list(tmp_path.iterdir()) == []


def test_rejected_rows_that_a_killed_step_began_to_write_go(house: House) -> None:
    with house.offline.connect() as lake:
        put(lake, 1)
    old, new = (house.offline.rejected / "rows_v1" / f".2013.jsonl.{age}.tmp" for age in ("old", "new"))
    for file in (old, new):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    os.utime(old, (time.time() - 90_000,) * 2)
    house.keep()
    assert [file.exists() for file in (old, new)] == [False, True]


def test_folder_that_open_lake_spills_into_stays_however_old(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with house.offline.connect():
        (spill,) = tmp_path.glob("fti_spill_*")
        os.utime(spill, (time.time() - 90_000,) * 2)
        assert delete_spilled(tmp_path) == 0
        assert spill.exists()
    assert not spill.exists()


def test_two_upkeeps_at_once_may_delete_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        (tmp_path / f"fti_spill_{number}").mkdir()
        os.utime(tmp_path / f"fti_spill_{number}", (time.time() - 90_000,) * 2)
    removed, rmdir = [], Path.rmdir

    def by_another_first(folder: Path) -> None:
        removed.append(folder)
        rmdir(folder)
        rmdir(folder)

    monkeypatch.setattr(Path, "rmdir", by_another_first)
    assert delete_spilled(tmp_path) == 0
    assert len(removed) == 2
    assert not list(tmp_path.iterdir())


def test_steps_are_told_and_size_is_that_of_folder(house: House) -> None:
    messages: list[str] = []
    with house.offline.connect() as lake:
        put(lake, 1)
        present = size(lake)
    done = house.keep(say=messages.append)
    assert present.files == 2
    assert present.data_bytes == sum(file.stat().st_size for file in parquet(house))
    assert present.catalog_bytes >= house.offline.catalog.stat().st_size
    assert messages[0].startswith(f"expired {len(done.expired)} snapshots, spared 1 that are pinned")
    assert len(messages) == 3


KEEPER = """
import os, sys, traceback
from datetime import timedelta
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import SqliteOnlineStore
from fti_assets.core.names import TableName
from fti_assets.stores.lake.upkeep.expiry import upkeep

root, table = sys.argv[1], TableName("features", "rows_v1")
stores = OfflineStore(f"{root}/lake"), ModelStore(f"{root}/models"), SqliteOnlineStore(f"{root}/online")

def work(number):
    with stores[0].connect() as lake:
        print("ready", flush=True)
        while True:
            number += 1
            lake.connection.execute(
                "CREATE OR REPLACE TEMP TABLE staged AS SELECT r AS id, ?::BIGINT AS number, p AS _partition "
                "FROM range(10) rows(r), (SELECT unnest(['a', 'b']) AS p)", [number])
            lake.replace(table, "staged", ["a", "b"], asset="rows_v1")
            with stores[0].lock():
                lake.connection.execute(f"INSERT INTO {table.sql} VALUES (1, {number}, 'a')")
            upkeep(*stores, keep=timedelta(0), grace=timedelta(0))

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            work(int(line))
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    print(child, flush=True)
    print("dead", os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.parametrize("merged", [False, True])
def test_rows_that_someone_added_are_replaced_in_the_commit_itself(
    house: House, monkeypatch: pytest.MonkeyPatch, merged: bool
) -> None:
    monkeypatch.setattr(lake_module, "give_up", lambda *_, **__: pytest.fail("a kill before it would leave both rows"))
    with house.offline.connect() as lake:
        put(lake, 1)
        lake.connection.execute(f"INSERT INTO {ROWS.sql} VALUES (1, 1, 'a')")
    if merged:
        house.keep(grace=NOW)
    with house.offline.connect() as lake:
        assert len(content(lake, lake.snapshot())) == 21
        put(lake, 2)
        assert {number for _, number, _ in content(lake, lake.snapshot())} == {2}


@pytest.mark.soak
def test_killed_at_any_instant_every_pinned_snapshot_reads_same(house: House) -> None:
    chance = random.Random(11)
    with house.offline.connect() as lake:
        pinned = [put(lake, -number).snapshot for number in range(1, 4)]
        before = {snapshot: content(lake, snapshot) for snapshot in pinned}
    for token, snapshot in enumerate(pinned):
        house.build(snapshot, str(token))
    command = [sys.executable, "-c", KEEPER, str(house.offline.root.parent)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for kill in range(repetitions(15)):
            print(kill * 1000, file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())
            assert parent.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.6))
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == f"dead {signal.SIGKILL.value}\n", "upkeep or a write failed by itself"
            with house.offline.connect() as lake:
                assert {snapshot: content(lake, snapshot) for snapshot in pinned} == before
                rows = content(lake, lake.snapshot())
                assert len(rows) in (20, 21)
                assert len({number for _, number, _ in rows}) == 1
        parent.stdin.close()
    house.keep(grace=NOW)
    with house.offline.connect() as lake:
        assert {snapshot: content(lake, snapshot) for snapshot in pinned} == before
        assert set(pinned) <= set(readable(lake))
