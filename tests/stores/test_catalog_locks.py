"""The catalog is rewritten while lakes are open: their locks and journal stay, and no commit is lost."""

import multiprocessing
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from fti_assets.core.names import TableName
from fti_assets.errors import StoreError
from fti_assets.stores.lake.embedded import overwriting
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore

TABLE = TableName("features", "weather_v1")
COMMITS = 4


def commit(lake: Lake, partition: str) -> None:
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE staged AS SELECT 1::BIGINT AS n, '{partition}' AS _partition"
    )
    lake.replace(TABLE, "staged", [partition], asset="weather_v1")


def commit_all(root: Path, writer: str) -> None:
    with OfflineStore(root).connect() as lake:
        for number in range(COMMITS):
            commit(lake, f"{writer}{number}")


def partitions(lake: Lake) -> list[str]:
    return [key for (key,) in lake.connection.execute(f"SELECT _partition FROM {TABLE.sql} ORDER BY 1").fetchall()]


def overwrite(store: OfflineStore) -> None:
    with store.connect() as lake, store.lock():
        lake.store.overwrite_deleted()


def test_reader_of_same_process_keeps_its_lock_and_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overwriting, "_WAIT_SECONDS", 0.1)
    store = OfflineStore(tmp_path / "lake")
    with store.connect() as reader:
        commit(reader, "a")
        reader.connection.execute("BEGIN")
        assert partitions(reader) == ["a"]
        with pytest.raises(StoreError, match="is read all the time"):
            overwrite(store)
        assert (store.root / "catalog.sqlite-wal").exists()
        assert partitions(reader) == ["a"]
        reader.connection.execute("ROLLBACK")
        commit(reader, "b")
    overwrite(store)
    with store.connect() as lake:
        assert partitions(lake) == ["a", "b"]


@pytest.mark.soak
def test_no_commit_of_threads_or_of_another_process_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overwriting, "_WAIT_SECONDS", 0.1)
    store = OfflineStore(tmp_path / "lake")
    commit_all(store.root, "first")
    process = multiprocessing.get_context("spawn").Process(target=commit_all, args=(store.root, "process"))
    threads = [threading.Thread(target=commit_all, args=(store.root, name)) for name in ("one", "two")]
    for writer in (process, *threads):
        writer.start()
    while process.is_alive() or any(thread.is_alive() for thread in threads):
        with suppress(StoreError):  # others read the catalog all the time
            overwrite(store)
    process.join()
    assert process.exitcode == 0
    with store.connect() as lake:
        expected = sorted(f"{name}{number}" for name in ("first", "process", "one", "two") for number in range(COMMITS))
        assert partitions(lake) == expected == sorted(lake.ledger(TABLE))


def test_lake_asked_and_is_idle_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overwriting, "_WAIT_SECONDS", 0.1)
    store = OfflineStore(tmp_path / "lake")
    with store.connect() as idle:
        commit(idle, "a")
        assert idle.snapshot_at(idle.snapshot()) is not None
        assert idle.ledger(TABLE).keys() == {"a"}
        assert partitions(idle) == ["a"]
        overwrite(store)
