"""Feature groups whose functions are of Spark: what they are given, what becomes of what they give, and what is refused."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pandera.pandas as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.times import Partition
from fti_assets.engines.running import RunningEngine, SparkPlace
from fti_assets.engines.spark.lake_files import Bounds, FilesRead, LakeTable
from fti_assets.errors import DataError, DeclarationError, EngineError, LookbackError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.point_in_time.asof import KEY, ROW, Points, candidates
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.features.point_in_time.on_spark import SparkJoins
from fti_assets.features.steps.inputs import input_table
from tests.support.partitions import range_tags

DAYS = dg.DailyPartitionsDefinition(start_date="2024-05-01", end_date="2024-05-20")
TOWNS = dg.StaticPartitionsDefinition(["a b", "c/d", "e*f", "g{h}", "ü:%41"])


class Totals(pa.DataFrameModel):
    card: str
    day: datetime
    spent: float = pa.Field(ge=0)
    number: int


@fti.feature_group(keys=["card"], event_time="at", tie_break="number", partitions_def=DAYS)
def payments(context: dg.AssetExecutionContext) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "card": [f"card {number % 3}" for number in range(24)],
                "at": [pd.Timestamp(day) + pd.Timedelta(hours=number) for number in range(24)],
                "number": range(24),
                "amount": [0.1 * number for number in range(24)],
            }
        )
        for day in context.partition_keys
    ]
    return pd.concat(frames)


@fti.feature_group(
    keys=["card"],
    event_time="day",
    partitions_def=DAYS,
    schema=Totals,
    engine="spark",
    serving_delay="1d",
)
def totals(payments: DataFrame) -> DataFrame:
    of_day = payments.withColumn("day", f.date_trunc("day", "at")).groupBy("card", "day")
    return of_day.agg(f.sum("amount").alias("spent"), f.count("*").alias("number"), f.min("at").alias("first"))


@fti.feature_group(
    name="totals",
    keys=["card"],
    event_time="day",
    partitions_def=DAYS,
    schema=Totals,
    serving_delay="1d",
)
def totals_in_sql(payments: fti.Table) -> Any:
    return payments.relation.query(
        "rows",
        'SELECT card, date_trunc(\'day\', "at") AS day, sum(amount) AS spent, count(*) AS number, min("at") AS first '
        "FROM rows GROUP BY ALL",
    )


@dataclass
class World:
    stores: fti.Stores
    instance: dg.DagsterInstance
    spark_url: str

    def run(
        self, *groups: FeatureGroup, days: tuple[str, str] | None = None, **options: Any
    ) -> dg.ExecuteInProcessResult:
        tags = range_tags(*(f"2024-05-{day}" for day in days)) if days else {}
        with clock.at("2024-05-21T00:00:00"):
            assets = [group.assets_def for group in groups]
            return dg.materialize(assets, instance=self.instance, resources={"fti": self.stores}, tags=tags, **options)

    def refused(self, group: FeatureGroup, problem: type[Exception], match: str, **options: Any) -> None:
        with self.stores.offline_store().connect() as lake:
            before = lake.snapshot()
        with pytest.raises(problem, match=match):
            self.run(group, **options)
        with self.stores.offline_store().connect() as lake:
            assert lake.snapshot() == before


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, spark_url: str) -> Iterator[World]:
    root = tmp_path_factory.mktemp("spark [of] {groups}")
    stores = fti.Stores(lake=root / "lake", spark=fti.SparkEngine(url=spark_url, engine="duckdb"))
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(stores, instance, spark_url)
        world.run(payments, days=("01", "09"))
        yield world


def test_a_function_of_spark_gives_what_one_of_duckdb_gives(world: World) -> None:
    with_sums_rounded = lambda rows: rows.assign(spent=rows["spent"].round(9))  # noqa: E731
    result = world.run(totals, days=("02", "04"))
    [event] = [one for one in result.asset_materializations_for_node("totals_v1") if "engine" in one.metadata]
    rows = fti.read(totals, stores=world.stores).sort_values(["day", "card"], ignore_index=True)
    plans = event.metadata["engine"].data
    assert plans["payments_v1"]["files"] == "3 of 9"
    assert plans["totals_v1"] == {"engine": "spark", "why": "its function is of Spark"}
    assert str(rows.dtypes["first"]) == "datetime64[us]"
    world.run(totals_in_sql, days=("02", "04"))
    again = fti.read(totals_in_sql, stores=world.stores).sort_values(["day", "card"], ignore_index=True)
    pd.testing.assert_frame_equal(with_sums_rounded(rows), with_sums_rounded(again))


def test_rows_that_break_the_schema_are_not_stored(world: World) -> None:
    @fti.feature_group(keys=["card"], event_time="day", partitions_def=DAYS, schema=Totals, engine="spark")
    def overdrawn(payments: DataFrame) -> DataFrame:
        return totals(payments).withColumn("spent", f.col("spent") - 100)

    world.refused(overdrawn, dg.Failure, "overdrawn_v1: nothing was stored, because", days=("02", "02"))


def test_a_function_may_take_the_session_and_give_rows_of_every_type(world: World) -> None:
    @fti.feature_group(keys=["id"], event_time="at", engine="spark")
    def made(spark: SparkSession) -> DataFrame:
        return spark.sql(
            "SELECT id, TIMESTAMP '2024-05-01 12:00:00+02:00' AS at, TIMESTAMP_NTZ '2024-05-01 12:00:00.000001' AS naive, "
            "CAST(id AS TINYINT) AS small, CAST(1.5 AS DECIMAL(12, 3)) AS price, ARRAY(CAST(1.5 AS FLOAT), NULL) AS image, "
            "DATE '1582-10-10' AS day, CAST('NaN' AS DOUBLE) AS nan, '' AS empty, CAST(NULL AS STRING) AS nothing FROM range(3)"
        )

    world.run(made)
    with world.stores.offline_store().connect() as lake:
        assert lake.types(made.table) == {
            "id": "BIGINT", "at": "TIMESTAMP", "naive": "TIMESTAMP", "small": "TINYINT", "price": "DECIMAL(12,3)", "image": "FLOAT[]",
            "day": "DATE", "nan": "DOUBLE", "empty": "VARCHAR", "nothing": "VARCHAR",
        }  # fmt: skip
        row = lake.rows(made.table).order("id").fetchall()[2]
    assert row[:2] == (2, datetime(2024, 5, 1, 10))
    assert row[2] == datetime(2024, 5, 1, 12, 0, 0, 1)
    assert row[5] == [1.5, None]
    assert row[7:] == (None, "", None)


def test_no_rows_are_no_mistake(world: World) -> None:
    @fti.feature_group(keys=["card"], event_time="day", partitions_def=DAYS, schema=Totals, engine="spark")
    def nothing(payments: DataFrame) -> DataFrame:
        return totals(payments).filter("false")

    world.run(nothing, days=("02", "02"))
    with world.stores.offline_store().connect() as lake:
        assert lake.ledger(nothing.table)["2024-05-02"].rows == 0


@pytest.mark.soak
def test_partitions_of_any_name_are_read(world: World) -> None:
    @fti.feature_group(keys=["id"], partitions_def=TOWNS)
    def houses(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return pd.DataFrame({"id": [f"{context.partition_key} {number}" for number in range(3)]})

    @fti.feature_group(keys=["id"], partitions_def=TOWNS, engine="spark", ins={"houses": houses})
    def copies(houses: DataFrame) -> DataFrame:
        return houses

    for town in TOWNS.get_partition_keys():
        world.run(houses, partition_key=town)
    for town in TOWNS.get_partition_keys():
        world.run(copies, partition_key=town)
        assert sorted(fti.read(copies, partitions=[town], stores=world.stores)["id"]) == [
            f"{town} {n}" for n in range(3)
        ]


def test_rows_are_those_of_the_lake_whatever_was_done_to_it(world: World) -> None:
    """A column that came later, one that got its type later, and rows that are deleted within a file."""

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def grown(context: dg.AssetExecutionContext) -> pd.DataFrame:
        day = pd.Timestamp(context.partition_key)
        rows = pd.DataFrame({"id": [1, 2, 3], "at": day, "late": [None, None, None]})
        if day.day > 2:
            rows = rows.assign(late=["x", None, "z"])
        return rows if day.day < 4 else rows.assign(more=[0.5, float("nan"), None])

    for day in ("01", "02", "03", "04"):
        world.run(grown, partition_key=f"2024-05-{day}")
    with world.stores.offline_store().connect() as lake:
        lake.connection.execute(f"DELETE FROM {grown.table.sql} WHERE id = 2 AND \"at\" = TIMESTAMP '2024-05-03'")
        stored = lake.rows(grown.table).order('"at", id')
        place = SparkPlace(world.spark_url, Path(world.stores.lake or "") / "scratch")
        with RunningEngine("spark", place, lake.connection, what="tests", log=lambda _: None) as engine:
            table = LakeTable(lake, grown.table, snapshot=lake.snapshot())
            frame = table.frame(engine.tables(), list(stored.columns))
            results = engine.tables().receive(frame, what="rows", of="rows").order('"at", id')
            assert table.files.by_duckdb == 1
            assert results.project("COLUMNS(*)::VARCHAR").fetchall() == stored.project("COLUMNS(*)::VARCHAR").fetchall()
            assert results.types == stored.types
            assert len(results.fetchall()) == 11


def test_both_engines_read_the_files_within_the_lookback_alone(world: World) -> None:
    days = [
        Partition(f"2024-05-0{day}", datetime(2024, 5, day), datetime(2024, 5, day) + timedelta(days=1))
        for day in (5, 6)
    ]
    with world.stores.offline_store().connect() as lake:
        rows = input_table(lake, payments, totals, days).relation
        assert files_read(lake.connection, rows) == 2


@pytest.mark.parametrize(
    ("made", "problem", "match"),
    [
        (
            lambda rows: rows.select("card", f.lit(None).alias("day")),
            EngineError,
            r"g_v1: the column 'day' is void on Spark.*cast",
        ),
        (
            lambda rows: rows.select("card", f.col("card").alias("card")),
            DataError,
            "g_v1: the frame of Spark has two columns 'card'",
        ),
        (
            lambda rows: rows.select("card", f.lit(1).alias("Card")),
            DataError,
            "'card' and 'Card', which differ in capitals",
        ),
        (lambda rows: rows.select("nowhere"), EngineError, r"Spark at \S+ refuses: .*nowhere.*Nothing was stored"),
        (
            lambda rows: rows.withColumn("n", f.raise_error(f.lit("no such card")).cast("string")),
            EngineError,
            "no such card",
        ),
        (lambda rows: rows.select("card", "number"), DataError, "g_v1 .*'at'"),
    ],
)
def test_frames_that_cannot_be_stored_are_named_and_the_lake_left_alone(
    world: World, made: Any, problem: Any, match: str
) -> None:
    @fti.feature_group(
        name="g", keys=["card"], event_time="at", tie_break="number", partitions_def=DAYS, engine="spark"
    )
    def broken(payments: DataFrame) -> DataFrame:
        return made(payments)

    world.refused(broken, problem, match, days=("02", "02"))


def test_a_missing_partition_within_the_lookback_is_an_error(world: World) -> None:
    world.refused(totals, LookbackError, "totals_v1 needs payments_v1", days=("10", "10"))


def test_a_parameter_of_the_other_engine_is_refused_when_it_is_declared() -> None:
    with pytest.raises(DeclarationError, match=r"'payments' of 'one' is annotated as Spark's: write engine='spark'"):

        @fti.feature_group(keys=["card"])
        def one(payments: DataFrame) -> DataFrame: ...

    with pytest.raises(
        DeclarationError, match=r"'payments' of 'two' is an fti.Table, and engine='spark' gives frames of Spark"
    ):

        @fti.feature_group(keys=["card"], engine="spark")
        def two(payments: fti.Table) -> DataFrame: ...

    with pytest.raises(DeclarationError, match="'three' has engine='auto', but its function is written for one engine"):

        @fti.feature_group(keys=["card"], engine="auto")  # type: ignore[arg-type]
        def three(payments: DataFrame) -> DataFrame: ...

    with pytest.raises(DeclarationError, match=r"is an pyspark.sql.DataFrame, but no feature group has that name"):

        @fti.feature_group(keys=["card"], engine="spark")
        def four(nobody: DataFrame) -> DataFrame: ...


def test_both_engines_read_the_files_within_the_ttl_and_the_window_alone(world: World) -> None:
    """Of nine days: the spine's two, which the window names, and of the group a day before the first prediction until the last."""
    join = JoinedGroup(
        "payments",
        1,
        (JoinedKey("card", "card", "text"),),
        (JoinedColumn("amount", "amount", "number"),),
        event_time="at",
        tie_break="number",
        ttl_us=86_400_000_000,
    )
    with world.stores.offline_store().connect() as lake:
        snapshot, connection = lake.snapshot(), lake.connection
        spine = lake.rows(payments.table, snapshot=snapshot).filter(
            "\"at\" >= TIMESTAMP '2024-05-05' AND \"at\" < TIMESTAMP '2024-05-07'"
        )
        assert files_read(connection, spine) == 2
        connection.execute(
            f'CREATE TEMP TABLE spine AS SELECT row_number() OVER () AS {ROW}, card, "at" + INTERVAL 1 MINUTE AS t FROM '
            f"({spine.sql_query()})"
        )
        connection.execute(
            f"CREATE TEMP TABLE codes AS SELECT card, row_number() OVER () AS {KEY} FROM (SELECT DISTINCT card FROM spine)"
        )
        rows = candidates(connection, Points("spine", "codes", "t"), join, lake.rows(payments.table, snapshot=snapshot))
        assert files_read(connection, rows) == 3
        requests: list[Sequence[Bounds]] = []

        def files(group: JoinedGroup, bounds: Sequence[Bounds]) -> LakeTable:
            requests.append(bounds)
            return LakeTable(lake, group.table, snapshot=snapshot, bounds=bounds)

        place = SparkPlace(world.spark_url, Path(world.stores.lake or "") / "scratch")
        with RunningEngine("spark", place, connection, what="tests", log=lambda _: None) as engine:
            by_spark, by_duckdb = (
                point_in_time(
                    connection,
                    connection.sql("SELECT card, t FROM spine"),
                    [join],
                    lambda group: lake.rows(group.table, snapshot=snapshot),
                    prediction_time="t",
                    by=by,
                ).fetchall()
                for by in (SparkJoins(engine, connection, files), None)
            )
            assert engine.files["payments_v1"] == FilesRead(read=3, total=9)
        assert by_spark == by_duckdb
        assert len(by_spark) == 48
        assert requests == [[Bounds("at", since=datetime(2024, 5, 4, 0, 1), until=datetime(2024, 5, 6, 23, 1))]]


def files_read(connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation) -> int:
    """How many Parquet files DuckDB opened for some rows."""
    plan = connection.execute(f"EXPLAIN ANALYZE {rows.sql_query()}").fetchall()[0][1]
    [number] = re.findall(r"Total Files Read: (\d+)", plan)
    return int(number)
