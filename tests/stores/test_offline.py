"""The offline store: one partition, one transaction, one version; whoever reads sees the old rows or the new."""

import ast
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fti_assets.core import clock
from fti_assets.core.names import Commit, TableName
from fti_assets.core.times import instant
from fti_assets.errors import NotMaterializedError, SchemaChangedError, StoreError
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from tests.support.examples import repetitions

ROOT = Path(__file__).parents[2]
WEATHER = TableName("features", "weather_v1")
Rows = Mapping[str, Sequence[tuple[str, float | None]]]

DAY_1, DAY_2, DAY_3 = "2013-01-01", "2013-01-02", "2013-01-03"
ROWS: Rows = {DAY_1: [("JFK", 1.5), ("LGA", 2.5)], DAY_2: [("JFK", 3.5)]}


@pytest.fixture
def store(tmp_path: Path) -> OfflineStore:
    return OfflineStore(tmp_path / "lake")


@pytest.fixture
def lake(store: OfflineStore) -> Iterator[Lake]:
    with store.connect() as lake:
        yield lake


def staged(lake: Lake, rows: Rows, columns: str = "origin VARCHAR, temp DOUBLE") -> str:
    lake.connection.execute(f"CREATE OR REPLACE TEMP TABLE staged ({columns}, _partition VARCHAR)")
    values = [[*row, partition] for partition, results in rows.items() for row in results]
    if values:
        lake.connection.executemany("INSERT INTO staged VALUES (?, ?, ?)", values)
    return "staged"


def replace(lake: Lake, rows: Rows, table: TableName = WEATHER, **options: Any) -> Commit:
    return lake.replace(table, staged(lake, rows), list(rows), asset="weather_v1", **options)


def stored(lake: Lake, **options: Any) -> list[tuple[Any, ...]]:
    return sorted(lake.rows(WEATHER, **options).fetchall())


def versions(lake: Lake) -> dict[str, str]:
    return {partition: record.data_version for partition, record in lake.ledger(WEATHER).items()}


def parquet(store: OfflineStore) -> set[Path]:
    return set((store.root / "data").rglob("*.parquet"))


def test_a_partition_is_replaced_and_the_others_stay(lake: Lake) -> None:
    replace(lake, ROWS)
    replace(lake, {DAY_1: [("EWR", 9.0)]})
    assert stored(lake) == [("EWR", 9.0), ("JFK", 3.5)]
    assert stored(lake, partitions=[DAY_1]) == [("EWR", 9.0)]
    assert stored(lake, partitions=[]) == []
    assert stored(lake, partitions=[DAY_2], with_partition=True) == [("JFK", 3.5, DAY_2)]


def test_writing_same_rows_again_keeps_version_and_writes_no_file(store: OfflineStore, lake: Lake) -> None:
    with clock.at("2013-01-05T00:00:00"):
        first = replace(lake, ROWS, run_id="one")
    files = parquet(store)
    with clock.at("2013-01-06T00:00:00"):
        second = replace(lake, ROWS, run_id="two", records={DAY_1: '{"n": 2}'})
    assert parquet(store) == files
    assert first.changed == (DAY_1, DAY_2)
    assert second.changed == ()
    assert second.rows == 3
    assert [p.data_version for p in second.partitions] == [p.data_version for p in first.partitions]
    record = lake.ledger(WEATHER)[DAY_1]
    assert (record.committed_at, record.run_at) == (instant("2013-01-05"), instant("2013-01-06"))
    assert (record.run_id, record.record, record.rows) == ("two", '{"n": 2}', 2)
    assert lake.ledger(WEATHER)[DAY_2].record == "{}"


def test_version_does_not_depend_on_order_of_rows_or_columns(lake: Lake) -> None:
    first = replace(lake, {DAY_1: [("a", 1.0), ("b", 2.0), ("b", 2.0)]})
    again = replace(lake, {DAY_1: [("b", 2.0), ("a", 1.0), ("b", 2.0)]})
    lake.connection.execute("CREATE TEMP TABLE turned AS SELECT temp, _partition, origin FROM staged")
    turned = lake.replace(WEATHER, "turned", [DAY_1], asset="weather_v1")
    assert again.changed == turned.changed == ()
    assert first.partitions[0].data_version == turned.partitions[0].data_version
    assert stored(lake) == [("a", 1.0), ("b", 2.0), ("b", 2.0)]


