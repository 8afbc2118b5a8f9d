"""Tables of other systems: how they are read, what their version says, and what no error says."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from fti_assets.errors import DamagedError, DeclarationError, StoreError
from fti_assets.stores.duckdb.extensions import load_extension
from fti_assets.stores.duckdb.postgres_address import postgres_address
from fti_assets.stores.sources.parquet_files import ParquetFiles
from fti_assets.stores.sources.source import column_types, source_connection
from fti_assets.stores.sources.tables import DuckDBTable, PostgresTable
from tests.support.buckets import bucket_named
from tests.support.odd_files import ODD_FILES

DSN = "postgresql://postgres@127.0.0.1:5432/test"
ROWS = """
    SELECT * FROM (VALUES ('JFK', TIMESTAMP '2013-01-01 05:00', 1.5), ('LGA', TIMESTAMP '2013-01-01 06:00', NULL))
    t(origin, seen, temp)"""


@dataclass
class Table:
    """A source, and a way to run SQL on what it reads as a table called ``t``."""

    source: Any
    change: Any


def parquet(tmp_path: Path) -> Iterator[Table]:
    folder = tmp_path / "weather"
    folder.mkdir()

    def change(sql: str) -> None:
        with duckdb.connect() as connection:
            file = folder / "part.parquet"
            source = f"FROM '{file}'" if file.exists() else ROWS
            connection.execute(f"CREATE TABLE t AS {source}")
            connection.execute(sql)
            connection.execute(f"COPY t TO '{file}'")

    yield Table(ParquetFiles(path=folder), change)


def duckdb_file(tmp_path: Path) -> Iterator[Table]:
    file = tmp_path / "dbt.duckdb"

    def change(sql: str) -> None:
        with duckdb.connect(str(file)) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS marts; USE marts; CREATE TABLE IF NOT EXISTS t AS {ROWS}")
            connection.execute(sql)

    yield Table(DuckDBTable(file=file, table="marts.t"), change)


def postgres(tmp_path: Path) -> Iterator[Table]:
    with duckdb.connect() as connection:
        try:
            load_extension(connection, "postgres_scanner")
            connection.execute(f"ATTACH '{DSN}' AS pg (TYPE postgres)")
        except duckdb.Error as error:
            pytest.skip(f"no Postgres at {DSN}: {error}")
        schema = f"ext_{uuid.uuid4().hex[:12]}"
        connection.execute(f"CREATE SCHEMA pg.{schema}; USE pg.{schema}; CREATE TABLE t AS {ROWS}")
        try:
            yield Table(PostgresTable(dsn=DSN, table=f"{schema}.t"), connection.execute)
        finally:
            connection.execute(f"USE memory; DROP SCHEMA pg.{schema} CASCADE")


@pytest.fixture(params=[parquet, duckdb_file, postgres], ids=["parquet", "duckdb", "postgres"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Table]:
    yield from request.param(tmp_path)


def version(source: Any) -> str:
    with source_connection() as connection:
        return source.version(connection)


def test_a_source_is_read_where_it_lies(table: Table) -> None:
    table.change("SELECT 1")
    with source_connection() as connection:
        assert list(column_types(connection, table.source)) == ["origin", "seen", "temp"]
        rows = connection.sql(f"SELECT origin, temp::DOUBLE FROM {table.source.scan(connection)} ORDER BY 1").fetchall()
        assert rows == [("JFK", 1.5), ("LGA", None)]
        assert table.source.measure(connection, 'count(*), max("origin")') == (2, "LGA")


@pytest.mark.soak
@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO t VALUES ('EWR', TIMESTAMP '2013-01-02', 2.5)",
        "UPDATE t SET temp = 7.5 WHERE origin = 'JFK'",
        "DELETE FROM t WHERE origin = 'JFK'",
        "ALTER TABLE t ADD COLUMN wind INTEGER",
    ],
)
def test_change_is_another_version_and_none_is_same(table: Table, change: str) -> None:
    table.change("SELECT 1")
    before = version(table.source)
    assert version(table.source) == before
    table.change(change)
    assert version(table.source) != before


def test_content_version_does_not_depend_on_order_of_rows(tmp_path: Path) -> None:
    versions = []
    for order in ("origin", "origin DESC"):
        file = tmp_path / f"{order}.duckdb"
        with duckdb.connect(str(file)) as connection:
            connection.execute(f"CREATE TABLE t AS FROM ({ROWS}) ORDER BY {order}")
        versions.append(version(DuckDBTable(file=file, table="t")))
    assert versions[0] == versions[1]


def test_a_watermark_sees_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    for made in (duckdb_file(tmp_path), postgres(tmp_path)):
        table = next(made)
        table.change("SELECT 1")
        source = type(table.source)(**{**vars(table.source), "watermark": "seen"})
        before = version(source)
        table.change("UPDATE t SET temp = 9.5")
        assert version(source) == before
        table.change("UPDATE t SET seen = TIMESTAMP '2014-01-01'")
        assert version(source) != before
        made.close()


def test_a_touched_parquet_file_is_another_version(tmp_path: Path) -> None:
    table = next(parquet(tmp_path))
    table.change("SELECT 1")
    before = version(table.source)
    os.utime(tmp_path / "weather" / "part.parquet", ns=(1, 1))
    assert version(table.source) != before


def test_folders_are_columns_if_they_are_said_to_be(tmp_path: Path) -> None:
    for day in ("2013-01-01", "2013-01-02"):
        (tmp_path / f"day={day}").mkdir()
        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT 1 AS x) TO '{tmp_path}/day={day}/part.parquet'")
    with source_connection() as connection:
        assert list(column_types(connection, ParquetFiles(path=tmp_path))) == ["x"]
        assert list(column_types(connection, ParquetFiles(path=tmp_path, hive_partitioning=True))) == ["x", "day"]


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("weather", "weather/**/*.parquet"),
        ("s3://bucket/weather/", "s3://bucket/weather/**/*.parquet"),
        ("s3://bucket/*/x.parquet", "s3://bucket/*/x.parquet"),
        ("weather/x.parquet", "weather/x.parquet"),
        ("https://host/x?signature=1", "https://host/x?signature=1"),
    ],
)
def test_a_folder_is_every_parquet_file_below_it(path: str, pattern: str) -> None:
    assert ParquetFiles(path=path).pattern == pattern


def test_a_place_names_no_signature_and_no_user() -> None:
    assert (
        ParquetFiles(path="https://ann:pw@host/x.parquet?signature=1").place == "Parquet files https://host/x.parquet"
    )


def test_what_is_not_there_is_named() -> None:
    missing = [
        (ParquetFiles(path="/nowhere"), r"Parquet files /nowhere/\*\*/\*.parquet cannot be read"),
        (DuckDBTable(file="/nowhere.duckdb", table="t"), "there is no DuckDB file /nowhere.duckdb with the table t"),
    ]
    for source, problem in missing:
        with source_connection() as connection, pytest.raises(StoreError, match=problem):
            column_types(connection, source)


def test_a_missing_table_is_named(table: Table) -> None:
    if isinstance(table.source, ParquetFiles):
        return
    table.change("SELECT 1")
    removed = type(table.source)(**{**vars(table.source), "table": "nowhere"})
    with source_connection() as connection, pytest.raises(StoreError, match="nowhere.*cannot be read"):
        column_types(connection, removed)


@pytest.mark.parametrize("table_name", ["", "a.b.c", ".t"])
def test_a_table_name_has_one_or_two_parts(table_name: str) -> None:
    with pytest.raises(DeclarationError, match=r"write its name, or its schema and name|which names nothing"):
        PostgresTable(dsn=DSN, table=table_name)
    with pytest.raises(DeclarationError, match=r"write its name, or its schema and name|which names nothing"):
        DuckDBTable(file="x", table=table_name)


# Credentials


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ann:s3cr%20t@127.0.0.1:1/shop?connect_timeout=2",
        "host=127.0.0.1 port=1 dbname=shop user=ann password='s3cr t' connect_timeout=2",
    ],
)
def test_a_password_is_in_no_error_place_or_repr(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DSN", dsn)
    for source in (PostgresTable(dsn=dsn, table="t"), PostgresTable(dsn=dg.EnvVar("SHOP_DSN"), table="t")):
        with source_connection() as connection, pytest.raises(StoreError) as raised:
            column_types(connection, source)
        result = f"{raised.value!r} {raised.value.__cause__!r} {source.place} {source!r} {source._address!r}"
        assert "user=ann" in result
        assert "s3cr" not in result
    assert PostgresTable(dsn=dg.EnvVar("SHOP_DSN"), table="t").place == "Postgres table t in the database of $SHOP_DSN"


def test_a_password_reaches_postgres_from_a_secret(tmp_path: Path) -> None:
    table = next(made := postgres(tmp_path))
    source = PostgresTable(dsn=DSN.replace("postgres@", "postgres:ignored%20by%20trust@"), table=table.source.table)
    with source_connection() as connection:
        assert list(column_types(connection, source)) == ["origin", "seen", "temp"]
        assert "ignored" not in str(connection.sql("SELECT path FROM duckdb_databases()").fetchall())
    made.close()


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_DSN", raising=False)
    source = PostgresTable(dsn=dg.EnvVar("SHOP_DSN"), table="t")
    with source_connection() as connection, pytest.raises(StoreError, match="SHOP_DSN is not set"):
        source.version(connection)


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "db:s3cret",
        "postgresql://host:port_s3cret/x",
        "host=h and s3cret",
        "postgresql://ann:pw@s3cret@h/x",
        "postgresql://ann:pw@s3cret@h,other/x",
        "host=s3cret@h",
        "hostaddr=1.2.3.4,s3cret@h",
    ],
)
def test_what_is_no_connection_string_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(DeclarationError, match="neither a URL") as raised:
        postgres_address(dsn, what="orders")
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgres://h/d", {"host": "h", "dbname": "d"}),
        (
            "postgresql://u%40x:p@h:6/d?sslmode=require",
            {"user": "u@x", "host": "h", "port": "6", "dbname": "d", "sslmode": "require"},
        ),
        ("postgresql:///d?host=@socket", {"host": "@socket", "dbname": "d"}),
        (r"host=h dbname='it\'s' password=p", {"host": "h", "dbname": "it's"}),
    ],
)
def test_a_connection_string_is_read_as_libpq_reads_it(dsn: str, shown: dict[str, str]) -> None:
    address = postgres_address(dsn, what="orders")
    assert address.parameters == shown
    assert postgres_address(address.text, what="orders").parameters == shown


# Object stores

Put = Callable[[str, str], None]
"""Puts a file of the rows of a query into the bucket ``weather``."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Put]:
    with bucket_named("weather", monkeypatch) as client:

        def put(name: str, sql: str) -> None:
            with duckdb.connect() as connection:
                connection.execute(f"COPY ({sql}) TO '{tmp_path}/put.parquet'")
            client.put_object(Bucket="weather", Key=name, Body=(tmp_path / "put.parquet").read_bytes())

        put("day/a.parquet", ROWS)
        yield put


