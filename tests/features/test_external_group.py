"""External groups: declared, observed, joined where they lie, and told apart from what is stored."""

import inspect
import json
import random
import re
import uuid
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pandera.pandas as pa
import pytest
from dagster._core.definitions.observe import observe
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core.manifest import DatasetManifest, JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.records import from_json
from fti_assets.describe import describe
from fti_assets.errors import (
    DataError,
    DeclarationError,
    MissingExtraError,
    NotMaterializedError,
    PredictionError,
    StoreError,
)
from fti_assets.features.external.rows import external_rows
from fti_assets.features.external_group import ExternalOptions
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.point_in_time.asof import Points, candidates
from fti_assets.stores.duckdb.extensions import load_extension
from fti_assets.stores.sources.source import source_connection
from fti_assets.testing import LeakFound, assert_no_leak, materialize, stores_in
from tests.features import oracles

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-20")
STORES = {"fti": fti.Stores()}
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2013-01-10", end_date="2013-01-20")
WEATHER = """
    SELECT ['a', 'b'][1 + i % 2] AS shop, TIMESTAMP '2013-01-01' + to_hours(i) AS seen_at,
        TIMESTAMP '2013-01-01' + to_hours(i + [1, 5][1 + i % 3 % 2]) AS known_at, sin(i) AS temp
    FROM range(20 * 24) r(i)"""


class WeatherSchema(pa.DataFrameModel):
    shop: str
    seen_at: pd.Timestamp
    known_at: pd.Timestamp
    temp: float = pa.Field(ge=-1)


class Warehouse:
    """A DuckDB file as dbt writes one, with a table ``weather``."""

    def __init__(self, root: Path) -> None:
        self.file = root / "warehouse.duckdb"
        self.run(f"CREATE TABLE weather AS {WEATHER}")

    def run(self, sql: str) -> None:
        with duckdb.connect(str(self.file)) as connection:
            connection.execute(sql)

    def group(self, **options: Any) -> FeatureGroup:
        options = {"event_time": "seen_at", "available_at": "known_at", "ttl": "6h", **options}
        source = options.pop("source", fti.DuckDBTable(file=self.file, table="weather"))
        return fti.external_group(**{"name": "weather", "source": source, "keys": ["shop"], **options})


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def visits(partitions_def: Any = None) -> FeatureGroup:
    @fti.feature_group(name="visits", keys=["visit_id"], event_time="t", partitions_def=partitions_def)
    def declared(context: dg.AssetExecutionContext) -> pd.DataFrame:
        t = pd.date_range("2013-01-01", "2013-01-20", freq="37min", inclusive="left")
        rows = pd.DataFrame(
            {"visit_id": range(len(t)), "t": t, "shop": ["a", "b", "c"] * (len(t) // 3) + ["a"] * (len(t) % 3)}
        )
        rows["bought"] = (rows["visit_id"] % 5 == 0).astype(int)
        if partitions_def is None:
            return rows
        start, end = (moment.replace(tzinfo=None) for moment in context.partition_time_window)
        return rows[(rows["t"] >= start) & (rows["t"] < end)]

    return declared


def dataset_of(spine: FeatureGroup, weather: FeatureGroup, **options: Any) -> Any:
    view = fti.FeatureView(
        name="buying", spine=spine, label=fti.Label(spine["bought"], maturity="1h"), features=[weather["temp"]]
    )
    split = fti.TimeSplit(validation="1d", test="2d")
    return fti.training_dataset(name="buying_dataset", view=view, split=split, partitions_def=CUTOFFS, **options)


def observed(group: FeatureGroup, instance: dg.DagsterInstance) -> Any:
    result = observe([group.assets_def], instance=instance, resources=STORES)
    assert result.success
    (event,) = result.get_asset_observation_events()
    return event.asset_observation_data.asset_observation


# The declaration


def test_options_are_those_of_a_spec() -> None:
    of_spec = set(inspect.signature(dg.AssetSpec).parameters) - {"skippable", "partitions_def", "is_virtual"}
    assert set(ExternalOptions.__annotations__) - {"key_prefix"} == {name for name in of_spec if name != "kwargs"}


def test_options_reach_the_spec(warehouse: Warehouse) -> None:
    condition = dg.AutomationCondition.on_cron("@hourly")
    options: dict[str, Any] = {
        "description": "Ours.",
        "group_name": "warehouse",
        "owners": ["team:data"],
        "tags": {"dbt": "yes"},
        "kinds": {"dbt"},
        "code_version": "mine",
        "automation_condition": condition,
        "deps": ["raw"],
        "metadata": {"model": "weather.sql", "keys": "mine"},
        "freshness_policy": dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1)),
    }
    group = warehouse.group(key_prefix=["dbt"], version=2, **options)
    (spec,) = group.assets_def.specs
    assert group.key == spec.key == dg.AssetKey(["dbt", "weather_v2"])
    for name in (
        "description",
        "group_name",
        "owners",
        "kinds",
        "code_version",
        "automation_condition",
        "freshness_policy",
    ):
        assert getattr(spec, name) == options[name]
    assert spec.tags["dbt"] == "yes"
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey("raw")]
    assert (spec.metadata["model"], spec.metadata["keys"]) == ("weather.sql", "mine")
    assert "table weather of the DuckDB file" in spec.metadata["source"]
    assert warehouse.group(key="of_dbt").key == dg.AssetKey("of_dbt")