@pytest.mark.soak
@pytest.mark.parametrize(
    "other",
    [
        [("a", 1.0), ("b", 2.0)],
        [("a", 1.0), ("b", 2.0), ("a", 1.0), ("a", 1.0)],
        [("a", 2.0), ("b", 1.0), ("b", 1.0)],
        [("a", 1.0), ("b", 2.0), ("b", None)],
        [],
    ],
)
def test_other_rows_give_another_version(lake: Lake, other: list[tuple[str, float | None]]) -> None:
    first = replace(lake, {DAY_1: [("a", 1.0), ("b", 2.0), ("b", 2.0)]})
    assert replace(lake, {DAY_1: other}).partitions[0].data_version != first.partitions[0].data_version


def test_only_the_version_of_the_changed_partition_changes(lake: Lake) -> None:
    replace(lake, ROWS)
    before = versions(lake)
    commit = replace(lake, {**ROWS, DAY_2: [("JFK", 4.5)]})
    assert commit.changed == (DAY_2,)
    after = versions(lake)
    assert after[DAY_1] == before[DAY_1]
    assert after[DAY_2] != before[DAY_2]


def test_a_partition_without_rows_is_recorded(lake: Lake) -> None:
    commit = replace(lake, {DAY_1: [], DAY_2: [("JFK", 1.0)]})
    assert {p.partition: p.rows for p in commit.partitions} == {DAY_1: 0, DAY_2: 1}
    assert lake.ledger(WEATHER)[DAY_1].rows == 0
    assert replace(lake, {DAY_1: []}).changed == ()
    assert replace(lake, {DAY_2: []}).changed == (DAY_2,)
    assert stored(lake) == []
    assert list(lake.ledger(WEATHER)) == [DAY_1, DAY_2]


def test_more_digits_of_a_decimal_are_refused_with_what_to_declare(lake: Lake) -> None:
    first = staged(lake, {DAY_1: [("JFK", 2.5)]}, "origin VARCHAR, price DECIMAL(18,1)")
    lake.replace(WEATHER, first, [DAY_1], asset="weather_v1")
    finer = staged(lake, {DAY_2: [("JFK", 2.25)]}, "origin VARCHAR, price DECIMAL(18,2)")
    message = r"those of price in the new version's schema, pa\.Column\(pa\.Decimal\(19, 2\)\) .* to DECIMAL\(18,1\).*Raise the version"
    with pytest.raises(SchemaChangedError, match=message):
        lake.replace(WEATHER, finer, [DAY_2], asset="weather_v1")
    assert stored(lake) == [("JFK", Decimal("2.5"))]


def test_another_schema_is_refused_and_nothing_is_stored(store: OfflineStore, lake: Lake) -> None:
    replace(lake, ROWS)
    before, files = lake.snapshot(), parquet(store)
    other = staged(lake, {DAY_3: [("JFK", 2)]}, "origin VARCHAR, wind BIGINT")
    with pytest.raises(SchemaChangedError, match="wind BIGINT is new; temp DOUBLE is gone.*Nothing was stored"):
        lake.replace(WEATHER, other, [DAY_3], asset="weather_v1")
    narrower = staged(lake, {DAY_3: [("JFK", 2)]}, "origin VARCHAR, temp BIGINT")
    with pytest.raises(SchemaChangedError, match="temp was DOUBLE and is now BIGINT.*Raise the version"):
        lake.replace(WEATHER, narrower, [DAY_3], asset="weather_v1")
    assert (lake.snapshot(), parquet(store), list(lake.ledger(WEATHER))) == (before, files, [DAY_1, DAY_2])


