"""The files of the partitions that are run: one day, a range, an hour, a month, one file."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.json as arrow_json
import pyarrow.parquet as pq
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError, DeclarationError, StoreError

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")
FILE = "{partition}.parquet"


def orders(path: str, partitions_def: Any = DAYS, **how: Any) -> Any:
    @fti.feature_group(keys=["order_id"], event_time="placed_at", partitions_def=partitions_def)
    def orders(context: dg.AssetExecutionContext) -> duckdb.DuckDBPyRelation:
        return fti.read_files(context, path, **how)

    return orders


def land(folder: Path, name: str, at: str = "", **columns: Any) -> Path:
    """One row at noon, in a file."""
    placed = pd.Timestamp(f"{at or name} 12:00" if len(at or name) == 10 else at)
    frame = pd.DataFrame(
        {"order_id": [name], "placed_at": [placed], **{key: [value] for key, value in columns.items()}}
    )
    file = folder / f"{name}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(file, index=False)
    return file


def test_one_day_and_a_range_store_the_same_rows(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        land(tmp_path, f"2024-01-0{day}", price=float(day))
    group = orders(f"{tmp_path}/{FILE}")
    by_day, ranged = testing.stores_in(tmp_path / "day"), testing.stores_in(tmp_path / "range")
    for day in (1, 2, 3):
        testing.materialize(group, stores=by_day, partition=f"2024-01-0{day}")
    testing.materialize(group, stores=ranged, partition=("2024-01-01", "2024-01-03"))
    rows = [fti.read(group, stores=one).sort_values("order_id", ignore_index=True) for one in (by_day, ranged)]
    assert rows[0]["price"].tolist() == [1.0, 2.0, 3.0]
    pd.testing.assert_frame_equal(*rows)


def test_a_missing_file_of_a_range_is_named(tmp_path: Path) -> None:
    land(tmp_path, "2024-01-01")
    group = orders(f"{tmp_path}/{FILE}")
    with pytest.raises(DataError, match=r"orders_v1|step") as error:
        testing.rows(group, partition=("2024-01-01", "2024-01-03"))
    result = str(error.value)
    assert "has no file for 2 of 3 partitions: " in result
    assert f"{tmp_path}/2024-01-02.parquet' and '{tmp_path}/2024-01-03.parquet'" in result
    with pytest.raises(DataError, match="has no file: "):
        testing.rows(group, partition="2024-01-02")


def test_hours_and_months_name_their_files_by_their_start(tmp_path: Path) -> None:
    hours = dg.HourlyPartitionsDefinition(start_date="2024-01-01-00:00")
    land(tmp_path, "2024/01/01/05", at="2024-01-01 05:30")
    land(tmp_path, "2024/01/01/06", at="2024-01-01 06:30")
    by_hour = orders(f"{tmp_path}/{{start:%Y/%m/%d/%H}}.parquet", hours)
    assert len(testing.rows(by_hour, partition=("2024-01-01-05:00", "2024-01-01-06:00"))) == 2
    months = dg.MonthlyPartitionsDefinition(start_date="2024-01-01")
    land(tmp_path, "2024-02", at="2024-02-11")
    by_month = orders(f"{tmp_path}/{{start:%Y-%m}}.parquet", months)
    assert testing.rows(by_month, partition="2024-02-01")["order_id"].tolist() == ["2024-02"]


def test_without_partitions_it_is_one_file(tmp_path: Path) -> None:
    land(tmp_path, "orders", at="2024-01-01")
    assert len(testing.rows(orders(f"{tmp_path}/orders.parquet", None))) == 1
    with pytest.raises(DeclarationError, match="names '{partition}': it has no partitions"):
        testing.rows(orders(f"{tmp_path}/{FILE}", None))


def test_a_pattern_reads_all_files_of_a_partition(tmp_path: Path) -> None:
    for part in ("a", "b"):
        land(tmp_path, f"2024-01-01/{part}", at="2024-01-01")
    assert len(testing.rows(orders(f"{tmp_path}/{{partition}}/*.parquet"), partition="2024-01-01")) == 2
    with pytest.raises(DataError, match=r"has no file: '.*2024-01-02/\*.parquet'"):
        testing.rows(orders(f"{tmp_path}/{{partition}}/*.parquet"), partition="2024-01-02")


def test_one_path_for_every_partition_is_refused(tmp_path: Path) -> None:
    file = land(tmp_path, "2024-01-01")
    with pytest.raises(DeclarationError, match="is one file for every partition: write where a partition's file lies"):
        testing.rows(orders(str(file)), partition="2024-01-01")


@pytest.mark.parametrize("path", ["{day}.parquet", "{partition.parquet", "{partition:%Y}.parquet", "{}.parquet"])
def test_a_path_that_cannot_be_filled_in_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(DeclarationError, match=r"the path '.*' of .* (names|cannot be filled in)"):
        testing.rows(orders(f"{tmp_path}/{path}"), partition="2024-01-01")


def test_columns_that_came_later_are_null_before(tmp_path: Path) -> None:
    land(tmp_path, "2024-01-01")
    land(tmp_path, "2024-01-02", price=2)
    land(tmp_path, "2024-01-03", price=2.5)  # a column that got a missing value is one of doubles
    rows = testing.rows(orders(f"{tmp_path}/{FILE}"), partition=("2024-01-01", "2024-01-03"))
    assert rows["price"].isna().tolist() == [True, False, False]
    assert rows["price"].tolist()[1:] == [2.0, 2.5]


def test_types_that_do_not_fit_name_both_files(tmp_path: Path) -> None:
    first = land(tmp_path, "2024-01-01", price=1.5)
    second = land(tmp_path, "2024-01-02", price="1.5")
    with pytest.raises(DataError, match="column 'price' .*: write the files with one type") as error:
        testing.rows(orders(f"{tmp_path}/{FILE}"), partition=("2024-01-01", "2024-01-02"))
    assert f"double in {first}" in str(error.value)
    assert f"string in {second}" in str(error.value)


def test_a_half_written_file_is_named(tmp_path: Path) -> None:
    file = land(tmp_path, "2024-01-01")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"{file} of .* cannot be read as Parquet"):
        testing.rows(orders(f"{tmp_path}/{FILE}"), partition="2024-01-01")


def damaged_day(folder: Path, **write: Any) -> Path:
    """The second of three days, with a page of its prices damaged."""
    file = folder / "2024-01-02.parquet"
    for day in ("2024-01-01", "2024-01-02", "2024-01-03"):
        rows = pd.DataFrame(
            {"order_id": [f"{day} {n}" for n in range(5000)], "placed_at": pd.Timestamp(f"{day} 12:00")}
        )
        rows.assign(price=rows.index * 0.37).to_parquet(folder / f"{day}.parquet", index=False, **write)
    content = bytearray(file.read_bytes())
    column = pq.ParquetFile(file).metadata.row_group(0).column(2)
    start = column.data_page_offset if column.dictionary_page_offset is None else column.dictionary_page_offset
    if write.get("write_page_checksum"):
        content[start + column.total_compressed_size - 3] ^= 1
    else:
        content[start : start + 40] = bytes(40)
    file.write_bytes(content)
    return file


READERS: dict[str, Any] = {
    "lazily": lambda rows: rows,
    "SQL": lambda rows: rows.query("r", "SELECT * REPLACE (price + 1 AS price) FROM r"),
    "pandas": lambda rows: rows.df(),
    "polars": lambda rows: rows.pl(),
    "Arrow": lambda rows: rows.to_arrow_table(),
}


FLIPPED: dict[str, Any] = {"compression": None, "write_page_checksum": True}


@pytest.mark.parametrize(
    ("how", "write"),
    [
        *(pytest.param(how, {}, id=f"torn-{how}") for how in READERS),
        *(
            pytest.param(how, FLIPPED, id=f"flipped bit-{how}", marks=() if how == "lazily" else pytest.mark.soak)
            for how in READERS
        ),
    ],
)
def test_a_damaged_page_is_named(tmp_path: Path, how: str, write: dict[str, Any]) -> None:
    file = damaged_day(tmp_path, **write)

    @fti.feature_group(keys=["order_id"], event_time="placed_at", partitions_def=DAYS)
    def orders(context: dg.AssetExecutionContext) -> Any:
        return READERS[how](fti.read_files(context, f"{tmp_path}/{FILE}"))

    result = (
        rf"^{file} of orders_v1 cannot be read as Parquet: .*Its bytes are damaged: write it again.*Nothing was stored$"
    )
    with pytest.raises(DataError, match=result):
        testing.materialize(
            orders, stores=testing.stores_in(tmp_path / "stores"), partition=("2024-01-01", "2024-01-03")
        )
    with pytest.raises(DataError, match=result.replace("orders_v1", "step")):
        testing.rows(orders, partition=("2024-01-01", "2024-01-03"))


def test_a_damaged_page_is_named_where_files_are_compared(tmp_path: Path) -> None:
    file = damaged_day(tmp_path)
    land(tmp_path, "2024-01-04", price=1)
    with pytest.raises(DataError, match=rf"^{file} of .* cannot be read as Parquet: .*write it again"):
        testing.rows(orders(f"{tmp_path}/{FILE}"), partition=("2024-01-01", "2024-01-04"))


def test_other_files_are_read_by_a_reader(tmp_path: Path) -> None:
    for day, price in (("2024-01-01", "1"), ("2024-01-02", "2.5")):
        (tmp_path / f"{day}.csv").write_text(f"order_id,placed_at,price\na{day},{day} 12:00,{price}\n")
    path = f"{tmp_path}/{{partition}}.csv"
    with pytest.raises(DataError, match="say what reads it, as in reader=pd.read_csv"):
        testing.rows(orders(path), partition="2024-01-01")

    def read_csv(file: Path) -> pd.DataFrame:
        return pd.read_csv(file, parse_dates=["placed_at"])

    rows = testing.rows(orders(path, reader=read_csv), partition=("2024-01-01", "2024-01-02"))
    assert rows["price"].tolist() == [1.0, 2.5]
    with pytest.raises(DataError, match=r"2024-01-01.csv of .* cannot be read by reader=.*parse_dates"):
        testing.rows(orders(path, reader=lambda file: pd.read_csv(file, parse_dates=["when"])), partition="2024-01-01")


def test_an_index_that_pandas_wrote_is_no_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"order_id": [1, 2], "placed_at": pd.to_datetime(["2024-01-01", "2024-01-01"])})
    frame[frame["order_id"] > 1].to_parquet(tmp_path / "2024-01-01.parquet")
    rows = testing.rows(orders(f"{tmp_path}/{FILE}"), partition="2024-01-01")
    assert list(rows.columns) == ["order_id", "placed_at"]


def test_a_context_of_a_plain_call_names_its_partition(tmp_path: Path) -> None:
    land(tmp_path, "2024-01-01")
    context = dg.build_asset_context(partition_key="2024-01-01")
    assert len(fti.read_files(context, f"{tmp_path}/{FILE}").df()) == 1
    with pytest.raises(DeclarationError, match="takes the step's context first, not '2024-01-01'"):
        fti.read_files("2024-01-01", f"{tmp_path}/{FILE}")  # type: ignore[arg-type]


def test_what_lies_in_a_bucket_is_refused() -> None:
    with pytest.raises(DeclarationError, match="reads local files, not 's3://shop"):
        testing.rows(orders("s3://shop/{partition}.parquet"), partition="2024-01-01")


def test_rows_can_be_read_twice_before_they_are_stored(tmp_path: Path) -> None:
    land(tmp_path, "2024-01-01")
    land(tmp_path, "2024-01-02")
    counts: list[int] = []

    @fti.feature_group(keys=["order_id"], event_time="placed_at", partitions_def=DAYS)
    def newest(context: dg.AssetExecutionContext) -> duckdb.DuckDBPyRelation:
        rows = fti.read_files(context, f"{tmp_path}/{FILE}")
        counts.extend([len(rows.df()), len(rows.filter("order_id = '2024-01-02'").df())])
        return rows.filter("order_id = '2024-01-02'")

    assert len(testing.rows(newest, partition=("2024-01-01", "2024-01-02"))) == 1
    assert counts == [2, 1]


@pytest.mark.parametrize("kept", ["default", "own"])
def test_a_relation_of_another_connection_is_stored(tmp_path: Path, kept: str) -> None:
    file = land(tmp_path, "2024-01-01")

    @fti.feature_group(keys=["order_id"], event_time="placed_at")
    def elsewhere() -> duckdb.DuckDBPyRelation:
        connection = duckdb if kept == "default" else duckdb.connect()
        return connection.sql(f"FROM '{file}'")

    assert len(testing.rows(elsewhere)) == 1
    stored = testing.materialize(elsewhere, stores=testing.stores_in(tmp_path / "stores"))
    assert stored.rows(elsewhere)["order_id"].tolist() == ["2024-01-01"]


def test_what_a_writer_put_aside_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "_landing"  # a name that the path spells out says nothing
    for name in ("2024-01-01/a", "2024-01-01/_day=1/b"):
        land(folder, name, "2024-01-01")
    for name in ("_x", "_temporary/0/c", "_delta_log/d", ".hidden/e", ".f", "g._COPYING_/g"):
        land(folder, f"2024-01-01/{name}", "2024-01-01")

    def read(pattern: str) -> list[str]:
        rows = testing.rows(orders(f"{folder}/{{partition}}/{pattern}"), partition="2024-01-01")
        return sorted(name.removeprefix("2024-01-01/") for name in rows["order_id"])

    assert read("*.parquet") == ["a"]
    assert read("**/*.parquet") == ["_day=1/b", "a"]
    assert read("**/[a-z]*.parquet") == ["_day=1/b", "a"]
    assert read("_x.parquet") == ["_x"]
    assert read("_temporary/**/*.parquet") == ["_temporary/0/c"]
    with pytest.raises(
        DataError, match=r"has no file: .*\(only .*/_temporary/0/c\.parquet, which is left out as what begins"
    ):
        read("*/0/*.parquet")


def test_a_reader_is_not_given_what_was_put_aside(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text("order_id,placed_at\nkept,2024-01-01 12:00\n")
    (tmp_path / "_part.csv").write_text("order_id,placed_at\nhalf,2024-01-01 12:00\n")
    group = orders(f"{tmp_path}/*.csv", None, reader=lambda file: pd.read_csv(file, parse_dates=["placed_at"]))
    assert testing.rows(group)["order_id"].tolist() == ["kept"]


def test_a_link_to_a_file_of_the_pattern_is_refused(tmp_path: Path) -> None:
    file = land(tmp_path / "2024-01-01", "l", "2024-01-01")
    outside = land(tmp_path, "outside", "2024-01-01")
    group = orders(f"{tmp_path}/{{partition}}/*.parquet")
    (tmp_path / "2024-01-01" / "o.parquet").symlink_to(outside)
    assert sorted(testing.rows(group, partition="2024-01-01")["order_id"]) == ["l", "outside"]
    (tmp_path / "2024-01-01" / "m.parquet").symlink_to("l.parquet")
    with pytest.raises(
        StoreError, match=rf"/m\.parquet is a link to a file that is read as {file} too.*: remove the link"
    ):
        testing.rows(group, partition="2024-01-01")


def test_a_file_that_a_pattern_finds_by_two_ways_is_read_once(tmp_path: Path) -> None:
    land(tmp_path, "2024-01-01/a/b/c", "2024-01-01")
    rows = testing.rows(orders(f"{tmp_path}/{{partition}}/**/**/*.parquet"), partition="2024-01-01")
    assert len(rows) == 1


LARGE = 2**53 + 1


def typed(folder: Path, day: int, sql: str) -> None:
    """One row of a day whose column ``v`` is an expression of SQL's."""
    at = f"2024-01-{day:02}"
    rows = duckdb.sql(f"SELECT '{at}' AS order_id, TIMESTAMP '{at} 12:00' AS placed_at, {sql} AS v")
    rows.write_parquet(str(folder / f"{at}.parquet"))


