"""What is asked once of a snapshot: never a mix with another, never older than one's own commit, and the same as DuckLake says."""

from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fti_assets.core import clock
from fti_assets.core.names import Commit, TableName
from fti_assets.errors import NotMaterializedError
from fti_assets.stores.lake.files.current_files import current_files
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore

ROWS, OTHERS = TableName("features", "rows_v1"), TableName("features", "others_v1")


@pytest.fixture
def store(tmp_path: Path) -> OfflineStore:
    return OfflineStore(tmp_path / "lake")


@pytest.fixture
def lake(store: OfflineStore) -> Iterator[Lake]:
    with store.connect() as lake:
        yield lake


def replace(
    lake: Lake, values: Mapping[str, float | None], table: TableName = ROWS, columns: str = "x DOUBLE", **options: Any
) -> Commit:
    lake.connection.execute(f"CREATE OR REPLACE TEMP TABLE staged ({columns}, _partition VARCHAR)")
    extra = ", NULL" * columns.count(",")
    for key, value in values.items():
        lake.connection.execute(f"INSERT INTO staged VALUES (?{extra}, ?)", [value, key])
    return lake.replace(table, "staged", list(values), asset="rows_v1", **options)


def by_ducklake(lake: Lake, table: TableName, snapshot: int) -> list[tuple[Any, ...]]:
    columns = "partition, data_version, rows, committed_at, run_at, run_id, record"
    return lake.connection.execute(
        f"SELECT {columns} FROM {table.ledger_sql} AT (VERSION => {snapshot}) ORDER BY 1"
    ).fetchall()


def in_fields(lake: Lake, table: TableName, snapshot: int | None = None) -> list[tuple[Any, ...]]:
    return [astuple(record) for record in lake.ledger(table, snapshot=snapshot).values()]


def test_a_block_sees_no_commit_of_others(store: OfflineStore, lake: Lake) -> None:
    first = replace(lake, {"a": 1.0})
    with store.connect() as other, lake.one_snapshot():
        replace(other, {"a": 2.0, "b": 3.0})
        replace(other, {"a": 2.0}, OTHERS)
        assert lake.snapshot() == first.snapshot
        assert lake.tables() == [ROWS]
        assert [record.partition for record in lake.ledger(ROWS).values()] == ["a"]
        assert lake.ledger(OTHERS) == lake.types(OTHERS) == {}
        assert lake.rows(ROWS).fetchall() == [(1.0,)]
    assert lake.tables() == [OTHERS, ROWS]
    assert list(lake.ledger(ROWS)) == ["a", "b"]
    with lake.one_snapshot():
        assert (list(lake.ledger(ROWS)), lake.types(OTHERS)) == (["a", "b"], {"x": "DOUBLE"})


def test_a_block_within_a_block_is_the_same_snapshot(store: OfflineStore, lake: Lake) -> None:
    replace(lake, {"a": 1.0})
    with store.connect() as other, lake.one_snapshot():
        before = lake.snapshot()
        replace(other, {"b": 1.0})
        with lake.one_snapshot():
            assert (lake.snapshot(), list(lake.ledger(ROWS))) == (before, ["a"])
        assert list(lake.ledger(ROWS)) == ["a"]


def test_a_transaction_of_the_caller_reads_rows_and_ledger_of_one_commit(store: OfflineStore, lake: Lake) -> None:
    replace(lake, {"a": 1.0})
    first = lake.ledger(ROWS)
    with store.connect() as reader:
        reader.connection.execute("BEGIN")
        reader.snapshot()
        replace(lake, {"a": 2.0})
        rows, ledger = reader.rows(ROWS).fetchall(), reader.ledger(ROWS)
        reader.connection.execute("COMMIT")
    assert (rows, ledger) == ([(1.0,)], first)


def test_a_block_goes_on_after_a_failed_question(store: OfflineStore, lake: Lake) -> None:
    replace(lake, {"a": 1.0})
    with store.connect() as other, lake.one_snapshot():
        assert list(lake.ledger(ROWS)) == ["a"]
        replace(other, {"b": 1.0})
        with pytest.raises(duckdb.ConversionException):
            lake.connection.execute("SELECT 'x'::INTEGER").fetchall()
        lake.begin_again()
        assert list(lake.ledger(ROWS)) == ["a", "b"]
    assert lake.snapshot() == 3