def test_an_old_snapshot_still_gives_the_old_rows(lake: Lake) -> None:
    first = replace(lake, ROWS)
    second = replace(lake, {DAY_1: [("EWR", 9.0)]})
    assert second.snapshot > first.snapshot
    assert stored(lake, snapshot=first.snapshot) == [("JFK", 1.5), ("JFK", 3.5), ("LGA", 2.5)]
    assert stored(lake, snapshot=second.snapshot) == [("EWR", 9.0), ("JFK", 3.5)]
    assert lake.ledger(WEATHER, snapshot=first.snapshot)[DAY_1].rows == 2
    assert lake.ledger(WEATHER)[DAY_1].rows == 1


def test_a_commit_says_which_run_and_asset_made_it(lake: Lake) -> None:
    replace(lake, ROWS, run_id="run-7")
    author, message, extra = lake.connection.execute(
        "SELECT author, commit_message, commit_extra_info FROM lake.snapshots() ORDER BY snapshot_id DESC LIMIT 1"
    ).fetchall()[0]
    assert (author, message) == ("fti_assets", "materialize weather_v1")
    assert '"run_id": "run-7"' in extra


def test_a_lake_works_where_it_was_moved_to(store: OfflineStore, tmp_path: Path) -> None:
    with store.connect() as lake:
        first = replace(lake, ROWS)
    shutil.move(store.root, tmp_path / "elsewhere")
    with OfflineStore(tmp_path / "elsewhere").connect() as lake:
        assert stored(lake) == [("JFK", 1.5), ("JFK", 3.5), ("LGA", 2.5)]
        replace(lake, {DAY_1: [("EWR", 9.0)]})
        assert stored(lake) == [("EWR", 9.0), ("JFK", 3.5)]
        assert len(stored(lake, snapshot=first.snapshot)) == 3
    assert not store.root.exists()


def test_reading_a_missing_table_names_those_there_are(lake: Lake) -> None:
    with pytest.raises(
        NotMaterializedError, match=r"features\.weather_v1 is not in the offline store at .*has nothing"
    ):
        lake.rows(WEATHER)
    assert lake.ledger(WEATHER) == {}
    assert lake.types(WEATHER) == {}
    replace(lake, ROWS)
    replace(lake, ROWS, TableName("datasets", "delays_v1"))
    with pytest.raises(NotMaterializedError, match=r"which has 'features\.weather_v1': materialize it first"):
        lake.rows(TableName("features", "planes_v1"))
    assert lake.tables() == [TableName("datasets", "delays_v1"), WEATHER]
    assert lake.types(WEATHER) == {"origin": "VARCHAR", "temp": "DOUBLE"}


def test_folder_that_is_no_lake_is_clear_error(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"not a catalog" * 1000)
    whole = r"catalog\.sqlite is damaged: .*Put it back from a copy .* fti lake repair"
    with pytest.raises(StoreError, match=whole), OfflineStore(tmp_path).connect():
        pass


def test_rows_are_plain_parquet_and_readers_go_on(lake: Lake, store: OfflineStore) -> None:
    replace(lake, {DAY_1: [("JFK", 1.5)]})
    (file,) = parquet(store)
    assert file.parent == store.root / "data" / "features" / "weather_v1" / f"_partition={DAY_1}"
    journal = lake.connection.execute(f"SELECT * FROM read_blob('{store.catalog}')").fetchall()[0][1]
    assert journal[18:20] == b"\x02\x02"  # SQLite's file format says WAL


# Durability


