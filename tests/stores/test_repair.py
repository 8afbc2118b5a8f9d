"""A lake whose catalog is lost, or an old copy, has its files registered again: the right ones, under numbers of their own."""

import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from fti_assets.cli import main
from fti_assets.core.names import WHOLE, TableName
from fti_assets.errors import NotMaterializedError
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.row_changes import RowChange, change_rows
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.repair import RecordedVersion, RecordedVersions, repair
from fti_assets.stores.lake.upkeep.unnamed_files import file_sizes
from tests.stores.test_lost_catalog import lose, of_data
from tests.stores.test_upkeep import DATASET, ROWS, content, put

AT = datetime(2026, 5, 1, 12, 30)
ANSWERS = TableName("predictions", "answers_v1")


@pytest.fixture
def store(tmp_path: Path) -> OfflineStore:
    return OfflineStore(tmp_path / "lake")


def versions(lake: Lake, *tables: TableName) -> RecordedVersions:
    return {
        table: {key: RecordedVersion(one.data_version, AT, "a run") for key, one in lake.ledger(table).items()}
        for table in tables
    }


@pytest.mark.parametrize("how", ["gone", "empty", "without tables"])
def test_the_recorded_version_of_each_partition_is_registered(store: OfflineStore, how: str) -> None:
    odd = "2013-01-01 05:00/ü %"
    with store.connect() as lake:
        for number in range(3):
            put(lake, number)
        put_one(lake, odd)
        put(lake, 7, "cd", table=ANSWERS)
        rows = {table: content(lake, lake.snapshot(), table) for table in (ROWS, ANSWERS)}
        recorded = versions(lake, ROWS, ANSWERS)
        newest = lake.snapshot()
    lose(store, how)
    before = of_data(store)
    done = repair(store, recorded, above=newest)
    assert (done.new_catalog, done.registered, done.left_out) == (
        True, {ROWS: sorted(["a", "b", odd]), ANSWERS: ["c", "d"]}, {},
    )  # fmt: skip
    with store.connect() as lake:
        assert lake.snapshot() > newest
        assert {table: content(lake, lake.snapshot(), table) for table in rows} == rows
        assert versions(lake, ROWS, ANSWERS) == recorded
        assert {record.run_at for record in lake.ledger(ROWS).values()} == {AT}
        with pytest.raises(NotMaterializedError):
            lake.rows(ROWS, snapshot=newest).fetchall()
        assert of_data(store) == before
        put(lake, 9, "a")
        assert {row[1] for row in content(lake, lake.snapshot()) if row[2] == "a"} == {9}
    shutil.move(store.root, store.root.with_name("moved"))
    with OfflineStore(store.root.with_name("moved")).connect() as lake:
        assert len(content(lake, lake.snapshot())) == 21


def put_one(lake: Lake, partition: str) -> None:
    lake.connection.execute(
        "CREATE OR REPLACE TEMP TABLE staged AS SELECT 1::BIGINT AS id, 5::BIGINT AS number, ? AS _partition",
        [partition],
    )
    lake.replace(ROWS, "staged", [partition], asset="rows_v1")


def test_single_file_needs_no_record_and_several_are_left_out(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1, "a")
        put(lake, 1, "b")
        put(lake, 2, "b")
        put(lake, 1, "a", table=DATASET)
    lose(store, "gone")
    done = repair(store, {}, above=0)
    assert done.registered == {ROWS: ["a"]}
    assert "which of its 2 files" in done.left_out[ROWS]["b"]
    assert "manifest" in done.left_out[DATASET]["a"]
    with store.connect() as lake:
        assert {row[2] for row in content(lake, lake.snapshot())} == {"a"}
        assert list(lake.ledger(ROWS)) == ["a"]


def test_commits_that_an_old_catalog_lacks_are_registered(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1)
    shutil.copy(store.catalog, store.root / "copy")
    with store.connect() as lake:
        put(lake, 2, "bc")
        rows, recorded, newest = content(lake, lake.snapshot()), versions(lake, ROWS), lake.snapshot()
    lose(store, "gone")
    (store.root / "copy").rename(store.catalog)
    done = repair(store, recorded, above=newest)
    assert (done.new_catalog, done.registered) == (False, {ROWS: ["b", "c"]})
    with store.connect() as lake:
        assert content(lake, lake.snapshot()) == rows
        assert versions(lake, ROWS) == recorded
        assert lake.snapshot() > newest
    assert repair(store, recorded, above=newest).registered == {}


def test_store_by_relative_path_and_link_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    store = OfflineStore("link/lake")
    with store.connect() as lake:
        put(lake, 1)
        rows = content(lake, lake.snapshot())
        assert not file_sizes(lake).strays
    lose(store, "gone")
    assert repair(store, {}, above=0).registered == {ROWS: ["a", "b"]}
    with store.connect() as lake:
        assert not file_sizes(lake).strays
        assert len(file_sizes(lake).by_catalog) == 2
    shutil.move("real/lake", "moved")
    with OfflineStore("moved").connect() as lake:
        assert content(lake, lake.snapshot()) == rows


