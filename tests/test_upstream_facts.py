"""What the library leans on in the packages beneath it, each pinned by itself: an upgrade that changes one says so."""

import asyncio
import importlib.metadata
import inspect
import sqlite3
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pytest
from onnx import TensorProto, helper

from fti_assets.orchestration import dagster_internals as inside
from fti_assets.stores.duckdb.extensions import load_extension
from tests.support.partitions import range_tags


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@pytest.fixture
def lake(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> duckdb.DuckDBPyConnection:
    for extension in ("sqlite_scanner", "ducklake"):
        load_extension(connection, extension)
    connection.execute(f"ATTACH 'ducklake:sqlite:{tmp_path}/catalog.sqlite' AS lake (DATA_PATH '{tmp_path}/data')")
    return connection


# DuckDB

EXTENSIONS = ("ducklake", "sqlite-scanner", "postgres-scanner", "httpfs")


def test_duckdb_2_waits_for_the_wheels_of_the_extensions() -> None:
    """DuckDB 2.0 is out, and loads no extension of another release: it can be moved to once all four wheels are of it."""
    wheels = {name: importlib.metadata.version(f"duckdb-extension-{name}") for name in EXTENSIONS}
    assert set(wheels.values()) == {duckdb.__version__}, "a wheel of another release than DuckDB's does not load"
    assert all(version.startswith("1.") for version in wheels.values()), (
        f"the wheels are of DuckDB {min(wheels.values())}: raise the pins of duckdb and of its extensions in pyproject.toml and "
        "constraints.txt together, run make soak, and say so in docs/deploy.md"
    )


# DuckLake


def test_ducklake_reads_an_old_version(lake: duckdb.DuckDBPyConnection) -> None:
    lake.execute("CREATE TABLE lake.t AS SELECT 1 AS x")
    version = lake.execute("SELECT id FROM lake.current_snapshot()").fetchall()[0][0]
    lake.execute("UPDATE lake.t SET x = 2")
    assert lake.execute(f"SELECT x FROM lake.t AT (VERSION => {version})").fetchall() == [(1,)]
    assert lake.execute("SELECT x FROM lake.t").fetchall() == [(2,)]


def test_ducklake_keeps_small_inserts_in_catalog_unless_told_not_to(
    lake: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    def files(table: str) -> int:
        return len(list((tmp_path / "data" / "main" / table).rglob("*.parquet")))

    lake.execute("CREATE TABLE lake.inlined (x INTEGER)")
    lake.execute("INSERT INTO lake.inlined VALUES (1)")
    lake.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
    lake.execute("CREATE TABLE lake.parquet (x INTEGER)")
    lake.execute("INSERT INTO lake.parquet VALUES (1)")
    assert (files("inlined"), files("parquet")) == (0, 1)


def test_ducklake_refuses_enums_and_fixed_arrays(lake: duckdb.DuckDBPyConnection) -> None:
    for value in ("'a'::ENUM('a')", "[1.5]::FLOAT[1]"):
        with pytest.raises(duckdb.Error):
            lake.execute(f"CREATE TABLE lake.t AS SELECT {value} AS x")


def test_ducklake_writes_partition_into_folder_with_url_quoted_name(
    lake: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    lake.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
    lake.execute("CREATE TABLE lake.t (x INTEGER, p VARCHAR)")
    lake.execute("ALTER TABLE lake.t SET PARTITIONED BY (p)")
    lake.execute("INSERT INTO lake.t VALUES (1, '2013-01-01-05:00')")
    (file,) = (tmp_path / "data").rglob("*.parquet")
    assert file.parent == tmp_path / "data" / "main" / "t" / "p=2013-01-01-05%3A00"


# DuckDB


def test_hash_of_known_row_is_what_it_was(connection: duckdb.DuckDBPyConnection) -> None:
    """Data versions are made of it: when this changes, raise ``_HASH_VERSION`` in ``stores/content_hash.py``."""
    row = "1::BIGINT, 'JFK', 1.5::DOUBLE, TIMESTAMP '2013-01-01 05:00', true, NULL::VARCHAR"
    result = connection.execute(f"SELECT hash({row}), hash(hash({row}), 1), hash(0), hash(NULL::BIGINT)").fetchall()
    assert result == [(18424938325297720630, 17508459590788317866, 0, 13787848793156543929)]


def test_sum_of_hashes_counts_duplicates_and_does_not_overflow(connection: duckdb.DuckDBPyConnection) -> None:
    one, three = connection.execute("SELECT hash('a')::HUGEINT, sum(hash('a')) FROM range(3)").fetchall()[0]
    assert three == 3 * one
    assert three > 2**64


def test_asof_picks_the_last_row_at_or_before(connection: duckdb.DuckDBPyConnection) -> None:
    result = connection.execute(
        "SELECT s.t, f.v FROM (VALUES ('a', 0), ('a', 1), ('a', 5), ('b', 5), (NULL, 5)) s(k, t) "
        "ASOF LEFT JOIN (VALUES ('a', 1, 10), ('a', 4, 40), ('a', 6, 60)) f(k, t, v) ON s.k = f.k AND s.t >= f.t ORDER BY ALL"
    ).fetchall()
    assert result == [(0, None), (1, 10), (5, 40), (5, None), (5, None)]


def test_load_asks_the_network_unless_told_not_to(connection: duckdb.DuckDBPyConnection) -> None:
    assert connection.execute("SELECT current_setting('autoinstall_known_extensions')").fetchall() == [(True,)]


def test_execute_runs_every_statement_and_reads_python_variables(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1)")
    rows = pd.DataFrame({"x": [7]})
    assert len(rows) == 1
    assert connection.execute("SELECT x FROM rows").fetchall() == [(7,)]
    connection.execute("SET python_enable_replacements = false")
    with pytest.raises(duckdb.CatalogException):
        connection.execute("SELECT x FROM rows")


def test_two_columns_of_one_name_are_renamed_in_silence(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE t AS SELECT 1 AS x, 2 AS x")
    assert connection.table("t").columns == ["x", "x_1"]


@pytest.mark.parametrize(
    ("values", "kind", "kept"),
    [
        (pd.Series([1.0, np.nan]), "DOUBLE", ["1.0", "None"]),
        (pd.Series([1.0, np.nan], dtype="Float64"), "DOUBLE", ["1.0", "None"]),
        (pd.Series(["a", np.nan], dtype="str"), "VARCHAR", ["a", "None"]),
        (pd.Series(["a", np.nan], dtype=object), "VARCHAR", ["a", "None"]),
        (pd.Series([None, None], dtype=object), "INTEGER", ["None", "None"]),
        (pd.to_datetime(["2013-01-01", None]), "TIMESTAMP", ["2013-01-01 00:00:00", "None"]),
    ],
)
def test_what_a_missing_value_of_pandas_becomes(
    connection: duckdb.DuckDBPyConnection, values: pd.Series, kind: str, kept: list[str]
) -> None:
    relation = connection.from_df(values.to_frame("x"))
    assert [str(value) for (value,) in relation.fetchall()] == kept
    assert str(relation.types[0]) == kind


def test_nan_of_arrow_stays_nan(connection: duckdb.DuckDBPyConnection) -> None:
    relation = connection.from_arrow(pyarrow.table({"x": pyarrow.array([np.nan])}))
    assert [str(value) for (value,) in relation.fetchall()] == ["nan"]


def test_whole_numbers_with_nulls_come_back_from_duckdb_as_whole_numbers(connection: duckdb.DuckDBPyConnection) -> None:
    results = connection.sql("SELECT * FROM (VALUES (9007199254740993), (NULL)) t(x)").df()
    assert results["x"].iloc[0] == 9007199254740993


# Pandera


def test_pandera_reports_frame_checks_once_a_column() -> None:
    schema = pa.DataFrameSchema(
        {"a": pa.Column(int), "b": pa.Column(int)}, checks=pa.Check(lambda rows: rows["a"] < rows["b"], name="order")
    )
    with pytest.raises(pa.errors.SchemaErrors) as caught:
        schema.validate(pd.DataFrame({"a": [1, 2], "b": [2, 1]}), lazy=True)
    cases = caught.value.failure_cases
    assert (cases["index"].tolist(), cases["check_number"].tolist()) == ([1, 1], [0, 0])
    assert set(cases["schema_context"]) == {"DataFrameSchema"}


# Dagster

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-04")
RANGE = range_tags("2013-01-01", "2013-01-03")


def materialize(
    *assets: dg.AssetsDefinition, instance: dg.DagsterInstance, **options: Any
) -> dg.ExecuteInProcessResult:
    return dg.materialize(list(assets), instance=instance, raise_on_error=False, **options)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def newest(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, partition: str) -> dg.AssetMaterialization:
    result = (
        instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=asset.key, asset_partitions=[partition]), limit=1
        )
        .records[0]
        .asset_materialization
    )
    assert result is not None
    return result


def test_events_logged_after_ranges_result_are_newest_of_their_partitions(instance: dg.DagsterInstance) -> None:
    def asset_of(name: str, result_first: bool) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
        def ranged(context: dg.AssetExecutionContext) -> Iterator[Any]:
            if result_first:
                yield dg.MaterializeResult()
            for key in context.partition_keys:
                context.log_event(
                    dg.AssetMaterialization(
                        context.asset_key, partition=key, tags={"dagster/data_version": f"of {key}"}
                    )
                )
            if not result_first:
                yield dg.MaterializeResult()

        return ranged

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, last = asset_of("first", True), asset_of("last", False)
    assert materialize(first, last, instance=instance, tags=RANGE).success
    assert newest(instance, first, "2013-01-02").tags["dagster/data_version"] == "of 2013-01-02"  # type: ignore[index]
    assert newest(instance, last, "2013-01-02").tags["dagster/data_version"] != "of 2013-01-02"  # type: ignore[index]


def test_failed_blocking_check_withholds_only_optional_outputs(
    instance: dg.DagsterInstance,
) -> None:
    def asset_of(name: str, required: bool) -> dg.AssetsDefinition:
        specs = [dg.AssetCheckSpec("good", asset=name, blocking=True)]

        @dg.asset(name=name, check_specs=specs, output_required=required)
        def withheld() -> Iterator[Any]:
            if required:
                yield dg.MaterializeResult()
            yield dg.AssetCheckResult(passed=False, check_name="good", asset_key=dg.AssetKey(name))

        return withheld

    withheld, stored = asset_of("withheld", False), asset_of("stored", True)

    @dg.asset(deps=[withheld])
    def downstream() -> None:
        raise AssertionError("not to be run")

    result = materialize(withheld, downstream, instance=instance)
    assert not result.success
    assert not result.asset_materializations_for_node("withheld")
    assert "downstream" not in {event.step_key for event in result.all_events if event.is_step_start}
    result = materialize(stored, instance=instance)
    assert not result.success
    assert result.asset_materializations_for_node("stored")


def test_time_partition_exists_after_its_end_unless_offset() -> None:
    now = datetime(2013, 1, 2, 12, tzinfo=UTC)
    plain = dg.DailyPartitionsDefinition(start_date="2013-01-01")
    ahead = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_offset=1)
    assert plain.get_partition_keys(current_time=now) == ["2013-01-01"]
    assert ahead.get_partition_keys(current_time=now) == ["2013-01-01", "2013-01-02"]


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_a_result_without_an_event_blocks_nothing(tmp_path: Path) -> None:
    """``assets/materialization.py`` reports a range's events by itself, with a data version for each."""
    from fti_assets.orchestration.materialization import _NO_EVENTS

    days = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-04")

    @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run(), output_required=False)
    def silent() -> Iterator[Any]:
        yield dg.MaterializeResult(metadata=_NO_EVENTS)

    @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run(), deps=[silent])
    def follows() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [silent, follows],
            instance=instance,
            tags=range_tags("2024-01-01", "2024-01-03"),
        )
        assert not result.asset_materializations_for_node("silent")
        assert len(result.asset_materializations_for_node("follows")) == 3