class Disk:
    """What is made durable, in order, and when the catalog commits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[Path] = []
        real = os.fsync

        def fsync(descriptor: int) -> None:
            self.synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)


class Watched:
    """A connection that notes what was durable when COMMIT came."""

    def __init__(self, connection: Any, disk: Disk) -> None:
        self._connection, self._disk = connection, disk
        self.before_commit: list[Path] = []

    def execute(self, sql: str, *arguments: Any) -> Any:
        if sql == "COMMIT":
            self.before_commit = list(self._disk.synced)
        return self._connection.execute(sql, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.soak
@pytest.mark.parametrize("partition", [DAY_1, "2013-01-01-05:00", "New York/JFK %", "ü"])
def test_new_files_and_folders_are_durable_before_the_commit(
    lake: Lake, store: OfflineStore, monkeypatch: pytest.MonkeyPatch, partition: str
) -> None:
    watched = Watched(lake.connection, Disk(monkeypatch))
    monkeypatch.setattr(lake, "connection", watched)
    replace(lake, {partition: [("JFK", 1.5)]})
    (file,) = parquet(store)
    data = store.root / "data"
    needed = {file, file.parent, data / "features" / "weather_v1", data / "features", data}
    assert needed <= set(watched.before_commit)
    assert watched.before_commit.index(file) < watched.before_commit.index(file.parent)


def test_full_disk_keeps_old_rows_and_names_cause(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(lake, ROWS)

    def no_room(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    real = os.fsync
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(StoreError, match="No space left.*old rows are still there") as caught:
        replace(lake, {DAY_1: [("EWR", 9.0)]})
    monkeypatch.setattr(os, "fsync", real)
    assert isinstance(caught.value.__cause__, OSError)
    assert stored(lake) == [("JFK", 1.5), ("JFK", 3.5), ("LGA", 2.5)]
    replace(lake, {DAY_1: [("EWR", 9.0)]})
    assert stored(lake) == [("EWR", 9.0), ("JFK", 3.5)]


def test_error_during_insert_keeps_old_rows_and_shows_cause(lake: Lake, store: OfflineStore) -> None:
    replace(lake, ROWS)
    before = versions(lake)
    in_the_way = store.root / "data" / "features" / "weather_v1" / f"_partition={DAY_3}"
    in_the_way.write_bytes(b"a file where a folder has to be")
    with pytest.raises(StoreError, match=f"_partition={DAY_3}") as caught:
        replace(lake, {DAY_1: [("EWR", 9.0)], DAY_3: [("EWR", 9.0)]})
    assert "rollback" not in str(caught.value).lower()
    assert versions(lake) == before
    assert stored(lake) == [("JFK", 1.5), ("JFK", 3.5), ("LGA", 2.5)]
    in_the_way.unlink()
    replace(lake, {DAY_1: [("EWR", 9.0)], DAY_3: [("EWR", 9.0)]})
    assert stored(lake) == [("EWR", 9.0), ("EWR", 9.0), ("JFK", 3.5)]


def test_an_interrupt_rolls_back_and_passes_on(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(lake, ROWS)

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    real = os.fsync
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace(lake, {DAY_1: [("EWR", 9.0)]})
    monkeypatch.setattr(os, "fsync", real)
    assert replace(lake, ROWS).changed == ()


# Many writers

WORKER = """
import sys, time
from pathlib import Path
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.core.names import TableName

root, go, name, partitions = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4].split(",")
print("ready", flush=True)
while not go.exists():
    time.sleep(0.005)
with OfflineStore(root).connect() as lake:
    for partition in partitions:
        lake.connection.execute(
            "CREATE OR REPLACE TEMP TABLE staged AS SELECT ? AS origin, 1.0::DOUBLE AS temp, ? AS _partition",
            [name, partition],
        )
        commit = lake.replace(TableName("features", "weather_v1"), "staged", [partition], asset="weather_v1")
        print(commit.snapshot, flush=True)
"""


def worker(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORKER, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def snapshots_of(process: "subprocess.Popen[str]") -> list[int]:
    with process:
        output, problems = process.communicate(timeout=60)
    assert process.returncode == 0, problems
    return [int(line) for line in output.split()]


@pytest.mark.soak
def test_two_processes_can_make_the_lake_at_once(store: OfflineStore, tmp_path: Path) -> None:
    go = tmp_path / "go"
    workers = [worker(store.root, go, name, partition) for name, partition in (("a", DAY_1), ("b", DAY_2))]
    go.touch()
    for process in workers:
        assert len(snapshots_of(process)) == 1
    with store.connect() as lake:
        assert stored(lake) == [("a", 1.0), ("b", 1.0)]
        assert list(lake.ledger(WEATHER)) == [DAY_1, DAY_2]


def test_threads_and_processes_write_one_table_at_once(store: OfflineStore, tmp_path: Path) -> None:
    go = tmp_path / "go"
    shared = "shared"
    processes = [worker(store.root, go, name, f"{name}1,{name}2,{shared}") for name in ("p", "q")]
    results: list[int] = []
    problems: list[BaseException] = []

    def write(name: str) -> None:
        try:
            with store.connect() as lake:
                for partition in (f"{name}1", f"{name}2", shared):
                    results.append(replace(lake, {partition: [(name, 1.0)]}).snapshot)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("r", "s", "t", "u")]
    go.touch()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for process in processes:
        results += snapshots_of(process)
    assert problems == []
    assert len(results) == len(set(results)) == 18  # each commit names its own snapshot
    with store.connect() as lake:
        partitions = sorted([f"{name}{n}" for name in "pqrstu" for n in (1, 2)] + [shared])
        assert sorted(row[2] for row in stored(lake, with_partition=True)) == partitions
        assert list(lake.ledger(WEATHER)) == partitions


FORKED_WRITER = """
import os, sys
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.core.names import TableName