def read_days(folder: Path, days: int, reader: Any = None) -> duckdb.DuckDBPyRelation:
    """The relation that a run of the first days is given."""
    relations = []

    @fti.feature_group(keys=["order_id"], event_time="placed_at", partitions_def=DAYS)
    def orders(context: dg.AssetExecutionContext) -> duckdb.DuckDBPyRelation:
        relations.append(fti.read_files(context, f"{folder}/{FILE}", reader=reader))
        return relations[0].project("order_id, placed_at")

    testing.rows(orders, partition=("2024-01-01", f"2024-01-{days:02}"))
    return relations[0]


@pytest.mark.parametrize(
    ("days", "kind", "values"),
    [
        ([f"{LARGE}", "NULL::DOUBLE", "'nan'::FLOAT"], "BIGINT", [LARGE, None, None]),
        (["NULL::DOUBLE", f"{LARGE}"], "BIGINT", [None, LARGE]),
        ([f"{LARGE}", "5.0::DOUBLE", "7"], "BIGINT", [LARGE, 5, 7]),
        (["5.0::DOUBLE", f"{LARGE}"], "BIGINT", [5, LARGE]),
        (["5", "7.0::FLOAT"], "INTEGER", [5, 7]),
        (["5.0::DOUBLE", "7"], "DOUBLE", [5.0, 7.0]),
        (["5", "1.5::FLOAT"], "DOUBLE", [5.0, 1.5]),
        (["5", "1e300::DOUBLE"], "DOUBLE", [5.0, 1e300]),
        (["'a'", "NULL::DOUBLE", "'b'", "'nan'::DOUBLE"], "VARCHAR", ["a", None, "b", None]),
        (["TIMESTAMP '2020-01-01'", "NULL::DOUBLE"], "TIMESTAMP", [datetime(2020, 1, 1), None]),
        (["true", "'nan'::DOUBLE"], "BOOLEAN", [True, None]),
        (["0.1::DECIMAL(18, 2)", "NULL::DOUBLE"], "DECIMAL(18,2)", [Decimal("0.10"), None]),
    ],
)
@pytest.mark.parametrize("reader", [None, pd.read_parquet])
def test_a_range_has_the_values_of_its_days_alone(
    tmp_path: Path, days: list[str], kind: str, values: list[Any], reader: Any
) -> None:
    for day, sql in enumerate(days, 1):
        typed(tmp_path, day, sql)
    rows = read_days(tmp_path, len(days), reader)
    assert (str(rows.types[2]), [value for (value,) in rows.project("v").fetchall()]) == (kind, values)
    assert {type(value) for (value,) in rows.project("v").fetchall()} == {type(value) for value in values}