def test_dagsters_inside_is_what_the_library_takes_of_it() -> None:
    """Each name of ``orchestration/dagster_internals.py``."""

    def parameters(function: Any) -> list[str]:
        return list(inspect.signature(function).parameters)

    assert sorted(inside.__all__) == [
        "AssetCheckEvaluationTargetMaterializationData", "AssetMaterializationPlannedData", "BulkActionStatus", "CODE_VERSION_TAG",
        "CheckError", "CronFreshnessPolicy", "DATA_VERSION_IS_USER_PROVIDED_TAG", "DATA_VERSION_TAG", "DEFAULT_DATA_VERSION",
        "IMPLICIT_ASSET_JOB_NAME", "ObjectMetadataValue", "SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION", "StepMaterializationData",
        "StepSuccessData", "TemporalContext", "TimeWindowFreshnessPolicy", "build_data_version_tags",
        "extract_data_version_from_entry", "get_code_version", "get_input_provenance_data", "partition_loading_context",
    ]  # fmt: skip
    assert inside.TemporalContext._fields == ("effective_dt", "last_event_id")
    with inside.partition_loading_context(datetime(2001, 1, 3, tzinfo=UTC)):
        assert dg.DailyPartitionsDefinition(start_date="2001-01-01").get_partition_keys() == [
            "2001-01-01",
            "2001-01-02",
        ]
    assert inside.AssetCheckEvaluationTargetMaterializationData._fields == ("storage_id", "run_id", "timestamp")
    assert {"CANCELED", "CANCELING"} <= {status.name for status in inside.BulkActionStatus}
    assert inside.DATA_VERSION_IS_USER_PROVIDED_TAG == "dagster/data_version_is_user_provided"
    assert inside.DATA_VERSION_TAG == "dagster/data_version"
    assert (inside.CODE_VERSION_TAG, inside.IMPLICIT_ASSET_JOB_NAME) == ("dagster/code_version", "__ASSET_JOB")
    assert dg.DataVersion("INITIAL") == inside.DEFAULT_DATA_VERSION
    assert inside.AssetMaterializationPlannedData._fields == ("asset_key", "partition", "partitions_subset")
    assert inside.StepMaterializationData._fields == ("materialization", "asset_lineage")
    assert inside.StepSuccessData._fields == ("duration_ms",)
    assert parameters(inside.extract_data_version_from_entry) == ["entry"]
    assert inside.SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION == "__source_asset_observation__"
    assert parameters(inside.build_data_version_tags) == [
        "data_version", "code_version", "input_provenance_data", "data_version_is_user_provided"
    ]  # fmt: skip
    assert parameters(inside.get_code_version) == ["asset_key", "step_context"]
    assert parameters(inside.get_input_provenance_data) == ["asset_key", "step_context"]