TABLE = TableName("features", "weather_v1")

def read(lake):
    if not lake.has(TABLE):
        return [], []
    rows = lake.rows(TABLE, with_partition=True).aggregate("_partition, temp::BIGINT AS temp, count(*) AS n")
    return rows.order("ALL").fetchall(), [int(record.record) for record in lake.ledger(TABLE).values()]

def write_for_ever(start):
    with OfflineStore(sys.argv[1]).connect() as lake:
        print(repr(read(lake)), flush=True)
        for number in range(start, start + 10_000):
            lake.connection.execute(
                "CREATE OR REPLACE TEMP TABLE staged AS SELECT r::VARCHAR AS origin, ?::DOUBLE AS temp, "
                "CASE WHEN r % 2 = 0 THEN 'even' ELSE 'odd' END AS _partition FROM range(4000) rows(r)", [number])
            lake.replace(TABLE, "staged", ["even", "odd"], asset="weather_v1",
                         records={"even": str(number), "odd": str(number)})
            print(number, flush=True)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        write_for_ever(int(line))
        os._exit(1)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


@pytest.mark.soak
def test_killed_writer_leaves_old_rows_or_new(store: OfflineStore) -> None:
    chance = random.Random(7)
    command = [sys.executable, "-c", FORKED_WRITER, str(store.root)]
    kills, acknowledged = repetitions(8), 0
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for kill in range(kills + 1):
            print((kill + 1) * 100_000, file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())
            rows, records = ast.literal_eval(parent.stdout.readline())
            if kill:
                (value,) = set(records)
                assert value in (acknowledged, acknowledged + 1)
                assert rows == [("even", value, 2000), ("odd", value, 2000)]
            assert parent.stdout.readline() == f"{(kill + 1) * 100_000}\n", f"the write after kill {kill} failed"
            time.sleep(chance.uniform(0, 0.25))
            os.kill(child, signal.SIGKILL)
            output = list(iter(parent.stdout.readline, "dead\n"))
            acknowledged = int(output[-1]) if output else (kill + 1) * 100_000
        parent.stdin.close()


# What is checked under the writers' lock, and tables that have only empty partitions


def test_a_check_that_raises_leaves_everything_as_it_was(store: OfflineStore, lake: Lake) -> None:
    def refuse() -> None:
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        replace(lake, ROWS, check=refuse)
    assert lake.tables() == []
    replace(lake, ROWS)
    before = (lake.snapshot(), parquet(store), versions(lake))
    with pytest.raises(ValueError, match="not now"):
        replace(lake, {DAY_1: [("EWR", 9.0)], DAY_3: [("EWR", 9.0)]}, check=refuse)
    assert (lake.snapshot(), parquet(store), versions(lake)) == before
    replace(lake, {DAY_1: [("EWR", 9.0)]}, check=lambda: None)  # the lock was given back
    assert stored(lake) == [("EWR", 9.0), ("JFK", 3.5)]


def test_a_check_sees_what_another_writer_committed_before_it(store: OfflineStore, lake: Lake) -> None:
    replace(lake, ROWS)
    observed: list[list[str]] = []
    name = staged(lake, {DAY_1: [("EWR", 9.0)]})
    with store.connect() as other:
        replace(other, {DAY_3: [("LGA", 1.0)]})
    lake.replace(WEATHER, name, [DAY_1], asset="weather_v1", check=lambda: observed.append(list(lake.ledger(WEATHER))))
    assert observed == [[DAY_1, DAY_2, DAY_3]]


