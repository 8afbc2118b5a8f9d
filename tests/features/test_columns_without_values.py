"""A column without values has no type yet: its first values give it theirs, whatever day they come."""

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError, SchemaChangedError
from fti_assets.resources import Stores

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-02-01")
NOON = dt.datetime(2025, 1, 1, 12)


class Days:
    """A group whose column ``x``, between two others, has other values each day."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.stores: Stores = testing.stores_in(folder)
        self.options = options

    def run(self, *days: tuple[int, Any], **options: Any) -> None:
        names = [f"2025-01-{day:02d}" for day, _ in days]
        frames = [
            pa.table({
                "id": list(range(len(x))),
                "t": pa.array([pd.Timestamp(name).to_pydatetime()] * len(x), pa.timestamp("us")),
                "x": x,
                "y": [float(number) for number in range(len(x))],
            })
            for name, (_, x) in zip(names, days, strict=True)
        ]  # fmt: skip

        @fti.feature_group(
            keys=["id"], event_time="t", partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run(),
            **self.options, **options,
        )  # fmt: skip
        def readings() -> Any:
            return pa.concat_tables(frames)

        self.group = readings
        testing.materialize(
            readings, stores=self.stores, partition=(names[0], names[-1]) if len(names) > 1 else names[0]
        )

    def table(self, **options: Any) -> Any:
        return fti.read(self.group, stores=self.stores, as_="arrow", **options).sort_by(
            [("t", "ascending"), ("id", "ascending")]
        )

    def values(self, **options: Any) -> list[Any]:
        values: list[Any] = self.table(**options)["x"].to_pylist()
        return values

    @property
    def type(self) -> str:
        with self.stores.offline_store().connect() as lake:
            return lake.types(self.group.table_name)["x"]

    @property
    def versions(self) -> dict[str, str]:
        with self.stores.offline_store().connect() as lake:
            return {day: record.data_version for day, record in lake.ledger(self.group.table_name).items()}

    @property
    def snapshot(self) -> int:
        with self.stores.offline_store().connect() as lake:
            return lake.snapshot()


@pytest.fixture
def days(tmp_path: Path) -> Days:
    return Days(tmp_path)


NOTHING = {
    "null": pa.array([None, None], pa.null()),
    "int32": pa.array([None, None], pa.int32()),
    "double": pa.array([None, None], pa.float64()),
    "text": pa.array([None, None], pa.string()),
    "time": pa.array([None, None], pa.timestamp("us")),
}
VALUES = {
    "beyond int32": (pa.array([2**40, None]), "BIGINT"),
    "small": (pa.array([1, 2]), "BIGINT"),
    "double": (pa.array([0.5, None]), "DOUBLE"),
    "text": (pa.array([None, "a"]), "VARCHAR"),
    "boolean": (pa.array([True, False]), "BOOLEAN"),
    "time": (pa.array([NOON, None]), "TIMESTAMP"),
    "date": (pa.array([NOON.date(), None]), "DATE"),
    "bytes": (pa.array([b"a", None]), "BLOB"),
    "list": (pa.array([["a"], None]), "VARCHAR[]"),
    "struct": (pa.array([{"a": 1}, None]), "STRUCT(a BIGINT)"),
}


@pytest.mark.parametrize(
    ("nothing", "values"),
    [*(("null", values) for values in VALUES), *((nothing, "text") for nothing in ("int32", "double", "time")), ("text", "small")],
)  # fmt: skip
def test_the_first_values_give_the_type(days: Days, nothing: str, values: str) -> None:
    column, kind = VALUES[values]
    days.run((1, NOTHING[nothing]))
    before, versions = days.snapshot, days.versions
    days.run((2, column))
    assert (days.type, days.values()) == (kind, [None, None, *column.to_pylist()])
    assert days.table().column_names == ["id", "t", "x", "y"]
    assert days.table()["y"].to_pylist() == [0.0, 1.0, 0.0, 1.0]
    assert days.values(snapshot=before) == [None, None]
    assert days.table(snapshot=before).column_names == ["id", "t", "x", "y"]
    days.run((1, NOTHING[nothing]))
    assert days.versions["2025-01-01"] == versions["2025-01-01"]
    after = days.versions
    days.run((1, pa.nulls(2, column.type)), (2, column))
    assert days.versions == after


NESTED_NOTHING = {
    "empty list": pa.array([[], None], pa.list_(pa.null())),
    "list of nulls": pa.array([[None], []], pa.list_(pa.null())),
    "null": pa.array([None, None], pa.null()),
}
NESTED = {
    "texts": (pa.array([["a", None], []]), "VARCHAR[]"),
    "times": (pa.array([[NOON], None]), "TIMESTAMP[]"),
    "wide": (pa.array([[2**40], None]), "BIGINT[]"),
    "lists": (pa.array([[["a"]], [[]]]), "VARCHAR[][]"),
    "structs": (
        pa.array([[{"a": 1, "b": None}], None], pa.list_(pa.struct([("a", pa.int64()), ("b", pa.string())]))),
        "STRUCT(a BIGINT, b VARCHAR)[]",
    ),
}


@pytest.mark.parametrize("values", NESTED)
@pytest.mark.parametrize("nothing", NESTED_NOTHING)
def test_the_first_values_within_a_list_give_its_type(days: Days, nothing: str, values: str) -> None:
    column, kind = NESTED[values]
    empty = NESTED_NOTHING[nothing]
    days.run((1, empty))
    before = days.snapshot
    days.run((2, column))
    assert (days.type, days.values()) == (kind, [*empty.to_pylist(), *column.to_pylist()])
    assert days.table().column_names == ["id", "t", "x", "y"]
    assert days.values(snapshot=before) == empty.to_pylist()
    days.run((3, empty))
    assert days.values() == [*empty.to_pylist(), *column.to_pylist(), *empty.to_pylist()]


def test_each_field_of_a_struct_gets_the_type_of_its_first_value(days: Days) -> None:
    kinds = [("a", pa.null()), ("b", pa.string())]
    days.run((1, pa.array([{"a": None, "b": "one"}], pa.struct(kinds))))
    days.run((2, pa.array([{"a": NOON, "b": None}], pa.struct([("a", pa.timestamp("us")), ("b", pa.null())]))))
    assert days.type == "STRUCT(a TIMESTAMP, b VARCHAR)"
    assert days.values() == [{"a": None, "b": "one"}, {"a": NOON, "b": None}]


def test_a_column_with_values_keeps_its_type(days: Days) -> None:
    days.run((1, pa.array([1])))
    for other in (pa.array(["a"]), pa.array([[1]]), pa.array([0.5])):
        with pytest.raises((SchemaChangedError, DataError), match="x was BIGINT and is now"):
            days.run((2, other))
    assert (days.type, days.values()) == ("BIGINT", [1])


def test_several_partitions_of_one_run_get_one_type(days: Days) -> None:
    days.run((1, NOTHING["null"]), (2, NOTHING["null"]))
    days.run((2, NOTHING["text"]), (3, pa.array(["a"])))
    assert (days.type, days.values()) == ("VARCHAR", [None] * 4 + ["a"])


def test_two_columns_keep_their_places(tmp_path: Path) -> None:
    stores = testing.stores_in(tmp_path)

    def run(**columns: Any) -> Any:
        @fti.feature_group(keys=["id"])
        def planes() -> pd.DataFrame:
            return pd.DataFrame({"a": columns["a"], "id": [1], "b": columns["b"], "c": [0.5], "d": columns["d"]})

        testing.materialize(planes, stores=stores)
        return fti.read(planes, stores=stores)

    run(a=[None], b=[None], d=["x"])
    rows = run(a=["text"], b=[[1, 2]], d=["y"])
    assert list(rows.columns) == ["a", "id", "b", "c", "d"]
    assert rows["a"].tolist() == ["text"]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"])
@pytest.mark.parametrize(
    "values", [[2**40], ["a"], [True], [0.5], [NOON], [["a"]], [{"a": 1}]], ids=["int", "text", "bool", "float", "time", "list", "struct"]
)  # fmt: skip
def test_frames_of_every_library(tmp_path: Path, frame: Any, values: list[Any]) -> None:
    stores = testing.stores_in(tmp_path)

    def run(day: int, x: list[Any]) -> Any:
        @fti.feature_group(keys=["id"], event_time="t", partitions_def=DAYS)
        def readings() -> Any:
            return frame({"id": [day], "t": [dt.datetime(2025, 1, day)], "x": x})

        testing.materialize(readings, stores=stores, partition=f"2025-01-{day:02d}")
        return readings

    readings = [run(day, x) for day, x in enumerate(([None], values, [None]), 1)][-1]
    rows = sorted(fti.read(readings, stores=stores, as_="dicts"), key=lambda row: row["id"])
    assert [row["x"] for row in rows] == [None, *values, None]
