"""Parquet files of a folder that have a column in several types: their values are those of each file alone, or a refusal."""

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fti_assets.errors import StoreError
from fti_assets.stores.sources.parquet_files import ParquetFiles
from fti_assets.stores.sources.source import column_types, source_connection

LARGE = 2**53 + 1


def read(folder: Path, *files: str, hive: bool = False) -> tuple[str, set[Any]]:
    """The type and values of column ``v`` of files that SQL makes."""
    for number, sql in enumerate(files):
        (folder / f"n={number:02}").mkdir(parents=True)
        duckdb.sql(sql).write_parquet(str(folder / f"n={number:02}" / "part[1].parquet"))
    source = ParquetFiles(path=folder, hive_partitioning=hive)
    with source_connection() as connection:
        rows = connection.sql(f"SELECT v FROM {source.scan(connection)}").fetchall()
        return column_types(connection, source)["v"], {v for (v,) in rows}


@pytest.mark.parametrize(
    ("files", "kind", "values"),
    [
        (
            (f"SELECT {LARGE} AS v", "SELECT unnest([5.0::DOUBLE, NULL, 'nan'::DOUBLE]) AS v"),
            "BIGINT",
            {LARGE, 5, None},
        ),
        ((f"SELECT {LARGE} AS v", "SELECT NULL::DOUBLE AS v", "SELECT 'nan'::FLOAT AS v"), "BIGINT", {LARGE, None}),
        ((f"SELECT {LARGE} AS v", "SELECT 1 AS other"), "BIGINT", {LARGE, None}),
        (("SELECT 1::INTEGER AS v", f"SELECT {LARGE} AS v", "SELECT 3::FLOAT AS v"), "BIGINT", {1, LARGE, 3}),
        (("SELECT 7::UBIGINT AS v", "SELECT 3::FLOAT AS v"), "UBIGINT", {7, 3}),
        (("SELECT 7::UBIGINT AS v", "SELECT -3 AS v", "SELECT 3::FLOAT AS v"), "HUGEINT", {7, -3, 3}),
        (("SELECT (2**53)::BIGINT AS v", "SELECT 1.5::DOUBLE AS v"), "DOUBLE", {2.0**53, 1.5}),
        (("SELECT 16777217 AS v", "SELECT 1.5::FLOAT AS v"), "DOUBLE", {16777217.0, 1.5}),
        (("SELECT 5::BIGINT AS v", "SELECT 1e300::DOUBLE AS v"), "DOUBLE", {5.0, 1e300}),
        (("SELECT 'a' AS v", "SELECT NULL::DOUBLE AS v"), "VARCHAR", {"a", None}),
        (("SELECT true AS v", "SELECT 'nan'::DOUBLE AS v"), "BOOLEAN", {True, None}),
        (("SELECT DATE '2024-01-01' AS v", "SELECT 'nan'::DOUBLE AS v"), "DATE", {date(2024, 1, 1), None}),
        (("SELECT 'a'::BLOB AS v", "SELECT 'nan'::DOUBLE AS v"), "BLOB", {b"a", None}),
        (("SELECT 1::INTEGER AS v", f"SELECT {LARGE} AS v"), "BIGINT", {1, LARGE}),
        (("SELECT 1.5::FLOAT AS v", "SELECT 2.5::DOUBLE AS v"), "DOUBLE", {1.5, 2.5}),
        (("SELECT 1::INTEGER AS v", "SELECT 2.5::DOUBLE AS v"), "DOUBLE", {1, 2.5}),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_values_of_files_of_several_types_are_those_of_each_alone(
    tmp_path: Path, files: tuple[str, ...], kind: str, values: set[Any], order: int
) -> None:
    result, read_values = read(tmp_path, *files[::order])
    assert (result, read_values) == (kind, values)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ((f"SELECT {LARGE} AS v", "SELECT (2**53)::DOUBLE AS v"), f"'v' is BIGINT in .*n=00/part.1..parquet and DOUBLE in .*n=01.*{LARGE}"),
        ((f"SELECT {-LARGE} AS v", "SELECT 1.5::DOUBLE AS v"), f"BIGINT in .*DOUBLE in .* {-LARGE} there is another number"),
        (("SELECT '02139' AS v", "SELECT 2139 AS v"), "VARCHAR in .* and INTEGER in .*frame.astype"),
        (("SELECT '1.0' AS v", "SELECT 1.0::DOUBLE AS v"), "VARCHAR in .* and DOUBLE in "),
        (("SELECT TIMESTAMP '2024-01-01' AS v", "SELECT 7::DOUBLE AS v"), "TIMESTAMP in .* and DOUBLE in "),
        (("SELECT true AS v", "SELECT 2 AS v"), "BOOLEAN in .* and INTEGER in "),
        (("SELECT 0.1::DECIMAL(9, 2) AS v", "SELECT 0.1::DOUBLE AS v"), r"DECIMAL\(9,2\) in .* and DOUBLE in "),
        (("SELECT 1::DECIMAL(38, 2) AS v", "SELECT 1.0000000001::DECIMAL(38, 10) AS v"), r"DECIMAL\(38,2\) in .*\(38,10\) in "),
        ((f"SELECT [{LARGE}] AS v", "SELECT [1.5::DOUBLE] AS v"), r"'v\[\]' is BIGINT in .* and DOUBLE in "),
        ((f"SELECT {{'x': {LARGE}, 'y': 1}} AS v", "SELECT {'x': 1.5::DOUBLE, 'y': 1} AS v"), "'v.x' is BIGINT in .* and DOUBLE in "),
    ],
)  # fmt: skip
def test_files_whose_values_no_one_type_holds_are_refused(tmp_path: Path, files: tuple[str, ...], problem: str) -> None:
    with pytest.raises(StoreError, match=problem):
        read(tmp_path, *files)


def test_names_of_folders_have_the_type_that_all_of_them_have(tmp_path: Path) -> None:
    for folder, sql in {"7": f"SELECT {LARGE} AS v", "8": "SELECT NULL::DOUBLE AS v", "x": "SELECT 1 AS v"}.items():
        (tmp_path / f"day={folder}").mkdir()
        duckdb.sql(sql).write_parquet(str(tmp_path / f"day={folder}" / "part.parquet"))
    source = ParquetFiles(path=tmp_path, hive_partitioning=True)
    with source_connection() as connection:
        rows = connection.sql(f"SELECT v, day FROM {source.scan(connection)}").fetchall()
        assert set(rows) == {(LARGE, "7"), (None, "8"), (1, "x")}
        (tmp_path / "day=x" / "part.parquet").unlink()
        (tmp_path / "day=x").rmdir()
        rows = connection.sql(f"SELECT v, day FROM {source.scan(connection)}").fetchall()
        assert set(rows) == {(LARGE, 7), (None, 8)}