@pytest.mark.parametrize(
    ("days", "problem"),
    [
        ([f"{LARGE}", "(2**53)::DOUBLE"], f"column 'v' of .* is int64 in .*-01.parquet, with {LARGE}, and double in .*-02.parquet"),
        (["1.5::DOUBLE", "2", f"{-LARGE}"], f"is int64 in .*-03.parquet, with {-LARGE}, and double in .*-01.parquet"),
        (["0.1::DECIMAL(9, 2)", "NULL::DOUBLE", "0.1::DOUBLE"], r"is decimal128.9, 2. in .*-01.parquet, and double in .*-03.parquet"),
        (["'a'", "1.5::DOUBLE"], "'v' of .* is string in .*-01.parquet and double in .*-02.parquet"),
        (["TIMESTAMP '2020-01-01'", "1.5::DOUBLE"], "is timestamp.us. in .*-01.parquet and double in .*-02.parquet"),
    ],
)  # fmt: skip
def test_days_whose_values_no_one_type_holds_name_column_and_files(
    tmp_path: Path, days: list[str], problem: str
) -> None:
    for day, sql in enumerate(days, 1):
        typed(tmp_path, day, sql)
    for reader in (None, pq.read_table):
        with pytest.raises(DataError, match=problem):
            read_days(tmp_path, len(days), reader)


