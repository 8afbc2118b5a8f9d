"""What is no file, or another database, in place of an online file is named with what to do."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fti_assets.errors import DamagedError
from fti_assets.stores.online.about import DamagedNamespaceError
from fti_assets.stores.online.store import SqliteOnlineStore
from tests.stores.online_stores import load
from tests.support.odd_files import ODD_FILES

ROWS = [(("a",), [(0, 0, (1.0,))]), (("b",), [(0, 0, (2.0,))])]


@pytest.fixture
def store(tmp_path: Path) -> SqliteOnlineStore:
    return SqliteOnlineStore(tmp_path / "online")


@pytest.mark.parametrize("kind", ODD_FILES)
def test_a_namespaces_file_that_is_none_is_named(store: SqliteOnlineStore, kind: str) -> None:
    load(store, ROWS)
    path = store.root / "weather_v1.sqlite"
    for file in store.root.glob("weather_v1.sqlite*"):
        file.unlink()
    ODD_FILES[kind](path)
    expected = f"{path} is {kind} where a file belongs: remove it, and materialize weather again"
    for use in (
        lambda: store.reader("weather_v1"),
        lambda: store.about("weather_v1"),
        lambda: store.everything("weather_v1"),
        store.namespaces,
        lambda: load(store, ROWS),
        lambda: store.drop("weather_v1"),
    ):
        with pytest.raises(DamagedError, match=expected):
            use()
    path.rmdir() if kind == "a folder" else path.unlink()
    load(store, ROWS)
    assert store.reader("weather_v1").get(("a",), 0).values == (1.0,)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [kind for kind in ODD_FILES if kind != "a folder"])
def test_online_folder_that_is_none_is_named(store: SqliteOnlineStore, kind: str) -> None:
    ODD_FILES[kind](store.root)
    for use in (lambda: store.reader("weather_v1"), store.namespaces, lambda: load(store, ROWS)):
        with pytest.raises(DamagedError, match=f"{store.root} is {kind} where a folder belongs: move it away"):
            use()


def test_online_folder_that_is_a_file_is_named(store: SqliteOnlineStore) -> None:
    store.root.write_bytes(b"")
    for use in (lambda: store.reader("weather_v1"), store.namespaces, lambda: load(store, ROWS)):
        with pytest.raises(DamagedError, match=f"{store.root} is a file where a folder belongs: move it away"):
            use()


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
def test_fifo_beside_a_namespaces_file_is_named(store: SqliteOnlineStore, suffix: str) -> None:
    load(store, ROWS)
    path = store.root / f"weather_v1.sqlite{suffix}"
    path.unlink(missing_ok=True)
    ODD_FILES["a FIFO"](path)
    for use in (lambda: store.reader("weather_v1"), lambda: load(store, ROWS)):
        with pytest.raises(DamagedError, match=f"{path} is a FIFO where a file belongs: remove it"):
            use()


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE rows",
        "ALTER TABLE rows RENAME TO other",
        "ALTER TABLE rows RENAME COLUMN blob TO other",
        "DROP TABLE rows; CREATE VIEW rows AS SELECT NULL AS key, NULL AS blob WHERE false",
        "ALTER TABLE about RENAME COLUMN keys TO other",
    ],
)
def test_a_table_that_was_changed_is_damage_and_written_anew(store: SqliteOnlineStore, change: str) -> None:
    load(store, ROWS)
    reader = store.reader("weather_v1")
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection:
        connection.executescript(change)
    if "VIEW" not in change:
        with pytest.raises(DamagedNamespaceError, match=r"weather_v1.sqlite is damaged: .*Materialize weather again"):
            store.reader("weather_v1")
        if "about" not in change:  # who has it open asks for no more of what it says of itself
            with pytest.raises(DamagedNamespaceError, match=r"is damaged: .*Materialize weather again"):
                reader.get(("a",), 0)
    load(store, ROWS)
    assert store.reader("weather_v1").get(("b",), 0).values == (2.0,)  # type: ignore[union-attr]


def test_changes_are_not_applied_to_a_file_without_its_rows(store: SqliteOnlineStore) -> None:
    load(store, ROWS)
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection:
        connection.execute("DROP TABLE rows")
    with store.writing("weather_v1") as writer:
        assert writer.about is None  # so that it is loaded whole


@pytest.mark.parametrize("journal", [b"garbage" * 100, b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\xff" * 600])
def test_a_journal_that_is_none_is_named_and_goes_with_the_next_load(store: SqliteOnlineStore, journal: bytes) -> None:
    load(store, ROWS)
    path = store.root / "weather_v1.sqlite-journal"
    path.write_bytes(journal)
    for use in (
        lambda: store.reader("weather_v1"),
        lambda: store.about("weather_v1"),
        lambda: store.counts("weather_v1"),
    ):
        with pytest.raises(
            DamagedNamespaceError, match=f"{path} is of a write that was cut off, .*Materialize weather again"
        ):
            use()
    load(store, ROWS)
    assert not path.exists()
    assert store.reader("weather_v1").get(("b",), 0).values == (2.0,)  # type: ignore[union-attr]