def test_it_is_observed_and_never_run_by_itself(warehouse: Warehouse) -> None:
    asset = warehouse.group().assets_def
    assert asset.is_observable
    assert not asset.is_materializable
    assert not asset.automation_conditions_by_key
    (spec,) = asset.specs
    assert (spec.group_name, spec.kinds) == ("features", {"external"})
    assert "dagster/table_name" not in spec.metadata


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"online": True}, "cannot be online, since nothing of it is copied: declare a feature group that takes it"),
        ({"source": "s3://bucket"}, "source is 's3://bucket'; give fti.ParquetFiles"),
        ({"name": "We"}, "'We' is not a name"),
        ({"keys": []}, "has no keys"),
        ({"partitions_def": DAYS}, "takes no 'partitions_def'"),
        ({"serving_delay": "1h"}, "states both available_at"),
        ({"event_time": None}, "states 'available_at' or 'ttl' but no event_time"),
        ({"schema": 3}, "not a pandera"),
    ],
)
def test_what_cannot_be_is_refused(warehouse: Warehouse, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem):
        warehouse.group(**options)


def test_it_has_no_function(warehouse: Warehouse) -> None:
    with pytest.raises(DeclarationError, match="'weather' has no function: another system computes table weather"):
        warehouse.group()()


def test_columns_are_those_of_the_schema(warehouse: Warehouse) -> None:
    with pytest.raises(DeclarationError, match="weather_v1 has no column 'wind'"):
        warehouse.group(schema=WeatherSchema)["wind"]


def test_the_code_version_follows_the_declaration_and_no_password(warehouse: Warehouse) -> None:
    def code_version(password: str, **options: Any) -> str | None:
        dsn = f"postgresql://ann:{password}@127.0.0.1:1/shop"
        (spec,) = warehouse.group(source=fti.PostgresTable(dsn=dsn, table="t"), **options).assets_def.specs
        assert password not in f"{spec!r}"
        return str(spec.code_version)

    assert code_version("s3cret") == code_version("0ther")
    assert code_version("s3cret") != code_version("s3cret", ttl="1h")


# Observations


def test_observation_tells_version_rows_newest_event_time_and_columns(warehouse: Warehouse) -> None:
    warehouse.run("ALTER TABLE weather ADD COLUMN tags VARCHAR[]")
    with dg.DagsterInstance.ephemeral() as instance:
        visits = observed(warehouse.group(), instance)
    assert visits.data_version.startswith("2.")
    assert visits.metadata["dagster/row_count"].value == 480
    assert visits.metadata["newest_event_time"].value == "2013-01-20 23:00:00"
    assert visits.metadata["of_no_feature_type"].value == "tags"
    columns = {column.name: column.type for column in visits.metadata["dagster/column_schema"].value.columns}
    assert columns == {
        "shop": "text",
        "seen_at": "timestamp",
        "known_at": "timestamp",
        "temp": "number",
        "tags": "VARCHAR[]",
    }