def test_files_that_hold_another_version_are_not_taken_for_it(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1)
        recorded: Mapping[str, RecordedVersion] = versions(lake, ROWS)[ROWS]
    lose(store, "gone")
    other = {key: RecordedVersion("1.0", AT, "") for key in recorded}
    done = repair(store, {ROWS: other}, above=0)
    assert done.registered == {}
    assert "do not hold the version 1.0" in done.left_out[ROWS]["a"]


def test_rows_that_a_change_deleted_stay_deleted(store: OfflineStore) -> None:
    with store.connect() as lake:
        lake.connection.execute(
            "CREATE TEMP TABLE staged AS SELECT r AS id, 1::BIGINT AS number, 'all' AS _partition FROM range(9) t(r)"
        )
        lake.replace(ROWS, "staged", [WHOLE], asset="rows_v1")
        lake.connection.execute(
            "CREATE TEMP TABLE changed AS SELECT 4::BIGINT AS id, 2::BIGINT AS number, 'all' AS _partition"
        )
        change_rows(
            lake, ROWS, RowChange("changed", ["id"], None, (), None), asset="rows_v1", run_id="", check=lambda: None
        )
        rows, recorded = content(lake, lake.snapshot()), versions(lake, ROWS)
    lose(store, "gone")
    assert repair(store, recorded, above=0).registered == {ROWS: [WHOLE]}
    with store.connect() as lake:
        assert content(lake, lake.snapshot()) == rows


@pytest.mark.parametrize("name", ["junk.parquet", "ducklake-00000000-0000-7000-8000-000000000000.parquet"])
@pytest.mark.parametrize("cut", [None, 1, -20])
def test_a_file_that_cannot_be_read_is_passed_over_and_named(store: OfflineStore, name: str, cut: int | None) -> None:
    with store.connect() as lake:
        put(lake, 1)
        recorded, rows = versions(lake, ROWS), content(lake, lake.snapshot())
    [whole] = (store.root / "data").rglob("_partition=a/*.parquet")
    junk = whole.with_name(name)
    junk.write_bytes(b"x" if cut is None else whole.read_bytes()[:cut])
    lose(store, "gone")
    done = repair(store, recorded, above=0)
    assert (done.registered, done.left_out) == ({ROWS: ["a", "b"]}, {})
    assert [file.name for file in done.passed_over] == [name]
    with store.connect() as lake:
        assert content(lake, lake.snapshot()) == rows


def test_what_cannot_be_read_is_said_in_a_line(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1)
        recorded = versions(lake, ROWS)
    [file] = (store.root / "data").rglob("_partition=a/*.parquet")
    file.write_bytes(file.read_bytes()[:100])
    lose(store, "gone")
    [(partition, reason)] = repair(store, recorded, above=0).left_out[ROWS].items()
    assert partition == "a"
    assert reason.endswith(f"; '{file.name}' cannot be read")


def test_newer_files_of_which_nothing_tells_are_said(
    store: OfflineStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.connect() as lake:
        put(lake, 1)
    shutil.copy(store.catalog, store.root / "old")
    with store.connect() as lake:
        put(lake, 2)
        recorded, rows = versions(lake, ROWS), content(lake, lake.snapshot())
    shutil.copy(store.root / "old", store.catalog)
    for ending in ("-wal", "-shm"):
        Path(f"{store.catalog}{ending}").unlink(missing_ok=True)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert main(["lake", "repair", "--lake", str(store.root)]) == 1
    output = capsys.readouterr()
    assert (
        "2 partitions ('a' and 'b') with newer files than the catalog names, and nothing says what they are"
        in output.out
    )
    assert "2 partitions may have newer rows than the catalog knows: set DAGSTER_HOME" in output.err
    done = repair(store, recorded, above=0)
    assert (done.registered, done.untold) == ({ROWS: ["a", "b"]}, {})
    with store.connect() as lake:
        assert content(lake, lake.snapshot()) == rows


def test_a_lake_of_which_partitions_are_left_out_is_not_said_to_be_whole(
    store: OfflineStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        with store.connect() as lake:
            put(lake, number)
    for ending in ("", "-wal", "-shm"):
        Path(f"{store.catalog}{ending}").unlink(missing_ok=True)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for _ in range(2):  # the second time the catalog is there
        assert main(["lake", "repair", "--lake", str(store.root)]) == 1
        output = capsys.readouterr()
        assert "left out 2 partitions" in output.out
        assert "2 partitions whose files are there are not in the catalog: set DAGSTER_HOME" in output.err
