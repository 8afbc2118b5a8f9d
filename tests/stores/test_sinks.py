"""Sinks: a partition of the lake is there as it is in the lake, again and again, or as it was."""

import math
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from fti_assets.core.names import PREDICTIONS, TableName
from fti_assets.errors import DeclarationError, SchemaChangedError, StoreError
from fti_assets.stores.duckdb.extensions import connect_in_memory
from fti_assets.stores.duckdb.s3_secret import read_s3
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.sinks import bucket as bucket_module
from fti_assets.stores.sinks import parquet
from fti_assets.stores.sinks.bucket import file_system
from fti_assets.stores.sinks.function import FunctionSink
from fti_assets.stores.sinks.parquet import ParquetSink
from fti_assets.stores.sinks.postgres import PostgresSink
from fti_assets.stores.sinks.sink import StoredPartition, write_partitions
from tests.support.buckets import bucket_named

DSN = "postgresql://postgres@127.0.0.1:5432/test"
TABLE = TableName(PREDICTIONS, "scores_v1")
HOUR, OTHER = "2024-01-01-05:00", "2024-01-01-06:00"
COLUMNS = "id BIGINT, name VARCHAR, t TIMESTAMP, score DOUBLE, sure BOOLEAN, top STRUCT(item BIGINT, score DOUBLE)[], cost DECIMAL(9,2)"
AT = datetime(2024, 1, 1, 5, 30, 0, 1)
FIRST = [
    (1, 'é, "q"\n\'', AT, 1 / 3, True, [{"item": 7, "score": 0.1}], 1.25),
    (2**62, "", None, math.inf, None, [], None),
    (3, None, AT, None, False, None, -1.5),
]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with OfflineStore(tmp_path / "lake").connect() as lake:
        yield lake


def put(lake: Lake, rows: list[tuple[Any, ...]], partition: str = HOUR) -> StoredPartition:
    lake.connection.execute(f"CREATE OR REPLACE TEMP TABLE staged ({COLUMNS}, _partition VARCHAR)")
    if rows:
        lake.connection.executemany(
            "INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [[*row, partition] for row in rows]
        )
    lake.replace(TABLE, "staged", [partition], asset="scores_v1")
    return StoredPartition(lake, TABLE, partition)


def shown(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row[:6], None if row[6] is None else float(row[6]))