def test_a_change_is_observed_and_no_change_is_not(warehouse: Warehouse) -> None:
    group = warehouse.group()
    with dg.DagsterInstance.ephemeral() as instance:
        first, again = observed(group, instance), observed(group, instance)
        warehouse.run("UPDATE weather SET temp = temp + 1 WHERE shop = 'a'")
        changed = observed(group, instance)
    assert first.data_version == again.data_version != changed.data_version


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "ALTER TABLE weather DROP COLUMN temp",
            "weather_v1 should have 'temp', but table weather of the DuckDB file .* has 'shop'",
        ),
        ("ALTER TABLE weather ALTER temp TYPE VARCHAR", "should have 'temp' as number, but .* has it as VARCHAR"),
        (
            "ALTER TABLE weather ALTER seen_at TYPE BIGINT USING epoch_us(seen_at)",
            "should have 'seen_at' as timestamp, but .* has it as BIGINT",
        ),
        ("DROP TABLE weather", "table weather of the DuckDB file .* cannot be read"),
    ],
)
def test_observation_fails_when_table_is_not_as_declared(warehouse: Warehouse, change: str, problem: str) -> None:
    warehouse.run(change)
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises((DataError, StoreError), match=problem):
        observe([warehouse.group(schema=WeatherSchema).assets_def], instance=instance, resources=STORES)


@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT", "BIGINT", "VARCHAR"])
def test_a_column_without_values_has_its_declared_type_until_a_value_comes(warehouse: Warehouse, kind: str) -> None:
    nothing = "'nan'" if kind in ("DOUBLE", "FLOAT") else "NULL"
    warehouse.run(f"ALTER TABLE weather ADD COLUMN ended {kind}; UPDATE weather SET ended = {nothing}")
    group = warehouse.group(schema=WeatherSchema.to_schema().add_columns({"ended": pa.Column("datetime64[ns]")}))
    with source_connection() as connection:
        rows = external_rows(connection, group).project("ended")
        assert (list(map(str, rows.types)), rows.distinct().fetchall()) == (["TIMESTAMP"], [(None,)])
    warehouse.run("UPDATE weather SET ended = '7' WHERE seen_at = '2013-01-02'")
    with pytest.raises(DataError, match="'ended' as timestamp|ended is '7'"), source_connection() as connection:
        external_rows(connection, group).fetchall()


def test_a_value_that_comes_before_the_rows_are_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trips.parquet"
    duckdb.sql("SELECT 1 AS id, NULL::DOUBLE AS ended").write_parquet(str(file))
    schema = pa.DataFrameSchema({"id": pa.Column(int), "ended": pa.Column("datetime64[ns]", nullable=True)})
    group = fti.external_group(name="trips", source=fti.ParquetFiles(path=file), keys=["id"], schema=schema)
    problem = "trips_v1 cannot be read as it is declared: it should have 'ended' as timestamp, but .* has it as DOUBLE"

    def read_late() -> None:
        with source_connection() as connection:
            rows = external_rows(connection, group)
            duckdb.sql("SELECT 1 AS id, 7::DOUBLE AS ended").write_parquet(str(file))
            rows.fetchall()

    with pytest.raises(DataError, match=problem):
        read_late()


def test_rules_are_checked_in_observation_if_asked_for_and_only_warn(warehouse: Warehouse) -> None:
    warehouse.run("UPDATE weather SET temp = -7 WHERE seen_at = '2013-01-02'; INSERT INTO weather FROM weather LIMIT 1")
    with dg.DagsterInstance.ephemeral() as instance:
        result = observe(
            [warehouse.group(schema=WeatherSchema, validate=True).assets_def], instance=instance, resources=STORES
        )
        assert result.success
        checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        failed = {name for name, check in checks.items() if not check.passed}
        assert failed == {"temp_greater_than_or_equal_to", "rows_unique"}
        assert {checks[name].severity for name in failed} == {dg.AssetCheckSeverity.WARN}
        assert not observe(
            [warehouse.group(schema=WeatherSchema).assets_def], instance=instance, resources=STORES
        ).get_asset_check_evaluations()


# Rows