def test_a_bucket_is_read_where_it_lies_and_observed(bucket: Put) -> None:
    source = ParquetFiles(path="s3://weather/day/")
    with source_connection() as connection:
        assert source.measure(connection, "count(*)") == (2,)
    before = version(source)
    assert version(source) == before
    bucket("day/b.parquet", ROWS)
    assert version(source) != before


def test_bucket_that_cannot_be_read_names_itself_and_no_secret(bucket: Put) -> None:
    with (
        source_connection() as connection,
        pytest.raises(StoreError, match=r"s3://nowhere/\*\*/\*.parquet cannot be read") as raised,
    ):
        column_types(connection, ParquetFiles(path="s3://nowhere"))
    assert "s3cret" not in f"{raised.value!r}"


def written(folder: Path, name: str, value: int) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    duckdb.sql(f"SELECT {value} AS x").write_parquet(str(file))


def read_all(source: ParquetFiles) -> list[int]:
    with source_connection() as connection:
        return sorted(x for (x,) in connection.sql(f"SELECT x FROM {source.scan(connection)}").fetchall())


PUT_ASIDE = [
    "_temporary/0/task_1/part.parquet", "day=1/_temporary/part.parquet", ".hidden/part.parquet", ".part.parquet", "_part.parquet",
    "_delta_log/00000000000000000010.checkpoint.parquet", "day=1/.part.parquet.crc/x.parquet", "_spark_metadata/0.parquet",
]  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("name", PUT_ASIDE)
def test_what_a_writer_put_aside_is_no_row(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "_landing" / ".weather"  # names above what is asked for say nothing
    for number, kept in enumerate(["a.parquet", "day=1/b.parquet", "_day=2/c.parquet"]):
        written(folder, kept, number)
    sources = [ParquetFiles(path=folder), ParquetFiles(path=f"{folder}/"), ParquetFiles(path=f"{folder}/**/*.parquet")]
    before = [version(source) for source in sources]
    written(folder, name, 99)
    for source, known in zip(sources, before, strict=True):
        assert read_all(source) == [0, 1, 2]
        with source_connection() as connection:
            assert source.measure(connection, "count(*), max(x)") == (3, 2)
        assert version(source) == known


def test_a_name_that_the_path_spells_out_is_meant(tmp_path: Path) -> None:
    written(tmp_path, "_raw/.new/part.parquet", 7)
    for path in (
        "_raw/.new/part.parquet",
        "_raw/.new/*.parquet",
        "_raw/.new",
        "*/.new/*.parquet",
        "_*/.n*/part.parquet",
    ):
        if path == "*/.new/*.parquet":
            with pytest.raises(StoreError, match=r"no such files, only .*_raw/\.new/part\.parquet, which is left out"):
                read_all(ParquetFiles(path=tmp_path / path))
        else:
            assert read_all(ParquetFiles(path=tmp_path / path)) == [7]


def test_a_folder_without_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read: there are no such files. Check that the path is right"):
        read_all(ParquetFiles(path=tmp_path))
    with pytest.raises(StoreError, match="there are no such files"):
        version(ParquetFiles(path=tmp_path))


def commit(folder: Path, number: int, *actions: dict[str, Any]) -> None:
    log = folder / "_delta_log" / f"{number:020}.json"
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))


