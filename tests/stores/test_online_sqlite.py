"""What is particular to the online store on SQLite."""

import sqlite3
from pathlib import Path

import pytest

from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores.online import SqliteOnlineStore, online_store
from tests.stores.online_stores import load


@pytest.fixture
def store(tmp_path: Path) -> SqliteOnlineStore:
    return SqliteOnlineStore(tmp_path / "online")


def test_only_changed_blobs_are_written(store):
    rows = [((f"k{i}",), [(0, 0, (float(i),))]) for i in range(3000)]
    load(store, rows)
    wal = store.root / "weather_v1.sqlite-wal"
    reader = store.reader("weather_v1")
    with sqlite3.connect(store.root / "weather_v1.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    load(store, [(("k0",), [(0, 0, (-1.0,))]), *rows[1:]], snapshot=2)
    assert reader.get(("k0",), 0).values == (-1.0,)
    assert wal.stat().st_size < 10 * 4096


def test_a_file_that_is_no_database_is_damage(store):
    load(store, [])
    for extra in store.root.glob("weather_v1.sqlite-*"):
        extra.unlink()
    (store.root / "weather_v1.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(DamagedError, match=r"weather_v1.sqlite is damaged: file is not a database"):
        store.reader("weather_v1")
    with pytest.raises(DamagedError):
        load(store, [])


def test_a_folder_with_odd_characters_works(tmp_path: Path):
    store = SqliteOnlineStore(tmp_path / "a b?#%20é")
    load(store, [(("a",), [(0, 0, (1.0,))])])
    assert store.reader("weather_v1").holds(("a",))


def test_a_folder_is_an_embedded_store(tmp_path: Path):
    for location in (tmp_path, str(tmp_path)):
        found = online_store(location)
        assert isinstance(found, SqliteOnlineStore)
        assert found.location == str(found) == str(tmp_path)


def test_a_file_made_anew_is_read_by_who_had_the_old_one_open(store):
    """Also where it has as many loads behind it as the old one."""
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.reader("weather_v1")
    assert reader.get(("a",), 0).values == (1.0,)
    store.drop("weather_v1")
    load(store, [(("a",), [(0, 0, (2.0,))])])
    assert reader.get(("a",), 0).values == (2.0,)
    assert list(store.root.glob("weather_v1.sqlite*"))


def test_a_dropped_namespace_leaves_no_file(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.reader("weather_v1")
    assert reader.holds(("a",))
    store.drop("weather_v1")
    assert list(store.root.glob("weather_v1.sqlite*")) == []


def test_one_damaged_file_of_several_is_named(store):
    load(store, [], "good_v1")
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.readers([("good_v1", None), ("weather_v1", None)])
    for extra in store.root.glob("weather_v1.sqlite-*"):
        extra.unlink()
    (store.root / "weather_v1.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="weather_v1.sqlite"):
        reader.get([("a",), ("a",)], 0)


def test_an_address_of_something_else_is_refused_without_its_password():
    with pytest.raises(StoreError, match=r"cannot lie at s3://\.\.\.: name a folder, or redis://") as problem:
        online_store("s3://user:secret@bucket/online")
    assert "secret" not in str(problem.value)