def test_days_of_csv_files_without_values_take_the_type_of_the_others(tmp_path: Path) -> None:
    for day, (number, word) in enumerate([(LARGE, "a"), ("", ""), (5, "b")], 1):
        at = f"2024-01-{day:02}"
        (tmp_path / f"{at}.csv").write_text(f"order_id,placed_at,number,word\n{at},{at}T12:00,{number},{word}\n")
    group, stores = orders(f"{tmp_path}/{{partition}}.csv", reader=pd.read_csv), testing.stores_in(tmp_path / "home")
    testing.materialize(group, stores=stores, partition=("2024-01-01", "2024-01-03"))
    rows = fti.read(group, stores=stores)
    assert rows["number"].tolist() == [LARGE, pd.NA, 5]
    assert rows["word"].isna().tolist() == [False, True, False]


@pytest.mark.soak
def test_files_of_alternating_types_are_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "2024-01-01"
    folder.mkdir()
    for number in range(150):
        value = "NULL::DOUBLE" if number % 2 else "'text'"
        rows = duckdb.sql(f"SELECT {number} AS order_id, TIMESTAMP '2024-01-01 12:00' AS placed_at, {value} AS v")
        rows.write_parquet(str(folder / f"{number:03}.parquet"))
    context = dg.build_asset_context(partition_key="2024-01-01")
    rows = fti.read_files(context, f"{tmp_path}/{{partition}}/*.parquet")
    assert [number for (number,) in rows.project("order_id").fetchall()] == list(range(150))
    assert rows.aggregate("count(v), count(*)").fetchall() == [(75, 150)]


