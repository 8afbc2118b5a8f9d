"""A catalog that is gone, empty or old beside the files of a lake: nothing is made of it by itself, and nothing deleted."""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from fti_assets.core.names import TableName
from fti_assets.errors import DamagedError, NotMaterializedError
from fti_assets.orchestration.resources import Stores
from fti_assets.reading import read
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.expiry import upkeep
from fti_assets.stores.lake.upkeep.repair import repair
from fti_assets.stores.lake.upkeep.unnamed_files import refuse_only_copies, refuse_to_delete_most
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import SqliteOnlineStore
from tests.stores.test_upkeep import DATASET, NOW, ROWS, put


@pytest.fixture
def store(tmp_path: Path) -> OfflineStore:
    return OfflineStore(tmp_path / "lake")


def lose(store: OfflineStore, how: str) -> None:
    for beside in store.root.glob("catalog.sqlite-*"):
        beside.unlink()
    store.catalog.unlink()
    if how == "empty":
        store.catalog.touch()
    if how == "without tables":
        sql(store, "CREATE TABLE q (a)", "DROP TABLE q")


def sql(store: OfflineStore, *statements: str) -> None:
    with closing(sqlite3.connect(store.catalog)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def of_data(store: OfflineStore) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted((store.root / "data").rglob("*.parquet"))}


def age(store: OfflineStore, seconds: float = 90_000) -> None:
    for file in of_data(store):
        os.utime(file, (time.time() - seconds,) * 2)


@pytest.mark.parametrize("how", ["gone", "empty", "without tables"])
def test_a_lost_catalog_beside_files_is_refused(store: OfflineStore, how: str) -> None:
    with store.connect() as lake:
        put(lake, 1)
    lose(store, how)
    before = {**of_data(store), store.catalog: store.catalog.read_bytes() if how != "gone" else None}
    age(store)
    stores = Stores(lake=str(store.root))
    lost = r"lost its catalog\. Nothing was changed.*fti lake repair --lake "

    def writes() -> None:
        with store.connect() as lake:
            put(lake, 2)

    def keeps() -> None:
        upkeep(store, ModelStore(store.root / "m"), SqliteOnlineStore(store.root / "o"), keep=NOW)

    for use in (writes, keeps, lambda: read("rows_v1", stores=stores)):
        with pytest.raises(DamagedError, match=lost):
            use()
    assert {**of_data(store), store.catalog: store.catalog.read_bytes() if how != "gone" else None} == before
    assert store.catalog.exists() == (how != "gone")


def test_a_read_writes_nothing_into_an_empty_file(store: OfflineStore) -> None:
    store.root.mkdir()
    store.catalog.touch()
    with pytest.raises(NotMaterializedError, match="no offline store"):
        read("rows_v1", stores=Stores(lake=str(store.root)))
    assert store.catalog.stat().st_size == 0
    assert list(store.root.iterdir()) == [store.catalog]


def test_empty_file_without_data_becomes_lake_when_written(store: OfflineStore) -> None:
    store.root.mkdir()
    store.catalog.touch()
    with store.connect() as lake:
        put(lake, 1)
        assert len(lake.ledger(lake.tables()[0])) == 2


def test_upkeep_refuses_to_delete_most_of_a_lake(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1, "a")
    shutil.copy(store.catalog, store.root / "copy")
    with store.connect() as lake:
        put(lake, 2, "bcd")
    lose(store, "gone")
    os.rename(store.root / "copy", store.catalog)
    age(store)
    before = of_data(store)
    with pytest.raises(DamagedError, match=r"names 1 file .* 3 more.*old one.*Nothing was deleted.*fti lake repair"):
        upkeep(store, ModelStore(store.root / "m"), SqliteOnlineStore(store.root / "o"), keep=NOW)
    assert of_data(store) == before


def test_upkeep_refuses_to_delete_partitions_the_catalog_lacks(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1, "abc")
    shutil.copy(store.catalog, store.root / "copy")
    with store.connect() as lake:
        put(lake, 2, "d")
    lose(store, "gone")
    os.rename(store.root / "copy", store.catalog)
    age(store)
    before = of_data(store)
    with pytest.raises(DamagedError, match=r"lacks 1 partition.*rows_v1 d.*Nothing was deleted.*fti lake repair"):
        upkeep(store, ModelStore(store.root / "m"), SqliteOnlineStore(store.root / "o"), keep=NOW)
    assert of_data(store) == before
    with store.connect() as lake:
        refuse_only_copies(lake, tables_compared={ROWS})  # Dagster was asked, and knows of none that is lost


def test_catalog_of_another_lake_lets_nothing_be_deleted(store: OfflineStore, tmp_path: Path) -> None:
    other = OfflineStore(tmp_path / "other")
    for one in (store, other):
        with one.connect() as lake:
            put(lake, 1)
    lose(store, "gone")
    shutil.copy(other.catalog, store.catalog)
    with store.connect() as lake, pytest.raises(DamagedError, match=r"names 2 files that are not there.*another lake"):
        refuse_only_copies(lake, tables_compared={ROWS})


def test_files_of_killed_writer_are_no_only_copies(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1)
        for folder in ("features/rows_v1/_partition=a", "features/rows_v1", "tiles/rows_v1_0/_partition=a", ""):
            left = store.root / "data" / folder / "left.parquet"
            left.parent.mkdir(parents=True, exist_ok=True)
            left.touch()
        refuse_only_copies(lake)
        left = store.root / "data" / "features" / "others_v1" / "left.parquet"
        left.parent.mkdir()
        left.touch()
        with pytest.raises(DamagedError, match="lacks 1 partition.*'features.others_v1'"):
            refuse_only_copies(lake)