def test_daemon_judges_time_since_last_materialization() -> None:
    """What the policies of feature groups rest on: by the system's clock, of whatever partition, without a setting or a warning."""
    from dagster._core.definitions.freshness_evaluator import FRESHNESS_EVALUATORS_BY_POLICY_TYPE
    from dagster._core.loader import LoadingContextForTest
    from dagster._core.test_utils import freeze_time

    days = dg.DailyPartitionsDefinition(start_date="2024-01-01")
    with warnings.catch_warnings(action="error"):
        policy = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=3), warn_window=timedelta(days=2))

        @dg.asset(partitions_def=days, freshness_policy=policy)
        def group() -> None: ...

    assert set(FRESHNESS_EVALUATORS_BY_POLICY_TYPE) == {inside.TimeWindowFreshnessPolicy, inside.CronFreshnessPolicy}
    [node] = dg.Definitions([group]).resolve_asset_graph().asset_nodes
    evaluator = FRESHNESS_EVALUATORS_BY_POLICY_TYPE[type(policy)]()
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)

    def state(instance: dg.DagsterInstance, after: timedelta) -> str:
        with freeze_time(noon + after):
            context = LoadingContextForTest(instance)
            return str(asyncio.run(evaluator.evaluate_freshness(context, node)).value)

    with dg.DagsterInstance.ephemeral() as instance:
        assert instance.freshness_enabled
        assert state(instance, timedelta(0)) == "UNKNOWN"
        with freeze_time(noon):
            instance.report_runless_asset_event(dg.AssetMaterialization("group", partition="2024-01-01"))
        states = [state(instance, timedelta(hours=hours)) for hours in (47, 48, 71, 72)]
    assert states == ["PASS", "WARN", "WARN", "FAIL"]


