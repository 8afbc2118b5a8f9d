"""A damaged or missing Parquet file: the error names it, and its partition can be replaced without its bytes."""

import os
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

import fti_assets as fti
from fti_assets.core.names import TableName
from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores.lake.connection import CATALOG
from fti_assets.stores.lake.files.current_files import CHECKSUMS, current_files
from fti_assets.stores.lake.files.damage import partitions_with_other_rows
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from tests.stores.test_lost_catalog import of_data
from tests.stores.test_upkeep import ROWS, House, content, put
from tests.support.odd_files import ODD_FILES


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:50])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def footer(file: Path) -> None:
    held = file.read_bytes()
    start = len(held) - 8 - int.from_bytes(held[-8:-4], "little")
    file.write_bytes(held[:start] + b"\xff" * 40 + held[start + 40 :])


def pages(file: Path) -> None:
    """Of the same size, with a footer that is whole."""
    held = file.read_bytes()
    file.write_bytes(held[:4] + b"\xff" * 60 + held[64:])


def replaced_by_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def without_checksums(store: OfflineStore) -> None:
    """Make it a lake of earlier code."""
    with store.connect() as lake:
        lake.connection.execute(f"DROP TABLE {CATALOG}.{CHECKSUMS}")


DAMAGES = [Path.unlink, cut, empty, footer, pages, replaced_by_fifo]


@pytest.fixture
def store(tmp_path: Path) -> OfflineStore:
    return OfflineStore(tmp_path / "lake")


def file_of(store: OfflineStore, partition: str) -> Path:
    return [file for file in of_data(store) if file.parent.name == f"_partition={partition}"][-1]


def of(lake: Lake, partition: str) -> set[int]:
    return {row[1] for row in lake.rows(ROWS, partitions=[partition]).fetchall()}


@pytest.mark.parametrize(
    ("damage", "number"),
    [(damage, 2) for damage in DAMAGES]
    + [pytest.param(damage, 1, marks=[pytest.mark.soak] * (damage is not cut)) for damage in DAMAGES],
)
def test_its_partition_is_replaced_and_the_others_stay(
    store: OfflineStore, damage: Callable[[Path], None], number: int
) -> None:
    with store.connect() as lake:
        commit = put(lake, 1, "abc")
    damage(file_of(store, "b"))
    with store.connect() as lake:
        put(lake, number, "b")
    with store.connect() as lake:
        assert [of(lake, key) for key in "abc"] == [{1}, {number}, {1}]
        assert len(content(lake, lake.snapshot())) == 30
        versions = {key: record.data_version for key, record in lake.ledger(ROWS).items()}
        assert (versions == {record.partition: record.data_version for record in commit.partitions}) == (number == 1)
        assert sorted(versions) == ["a", "b", "c"]
        assert len(lake.rows(ROWS, snapshot=commit.snapshot, partitions=["a"]).fetchall()) == 10


@pytest.mark.soak
@pytest.mark.parametrize("damage", DAMAGES)
def test_reading_names_the_file_and_what_to_do(store: OfflineStore, damage: Callable[[Path], None]) -> None:
    with store.connect() as lake:
        put(lake, 1, "abc")
    file = file_of(store, "b")
    damage(file)
    stores = fti.Stores(lake=str(store.root))
    with pytest.raises(
        DamagedError, match="of partition 'b' of features.rows_v1.*materialize that partition again"
    ) as raised:
        fti.read("rows_v1", stores=stores)
    assert str(file) in str(raised.value)
    assert len(fti.read("rows_v1", partitions=["a", "c"], stores=stores)) == 20


@pytest.mark.soak
@pytest.mark.parametrize("kind", ODD_FILES)
def test_reading_names_what_is_no_file_and_never_waits(store: OfflineStore, kind: str) -> None:
    with store.connect() as lake:
        put(lake, 1, "ab")
    file = file_of(store, "b")
    file.unlink()
    ODD_FILES[kind](file)
    stores = fti.Stores(lake=str(store.root))
    with pytest.raises(DamagedError, match=f"{kind} where a file belongs.*materialize that partition again") as raised:
        fti.read("rows_v1", stores=stores)
    assert str(file) in str(raised.value)
    assert len(fti.read("rows_v1", partitions=["a"], stores=stores)) == 10


@pytest.mark.soak
@pytest.mark.parametrize("damage", [Path.unlink, cut, empty])
def test_a_relation_of_a_missing_file_is_not_given(store: OfflineStore, damage: Callable[[Path], None]) -> None:
    with store.connect() as lake:
        first = put(lake, 1, "abc").snapshot
    file = file_of(store, "b")
    with store.connect() as lake:
        put(lake, 2, "b")
    stores = fti.Stores(lake=str(store.root))
    assert len(fti.read("rows_v1", snapshot=first, as_="relation", stores=stores).fetchall()) == 30
    damage(file)
    message = "of partition 'b' of features.rows_v1, is .*materialize that partition again"
    with pytest.raises(DamagedError, match=message) as raised:
        fti.read("rows_v1", snapshot=first, as_="relation", stores=stores)
    assert str(file) in str(raised.value)
    others = fti.read("rows_v1", snapshot=first, partitions=["a", "c"], as_="relation", stores=stores)
    assert len(others.fetchall()) == 20
    assert len(fti.read("rows_v1", as_="relation", stores=stores).fetchall()) == 30  # the newest needs no bytes of it


