"""A column without values has no type yet: its first values give it theirs, whatever day they come."""

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pandera
import polars as pl
import pyarrow as pa
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError, SchemaChangedError
from fti_assets.orchestration.resources import Stores

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
            return lake.types(self.group.table)["x"]

    @property
    def versions(self) -> dict[str, str]:
        with self.stores.offline_store().connect() as lake:
            return {day: record.data_version for day, record in lake.ledger(self.group.table).items()}

    @property
    def snapshot(self) -> int:
        with self.stores.offline_store().connect() as lake:
            return lake.snapshot()


@pytest.fixture
def days(tmp_path: Path) -> Days:
    return Days(tmp_path)


@pytest.mark.parametrize(
    ("values", "kind"), [(pa.array([2**40, None]), "BIGINT"), (pa.array([["a"], None]), "VARCHAR[]")], ids=["integers", "lists"]
)  # fmt: skip
def test_the_first_values_give_the_type(days: Days, values: pa.Array, kind: str) -> None:
    days.run((1, pa.nulls(2)))
    before, versions = days.snapshot, days.versions
    days.run((2, values))
    assert (days.type, days.values()) == (kind, [None, None, *values.to_pylist()])
    assert days.table().column_names == ["id", "t", "x", "y"]
    assert days.values(snapshot=before) == [None, None]
    assert days.table(snapshot=before).column_names == ["id", "t", "x", "y"]
    days.run((1, pa.nulls(2)))
    assert days.versions["2025-01-01"] == versions["2025-01-01"]


def test_a_column_with_values_keeps_its_type(days: Days) -> None:
    days.run((1, pa.array([1])))
    with pytest.raises((SchemaChangedError, DataError), match="x was BIGINT and is now"):
        days.run((2, pa.array(["a"])))
    assert (days.type, days.values()) == ("BIGINT", [1])


@pytest.mark.soak
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
def test_frames_of_every_library(tmp_path: Path, frame: Any) -> None:
    stores = testing.stores_in(tmp_path)
    values = {"int": 2**40, "text": "a", "bool": True, "float": 0.5, "time": NOON, "list": ["a"], "struct": {"a": 1}}
    nothing = dict.fromkeys(values)

    def run(day: int, x: dict[str, Any]) -> Any:
        @fti.feature_group(keys=["id"], event_time="t", partitions_def=DAYS)
        def readings() -> Any:
            columns = {name: [value] for name, value in x.items()}
            return frame({"id": [day], "t": [dt.datetime(2025, 1, day)], **columns})

        testing.materialize(readings, stores=stores, partition=f"2025-01-{day:02d}")
        return readings

    readings = [run(day, x) for day, x in enumerate((nothing, values, nothing), 1)][-1]
    rows = sorted(fti.read(readings, stores=stores, as_="dicts"), key=lambda row: row["id"])
    assert [{name: row[name] for name in values} for row in rows] == [nothing, values, nothing]


@pytest.mark.soak
def test_a_day_whose_file_is_gone_gets_values(days: Days, tmp_path: Path) -> None:
    days.run((1, pa.nulls(1)), (2, pa.nulls(1)))
    (file,) = tmp_path.rglob("_partition=2025-01-01/*.parquet")
    file.unlink()
    days.run((1, pa.array(["a"])))
    assert (days.type, days.values()) == ("VARCHAR", ["a", None])


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["object", "float64", "int64", "bool"])
def test_no_rows_of_any_type_are_stored_first(tmp_path: Path, kind: str) -> None:
    times = pd.Series(pd.to_datetime(["2024-01-02"]))
    days = {
        "2024-01-01": pd.DataFrame({"k": [], "t": [], "v": []}, dtype=kind),
        "2024-01-02": pd.DataFrame({"k": ["a"], "t": times, "v": ["b"]}),
    }

    @fti.feature_group(keys=["k"], event_time="t", partitions_def=dg.DailyPartitionsDefinition("2024-01-01"))
    def things(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return days[context.partition_key]

    stores = testing.stores_in(tmp_path)
    for day in days:
        testing.materialize(things, stores=stores, partition=day)
    rows = fti.read(things, stores=stores, as_="dicts")
    assert [(row["k"], row["t"], row["v"]) for row in rows] == [("a", times[0].to_pydatetime(), "b")]


STATED = pandera.DataFrameSchema(
    {
        "id": pandera.Column(int),
        "ended": pandera.Column("datetime64[ns]", nullable=True),
        "word": pandera.Column(str, nullable=True),
        "whole": pandera.Column("Int64", nullable=True),
        "is_late": pandera.Column("boolean", nullable=True),
    }
)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["float64", "float32", "object", "Int64", "boolean", "string", "datetime64[ns]"])
def test_a_column_without_values_has_its_declared_type(tmp_path: Path, kind: str) -> None:
    names = ["ended", "word", "whole", "is_late"]
    frame = pd.DataFrame({"id": [1, 2]}).assign(**{name: pd.Series([None, None], dtype=kind) for name in names})

    @fti.feature_group(keys=["id"], schema=STATED)
    def trips() -> pd.DataFrame:
        return frame

    stores = testing.stores_in(tmp_path)
    testing.materialize(trips, stores=stores)
    table = fti.read(trips, stores=stores, as_="arrow")
    assert list(map(str, table.schema.types[1:])) == ["timestamp[us]", "string", "int64", "bool"]
    assert table.drop_columns("id").to_pylist() == [dict.fromkeys(names)] * 2


@pytest.mark.parametrize("value", [1.5, "noon"])
def test_a_column_with_one_value_has_the_type_of_it(tmp_path: Path, value: Any) -> None:
    frame = pd.DataFrame({"id": [1, 2], "ended": [None, value], "word": None, "whole": None, "is_late": None})
    trips = fti.feature_group(keys=["id"], schema=STATED, name="trips")(lambda: frame)
    with pytest.raises(dg.Failure, match="column 'ended' should be"):
        testing.materialize(trips, stores=testing.stores_in(tmp_path))