@pytest.mark.soak
@pytest.mark.parametrize("how", ["overwritten", "cut", "zeros"])
def test_a_damaged_catalog_is_told_from_a_lost_one(store: OfflineStore, how: str) -> None:
    with store.connect() as lake:
        put(lake, 1)
    content = store.catalog.read_bytes()
    damaged = {"overwritten": b"x" * len(content), "cut": content[:5_000], "zeros": bytes(len(content))}[how]
    store.catalog.write_bytes(damaged)
    result = r"catalog.sqlite is damaged: .*Put it back from a copy.*move both away.*fti lake repair --lake "
    for use in (lambda: read("rows_v1", stores=Stores(lake=str(store.root))), lambda: repair(store, {}, above=0)):
        with pytest.raises(DamagedError, match=result):
            use()
    assert store.catalog.read_bytes() == damaged
    store.catalog.rename(store.root / "away")
    assert repair(store, {}, above=0).registered == {ROWS: ["a", "b"]}


@pytest.mark.parametrize("how", ["another program", "metadata", "data_file", "snapshot", "folder"])
def test_what_is_no_whole_catalog_is_said(store: OfflineStore, how: str) -> None:
    with store.connect() as lake:
        put(lake, 1)
    if how in ("another program", "folder"):
        lose(store, "gone")
    if how == "folder":
        store.catalog.mkdir()
    elif how == "another program":
        sql(store, "CREATE TABLE notes (a)")
    else:
        sql(store, f"DROP TABLE ducklake_{how}", "PRAGMA wal_checkpoint(TRUNCATE)")
    before = None if how == "folder" else store.catalog.read_bytes()
    result = {
        "another program": "is not the catalog of a lake: it lacks ducklake_metadata, and has the tables 'notes'",
        "metadata": "is not the catalog of a lake: it lacks ducklake_metadata",
        "data_file": "lacks its table ducklake_data_file",
        "snapshot": "lacks its table ducklake_snapshot:",
        "folder": "is a folder where a file belongs: move it away",
    }[how]

    def write() -> None:
        with store.connect() as lake:
            put(lake, 2)

    for use in (
        lambda: read("rows_v1", stores=Stores(lake=str(store.root))),
        lambda: repair(store, {}, above=0),
        write,
    ):
        with pytest.raises(DamagedError, match=rf"{result}[\s\S]*fti lake repair --lake "):
            use()
    if before is not None:
        assert store.catalog.read_bytes() == before
    store.catalog.rename(store.root / "away")
    assert repair(store, {}, above=0).registered == {ROWS: ["a", "b"]}


@pytest.mark.parametrize("how", ["of another lake", "new", "of another lake, older"])
def test_first_rows_of_a_table_beside_another_catalogs_files_are_refused(
    store: OfflineStore, tmp_path: Path, how: str
) -> None:
    other, others = OfflineStore(tmp_path / "other"), TableName("features", "others_v1")
    if how == "of another lake, older":
        with other.connect() as lake:
            put(lake, 1, table=others)
    with store.connect() as lake:
        put(lake, 1, "ab")
    if how == "of another lake":
        with other.connect() as lake:
            put(lake, 1, table=others)
    lose(store, "gone")
    with store.lock():
        if how == "new":
            store.put_catalog(store.new_catalog())
        else:
            shutil.copy(other.catalog, store.catalog)
    before = of_data(store)
    sign = "names 2 files that are not there" if how == "of another lake, older" else "was written before this catalog"
    with store.connect() as lake:
        with pytest.raises(DamagedError, match=rf"does not know features.rows_v1.* 2 files.*{sign}.*fti lake repair"):
            put(lake, 2, "c")
        assert of_data(store) == before
        put(lake, 1, table=DATASET)  # of which nothing is there
    assert repair(store, {}, above=0).registered == {ROWS: ["a", "b"]}
    with store.connect() as lake:
        put(lake, 2, "c")
        assert list(lake.ledger(ROWS)) == ["a", "b", "c"]


def test_what_repair_left_out_can_be_written_again(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1, "a", table=DATASET)
    lose(store, "gone")
    assert list(repair(store, {}, above=0).left_out) == [DATASET]
    with store.connect() as lake:
        put(lake, 1, "a", table=DATASET)
        assert list(lake.ledger(DATASET)) == ["a"]


def test_first_rows_follow_those_of_a_killed_writer(store: OfflineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with store.connect() as lake:
        with monkeypatch.context() as patch:
            patch.setattr(Lake, "sync_new_files", fail)
            with pytest.raises(KeyboardInterrupt):
                put(lake, 1)
        left = next((store.root / "data").rglob("_partition=a"))
        if not list(left.iterdir()):  # rolled back, as a killed writer cannot
            now = int(time.time() * 1000)
            (left / f"ducklake-{now >> 16:08x}-{now & 0xFFFF:04x}-7000-8000-000000000000.parquet").touch()
        put(lake, 1)
        assert list(lake.ledger(ROWS)) == ["a", "b"]


def test_copies_of_stored_rows_are_no_sign_of_an_old_catalog(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1)
        (file,) = (store.root / "data").rglob("_partition=a/*.parquet")
        for number in range(5):
            shutil.copy(file, file.with_name(f"left{number}.parquet"))
        file.with_name("half.parquet").write_bytes(file.read_bytes()[:-40])
        file.with_name("begun.parquet").touch()
        refuse_to_delete_most(lake, older_than=timedelta(0))
        put(lake, 2, "a")  # the rows of the copies are in the lake no more
        with pytest.raises(DamagedError, match=r"names 3 files .* 5 more.*old one"):
            refuse_to_delete_most(lake, older_than=timedelta(0))