@pytest.mark.parametrize("damage", [footer, pages])
def test_damage_inside_file_is_told_before_a_relation_is_given(
    store: OfflineStore, damage: Callable[[Path], None]
) -> None:
    with store.connect() as lake:
        put(lake, 1, "ab")
    file = file_of(store, "b")
    damage(file)
    with pytest.raises(DamagedError, match="its bytes are not those that were written") as raised:
        fti.read("rows_v1", as_="relation", stores=fti.Stores(lake=str(store.root)))
    assert str(file) in str(raised.value)


@pytest.mark.parametrize("damage", [footer, pages])
def test_damage_without_checksums_is_found_when_relation_is_evaluated(
    store: OfflineStore, damage: Callable[[Path], None]
) -> None:
    with store.connect() as lake:
        put(lake, 1, "ab")
    without_checksums(store)
    damage(file_of(store, "b"))
    relation = fti.read("rows_v1", as_="relation", stores=fti.Stores(lake=str(store.root)))
    with pytest.raises(duckdb.Error):
        relation.fetchall()


def test_a_rerun_that_changes_nothing_writes_no_file(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1, "ab")
        before = of_data(store)
        put(lake, 1, "ab")
    assert of_data(store) == before


def test_several_damaged_files_of_range_are_replaced_together(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1, "abcd")
    for partition, damage in zip("abc", (Path.unlink, cut, pages), strict=True):
        damage(file_of(store, partition))
    with store.connect() as lake:
        put(lake, 1, "abcd")
        assert [of(lake, key) for key in "abcd"] == [{1}] * 4


@pytest.mark.soak
@pytest.mark.parametrize(  # a file whose footer is whole goes in one transaction
    ("damage", "number"), [(Path.unlink, 1), (cut, 2), (empty, 1), (footer, 2)]
)
def test_damage_is_told_until_the_partition_is_whole(
    store: OfflineStore, damage: Callable[[Path], None], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with store.connect() as lake:
        put(lake, 1, "ab")
    damage(file_of(store, "b"))
    stores = fti.Stores(lake=str(store.root))
    with monkeypatch.context() as patched, store.connect() as lake:
        patched.setattr("fti_assets.stores.lake.lake.give_up", killed)
        with pytest.raises(KeyboardInterrupt):
            put(lake, number, "b")
    with pytest.raises(DamagedError, match="of partition 'b'"):
        fti.read("rows_v1", stores=stores)
    assert len(fti.read("rows_v1", partitions=["a"], stores=stores)) == 10
    with store.connect() as lake:
        commit = put(lake, number, "b")
        assert (of(lake, "a"), of(lake, "b")) == ({1}, {number})
        for snapshot in (None, commit.snapshot):
            assert len(lake.rows(ROWS, snapshot=snapshot).fetchall()) == 20
        assert put(lake, number, "b").changed == ()


def test_a_link_to_nowhere_in_place_of_a_file_is_replaced(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, 1, "ab")
    file = file_of(store, "b")
    file.unlink()
    file.symlink_to(store.root / "nowhere")
    with store.connect() as lake:
        put(lake, 2, "b")
        assert of(lake, "b") == {2}


def test_upkeep_goes_on_beside_it_and_names_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    other = TableName("features", "sound_v1")
    with house.offline.connect() as lake:
        for table in (ROWS, other):
            put(lake, 1, "a", table=table)
            lake.connection.execute(f"INSERT INTO {table.sql} VALUES (1, 2, 'a')")
    file = next(file for file in of_data(house.offline) if "rows_v1" in str(file))
    cut(file)
    with pytest.raises(DamagedError, match="materialize that partition again") as raised:
        house.keep()
    assert str(file) in str(raised.value)
    with house.offline.connect() as lake:
        assert len(current_files(lake, other)) == 1
        assert len(lake.rows(other).fetchall()) == 11


@pytest.mark.parametrize(
    "said",
    ['IO Error: Could not write file "{root}/data/x.parquet": No space left on device', "database or disk is full"],
)
def test_a_full_disk_is_not_taken_for_damage(store: OfflineStore, said: str) -> None:
    error = duckdb.IOException(said.format(root=store.root))

    def write() -> None:
        with store.connect() as lake:
            put(lake, 1)
            raise error

    with pytest.raises(StoreError, match="cannot be used: .*make room") as raised:
        write()
    assert raised.value.__cause__ is error
    assert not isinstance(raised.value, DamagedError)


def elsewhere(file: Path) -> None:
    """Its rows say that they are another partition's: a few flipped bytes."""
    held = file.read_bytes()
    partition = file.parent.name.removeprefix("_partition=").encode()
    present = held.replace(b"\x01\x00\x00\x00" + partition, b"\x01\x00\x00\x00z")
    assert present != held
    file.write_bytes(present)


@pytest.mark.parametrize("number", [1, 2], ids=["the same rows", "others"])
@pytest.mark.parametrize("kind", ["flipped", "of another partition"])
def test_rows_under_another_partition_are_replaced(store: OfflineStore, kind: str, number: int) -> None:
    with store.connect() as lake:
        put(lake, 1, "abc")
    without_checksums(store)
    if kind == "flipped":
        elsewhere(file_of(store, "b"))
    else:  # a wrong restore
        file_of(store, "b").write_bytes(file_of(store, "c").read_bytes())
    with store.connect() as lake:
        assert not of(lake, "b")
        assert partitions_with_other_rows(lake, ROWS) == (["b"] if kind == "flipped" else ["b", "c"])
        put(lake, number, "b")
        assert partitions_with_other_rows(lake, ROWS) == []
    with store.connect() as lake:
        assert [of(lake, key) for key in "abc"] == [{1}, {number}, {1}]
        assert len(content(lake, lake.snapshot())) == 30