def test_dagster_does_not_tell_step_repository_of_run_in_process() -> None:
    messages: list[str] = []

    @dg.op
    def asks(context: dg.OpExecutionContext) -> None:
        try:
            messages.append(repr(context.repository_def))
        except inside.CheckError:
            messages.append("refused")

    @dg.job
    def asking() -> None:
        asks()

    with dg.DagsterInstance.ephemeral() as instance:
        asking.execute_in_process(instance=instance)
    assert messages == ["refused"]


def test_metadata_objects_stay_within_a_process() -> None:
    kept = object()
    value = inside.ObjectMetadataValue(kept)
    spec = dg.AssetSpec("a", metadata={"kept": value}).merge_attributes(tags={"b": "c"})
    assert spec.metadata["kept"].instance is kept
    beyond = dg.deserialize_value(dg.serialize_value(value))
    assert (beyond.class_name, beyond.instance) == ("object", None)


def test_sqlite_event_log_has_what_the_pooled_one_overrides(tmp_path: Path) -> None:
    """``event_log/`` is a subclass of it: each private name that it overrides or reads."""
    from dagster._core.instance import RUNLESS_RUN_ID
    from dagster._core.storage.event_log import sql_event_log
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

    def parameters(function: Any) -> list[str]:
        return list(inspect.signature(function).parameters)

    sqlite, sql = sqlite_event_log.SqliteEventLogStorage, sql_event_log.SqlEventLogStorage
    assert parameters(sqlite.__init__) == ["self", "base_dir", "inst_data"]
    assert parameters(sqlite._connect) == ["self", "shard"]
    assert parameters(sqlite._initdb) == ["self", "engine", "for_index_shard"]
    assert parameters(sqlite.store_event) == ["self", "event"]
    assert parameters(sqlite.watch) == ["self", "run_id", "cursor", "callback"]
    assert parameters(sql._has_asset_key_col_on_connection) == ["self", "conn", "column_name"]
    assert parameters(sql._store_asset_check_evaluation_planned) == ["self", "event", "event_id"]
    assert parameters(sql._event_insert_timestamp) == ["self", "event"]
    assert parameters(sqlite_event_log.SqliteEventLogStorageWatchdog.__init__)[:5] == [
        "self", "event_log_storage", "run_id", "callback", "cursor"
    ]  # fmt: skip
    assert parameters(sqlite_event_log.SqliteEventLogStorageWatchdog._process_log) == ["self"]
    assert (sqlite_event_log.INDEX_SHARD_NAME, RUNLESS_RUN_ID) == ("index", "")
    assert SQLITE_BUSY_TIMEOUT_SECONDS == 30
    storage = sqlite(str(tmp_path))
    assert storage._base_dir == str(tmp_path)
    assert isinstance(storage._db_lock, type(threading.Lock()))
    assert (storage._obs, storage._watchers, storage._inst_data, storage._instance_weakref) == (None, {}, None, None)
    assert storage.path_for_shard("a_run") == str(tmp_path / "a_run.db")