@pytest.mark.soak
@pytest.mark.parametrize("in_block", [False, True])
def test_a_commit_says_what_it_left(lake: Lake, in_block: bool) -> None:
    commits = [
        replace(lake, {"a": 1.0}),
        replace(lake, {"b": 1.0}, columns="x DOUBLE, y VARCHAR", addable=["y"]),
        replace(lake, {"c": 1.0}, columns="x DOUBLE, y BIGINT", addable=["y"]),
    ]
    assert [commit.types for commit in commits] == [
        {"x": "DOUBLE"},
        {"x": "DOUBLE", "y": "VARCHAR"},
        {"x": "DOUBLE", "y": "VARCHAR"},  # a column without values has the type that was there
    ]
    for commit in commits:
        if in_block:
            with lake.one_snapshot():
                assert in_fields(lake, ROWS, commit.snapshot) == by_ducklake(lake, ROWS, commit.snapshot)
        assert in_fields(lake, ROWS, commit.snapshot) == by_ducklake(lake, ROWS, commit.snapshot)
    assert (lake.snapshot(), list(lake.ledger(ROWS))) == (commits[-1].snapshot, ["a", "b", "c"])
    assert lake.types(ROWS) == commits[-1].types


def test_a_column_that_gets_its_type_keeps_its_place(lake: Lake) -> None:
    lake.connection.execute("CREATE TEMP TABLE of_a AS SELECT NULL::VARCHAR AS x, 1 AS y, 'a' AS _partition")
    lake.replace(ROWS, "of_a", ["a"], asset="rows_v1")
    lake.connection.execute("CREATE TEMP TABLE of_b AS SELECT 1.5::DOUBLE AS x, 1 AS y, 'b' AS _partition")
    commit = lake.replace(ROWS, "of_b", ["b"], asset="rows_v1")
    assert list(commit.types.items()) == [("x", "DOUBLE"), ("y", "INTEGER")] == list(lake.types(ROWS).items())


def test_another_writer_between_two_commits_is_seen(store: OfflineStore, lake: Lake) -> None:
    replace(lake, {"a": 1.0})
    with store.connect() as other:
        theirs = replace(other, {"a": 2.0})
    with clock.at("2031-01-01"):
        mine = replace(lake, {"a": 2.0, "b": 1.0})
    assert (theirs.snapshot + 1, mine.changed) == (mine.snapshot, ("b",))  # their rows are the same, and stay


def test_a_ledger_in_files_is_read_from_there(lake: Lake) -> None:
    replace(lake, {"a": 1.0, "b": 2.0})
    before = lake.ledger(ROWS)
    lake.connection.execute("CALL ducklake_flush_inlined_data('lake')")
    assert lake.ledger(ROWS) == before
    replace(lake, {"b": 3.0, "c": 4.0})
    assert list(lake.ledger(ROWS)) == ["a", "b", "c"]
    assert in_fields(lake, ROWS) == by_ducklake(lake, ROWS, lake.snapshot())
    assert list(lake.ledger(ROWS, partitions=["c", "d"])) == ["c"]


def test_a_snapshot_that_is_gone_is_refused(lake: Lake) -> None:
    first = replace(lake, {"a": 1.0}).snapshot
    replace(lake, {"a": 2.0})
    lake.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{first}])")
    with pytest.raises(NotMaterializedError, match=f"no snapshot {first} any more"):
        lake.ledger(ROWS, snapshot=first)
    with pytest.raises(NotMaterializedError, match="no snapshot 99: its newest is"):
        lake.ledger(ROWS, snapshot=99)


@pytest.mark.soak
@pytest.mark.parametrize("many", [0, 2_000])
def test_files_are_those_that_ducklake_names(lake: Lake, many: int) -> None:
    keys = ["a", "b'c", "d?1", "ä"]
    replace(lake, dict.fromkeys(keys, 1.0))
    replace(lake, dict.fromkeys(keys, 1.0), OTHERS)
    first = replace(lake, {"a": 2.0}).snapshot
    replace(lake, {"a": 3.0})
    requests = [*keys[:3], *(f"none {number}" for number in range(many))]
    for snapshot in (None, first):
        at = "" if snapshot is None else f", snapshot_version => {snapshot}"
        named = lake.connection.execute(
            f"SELECT data_file, data_file_size_bytes FROM ducklake_list_files('lake', 'rows_v1', schema => 'features'{at})"
        ).fetchall()
        files = current_files(lake, ROWS, snapshot=snapshot)
        assert sorted((file.path, file.size) for file in files) == sorted(named)
        assert sorted(file.partition for file in files) == keys
        assert not any(file.deletes for file in files)
        chosen = current_files(lake, ROWS, snapshot=snapshot, partitions=requests)
        assert chosen == [file for file in files if file.partition in requests]
    assert current_files(lake, ROWS, partitions=[]) == []
