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

    def run_columns(self, columns: dict[str, Any], length: int = 2) -> None:
        """A day with some columns, in which the last value stands once more where there are too few."""
        places = {name: [min(n, len(values) - 1) for n in range(length)] for name, values in columns.items()}
        series = {name: pd.Series(values).iloc[places[name]].array for name, values in columns.items()}
        self.run(pd.DataFrame({"id": range(length), **series}))

    def rows(self) -> list[dict[str, Any]]:
        rows = fti.read(self.group, stores=self.stores, as_="dicts")
        return sorted(rows, key=lambda row: (row["t"], row["id"]))

    def values(self, *columns: Any) -> list[Any]:
        for values in columns:
            self.run(pd.DataFrame({"id": range(len(values)), "x": values}))
        return [row["x"] for row in self.rows()]

    @property
    def type(self) -> str:
        return self.types["x"]

    @property
    def types(self) -> dict[str, str]:
        with self.stores.offline_store().connect() as lake:
            return lake.types(self.group.table)


@pytest.fixture
def days(tmp_path: Path) -> Days:
    return Days(tmp_path)


FITTING: list[tuple[Any, str, list[Any]]] = [
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
]  # fmt: skip
"""The values of each day, the type that is stored, and what is stored in the end."""


def test_values_that_fit_go_into_the_stored_type(days: Days) -> None:
    """Each as a column of its own; a column of fewer days has its last day once more."""
    last, width = 3, 3
    for day in range(last):
        days.run_columns(
            {f"x{n}": values[min(day, len(values) - 1)] for n, (values, _, _) in enumerate(FITTING)}, width
        )
    rows = days.rows()
    for n, (values, kind, expected) in enumerate(FITTING):
        rest, by_day = list(expected), []
        for of_day in values:
            by_day.append(rest[: len(of_day)])
            rest = rest[len(of_day) :]
        by_day += by_day[-1:] * (last - len(values))
        stored = [[row[f"x{n}"] for row in rows[day * width : (day + 1) * width]] for day in range(last)]
        assert stored == [[*of_day, *of_day[-1:] * (width - len(of_day))] for of_day in by_day], values
        assert days.types[f"x{n}"] == kind, values


NOT_FITTING: list[tuple[Any, Any]] = [
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
]


@pytest.mark.soak
def test_values_that_do_not_fit_are_refused(days: Days) -> None:
    """Each in a column of its own, on a day on which all others have what they had."""
    first = {f"x{n}": values for n, (values, _) in enumerate(NOT_FITTING)}
    days.run_columns(first)
    before = days.rows()
    for n, (_, then) in enumerate(NOT_FITTING):
        with pytest.raises((SchemaChangedError, RowsRefused, DataError), match="schema|type") as raised:
            days.run_columns({**first, f"x{n}": then})
        assert f"x{n}" in str(raised.value)
    assert days.rows() == before


LIBRARIES: dict[str, Any] = {
    "arrow": lambda table: table,
    "pandas arrow": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": pl.from_arrow,
    "relation": duckdb.from_arrow,
}


@pytest.mark.soak
def test_decimals_of_each_library_go_into_whole_numbers(days: Days) -> None:
    days.values([1, 2])

    def run(library: str, values: list[Any]) -> None:
        decimals = pa.array([None if one is None else Decimal(one) for one in values], pa.decimal128(20, 2))
        moments = pa.array([dt.datetime(2025, 1, 2)] * len(decimals), pa.timestamp("us"))
        table = pa.table({"id": range(len(decimals)), "x": decimals, "t": moments})

        @fti.feature_group(keys=["id"], event_time="t", partitions_def=DAYS)
        def readings() -> Any:
            return LIBRARIES[library](table)

        testing.materialize(readings, stores=days.stores, partition="2025-01-02")

    for number, library in enumerate(LIBRARIES):
        values = [3 + number, 2**53 + 1, None]
        run(library, values)
        assert [row["x"] for row in days.rows()] == [1, 2, *values], library
        with pytest.raises(SchemaChangedError, match="x"):
            run(library, ["3.5", 4])
        assert [row["x"] for row in days.rows()] == [1, 2, *values], library
    assert days.type == "BIGINT"


def test_a_day_without_rows_is_no_rows(days: Days) -> None:
    days.values([1, 2])
    days.run(pd.DataFrame())
    days.run(pd.DataFrame({"id": [], "x": []}))
    assert days.values([3]) == [1, 2, 3]
    assert days.type == "BIGINT"


@pytest.mark.soak
def test_a_first_day_without_columns_is_no_rows(days: Days) -> None:
    columns = {"x0": [1, 2], "x1": ["a", None], "x2": [1.5, 1.5], "x3": [pd.Timestamp("2024-01-01")] * 2}
    days.run(pd.DataFrame())
    assert len(fti.read(days.group, stores=days.stores)) == 0
    for times in (1, 2):
        days.run_columns(columns)
        rows = days.rows()
        assert {name: [row[name] for row in rows] for name in columns} == {
            name: values * times for name, values in columns.items()
        }
        days.run(pd.DataFrame())