def test_dagsters_storages_in_memory_are_what_those_of_tests_override() -> None:
    """Those of the tests have all that Dagster's keep."""
    from tests.support.memory_storages import EventsInMemory, RunsInMemory

    for ours in (RunsInMemory(), EventsInMemory()):
        theirs = type(ours).__base__()
        assert set(vars(theirs)) <= set(vars(ours)) | {"_instance_weakref"}
        theirs.dispose()
        ours.dispose()


def test_dagster_keeps_its_log_in_history_runs_of_instances_folder(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert instance.root_directory == str(tmp_path)
        assert Path(instance.event_log_storage.path_for_shard("index")) == tmp_path / "history" / "runs" / "index.db"


def test_dagster_asks_each_event_for_columns_and_tables_of_index(tmp_path: Path) -> None:
    """The pooled event log answers from memory what these find in the file."""
    from dagster._core.storage.event_log import SqliteEventLogStorage

    storage = SqliteEventLogStorage(str(tmp_path))
    assert storage.has_table("asset_event_tags")
    assert not storage.has_table("no_such_table")
    with storage.index_connection() as connection:
        assert storage._has_asset_key_col_on_connection(connection, "last_materialization_timestamp")
        assert not storage._has_asset_key_col_on_connection(connection, "no_such_column")


def test_sqlite_closes_database_replaced_without_touching_new_one(tmp_path: Path) -> None:
    def opened() -> sqlite3.Connection:
        connection = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS t (x)")
        return connection

    old = opened()
    old.execute("INSERT INTO t VALUES (1)")
    for file in tmp_path.iterdir():
        file.unlink()
    new = opened()
    new.execute("INSERT INTO t VALUES (2)")
    old.close()
    assert (tmp_path / "t.db-wal").exists()
    with closing(sqlite3.connect(tmp_path / "t.db")) as reader:
        assert reader.execute("SELECT x FROM t").fetchall() == [(2,)]
    new.close()


def test_session_of_onnxruntime_has_run_that_its_own_run_calls():
    import onnxruntime

    value = helper.make_tensor_value_info
    made = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "same",
        [value("x", TensorProto.FLOAT, ["n"])],
        [value("y", TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([1.5, 2.5], np.float32)
    assert session._sess.run(["y"], {"x": x}, None)[0].tolist() == session.run(["y"], {"x": x})[0].tolist()