def test_table_whose_partitions_are_all_empty_takes_first_real_schema(lake: Lake) -> None:
    empty = staged(lake, {}, "origin VARCHAR, wind BIGINT")
    first = lake.replace(WEATHER, empty, [DAY_1, DAY_2], asset="weather_v1", run_id="one")
    replace(lake, {DAY_2: [("JFK", 3.5)], DAY_3: []}, run_id="two")
    assert lake.types(WEATHER) == {"origin": "VARCHAR", "temp": "DOUBLE"}
    assert stored(lake) == [("JFK", 3.5)]
    kept = {partition: (record.rows, record.run_id) for partition, record in lake.ledger(WEATHER).items()}
    assert kept == {DAY_1: (0, "one"), DAY_2: (1, "two"), DAY_3: (0, "two")}
    assert lake.rows(WEATHER, snapshot=first.snapshot).columns == ["origin", "wind"]
    assert replace(lake, {DAY_1: [("EWR", 9.0)]}).changed == (DAY_1,)
    other = staged(lake, {DAY_3: [("JFK", 2)]}, "origin VARCHAR, wind BIGINT")
    with pytest.raises(SchemaChangedError):
        lake.replace(WEATHER, other, [DAY_3], asset="weather_v1")
    assert stored(lake) == [("EWR", 9.0), ("JFK", 3.5)]


def test_table_emptied_again_takes_another_schema_and_another_stays_unchanged(lake: Lake) -> None:
    replace(lake, ROWS)
    replace(lake, {DAY_1: [], DAY_2: []})
    other = staged(lake, {DAY_1: [("JFK", 2)]}, "origin VARCHAR, wind BIGINT")
    lake.replace(WEATHER, other, [DAY_1], asset="weather_v1")
    assert lake.types(WEATHER) == {"origin": "VARCHAR", "wind": "BIGINT"}
    assert stored(lake) == [("JFK", 2)]
    assert {partition: record.rows for partition, record in lake.ledger(WEATHER).items()} == {DAY_1: 1, DAY_2: 0}


WIDER = "origin VARCHAR, temp DOUBLE, wind FLOAT[]"


def wider(lake: Lake, rows: Mapping[str, Sequence[tuple[Any, ...]]], columns: str = WIDER) -> str:
    lake.connection.execute(f"CREATE OR REPLACE TEMP TABLE staged_wider ({columns}, _partition VARCHAR)")
    values = [[*row, partition] for partition, results in rows.items() for row in results]
    lake.connection.executemany("INSERT INTO staged_wider VALUES (?, ?, ?, ?)", values)
    return "staged_wider"


def test_new_column_that_may_be_added_is_null_in_rows_before(store: OfflineStore, lake: Lake) -> None:
    first = replace(lake, ROWS)
    before, files = versions(lake), parquet(store)
    rows = {DAY_3: [("EWR", 1.0, [0.5, 1.5])]}
    commit = lake.replace(WEATHER, wider(lake, rows), [DAY_3], asset="weather_v1", addable=["wind"])
    assert commit.changed == (DAY_3,)
    assert lake.types(WEATHER) == {"origin": "VARCHAR", "temp": "DOUBLE", "wind": "FLOAT[]"}
    assert stored(lake, partitions=[DAY_1, DAY_2]) == [("JFK", 1.5, None), ("JFK", 3.5, None), ("LGA", 2.5, None)]
    assert stored(lake, partitions=[DAY_3]) == [("EWR", 1.0, [0.5, 1.5])]
    assert {day: version for day, version in versions(lake).items() if day != DAY_3} == before
    assert files < parquet(store)
    assert lake.rows(WEATHER, snapshot=first.snapshot).columns == ["origin", "temp"]
    assert stored(lake, snapshot=first.snapshot) == [("JFK", 1.5), ("JFK", 3.5), ("LGA", 2.5)]