def in_folder(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    results: dict[str, list[tuple[Any, ...]]] = {}
    requests = f"FROM read_parquet('{folder}/scores_v1/*/*.parquet', hive_partitioning=true, hive_types_autocast=false)"
    for *row, partition in duckdb.sql(f"{requests} ORDER BY id").fetchall():
        results.setdefault(partition, []).append(shown(tuple(row)))
    return results


def in_postgres(name: str) -> dict[str, list[tuple[Any, ...]]]:
    results: dict[str, list[tuple[Any, ...]]] = {}
    with psycopg.connect(DSN) as connection:
        for *row, partition in connection.execute(f"SELECT * FROM {name} ORDER BY id").fetchall():
            results.setdefault(partition, []).append(shown(tuple(row)))
    return results


@pytest.fixture
def table() -> Iterator[str]:
    schema = f"sink_{uuid.uuid4().hex[:12]}"
    try:
        psycopg.connect(DSN, connect_timeout=3).close()
    except psycopg.Error as error:
        pytest.skip(f"no Postgres at {DSN}: {error}")
    yield f"{schema}.scores"
    with psycopg.connect(DSN) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with bucket_named("shop", monkeypatch) as client:
        yield client


def in_bucket() -> dict[str, list[tuple[Any, ...]]]:
    """As another reader finds it: DuckDB."""
    with connect_in_memory() as connection:
        read_s3(connection)
        results: dict[str, list[tuple[Any, ...]]] = {}
        files = "read_parquet('s3://shop/out/scores_v1/*/*.parquet', hive_partitioning=true, hive_types_autocast=false)"
        for *row, partition in connection.sql(f"FROM {files} ORDER BY id").fetchall():
            results.setdefault(partition, []).append(shown(tuple(row)))
        return results


def keys_of(client: Any) -> list[str]:
    """The objects but for the empty ones that stand for folders."""
    keys = [one["Key"] for one in client.list_objects_v2(Bucket="shop").get("Contents", [])]
    return sorted(key for key in keys if not key.endswith("/"))


@pytest.fixture(params=["parquet", "bucket", "postgres"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "bucket":
        request.getfixturevalue("bucket")
        return ParquetSink("s3://shop/out/"), in_bucket
    if request.param == "parquet":
        return ParquetSink(tmp_path / "out"), lambda: in_folder(tmp_path / "out")
    name = request.getfixturevalue("table")
    return PostgresSink(dsn=DSN, table=name), lambda: in_postgres(name)


def test_a_partition_replaces_exactly_its_own_rows(lake: Lake, sink: Any) -> None:
    into, content = sink
    other = [(9, "x", AT, 0.5, True, None, 2.0)]
    write_partitions([into], [put(lake, FIRST), put(lake, other, OTHER)])
    everything = {HOUR: sorted(FIRST), OTHER: other}
    assert content() == {key: sorted(rows) for key, rows in everything.items()}
    write_partitions([into], [StoredPartition(lake, TABLE, HOUR)])  # again, which changes nothing
    assert content() == everything
    write_partitions([into], [put(lake, FIRST[:1])])
    assert content() == {HOUR: FIRST[:1], OTHER: other}
    write_partitions([into], [put(lake, [], OTHER)])
    assert content() == {HOUR: FIRST[:1]}


def test_what_a_killed_run_left_is_not_read_and_is_mended(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into, partition = ParquetSink(tmp_path / "out"), put(lake, FIRST)
    write_partitions([into], [partition])
    folder = tmp_path / "out" / "scores_v1" / "_partition=2024-01-01-05%3A00"
    (folder / ".rows.parquet.tmp").write_bytes(b"half of it")
    put(lake, FIRST[:1])
    with monkeypatch.context() as patch:

        def full(path: Path) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(parquet, "sync_file", full)
        with pytest.raises(
            StoreError, match=f"scores_v1 is in the lake, but {HOUR} is not in the Parquet folder {tmp_path}/out: "
        ):
            write_partitions([into], [partition])
    assert in_folder(tmp_path / "out") == {HOUR: sorted(FIRST)}
    write_partitions([into], [partition])
    assert in_folder(tmp_path / "out") == {HOUR: FIRST[:1]}
    assert [file.name for file in folder.iterdir()] == ["rows.parquet"]


def test_a_bucket_has_the_old_file_until_it_has_the_new_one(
    lake: Lake, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    into, partition = ParquetSink("s3://shop/out"), put(lake, FIRST)
    write_partitions([into], [partition])
    folder = "out/scores_v1/_partition=2024-01-01-05%3A00"
    bucket.put_object(Bucket="shop", Key=f"{folder}/.rows.parquet.0a.tmp", Body=b"what a killed run left")
    put(lake, FIRST[:1])
    store = file_system()

    class Full:
        """A store that takes no copy, as one would whose upload ended half way."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def move(self, source: str, target: str) -> None:
            raise OSError("no room, said s3cret")

    with monkeypatch.context() as patch:
        patch.setattr("fti_assets.stores.sinks.bucket.file_system", Full)
        with pytest.raises(
            StoreError, match=rf"s3://shop/{folder}/rows.parquet could not be written: no room"
        ) as failed:
            write_partitions([into], [partition])
    assert "s3cret" not in str(failed.value)
    assert in_bucket() == {HOUR: sorted(FIRST)}
    assert len(keys_of(bucket)) == 2  # the failed upload is gone
    write_partitions([into], [partition])
    assert in_bucket() == {HOUR: FIRST[:1]}
    assert keys_of(bucket) == [f"{folder}/rows.parquet"]


@pytest.mark.soak
def test_a_bucket_ends_with_what_was_committed_last(lake: Lake, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    into, partition, commits = ParquetSink("s3://shop/out"), put(lake, FIRST), [FIRST[:1], FIRST[:2]]
    uploads = []

    def late(local: Path, path: str) -> None:
        """Another run commits while this one uploads."""
        uploads.append(path)
        bucket_module.put(local, path)
        if commits:
            put(lake, commits.pop())

    monkeypatch.setattr(parquet, "put", late)
    write_partitions([into], [partition])
    assert len(uploads) == 3
    assert in_bucket() == {HOUR: FIRST[:1]}


def test_an_upload_that_another_run_deletes_is_made_again(
    lake: Lake, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cleaned = file_system(), []

    class Cleaned:
        """A store where another run takes the first upload for what a killed run left."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def move(self, source: str, target: str) -> None:
            if not cleaned:
                cleaned.append(source)
                store.delete_file(source)
            store.move(source, target)

    monkeypatch.setattr("fti_assets.stores.sinks.bucket.file_system", Cleaned)
    write_partitions([ParquetSink("s3://shop/out")], [put(lake, FIRST)])
    assert in_bucket() == {HOUR: sorted(FIRST)}
    assert len(cleaned) == 1


def test_a_bucket_that_is_not_there_names_itself_and_no_secret(lake: Lake, bucket: Any) -> None:
    with pytest.raises(
        StoreError, match=f"{HOUR} is not in the Parquet folder s3://nowhere: s3://nowhere/scores_v1"
    ) as failed:
        write_partitions([ParquetSink("s3://nowhere")], [put(lake, FIRST)])
    assert "s3cret" not in f"{failed.value} {failed.value!r}"


def test_nan_in_a_list_is_a_null_in_postgres(lake: Lake, table: str) -> None:
    rows = [(1, "a", AT, math.nan, None, [{"item": 1, "score": math.nan}, {"item": 2, "score": 0.5}], None)]
    write_partitions([PostgresSink(dsn=DSN, table=table)], [put(lake, rows)])
    [(_, _, _, score, _, top, _)] = in_postgres(table)[HOUR]
    assert math.isnan(score)
    assert top == [{"item": 1, "score": None}, {"item": 2, "score": 0.5}]


def test_a_transaction_that_fails_leaves_the_old_rows(lake: Lake, table: str) -> None:
    into = PostgresSink(dsn=DSN, table=table)
    write_partitions([into], [put(lake, FIRST)])
    with psycopg.connect(DSN) as connection:
        connection.execute(f"ALTER TABLE {table} ADD CHECK (id <> 4)")
    with pytest.raises(StoreError, match='violates check constraint "scores_id_check"'):
        write_partitions([into], [put(lake, [(4, "a", AT, 0.5, None, None, None)])])
    assert in_postgres(table) == {HOUR: sorted(FIRST)}


def test_a_table_of_other_columns_is_refused_and_kept(lake: Lake, table: str) -> None:
    schema = table.partition(".")[0]
    with psycopg.connect(DSN) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"CREATE TABLE {table} (id bigint, note text)")
        connection.execute(f"INSERT INTO {table} VALUES (1, 'mine')")
    with pytest.raises(StoreError, match="has the columns id bigint, note text, where name text") as refused:
        write_partitions([PostgresSink(dsn=DSN, table=table)], [put(lake, FIRST)])
    assert isinstance(refused.value.__cause__, SchemaChangedError)
    with psycopg.connect(DSN) as connection:
        assert connection.execute(f"SELECT * FROM {table}").fetchall() == [(1, "mine")]


def test_a_sink_that_fails_is_named_and_the_others_are_written(lake: Lake, tmp_path: Path) -> None:
    taken: list[tuple[str, int]] = []

    def to_crm(rows: Any, partition: str) -> None:
        taken.append((partition, sum(batch.num_rows for batch in rows)))
        if partition == OTHER:
            raise ConnectionError("the CRM is away")

    partitions = [put(lake, FIRST), put(lake, FIRST[:1], OTHER)]
    dsn = "postgresql://ann:s3cret@127.0.0.1:1/shop?connect_timeout=2"
    sinks = [PostgresSink(dsn=dsn), FunctionSink(to_crm), ParquetSink(tmp_path / "out")]
    with pytest.raises(StoreError) as failed:
        write_partitions(sinks, partitions)
    message = str(failed.value)
    assert (
        f"{HOUR} is not in the Postgres table in 'user=ann connect_timeout=2 dbname=shop host=127.0.0.1 port=1'"
        in message
    )
    assert f"{OTHER} is not in the function to_crm: ConnectionError: the CRM is away. Run it again" in message
    assert "s3cret" not in message
    assert taken == [(HOUR, 3), (OTHER, 1)]
    assert in_folder(tmp_path / "out") == {HOUR: sorted(FIRST), OTHER: FIRST[:1]}


def test_sinks_that_cannot_be_are_refused_when_declared() -> None:
    with pytest.raises(
        DeclarationError, match="ParquetSink has folder='gs://bucket/x': give a folder of this machine, or s3://"
    ):
        ParquetSink("gs://bucket/x")
    for address in ("s3://ann:s3cret@bucket/x", "s3:///x", "s3://bucket/x?secret=s3cret"):
        with pytest.raises(DeclarationError, match="give s3://bucket/folder alone") as refused:
            ParquetSink(address)
        assert "s3cret" not in str(refused.value)
    with pytest.raises(DeclarationError, match="PostgresSink has table='a.b.c': write its name"):
        PostgresSink(dsn=DSN, table="a.b.c")
