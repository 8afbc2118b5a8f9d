"""A column's type does not depend on the day: what fits into the stored type without a loss goes into it."""

import datetime as dt
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError, SchemaChangedError
from fti_assets.orchestration.resources import Stores
from fti_assets.testing import RowsRefused

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-02-01")


class Days:
    """A group whose column ``x`` has other values each day."""

    def __init__(self, folder: Path) -> None:
        self.stores: Stores = testing.stores_in(folder)
        self._days = count(1)

    def run(self, frame: Any) -> None:
        day = f"2025-01-{next(self._days):02d}"

        @fti.feature_group(keys=["id"], event_time="t", partitions_def=DAYS)
        def readings() -> Any:
            return frame if not len(frame.columns) else frame.assign(t=pd.Timestamp(day))

        testing.materialize(readings, stores=self.stores, partition=day)
        self.group = readings

    def values(self, *columns: Any) -> list[Any]:
        for values in columns:
            self.run(pd.DataFrame({"id": range(len(values)), "x": values}))
        rows = fti.read(self.group, stores=self.stores, as_="dicts")
        return [row["x"] for row in sorted(rows, key=lambda row: (row["t"], row["id"]))]

    @property
    def type(self) -> str:
        with self.stores.offline_store().connect() as lake:
            return lake.types(self.group.table)["x"]


@pytest.fixture
def days(tmp_path: Path) -> Days:
    return Days(tmp_path)


@pytest.mark.parametrize(
    ("columns", "kind", "expected"),
    [
        (([1, 2], [3, None]), "BIGINT", [1, 2, 3, None]),
        (([1.5, 2.0], [3, 4]), "DOUBLE", [1.5, 2.0, 3.0, 4.0]),
        (([1, 2], [None, None]), "BIGINT", [1, 2, None, None]),
        (([1, 2], [np.nan, np.nan]), "BIGINT", [1, 2, None, None]),
        ((["a"], [None]), "VARCHAR", ["a", None]),
        (([1, 2], [Decimal(3), None]), "BIGINT", [1, 2, 3, None]),
        (([1], [Decimal("4.00"), Decimal("1E+5"), Decimal(2**63 - 1)]), "BIGINT", [1, 4, 100_000, 2**63 - 1]),
        (([1], [Decimal("NaN"), Decimal(-(2**63))]), "BIGINT", [1, None, -(2**63)]),
        (([True], [None], [False]), "BOOLEAN", [True, None, False]),
        ((pd.array([1], dtype="int32"), [2], np.array([3], dtype="uint8")), "INTEGER", [1, 2, 3]),
        (([pd.Timestamp("2025-01-01 05:00")], [dt.date(2025, 1, 2)]), "TIMESTAMP", [dt.datetime(2025, 1, 1, 5), dt.datetime(2025, 1, 2)]),
    ],
)  # fmt: skip
def test_values_that_fit_go_into_the_stored_type(days: Days, columns: Any, kind: str, expected: list[Any]) -> None:
    assert days.values(*columns) == expected
    assert days.type == kind


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ([1, 2], [1.5, None]),
        ([1, 2], [2.0**53, None]),
        (pd.array([1], dtype="int32"), [2**31]),
        ([1.5], [2**53 + 1]),
        ([1, 2], [Decimal("3.5")]),
        ([1, 2], [Decimal(3), Decimal("3.0000001")]),
        ([1, 2], [Decimal(2**63)]),
        (pd.array([1], dtype="int32"), [Decimal(2**31)]),
        (["a"], [1]),
        ([1], ["a"]),
    ],
)
def test_values_that_do_not_fit_are_refused(days: Days, first: Any, then: Any) -> None:
    before = days.values(first)
    with pytest.raises((SchemaChangedError, RowsRefused, DataError), match="schema|type"):
        days.values(then)
    assert [row["x"] for row in fti.read(days.group, stores=days.stores, as_="dicts")] == before


@pytest.mark.parametrize("library", ["arrow", "pandas arrow", "polars", "relation"])
@pytest.mark.parametrize(("values", "fits"), [([3, 2**53 + 1, None], True), (["3.5", 4], False)])
def test_decimals_of_each_library_go_into_whole_numbers(days: Days, library: str, values: Any, fits: bool) -> None:
    decimals = pa.array([None if one is None else Decimal(one) for one in values], pa.decimal128(20, 2))
    moments = pa.array([dt.datetime(2025, 1, 2)] * len(decimals), pa.timestamp("us"))
    table = pa.table({"id": range(len(decimals)), "x": decimals, "t": moments})
    frames: dict[str, Any] = {
        "arrow": lambda: table,
        "pandas arrow": lambda: table.to_pandas(types_mapper=pd.ArrowDtype),
        "polars": lambda: pl.from_arrow(table),
        "relation": lambda: duckdb.from_arrow(table),
    }
    days.values([1, 2])

    @fti.feature_group(keys=["id"], event_time="t", partitions_def=DAYS)
    def readings() -> Any:
        return frames[library]()

    if fits:
        testing.materialize(readings, stores=days.stores, partition="2025-01-02")
    else:
        with pytest.raises(SchemaChangedError, match="x"):
            testing.materialize(readings, stores=days.stores, partition="2025-01-02")
    rows = fti.read(days.group, stores=days.stores, as_="dicts")
    stored = [row["x"] for row in sorted(rows, key=lambda row: (row["t"], row["id"]))]
    assert stored == [1, 2, *(values if fits else [])]
    assert days.type == "BIGINT"


@pytest.mark.parametrize("nothing", [pd.DataFrame(), pd.DataFrame({"id": [], "x": []})])
def test_a_day_without_rows_is_no_rows(days: Days, nothing: pd.DataFrame) -> None:
    days.values([1, 2])
    days.run(nothing)
    assert days.values([3]) == [1, 2, 3]
    assert days.type == "BIGINT"


@pytest.mark.parametrize("values", [[1, 2], ["a", None], [1.5], [pd.Timestamp("2024-01-01")]], ids=str)
def test_a_first_day_without_columns_is_no_rows(days: Days, values: list[Any]) -> None:
    days.run(pd.DataFrame())
    assert len(fti.read(days.group, stores=days.stores)) == 0
    assert days.values(values) == values
    days.run(pd.DataFrame())
    assert days.values(values) == [*values, *values]