def test_files_that_delta_log_does_not_count_are_refused(tmp_path: Path) -> None:
    source = ParquetFiles(path=tmp_path)
    written(tmp_path, "day=1 2/a.parquet", 1)
    written(tmp_path, "b.parquet", 2)
    commit(tmp_path, 0, {"protocol": {}}, {"add": {"path": "day=1%202/a.parquet"}})
    problem = "does not count 1 of the 2 files there, such as .*b.parquet, which were removed or never committed"
    for path in (f"file://{tmp_path}", f"{tmp_path}//**/*.parquet", f"{tmp_path}/../{tmp_path.name}"):
        with pytest.raises(StoreError, match=problem):
            read_all(ParquetFiles(path=path))
    for use in (read_all, version):
        with pytest.raises(StoreError, match=problem):
            use(source)
    commit(tmp_path, 1, {"add": {"path": "b.parquet"}})
    for path in (tmp_path, f"file://{tmp_path}", f"{tmp_path}//**/*.parquet", f"{tmp_path}/../{tmp_path.name}"):
        assert read_all(ParquetFiles(path=path)) == [1, 2]
    commit(tmp_path, 2, {"add": {"path": "b.parquet"}}, {"remove": {"path": "b.parquet"}})  # written again
    assert read_all(source) == [1, 2]
    commit(tmp_path, 3, {"remove": {"path": "b.parquet"}})
    with pytest.raises(StoreError, match="have its VACUUM delete them"):
        read_all(ParquetFiles(path=f"{tmp_path}/**/*.parquet"))
    (tmp_path / "b.parquet").unlink()
    assert read_all(source) == [1]
    written(tmp_path, "c.parquet", 3)
    (tmp_path / "_delta_log" / f"{0:020}.json").unlink()  # a checkpoint may name what the rest of the log does not
    assert read_all(source) == [1, 3]
    for damage in ("{", "7", '{"add": 7}', "[" * 100_000):
        (tmp_path / "_delta_log" / f"{3:020}.json").write_text(damage)
        with pytest.raises(StoreError, match="has a _delta_log/ that cannot be read"):
            read_all(source)