def test_another_column_is_another_data_version(lake: Lake) -> None:
    replace(lake, ROWS)
    before = versions(lake)
    same = wider(lake, {DAY_2: [("JFK", 3.5, None)]})
    assert lake.replace(WEATHER, same, [DAY_2], asset="weather_v1", addable=["wind"]).changed == (DAY_2,)
    assert lake.replace(WEATHER, same, [DAY_2], asset="weather_v1", addable=["wind"]).changed == ()
    assert versions(lake)[DAY_1] == before[DAY_1]
    assert versions(lake)[DAY_2] != before[DAY_2]


def test_column_added_may_not_be_left_out_again(lake: Lake) -> None:
    replace(lake, ROWS)
    lake.replace(WEATHER, wider(lake, {DAY_3: [("EWR", 1.0, None)]}), [DAY_3], asset="weather_v1", addable=["wind"])
    with pytest.raises(SchemaChangedError, match=r"wind FLOAT\[\] is gone"):
        replace(lake, {DAY_1: [("JFK", 1.5)]})


@pytest.mark.parametrize(
    ("columns", "addable", "problem"),
    [
        (WIDER, [], r"another schema: wind FLOAT\[\] is new\. Nothing"),
        ("origin VARCHAR, heat DOUBLE, wind FLOAT[]", ["heat", "wind"], "heat DOUBLE is new; .*temp DOUBLE is gone"),
        ("origin VARCHAR, temp FLOAT, wind FLOAT[]", ["wind"], "is new; temp was DOUBLE and is now FLOAT"),
    ],
)
def test_what_is_more_than_column_that_may_be_added_is_refused(
    lake: Lake, columns: str, addable: list[str], problem: str
) -> None:
    replace(lake, ROWS)
    before = lake.snapshot()
    other = wider(lake, {DAY_3: [("EWR", 1.0, None)]}, columns)
    with pytest.raises(SchemaChangedError, match=problem):
        lake.replace(WEATHER, other, [DAY_3], asset="weather_v1", addable=addable)
    assert (lake.snapshot(), list(lake.types(WEATHER))) == (before, ["origin", "temp"])


def test_a_failed_commit_leaves_the_columns_as_they_were(lake: Lake) -> None:
    replace(lake, ROWS)
    name = wider(lake, {DAY_3: [("EWR", 1.0, None)]})
    with pytest.raises(TypeError, match="JSON"):
        lake.replace(WEATHER, name, [DAY_3], asset=object(), addable=["wind"])  # type: ignore[arg-type]
    assert list(lake.types(WEATHER)) == ["origin", "temp"]
    assert len(stored(lake)) == 3


def test_lake_keeps_within_threads_and_memory_that_are_set(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTI_THREADS", "3")
    monkeypatch.setenv("FTI_MEMORY", "1GiB")
    with store.connect() as lake:
        requests = "SELECT current_setting('threads'), current_setting('memory_limit')"
        assert lake.connection.execute(requests).fetchall() == [(3, "1.0 GiB")]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FTI_THREADS", "0"),
        ("FTI_THREADS", "many"),
        ("FTI_MEMORY", "lots"),
        ("FTI_MEMORY", "-1GB"),
        ("FTI_MEMORY", " -1"),
        ("FTI_THREADS", "-1"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_name(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    for limit in ("FTI_THREADS", "FTI_MEMORY"):
        monkeypatch.delenv(limit, raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(StoreError, match=f"within {variable}='{value}': .*a size such as 4GB"), store.connect():
        pass


def test_several_things_are_read_as_of_one_snapshot(store: OfflineStore, lake: Lake) -> None:
    first = replace(lake, ROWS)
    with store.connect() as reader:
        with reader.one_snapshot():
            before = versions(reader)
            replace(lake, {DAY_1: [("EWR", 9.0)]})
            assert (reader.snapshot(), versions(reader), len(stored(reader))) == (first.snapshot, before, 3)
        assert stored(reader) == [("EWR", 9.0), ("JFK", 3.5)]


def test_what_is_refused_while_reading_one_snapshot_leaves_lake_open(lake: Lake) -> None:
    with pytest.raises(NotMaterializedError, match="weather_v1"), lake.one_snapshot():
        lake.rows(WEATHER)
    replace(lake, ROWS)
    assert len(stored(lake)) == 3