@pytest.mark.parametrize(
    ("content", "reader"),
    [
        (b"k,v\n3,\xff\xfe\n", pd.read_csv),
        (b"\x1f\x8b\n3\n", arrow_csv.read_csv),
        (b'{"k":3,"v":"\xff"}\n', arrow_json.read_json),
        (b'{"k":3,"k":4}\n', lambda file: duckdb.connect().read_json(str(file))),
        (b"", pd.read_csv),
    ],
)
def test_a_damaged_file_of_a_reader_is_named(tmp_path: Path, content: bytes, reader: Any) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"/bad\.txt of .* cannot be read by reader="):
        fti.read_files(dg.build_asset_context(), f"{tmp_path}/bad.txt", reader=reader)


def test_names_that_sql_takes_for_one_are_refused(tmp_path: Path) -> None:
    for name, columns in {"a": {"v": [1]}, "b": {"V": [2]}}.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=r"column 'v' of .*/a\.parquet is 'V' in .*/b\.parquet, and SQL takes both"):
        fti.read_files(dg.build_asset_context(), f"{tmp_path}/*.parquet")


def test_a_file_without_columns_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"v": [1]}).select([]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"/a\.parquet of .* has no columns"):
        fti.read_files(dg.build_asset_context(), f"{tmp_path}/*.parquet")


def test_half_precision_is_read_as_single(tmp_path: Path) -> None:
    half = pa.array([[1.5]], pa.list_(pa.float32())).cast(pa.list_(pa.float16()))
    pq.write_table(pa.table({"v": half, "w": half.flatten()}), tmp_path / "a.parquet")
    rows = fti.read_files(dg.build_asset_context(), f"{tmp_path}/*.parquet")
    assert rows.fetchall() == [([1.5], 1.5)]