def test_rows_are_read_in_the_types_of_the_lake(warehouse: Warehouse) -> None:
    warehouse.run(
        "CREATE OR REPLACE TABLE weather AS SELECT 'a'::ENUM ('a') AS shop, TIMESTAMPTZ '2013-01-01 02:00:00+02' AS seen_at, "
        "DATE '2013-01-02' AS known_at, 'nan'::DOUBLE AS temp, 1.25::DECIMAL(9, 2) AS price, uuid() AS id, 3 AS \"Odd\""
    )
    frame = fti.read(warehouse.group())
    assert list(frame.columns) == ["shop", "seen_at", "known_at", "temp", "price", "id"]
    assert frame["seen_at"].tolist() == [pd.Timestamp("2013-01-01")]
    assert frame["known_at"].tolist() == [pd.Timestamp("2013-01-02")]
    assert frame["temp"].isna().all()

    class Narrow(pa.DataFrameModel):
        shop: str
        seen_at: pd.Timestamp
        known_at: pd.Timestamp
        price: float

    narrow = fti.read(warehouse.group(schema=Narrow))
    assert list(narrow.columns) == ["shop", "seen_at", "known_at", "price"]
    assert narrow["price"].tolist() == [1.25]


def test_times_as_iso_text_are_read_as_instants(warehouse: Warehouse) -> None:
    expected, won = fti.read(warehouse.group()), fti.read(warehouse.group(), at="2013-01-05T10:30Z").sort_values("shop")
    text = "strftime({0} + INTERVAL 2 HOURS, '%Y-%m-%dT%H:%M') || '+02:00'"
    for column in ("seen_at", "known_at"):
        warehouse.run(f"ALTER TABLE weather ALTER {column} TYPE VARCHAR USING {text.format(column)}")
    groups = [warehouse.group(schema=schema) for schema in (None, WeatherSchema)]
    for group in groups:
        pd.testing.assert_frame_equal(fti.read(group), expected)
        again = fti.read(group, at="2013-01-05T10:30Z").sort_values("shop")
        assert again.to_dict("records") == won.to_dict("records")
    warehouse.run("UPDATE weather SET seen_at = '01/02/2013' WHERE temp > 0.99")
    result = (
        "weather_v1 cannot be read as it is declared: seen_at is '01/02/2013', which is no ISO time .* in table weather"
    )
    for group in groups:
        with pytest.raises(DataError, match=result):
            fti.read(group)
    spine = visits()
    assets = [spine.assets_def, dataset_of(spine, group).assets_def]
    every = [*assets, group.assets_def]
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(DataError, match=result):
        dg.materialize(every, instance=instance, resources=STORES, selection=assets, partition_key="2013-01-15")


class Counted(pa.DataFrameModel):
    shop: str
    seen_at: pd.Timestamp
    known_at: pd.Timestamp
    temp: float
    number: int
    share: float


@pytest.mark.soak
@pytest.mark.parametrize(
    ("column", "kind", "value", "target"),
    [
        ("number", "HUGEINT", 2**64, "BIGINT"),
        ("number", "UBIGINT", 2**63, "BIGINT"),
        ("share", "BIGINT", 2**53 + 1, "DOUBLE"),
        ("share", "HUGEINT", 2**63 - 1, "DOUBLE"),
        ("temp", "UBIGINT", 2**64 - 1, "DOUBLE"),
    ],
)
def test_value_that_its_declared_type_does_not_hold_is_named(
    warehouse: Warehouse, column: str, kind: str, value: int, target: str
) -> None:
    warehouse.run("CREATE OR REPLACE TABLE weather AS SELECT *, 1 AS number, 0.5 AS share FROM weather")
    group = warehouse.group(schema=Counted)
    warehouse.run(f"ALTER TABLE weather ALTER {column} TYPE {kind} USING 7")
    assert fti.read(group)[column].unique().tolist() == [7]
    warehouse.run(f"UPDATE weather SET {column} = {value} WHERE shop = 'a'")
    result = f"weather_v1 cannot be read as it is declared: {column} is {value}, which {target} does not hold exactly, in table weather"
    with pytest.raises(DataError, match=result):
        fti.read(group)


def postgres(table: str) -> Iterator[Any]:
    dsn = "postgresql://postgres@127.0.0.1:5432/test"
    with duckdb.connect() as connection:
        try:
            load_extension(connection, "postgres_scanner")
            connection.execute(f"ATTACH '{dsn}' AS pg (TYPE postgres)")
        except (duckdb.Error, MissingExtraError) as error:
            pytest.skip(f"no Postgres at {dsn}: {error}")
        schema = f"ext_{uuid.uuid4().hex[:12]}"
        connection.execute(f"CREATE SCHEMA pg.{schema}; CREATE TABLE pg.{schema}.{table} AS {WEATHER}")
        try:
            yield fti.PostgresTable(dsn=dsn, table=f"{schema}.{table}")
        finally:
            connection.execute(f"DROP SCHEMA pg.{schema} CASCADE")