def test_folder_that_is_named_like_file_is_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data.parquet"
    for name, value in (("part-0.parquet", 1), ("_temporary/0/p.parquet", 2), (".h/p.parquet", 3)):
        written(folder, name, value)
    assert read_all(ParquetFiles(path=folder)) == [1]
    assert read_all(ParquetFiles(path=f"{folder}/")) == [1]
    assert ParquetFiles(path=folder).place.endswith("data.parquet/**/*.parquet")


@pytest.mark.soak
@pytest.mark.parametrize("name", ["run[1]", "q?", "s*", "[a", "x].parquet", "w[1].parquet"])
def test_a_path_that_is_there_is_no_pattern(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("run1", "q1", "s1", "a", "x", "w1.parquet"):
        written(tmp_path / other, "a.parquet", 2)
    folder = tmp_path / name
    written(folder, "a.parquet", 1)
    written(folder, "b[1].parquet", 1)
    monkeypatch.chdir(tmp_path)
    for path in (
        folder,
        f"{folder}/",
        name,
        f"./{name}",
        f"file://{folder}",
        folder / "a.parquet",
        folder / "b[1].parquet",
    ):
        assert set(read_all(ParquetFiles(path=path))) == {1}, path
        assert version(ParquetFiles(path=path))
    commit(folder, 0, {"add": {"path": "a.parquet"}})
    with pytest.raises(StoreError, match="a Delta table"):
        read_all(ParquetFiles(path=folder))


def test_a_pattern_below_the_working_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a1", "x.parquet", 1)
    monkeypatch.chdir(tmp_path)
    for path in ("*/x.parquet", "a?", "a[1]", "**/*.parquet"):
        assert read_all(ParquetFiles(path=path)) == [1]


def test_a_suffix_in_capitals_is_one(tmp_path: Path) -> None:
    written(tmp_path, "a.parquet", 1)
    written(tmp_path, "b.PARQUET", 2)
    assert read_all(ParquetFiles(path=tmp_path)) == [1, 2]
    assert read_all(ParquetFiles(path=tmp_path / "b.PARQUET")) == [2]


@pytest.mark.parametrize(
    ("marker", "kind"),
    [
        pytest.param("metadata/v1.metadata.json", "an Iceberg table", id="iceberg"),
        pytest.param(".hoodie/hoodie.properties", "a Hudi table", id="hudi"),
    ],
)
def test_a_table_of_another_format_is_refused(tmp_path: Path, marker: str, kind: str) -> None:
    written(tmp_path / "data", "a.parquet", 1)
    (tmp_path / marker).parent.mkdir()
    (tmp_path / marker).write_text("{}")
    for path in (tmp_path, f"{tmp_path}/**/*.parquet", *([tmp_path / "data"] if kind == "an Iceberg table" else [])):
        with pytest.raises(StoreError, match=f"says that it is {kind}"):
            read_all(ParquetFiles(path=path))


def test_a_folder_in_a_bucket_may_have_any_name(bucket: Put) -> None:
    kept, other = (
        ["out.parquet/part-0.parquet", "run[1]/a.parquet", "x/a.PARQUET"],
        "out.parquet/_temporary/p.parquet run1/a.parquet",
    )
    for value, names in ((1, kept), (2, other.split())):
        for name in names:
            bucket(name, f"SELECT {value} AS x")
    for path in (
        "out.parquet",
        "out.parquet/",
        "out.parquet/part-0.parquet",
        "run[1]",
        "run[1]/",
        "x",
        "run[[]1]/*.parquet",
    ):
        assert read_all(ParquetFiles(path=f"s3://weather/{path}")) == [1]
    bucket("x/metadata/1.metadata.json", "SELECT 1 AS x")
    with pytest.raises(StoreError, match="Iceberg"):
        read_all(ParquetFiles(path="s3://weather/x"))


@pytest.mark.parametrize("kind", ["a FIFO", "a device"])
def test_what_is_no_parquet_file_is_named(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "one.parquet"
    ODD_FILES[kind](file)
    source = ParquetFiles(path=str(file))
    with source_connection() as connection, pytest.raises(DamagedError, match=f"{file} is {kind} where a file belongs"):
        source.version(connection)
