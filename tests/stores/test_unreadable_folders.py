"""A folder that may not be read is an error that names it: it is neither empty nor not there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core.names import TableName
from fti_assets.core.times import Partition
from fti_assets.errors import DamagedError, StoreError
from fti_assets.features.files.partition_files import _files
from fti_assets.forget.log_files import LogFolder
from fti_assets.inference.log.waiting import OUTSIDE, left_names, outside_lines
from fti_assets.inference.serving.log.files import closed_files, open_files
from fti_assets.stores.files import is_folder, paths_in
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.expiry import size
from fti_assets.stores.lake.upkeep.rejected_rows import rejected_rows
from fti_assets.stores.lake.upkeep.unnamed_files import tables_in
from fti_assets.stores.online.store import SqliteOnlineStore
from tests.stores.online_stores import load
from tests.support.unreadable import home_of_nobody, unreadable


@pytest.fixture
def home() -> Iterator[Path]:
    with home_of_nobody() as folder:
        yield folder


def log_file(home: Path, *parts: str) -> Path:
    folder = home.joinpath("log", "model", *parts)
    folder.mkdir(parents=True)
    (folder / "20130101T000000000000-1-0.jsonl").write_bytes(b"{}\n")
    return folder


def log_of(home: Path) -> LogFolder:
    return LogFolder("model", home / "log" / "model", [{"id": "1"}])


LOOKS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "closed files of a log": ("", lambda home: closed_files(home / "log" / "model")),
    "open files of a log": ("", lambda home: open_files(home / "log" / "model")),
    "names that were taken in": ("", lambda home: left_names(home / "log" / "model", ["a"])),
    "a key in a log": ("", lambda home: log_of(home).closed_files()),
    "a key in half-written files": ("", lambda home: log_of(home).half_written()),
    "lines outside of a log": (OUTSIDE, lambda home: outside_lines(home / "log" / "model")),
    "a key in lines outside": (OUTSIDE, lambda home: log_of(home).closed_files()),
    "half-written lines outside": (OUTSIDE, lambda home: log_of(home).half_written()),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("above", [False, True])
def test_folder_of_a_prediction_log_is_named(home: Path, look: str, above: bool) -> None:
    below, read = LOOKS[look]
    folder = log_file(home, *filter(None, [below]))
    read(home)
    expected = f"{folder.parent}.* cannot be read: Permission denied. Give this user"
    with unreadable(folder.parent if above else folder, home), pytest.raises(StoreError, match=expected):
        read(home)


def test_file_in_place_of_a_logs_folder_is_named(home: Path) -> None:
    (home / "log").mkdir()
    (home / "log" / "model").write_bytes(b"")
    for read in (closed_files, open_files):
        with pytest.raises(DamagedError, match="log/model is a file where a folder belongs"):
            read(home / "log" / "model")


def test_namespaces_are_not_said_to_be_none(home: Path) -> None:
    store = SqliteOnlineStore(home / "online")
    load(store, [])
    with unreadable(store.root, home), pytest.raises(StoreError, match="online.* cannot be read"):
        store.namespaces()
    assert store.namespaces() == ("weather_v1",)


@pytest.mark.parametrize("below", ["data", "data/features"])
def test_tables_and_sizes_of_a_lake_are_not_said_to_be_less(home: Path, below: str) -> None:
    store = OfflineStore(home / "lake")
    (store.root / "data/features/a_v1").mkdir(parents=True)
    (store.root / "data/features/a_v1" / "x").write_bytes(b"1234")
    assert tables_in(store.root / "data") == [TableName("features", "a_v1")]
    with (
        unreadable(store.root / below, home),
        pytest.raises(StoreError, match=f"{store.root / below}.* cannot be read"),
    ):
        tables_in(store.root / "data")


def test_size_of_a_lake_with_an_unreadable_folder_is_not_told(home: Path) -> None:
    store = OfflineStore(home / "lake")
    store.create()
    folder = store.root / "data/features/a_v1"
    folder.mkdir(parents=True)
    (folder / "x").write_bytes(b"1234")
    with store.connect() as lake:
        assert (size(lake).files, size(lake).data_bytes) == (1, 4)
        with unreadable(folder, home), pytest.raises(StoreError, match=f"{folder} cannot be read"):
            size(lake)


def test_rejected_rows_are_not_said_to_be_none(home: Path) -> None:
    folder = home / "rejected" / "a_v1"
    folder.mkdir(parents=True)
    (folder / "x.jsonl").write_bytes(b"{}\n")
    with unreadable(folder, home), pytest.raises(StoreError, match=f"{folder} cannot be read"):
        rejected_rows(folder, lambda row: True, remove=False)


@pytest.mark.parametrize("pattern", ["**/{partition}*.csv", "*/{partition}.csv", "{partition}*/*.csv"])
def test_files_of_a_partition_are_not_read_without_those_of_a_folder(home: Path, pattern: str) -> None:
    for name in ("2025-01-01a", "2025-01-01b"):
        (home / "landing" / name).mkdir(parents=True)
        (home / "landing" / name / "2025-01-01.csv").write_text("id\n1\n")
    path = f"{home}/landing/{pattern}"
    partitions = [Partition("2025-01-01", None, None)]
    assert len(_files(path, partitions, "orders")) == 2
    closed = home / "landing" / "2025-01-01b"
    with unreadable(closed, home), pytest.raises(StoreError, match=f"{closed} cannot be read"):
        _files(path, partitions, "orders")


def test_files_of_a_source_are_not_read_without_those_of_a_folder(home: Path) -> None:
    for name in ("a", "b"):
        (home / "landing" / name).mkdir(parents=True)
        pd.DataFrame({"id": [1]}).to_parquet(home / "landing" / name / "x.parquet")
    source = fti.ParquetFiles(path=str(home / "landing"))
    store = OfflineStore(home / "lake")
    store.create()
    with store.connect() as lake:
        assert lake.connection.sql(f"FROM {source.scan(lake.connection)}").fetchall() == [(1,), (1,)]
        closed = home / "landing" / "b"
        with unreadable(closed, home), pytest.raises(StoreError, match=f"{closed} cannot be read"):
            source.scan(lake.connection)


def test_what_lies_in_a_folder_is_told_by_pattern(home: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", ".c.tmp"):
        (home / name).write_bytes(b"")
    assert [path.name for path in paths_in(home, "*.jsonl")] == ["a.jsonl", "b.jsonl"]
    assert [path.name for path in paths_in(home)] == [".c.tmp", "a.jsonl", "b.jsonl"]
    assert paths_in(home / "none") == []
    assert (is_folder(home), is_folder(home / "a.jsonl"), is_folder(home / "none")) == (True, False, False)