def test_sources_give_equal_rows_and_read_needed_columns(warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    warehouse.run(f"COPY weather TO '{tmp_path}/files/part.parquet'")
    expected = fti.read(warehouse.group()).sort_values(["seen_at", "shop"], ignore_index=True)
    assert len(expected) == 480
    spine = "SELECT 'a' AS shop, TIMESTAMP '2013-01-05' AS t"
    join = JoinedGroup(
        "weather", 1, (JoinedKey("shop", "shop", "text"),), (), event_time="seen_at", serving_delay_us=0
    )  # fmt: skip
    of_postgres = postgres("weather")
    for source in (fti.ParquetFiles(path=tmp_path / "files"), next(of_postgres)):
        group = warehouse.group(source=source)
        frame = fti.read(group).sort_values(["seen_at", "shop"], ignore_index=True)
        pd.testing.assert_frame_equal(frame, expected, check_dtype=False)
        with source_connection() as connection:
            rows = external_rows(connection, group)
            connection.execute(f"CREATE TEMP TABLE s AS SELECT 1 AS __fti_row, * FROM ({spine})")
            connection.execute("CREATE TEMP TABLE c AS SELECT 1 AS __fti_key, shop FROM s")
            plan = candidates(connection, Points("s", "c", "t"), join, rows).explain()
            assert "known_at" not in plan
            assert not re.search(r'(?<!")\btemp\b', plan)
            assert "seen_at" in plan
    of_postgres.close()  # type: ignore[attr-defined]


def test_reading_takes_columns_but_no_partition_and_no_snapshot(warehouse: Warehouse) -> None:
    group = warehouse.group()
    assert list(fti.read(group, columns=["temp"]).columns) == ["temp"]
    with pytest.raises(StoreError, match="has no column 'wind'"):
        fti.read(group, columns=["wind"])
    for what in ({"partitions": ["2013-01-01"]}, {"snapshot": 3}):
        with pytest.raises(NotMaterializedError, match="no partitions and no snapshots: another system keeps it"):
            fti.read(group, **what)  # type: ignore[arg-type]


def test_it_joins_as_a_group_and_the_oracle_do(warehouse: Warehouse, tmp_path: Path) -> None:
    frame = fti.read(warehouse.group())

    @fti.feature_group(keys=["shop"], event_time="seen_at", available_at="known_at", ttl="6h")
    def weather() -> pd.DataFrame:
        return frame

    spine, rows = visits(), {}
    for name, group in (("external", warehouse.group()), ("stored", weather)):
        stores = stores_in(tmp_path / name)
        materialize(spine, *([group] if group.source is None else []), stores=stores)
        dataset = dataset_of(spine, group)
        rows[name] = materialize(dataset, stores=stores, partition="2013-01-18").rows(dataset)
    pd.testing.assert_frame_equal(rows["external"], rows["stored"])
    assert rows["external"]["temp"].notna().sum() > 100
    join = JoinedGroup(
        "weather", 1, (JoinedKey("shop", "shop", "text"),), (JoinedColumn("temp", "temp", "number"),),
        event_time="seen_at", available_at="known_at", ttl_us=6 * 3_600_000_000,
    )  # fmt: skip
    source = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
    shops = spine_shops(tmp_path / "external", spine)
    for row in random.Random(7).sample(rows["external"].to_dict("records"), 60):
        best = oracles.winner(join, source, [shops[row["visit_id"]]], row["t"])
        assert (None if pd.isna(row["temp"]) else row["temp"]) == (None if best is None else best["temp"])


def spine_shops(root: Path, spine: FeatureGroup) -> dict[int, str]:
    frame = fti.read(spine, stores=stores_in(root))
    return dict(zip(frame["visit_id"], frame["shop"], strict=True))


def test_dataset_says_what_it_read_and_stores_nothing_of_it(warehouse: Warehouse, tmp_path: Path) -> None:
    spine, weather, stores = visits(), warehouse.group(), stores_in(tmp_path)
    dataset = dataset_of(spine, weather)
    materialize(spine, stores=stores)
    made = materialize(dataset, stores=stores, partition="2013-01-18")
    with dg.DagsterInstance.ephemeral() as instance:
        now = observed(weather, instance).data_version
    with stores.offline_store().connect() as lake:
        manifest = from_json(DatasetManifest, lake.ledger(dataset.table)["2013-01-18"].record, what="it")
        assert [table.name for table in lake.tables()] == ["buying_dataset_v1", "visits_v1"]
    assert manifest.upstream["weather_v1"] == now
    assert manifest.external == {"weather_v1": f"table weather of the DuckDB file {warehouse.file}"}
    assert [join.external for join in manifest.view.joins] == list(manifest.external.values())
    # The label stands on the spine row, and the spine has rows from after the partition's clock: both are told.
    assert set(made.failed_checks) == {
        "buying_dataset_v1/label_unknown_in_time",
        "buying_dataset_v1/times_not_in_future",
    }
    (event,) = made.runs["buying_dataset_v1"].get_asset_materialization_events()
    lineage = event.step_materialization_data.materialization.metadata["dagster/column_lineage"].value
    assert lineage.deps_by_column["temp"] == [dg.TableColumnDep(asset_key=weather.key, column_name="temp")]


def test_table_that_changes_while_it_is_read_is_told(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spine, weather, stores = visits(), warehouse.group(), stores_in(tmp_path)
    dataset = dataset_of(spine, weather)
    materialize(spine, stores=stores)
    versions = iter(["1.before", "1.after"])
    monkeypatch.setattr(fti.DuckDBTable, "version", lambda *_: next(versions))
    materialize(dataset, stores=stores, partition="2013-01-18")
    with stores.offline_store().connect() as lake:
        record = json.loads(lake.ledger(dataset.table)["2013-01-18"].record)
    assert record["upstream"]["weather_v1"] == "1.before..1.after"


def test_a_group_takes_it_as_a_table(warehouse: Warehouse, tmp_path: Path) -> None:
    weather = warehouse.group()

    @fti.feature_group(keys=["shop"], event_time="hour", partitions_def=DAYS, lookback="30h")
    def warmth(weather: fti.Table) -> fti.Table:
        return fti.window_aggregate(
            weather,
            keys=["shop"],
            every="1h",
            windows=["24h"],
            aggregates={"temp": fti.Mean("temp"), "seen": fti.Count()},
        )

    stores = stores_in(tmp_path)
    made = materialize(warmth, stores=stores, partition="2013-01-10").rows(warmth)
    frame = fti.read(weather)
    for row in made.sample(10, random_state=7).to_dict("records"):
        visible = frame[["seen_at", "known_at"]].max(axis=1)
        inside = frame[
            (frame["shop"] == row["shop"]) & (visible <= row["hour"]) & (visible > row["hour"] - pd.Timedelta("24h"))
        ]
        assert row["seen_24h"] == len(inside)
        assert row["temp_24h"] == pytest.approx(inside["temp"].mean())
    assert [dep.asset_key for dep in next(iter(warmth.assets_def.specs)).deps] == [weather.key]
    assert_no_leak(warmth, stores=stores, partition="2013-01-10")


def test_it_can_be_spine_and_label(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.run(
        "CREATE TABLE visits AS SELECT i AS visit_id, TIMESTAMP '2013-01-01' + to_minutes(37 * i) AS t, 'a' AS shop, "
        "i % 5 = 0 AS bought FROM range(700) r(i)"
    )
    spine = fti.external_group(
        name="visits", source=fti.DuckDBTable(file=warehouse.file, table="visits"), keys=["visit_id"], event_time="t"
    )
    dataset = dataset_of(spine, warehouse.group())
    made = materialize(dataset, stores=stores_in(tmp_path), partition="2013-01-15").rows(dataset)
    assert len(made) > 400
    assert made["visit_id"].max() == (14 * 24 * 60 - 60) // 37
    assert made["bought"].tolist() == [i % 5 == 0 for i in made["visit_id"]]
    with pytest.raises(LeakFound, match="it is on the spine row of visits_v1 itself"):
        assert_no_leak(dataset, stores=stores_in(tmp_path))


# Downstream


def ticks(defs: dg.Definitions, instance: dg.DagsterInstance) -> Iterator[int]:
    cursor = None
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            result = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
        cursor = result.cursor
        yield result.total_requested


def test_changed_version_runs_what_is_downstream_and_same_one_does_not(warehouse: Warehouse, tmp_path: Path) -> None:
    weather = warehouse.group()

    @fti.feature_group(keys=["shop"])
    def warmest(weather: fti.Table) -> Any:
        return weather.relation.aggregate("shop, max(temp) AS temp")

    spine = visits()
    view = fti.FeatureView(name="buying", spine=spine, label=fti.Label(spine["bought"]), features=[weather["temp"]])
    dataset = fti.training_dataset(name="buying_dataset", view=view, split=fti.TimeSplit(validation="1d", test="2d"))
    stores = stores_in(tmp_path)
    defs = fti.build_definitions([warmest, dataset], resources={"fti": stores})
    with dg.DagsterInstance.ephemeral() as instance:
        tick = ticks(defs, instance)
        assert next(tick) == 0
        dg.materialize([spine.assets_def], instance=instance, resources={"fti": stores})
        observed(weather, instance)
        assert next(tick) == 2, "the first observation, of a table that was never materialized and never will be"
        dg.materialize([warmest.assets_def, dataset.assets_def], instance=instance, resources={"fti": stores})
        assert next(tick) == 0
        observed(weather, instance)
        assert next(tick) == 0
        warehouse.run("UPDATE weather SET temp = temp + 1")
        observed(weather, instance)
        assert next(tick) == 2
        assert next(tick) == 0


def test_cutoff_does_not_wait_for_it_to_be_materialized(warehouse: Warehouse, tmp_path: Path) -> None:
    weather, spine = warehouse.group(), visits(DAYS)
    dataset, stores = dataset_of(spine, weather), stores_in(tmp_path)
    defs = fti.build_definitions([dataset], resources={"fti": stores})
    with dg.DagsterInstance.ephemeral() as instance:
        tick = ticks(defs, instance)
        next(tick)
        materialize(spine, stores=stores, partition=("2013-01-09", "2013-01-10"), instance=instance)
        assert sum(next(tick) for _ in range(3)) == 1  # the newest of the two, as catch_up= says


def test_an_observation_can_be_asked_for_by_a_condition(warehouse: Warehouse) -> None:
    weather = warehouse.group(automation_condition=dg.AutomationCondition.missing())
    defs = fti.build_definitions([weather])
    (sensor,) = defs.sensors or ()
    assert weather.key in sensor.asset_selection.resolve(defs.resolve_asset_graph())  # type: ignore[union-attr]


def test_plain_asset_over_external_group_is_told_how(warehouse: Warehouse, tmp_path: Path) -> None:
    weather = warehouse.group()

    @dg.asset
    def report(weather_v1: pd.DataFrame) -> None: ...

    defs = fti.build_definitions([weather], assets=[report], resources={"fti": stores_in(tmp_path)})
    job = defs.resolve_implicit_global_asset_job_def()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(StoreError, match="weather_v1 has no rows.*by fti.read"),
    ):
        job.execute_in_process(asset_selection=[report.key], instance=instance)


def test_a_description_says_where_it_lies(warehouse: Warehouse) -> None:
    (facts,) = describe(fti.build_definitions([warehouse.group()]))["features"]
    assert facts["mode"] == "external"
    assert facts["runs"] == f"outside: table weather of the DuckDB file {warehouse.file}, joined where it lies"


def test_model_over_external_group_predicts_in_batch_only(warehouse: Warehouse, tmp_path: Path) -> None:
    spine, weather, stores = visits(DAYS), warehouse.group(), stores_in(tmp_path)
    dataset = dataset_of(spine, weather)

    @fti.model(dataset=dataset, task="binary")
    def buying(data: fti.TrainingData) -> Any:
        return LogisticRegression().fit(data.train.X, data.train.y)

    answers = fti.batch_predictions(name="answers", model=buying, partitions_def=DAYS)
    materialize(spine, stores=stores, partition=("2013-01-12", "2013-01-19"))
    materialize(dataset, buying, stores=stores, partition="2013-01-18")
    made = materialize(answers, stores=stores, partition="2013-01-19", now="2013-01-19T12:00")
    assert made.rows(answers)["probability"].between(0, 1).all()
    card = next((tmp_path / "models").rglob("card.md")).read_text()
    assert "- external: `weather_v1` is **not pinned**: table weather of the DuckDB file" in card
    with pytest.raises(
        PredictionError, match=r"joins 'weather_v1' \(table weather of .*\), an external group: nothing of it is"
    ):
        fti.Predictor.load("buying", models=tmp_path / "models", online=tmp_path / "online")
