"""Each type of column beside each other in two files: the values of each file alone, or an error that names column and files."""

from datetime import date, datetime
from decimal import Decimal
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import FtiError
from fti_assets.stores.sources.source import source_connection

NAN = float("nan")
LARGE = 2**53 + 1
COLUMNS = {
    "int32": pa.array([1, None], pa.int32()),
    "int64": pa.array([LARGE, 3]),
    "uint64": pa.array([2**63 + 1, 3], pa.uint64()),
    "decimal10": pa.array([Decimal("1.25"), Decimal("2.50")], pa.decimal128(10, 2)),
    "decimal38": pa.array([Decimal(10**37 + 1), None], pa.decimal128(38, 0)),
    "float16": pa.array([1.5, 2.5], pa.float32()).cast(pa.float16()),
    "float64": pa.array([1.1, NAN]),
    "nan": pa.array([NAN, NAN]),
    "bool": pa.array([True, False]),
    "text": pa.array(["1", "b"]),
    "category": pa.array(["1", "b"]).dictionary_encode(),
    "bytes": pa.array([b"a", b"\xff"]),
    "date": pa.array([date(2024, 1, 1), date(1500, 1, 2)]),
    "micros": pa.array([datetime(1500, 1, 1), datetime(9999, 1, 1)], pa.timestamp("us")),
    "nanos": pa.array([1, 2**60 + 1], pa.timestamp("ns")),
    "zone": pa.array([1, 2], pa.timestamp("us", "UTC")),
    "time": pa.array([1, 2], pa.time64("us")),
    "ints": pa.array([[LARGE, 2], [3]]),
    "floats": pa.array([[1.5], [NAN, None]]),
    "struct": pa.array([{"a": LARGE}, {"a": 2}]),
    "float_struct": pa.array([{"a": 1.5, "b": "x"}, {"a": NAN, "b": "y"}]),
    "wider_struct": pa.array([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
    "map": pa.array([[("a", 1)], [("b", LARGE)]], pa.map_(pa.string(), pa.int64())),
    "null": pa.nulls(2),
    "absent": None,
}  # fmt: skip
SORTS = ("int64", "float64", "text", "bytes", "date", "ints", "struct", "map")
PARTED = [
    ("ints", "floats"),
    ("struct", "float_struct"),
    ("decimal10", "decimal38"),
    ("decimal10", "float64"),
    ("bool", "int32"),
    ("micros", "nanos"),
    ("date", "nanos"),
    ("time", "date"),
]
WITHOUT_VALUES = {"nan", "null", "absent"}
NUMBERS = [{"int32", "int64", "uint64", "decimal10"}, {"int32", "float16", "float64"}]
ALIKE = [{"text", "category"}, {"struct", "wider_struct"}]
HELD = {
    "ParquetFiles": [*NUMBERS, *ALIKE, {"int32", "int64", "uint64", "decimal38"}, {"date", "micros", "zone"}, {"nanos", "zone"}],
    "read_files": [*NUMBERS, *ALIKE, {"int32", "int64", "uint64", "decimal38"}, {"wider_struct", "float_struct"}],
}  # fmt: skip
BEYOND = {"ParquetFiles": [], "read_files": [{"int32", "uint64"}, {"int64", "uint64"}]}
READERS = sorted(HELD)


def are_held(one: str, other: str, reader: str) -> bool:
    pair = {one, other}
    return bool(pair & WITHOUT_VALUES) or (any(pair <= held for held in HELD[reader]) and pair not in BEYOND[reader])


def read(folder: Path, reader: str) -> pa.Table:
    if reader == "read_files":
        return fti.read_files(dg.build_asset_context(), f"{folder}/*.parquet").order("n").to_arrow_table()
    source = fti.ParquetFiles(path=folder)
    with source_connection() as connection:
        return connection.sql(f"FROM {source.scan(connection)} ORDER BY n").to_arrow_table()


def plain(value: Any) -> Any:
    """A value as what compares equal only to an equal one of its sort: NaN is missing, a field that is not there is null."""
    if value is None or value != value:
        return None
    if isinstance(value, dict):
        return {key: one for key, item in value.items() if (one := plain(item)) is not None}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return (type(value), value) if isinstance(value, bool | str | bytes) else value


def values(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us" if pa.types.is_date(kind) else kind.unit))
        factor = 1 if column.type.unit == "ns" else 1000
        return [None if value is None else ("ns", value * factor) for value in column.cast(pa.int64()).to_pylist()]
    return [plain(value) for value in column.to_pylist()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The values of each column where its file is the only one."""
    file = tmp_path_factory.mktemp("alone") / "one.parquet"
    pq.write_table(pa.table({name: column for name, column in COLUMNS.items() if column is not None}), file)
    table = pq.read_table(file)
    return {name: values(table.column(name)) if name in table.column_names else [None, None] for name in COLUMNS}


@pytest.mark.parametrize("reader", READERS)
def test_columns_of_two_types_keep_their_values(tmp_path: Path, alone: dict[str, list[Any]], reader: str) -> None:
    pairs = [(one, other) for one, other in permutations(COLUMNS, 2) if are_held(one, other, reader)]
    for side in (0, 1):
        columns = {"-".join(pair): COLUMNS[pair[side]] for pair in pairs}
        held = {name: column for name, column in columns.items() if column is not None}
        pq.write_table(pa.table({"n": [2 * side, 2 * side + 1], **held}), tmp_path / f"{side}.parquet")
    rows = read(tmp_path, reader)
    for one, other in pairs:
        if {one, other} == {"null", "absent"}:
            continue
        assert values(rows.column(f"{one}-{other}")) == alone[one] + alone[other], (one, other)


@pytest.mark.parametrize("reader", READERS)
def test_columns_of_two_types_without_one_are_named(tmp_path: Path, reader: str) -> None:
    for name, column in COLUMNS.items():
        if column is not None:
            pq.write_table(pa.table({"n": [0, 1], "v": column}), tmp_path / f"{name}.parquet")
    for number, pair in enumerate([*combinations(SORTS, 2), *PARTED]):
        folder = tmp_path / str(number)
        folder.mkdir()
        files = [folder / "0.parquet", folder / "1.parquet"]
        for file, name in zip(files, pair[:: 1 if number % 2 else -1], strict=True):
            file.hardlink_to(tmp_path / f"{name}.parquet")
        with pytest.raises(FtiError, match="column 'v") as refusal:
            read(folder, reader)
        assert all(str(file) in str(refusal.value) for file in files), pair


def test_a_damaged_page_names_the_external_source(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"k": [1, 2], "v": ["a", "b"]}), file)
    file.write_bytes(b"PAR1" + b"\xff" * 60 + file.read_bytes()[64:])
    group = fti.external_group(name="outside", source=fti.ParquetFiles(path=tmp_path), keys=["k"])
    with pytest.raises(FtiError, match="Parquet files .* cannot be read"):
        fti.read(group, stores=testing.stores_in(tmp_path / "stores"))
