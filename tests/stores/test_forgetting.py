"""Finding rows at every snapshot and taking them out, at the level of the lake."""

from pathlib import Path

import pytest

from fti_assets.core.names import WHOLE, TableName
from fti_assets.errors import DataError, StoreError
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.row_changes import RowChange, change_rows
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.forgetting import expire_snapshots, take_out
from fti_assets.stores.lake.upkeep.occurrences import equals, find

PEOPLE = TableName("features", "people_v1")
NAMES = ["zed-31", "amy-77", "max-10"]


def put(lake: Lake, names: list[str], partition: str) -> int:
    lake.connection.execute(
        "CREATE OR REPLACE TEMP TABLE staged AS "
        "SELECT name, length(name) AS size, ? AS _partition FROM (SELECT unnest(?::VARCHAR[]) AS name)",
        [partition, names],
    )
    return lake.replace(PEOPLE, "staged", [partition], asset="people_v1").snapshot


def forget(lake: Lake, name: str) -> None:
    predicate = equals(lake, PEOPLE, {"name": name})
    take_out(lake, PEOPLE, predicate, message="forget a key", extra={})
    expire_snapshots(lake, sorted(find(lake, PEOPLE, predicate).snapshots), {PEOPLE: predicate})


def names_of(lake: Lake, where: str = "true") -> list[str]:
    return sorted(row[0] for row in lake.rows(PEOPLE).filter(where).fetchall())


def test_rows_are_found_at_exactly_snapshots_that_have_them(tmp_path: Path) -> None:
    with OfflineStore(tmp_path).connect() as lake:
        put(lake, ["amy-77"], "a")
        first = put(lake, NAMES, "b")
        second = put(lake, ["zed-31"], "c")
        third = put(lake, ["amy-77"], "b")
        fourth = put(lake, ["zed-31", "zed-31"], "a")
        fifth = put(lake, [], "c")
        zed = find(lake, PEOPLE, equals(lake, PEOPLE, {"name": "zed-31"}))
        assert dict(zed.rows) == {"a": 2}
        assert zed.snapshots == {first, second, third, fourth, fifth}
        assert find(lake, PEOPLE, equals(lake, PEOPLE, {"name": "max-10"})).snapshots == {first, second}
        nobody = find(lake, PEOPLE, equals(lake, PEOPLE, {"name": "nobody"}))
        assert (dict(nobody.rows), nobody.snapshots) == ({}, frozenset())


@pytest.mark.soak
@pytest.mark.parametrize("name", ["amy-77", "zed-31"])
def test_extreme_values_leave_no_trace_in_files(tmp_path: Path, name: str) -> None:
    with OfflineStore(tmp_path).connect() as lake:
        put(lake, NAMES, "a")
        kept = put(lake, ["max-10"], "b")
        put(lake, [*NAMES, "bea-02"], "b")
        forget(lake, name)
        left = [one for one in NAMES if one != name]
        assert names_of(lake) == sorted([*left, *left, "bea-02"])
        assert names_of(lake, f"name = '{left[0]}'") == [left[0]] * 2
        assert names_of(lake, f"name = '{name}'") == []
        assert kept not in {
            snapshot for (snapshot,) in lake.connection.execute("SELECT snapshot_id FROM lake.snapshots()").fetchall()
        }
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert name.encode() not in file.read_bytes(), f"{file} has it"
    with OfflineStore(tmp_path).connect() as lake:  # another connection, which knows only what the catalog says now
        put(lake, [name], "c")
        assert names_of(lake, f"name = '{name}'") == [name]
        assert names_of(lake, "name = 'max-10'") == ["max-10"] * 2


