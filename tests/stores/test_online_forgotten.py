"""Keys deleted from the embedded online store leave nothing in its files."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fti_assets.core.manifest import Column
from fti_assets.errors import StoreError
from fti_assets.stores.online.store import SqliteOnlineStore


@pytest.fixture
def store(tmp_path: Path) -> SqliteOnlineStore:
    return SqliteOnlineStore(tmp_path)


def load(store: SqliteOnlineStore, rows: Sequence[tuple[tuple[Any, ...], str]]) -> None:
    store.load(
        "notes_v1",
        key_types=("text",),
        columns=(Column("note", "text"),),
        rows=[(key, [(0, 0, (note,))]) for key, note in rows],
        answers_from=None,
        snapshot=1,
        event_time=True,
    )


def test_bytes_of_deleted_key_are_gone_those_of_earlier_loads_too(store: SqliteOnlineStore, tmp_path: Path) -> None:
    others = [((f"other{number}",), f"of other{number} " * 5) for number in range(300)]
    load(store, [*others, (("mine-5f2e",), "an earlier secret")])
    load(store, [*others, (("mine-5f2e",), "a secret")])
    reader = store.reader("notes_v1")
    results = reader.get(("mine-5f2e",), at_us=1)
    assert results is not None
    assert results.values == ("a secret",)
    assert store.delete("notes_v1", [("mine-5f2e",), ("nobody",)]) == 1
    assert reader.get(("mine-5f2e",), at_us=1) is None
    assert [reader.get(key, at_us=1).values for key, _ in others] == [(note,) for _, note in others]  # type: ignore[union-attr]
    on_disk = b"".join(file.read_bytes() for file in tmp_path.glob("notes_v1.sqlite*"))
    assert not [secret for secret in (b"mine-5f2e", b"a secret", b"an earlier secret") if secret in on_disk]


def test_a_deletion_whose_bytes_others_still_read_says_so(
    store: SqliteOnlineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, [(("JFK",), "cold")])
    monkeypatch.setattr("fti_assets.stores.online.sqlite.writer.WAIT_SECONDS", 0.2)
    reading = sqlite3.connect(tmp_path / "notes_v1.sqlite", isolation_level=None)
    reading.execute("BEGIN")
    assert reading.execute("SELECT count(*) FROM rows").fetchone() == (1,)
    with pytest.raises(StoreError, match="others read it all the time.*delete the keys again"):
        store.delete("notes_v1", [("JFK",)])
    reading.execute("ROLLBACK")
    reading.close()
    assert store.reader("notes_v1").get(("JFK",), at_us=1) is None
    assert store.delete("notes_v1", [("JFK",)]) == 0