@pytest.mark.soak
def test_nothing_of_it_is_left_in_bounds_of_any_type(tmp_path: Path) -> None:
    table = TableName("features", "payments_v1")
    kinds = {
        "amount": "{n}::DECIMAL(10, 2)", "tiny": "{n}::TINYINT", "mean": "{n}::DOUBLE", "day": "DATE '2024-01-01' + {n}",
        "items": "['item-' || {n}]", "address": "{{'city': 'city-' || {n}}}", "notes": "map(['key-' || {n}], [{n}::USMALLINT])",
    }  # fmt: skip
    columns = ", ".join(f"{sql.format(n='n')} AS {name}" for name, sql in kinds.items())
    with OfflineStore(tmp_path).connect() as lake:
        for partition, numbers in (("a", [9, 10, 11]), ("b", [10, 99])):
            lake.connection.execute(
                f"CREATE OR REPLACE TEMP TABLE staged AS SELECT 'p-' || n AS name, {columns}, ? AS _partition "
                "FROM (SELECT unnest(?::INTEGER[]) AS n)",
                [partition, numbers],
            )
            lake.replace(table, "staged", [partition], asset="payments_v1")
        predicate = equals(lake, table, {"name": "p-99"})
        take_out(lake, table, predicate, message="forget a key", extra={})
        expire_snapshots(lake, sorted(find(lake, table, predicate).snapshots), {table: predicate})
        bounds = lake.connection.execute(
            "SELECT list([min_value, max_value] ORDER BY column_id) FROM __ducklake_metadata_lake.ducklake_table_column_stats "
            "JOIN __ducklake_metadata_lake.ducklake_table USING (table_id) WHERE table_name = 'payments_v1' AND min_value <> 'a'"
        ).fetchall()[0][0]
        assert bounds == [
            ["p-10", "p-9"], ["9.00", "11.00"], ["9", "11"], ["9.0", "11.0"], ["2024-01-10", "2024-01-12"],
            ["item-10", "item-9"], ["city-10", "city-9"], ["key-10", "key-9"], ["9", "11"],
        ]  # fmt: skip
    with OfflineStore(tmp_path).connect() as lake:
        for number in (9, 10, 11):
            for name, sql in kinds.items():
                results = lake.rows(table).filter(f"{name} = {sql.format(n=number)}").fetchall()
                assert [row[0] for row in results] == [f"p-{number}"] * (2 if number == 10 else 1)


def test_a_row_level_delete_leaves_the_file_too(tmp_path: Path) -> None:
    with OfflineStore(tmp_path).connect() as lake:
        put(lake, NAMES, WHOLE)
        lake.connection.execute("CREATE TEMP TABLE nothing AS FROM staged LIMIT 0")
        lake.connection.execute("CREATE TEMP TABLE gone AS SELECT 'zed-31' AS name")
        change = RowChange("nothing", ["name"], deletes="gone", delete_by=["name"], position=None)
        assert change_rows(lake, PEOPLE, change, asset="people_v1", run_id="", check=lambda: None).deleted == 1
        before = lake.ledger(PEOPLE)
        commit = take_out(lake, PEOPLE, equals(lake, PEOPLE, {"name": "zed-31"}), message="forget a key", extra={})
        assert commit is not None
        assert (commit.changed, lake.ledger(PEOPLE)) == ((), before)  # the rows are the same
        forget(lake, "zed-31")
        assert names_of(lake) == ["amy-77", "max-10"]
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert b"zed-31" not in file.read_bytes(), f"{file} has it"


def test_what_is_no_column_or_no_value_of_it_is_said(tmp_path: Path) -> None:
    with OfflineStore(tmp_path).connect() as lake:
        put(lake, NAMES, "a")
        with pytest.raises(StoreError, match=r"features\.people_v1 has no column 'person': it has 'name' and 'size'"):
            equals(lake, PEOPLE, {"person": "x"})
        with pytest.raises(DataError, match="size of features.people_v1 is BIGINT, which 'tall' is not"):
            equals(lake, PEOPLE, {"size": "tall"})


def test_a_name_with_quotes_is_only_a_name(tmp_path: Path) -> None:
    name = "o'neil\"; DROP TABLE x; --"
    with OfflineStore(tmp_path).connect() as lake:
        put(lake, [*NAMES, name], "a")
        assert dict(find(lake, PEOPLE, equals(lake, PEOPLE, {"name": name})).rows) == {"a": 1}
        assert dict(find(lake, PEOPLE, equals(lake, PEOPLE, {"name": "' OR true --"})).rows) == {}
        forget(lake, name)
        assert names_of(lake) == sorted(NAMES)
