"""The offline store of a team: Postgres and a bucket. The same rows and versions as in a folder, and right after whatever breaks."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import psycopg
import pytest

from fti_assets.core.names import TableName
from fti_assets.errors import DamagedError, FtiError, SchemaChangedError, StoreError
from fti_assets.stores.lake.appends import Append, append_rows
from fti_assets.stores.lake.files.current_files import current_files
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.location import offline_store
from fti_assets.stores.lake.postgres import lock as lock_module
from fti_assets.stores.lake.postgres.lock import LOCK
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.expiry import merge_files
from tests.support.buckets import BucketServer
from tests.support.proxies import CuttingProxy, cutting_proxy
from tests.support.team_lakes import HOST, database, lake_location, team_bucket

READINGS = TableName("features", "readings_v1")
DAYS = [f"2024-01-0{day}" for day in range(1, 4)]


@pytest.fixture(scope="module")
def server() -> Iterator[BucketServer]:
    with team_bucket() as server:
        yield server


@pytest.fixture(scope="module")
def name(server: BucketServer) -> Iterator[str]:
    with database() as name:
        yield name


@pytest.fixture(scope="module")
def location(name: str) -> str:
    """A lake that holds three days."""
    location = lake_location(name, f"s3://team/{name}")
    with offline_store(location).connect() as lake:
        write(lake, READINGS, *DAYS)
    return location


@pytest.fixture
def proxy() -> Iterator[CuttingProxy]:
    host, port = HOST.split(":")
    with cutting_proxy(host, int(port)) as proxy:
        yield proxy


@pytest.fixture
def table(location: str, request: pytest.FixtureRequest) -> TableName:
    """A table of this test alone, which holds a day."""
    table = TableName("features", f"{request.node.originalname[5:60]}_v1")
    with offline_store(location).connect() as lake:
        write(lake, table, DAYS[0])
    return table


def write(lake: Lake, table: TableName, *days: str, times: int = 1, also: str = "", **options: object) -> None:
    """Replace some days of a table, each by ten rows."""
    parts = " UNION ALL ".join(
        f"SELECT range AS id, range * {times}::DOUBLE AS v, TIMESTAMP '{day}' AS at{also}, '{day}' AS _partition FROM range(10)"
        for day in days
    )
    lake.connection.execute(f"CREATE OR REPLACE TEMP TABLE staging AS {parts}")
    lake.replace(table, "staging", days, asset=table.name, **options)  # type: ignore[arg-type]


def contents(store: OfflineStore, table: TableName) -> dict[str, tuple[int, float]]:
    """The rows of each day and their sum, by a connection of its own; each must be what the ledger says."""
    with store.connect() as lake:
        rows = lake.rows(table, with_partition=True)
        sums = {
            key: (count, total)
            for key, count, total in rows.aggregate("_partition, count(*), sum(v)", "_partition").fetchall()
        }
        assert {key: one.rows for key, one in lake.ledger(table).items()} == {key: one[0] for key, one in sums.items()}
        return sums


def through(proxy: CuttingProxy, name: str) -> OfflineStore:
    return offline_store(lake_location(name, f"s3://team/{name}", proxy.host))


def test_it_holds_what_a_folder_holds(location: str, tmp_path: Path) -> None:
    with offline_store(location).connect() as team, OfflineStore(tmp_path / "lake").connect() as own:
        write(own, READINGS, *DAYS)
        versions = [
            {key: (one.data_version, one.rows) for key, one in lake.ledger(READINGS).items()} for lake in (team, own)
        ]
        assert versions[0] == versions[1]
        assert team.types(READINGS) == own.types(READINGS)
        assert sorted(team.rows(READINGS).fetchall()) == sorted(own.rows(READINGS).fetchall())
        before = team.snapshot()
        write(team, READINGS, *DAYS)
        assert team.rows(READINGS, snapshot=before).count("*").fetchall() == [(30,)]


def test_no_error_shows_the_password() -> None:
    store = offline_store("postgresql://ann:s3cr%20t@127.0.0.1:1/lake?connect_timeout=2&data=s3://team/lake")
    assert str(store.root) == "postgresql://ann:***@127.0.0.1:1/lake?connect_timeout=2&data=s3://team/lake"
    for ask in (store.exists, store.create):
        with pytest.raises(StoreError, match="Check that Postgres runs") as caught:
            ask()
        assert "s3cr" not in f"{caught.value!r} {caught.value.__cause__}"


@pytest.mark.parametrize(
    ("of", "reason"),
    [("nobody@", 'role "nobody" does not exist'), ("postgres@", 'database "no_such_db" does not exist')],
)
def test_wrong_credentials_are_named(of: str, reason: str, name: str) -> None:
    with pytest.raises(StoreError, match=f"{reason}.*knows this user, password and database"):
        offline_store(f"postgresql://{of}{HOST}/no_such_db?data=s3://team/x").exists()


@pytest.mark.parametrize("data", ["", "?data=lake", "?data=/srv/lake", "?data=gs://team/lake"])
def test_address_says_where_the_files_are(data: str) -> None:
    with pytest.raises(StoreError, match=r"write postgresql://db/lake\?data=s3://bucket/folder"):
        offline_store(f"postgresql://ann@db/lake{data}")


def test_database_without_a_catalog_beside_files_is_named(server: BucketServer) -> None:
    with database() as empty:
        server.client().put_object(Bucket="team", Key="orphaned/data/features/x_v1/f.parquet", Body=b"x")
        with pytest.raises(DamagedError, match="has no catalog, and s3://team/orphaned/data holds 1 file"):
            offline_store(lake_location(empty, "s3://team/orphaned")).exists()


@pytest.mark.soak
def test_connection_cut_before_the_commit_leaves_the_old_rows(
    proxy: CuttingProxy, location: str, name: str, table: TableName
) -> None:
    before = contents(offline_store(location), table)
    with through(proxy, name).connect() as lake:
        proxy.cut_after = (b".ducklake_snapshot VALUES",)
        with pytest.raises(StoreError, match="connection to the database was lost.*Its old rows are still there"):
            write(lake, table, DAYS[0], DAYS[1], times=2)
    assert proxy.cuts == 1
    assert contents(offline_store(location), table) == before
    with through(proxy, name).connect() as lake:
        write(lake, table, DAYS[0], DAYS[1], times=2)
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 90.0), DAYS[1]: (10, 90.0)}


@pytest.mark.soak
def test_answer_to_the_commit_that_is_lost_loses_no_row(
    proxy: CuttingProxy, location: str, name: str, table: TableName
) -> None:
    """DuckLake takes it for a failure and would delete the files that the database names by then."""
    with through(proxy, name).connect() as lake:
        before = lake.snapshot()
        proxy.cut_after, proxy.last_arrives = (b".ducklake_snapshot VALUES", b"COMMIT"), True
        write(lake, table, DAYS[0], DAYS[1], times=2)
        assert (proxy.cuts, lake.snapshot()) == (1, before + 1)
        write(lake, table, DAYS[2])
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 90.0), DAYS[1]: (10, 90.0), DAYS[2]: (10, 45.0)}


def test_postgres_that_is_gone_says_that_nobody_knows(
    proxy: CuttingProxy, location: str, name: str, table: TableName
) -> None:
    with through(proxy, name).connect() as lake:
        proxy.cut_after, proxy.closes_after_cut = (b".ducklake_snapshot VALUES",), True
        with pytest.raises(StoreError, match="whether it was committed cannot be asked.*run it again"):
            write(lake, table, DAYS[0], times=2)
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 45.0)}


def test_writer_that_has_lost_the_lock_does_not_commit(location: str, name: str, table: TableName) -> None:
    """Its session ends while it writes; another writer makes the same new partition meanwhile, which would be there twice."""
    late = ""

    def lose_the_lock() -> None:
        with psycopg.connect(f"postgresql://postgres@{HOST}/{name}", autocommit=True) as admin:
            query = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"
            assert admin.execute(query, [LOCK & 0xFFFFFFFF]).fetchall() == [(True,)]
        lock_module._threads.clear()  # of another process
        with offline_store(location).connect() as other:
            write(other, table, DAYS[2], times=3)

    with offline_store(location).connect() as lake:
        put = lake.put_records

        def put_late(*arguments: object) -> None:
            lose_the_lock()
            put(*arguments)  # type: ignore[arg-type]

        lake.put_records = put_late  # type: ignore[method-assign]
        with pytest.raises(StoreError, match="had lost the writers' lock.*Its old rows are still there") as caught:
            write(lake, table, DAYS[2], times=2)
        late = str(caught.value)
    assert table.full_name in late
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 45.0), DAYS[2]: (10, 135.0)}


def test_lock_is_waited_for_and_then_named(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fti_assets.stores.lake.postgres import store as store_module

    monkeypatch.setattr(store_module, "_LOCK_SECONDS", 0.3)
    store = offline_store(location)
    with store.lock():
        errors: list[FtiError] = []

        def ask() -> None:
            try:
                with store.lock():
                    pass
            except FtiError as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        lock_module._threads.clear()  # another process waits at the database itself
        ask()
    assert [("writers' lock" in str(error), "pg_locks" in str(error)) for error in errors] == [(True, True)] * 2
    with store.lock():
        pass


@pytest.mark.parametrize("hours", [-1, 1])
def test_clock_off_by_an_hour_is_refused_before_anything_is_written(
    hours: int, location: str, table: TableName, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr(lock_module.time, "time", lambda: now() + hours * 3600)
    with (
        offline_store(location).connect() as lake,
        pytest.raises(
            StoreError, match=rf"clock is 3[56]\d\d s {'ahead of' if hours > 0 else 'behind'} that of the database.*NTP"
        ),
    ):
        write(lake, table, DAYS[0], times=2)
    monkeypatch.undo()
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 45.0)}


def append(lake: Lake, table: TableName, first: int) -> None:
    """Add ten rows to a day, as a stream's flush does."""
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE events AS SELECT range AS id, range::DOUBLE AS v, TIMESTAMP '{DAYS[1]}' AS at, "
        f"'{DAYS[1]}' AS _partition FROM range({first}, {first + 10})"
    )
    append_rows(lake, table, lambda before: Append("events", {0: first + 10}, ["id", "at"]), asset=table.name)


@pytest.mark.soak
def test_rows_of_a_stream_are_added_as_in_a_folder(location: str, table: TableName, tmp_path: Path) -> None:
    with offline_store(location).connect() as team, OfflineStore(tmp_path / "lake").connect() as own:
        write(own, table, DAYS[0])
        for lake in (team, own):
            for first in (0, 10, 10):  # the last one again, as after a restart
                append(lake, table, first)
        versions = [{key: one.data_version for key, one in lake.ledger(table).items()} for lake in (team, own)]
        assert versions[0] == versions[1]
        assert team.stream_positions(table) == own.stream_positions(table) == {0: 20}
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 45.0), DAYS[1]: (20, 190.0)}


@pytest.mark.soak
def test_merge_whose_answer_is_lost_loses_no_row(
    proxy: CuttingProxy, location: str, name: str, table: TableName, tmp_path: Path
) -> None:
    """The small files are no longer named, so the merged one must be there."""
    with offline_store(location).connect() as lake:
        for first in (0, 10):
            append(lake, table, first)
        assert len(current_files(lake, table, partitions=[DAYS[1]])) == 2
    with through(proxy, name).connect() as lake:
        proxy.cut_after, proxy.last_arrives = (b".ducklake_snapshot VALUES", b"COMMIT"), True
        with pytest.raises(duckdb.Error):
            merge_files(lake, table)
    assert proxy.cuts == 1
    with offline_store(location).connect() as lake:
        assert len(current_files(lake, table, partitions=[DAYS[1]])) == 1
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 45.0), DAYS[1]: (20, 190.0)}


@pytest.fixture
def refusing(server: BucketServer) -> Iterator[Callable[[Callable[[str, str], str | None]], None]]:
    def refuse(which: Callable[[str, str], str | None]) -> None:
        server.refuses = which

    yield refuse
    server.refuses, server.clock = lambda method, path: None, timedelta(0)


@pytest.mark.soak
def test_bucket_that_refuses_writes_leaves_the_old_rows(
    refusing: Callable[[Callable[[str, str], str | None]], None], location: str, table: TableName
) -> None:
    refusing(lambda method, path: "AccessDenied" if method in ("PUT", "POST") else None)
    with (
        offline_store(location).connect() as lake,
        pytest.raises(StoreError, match="Give this key the right") as caught,
    ):
        write(lake, table, DAYS[0], DAYS[1], times=2)
    assert "s3cret" not in str(caught.value)
    refusing(lambda method, path: None)
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 45.0)}
    with offline_store(location).connect() as lake:
        write(lake, table, DAYS[0], DAYS[1], times=2)
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 90.0), DAYS[1]: (10, 90.0)}


def test_wrong_key_of_the_bucket_is_named(location: str, table: TableName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    store = offline_store(location)
    with pytest.raises(StoreError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), store.connect() as lake:
        lake.rows(table).fetchall()
    with pytest.raises(StoreError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), store.connect() as lake:
        write(lake, table, DAYS[1])
    monkeypatch.undo()
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 45.0)}


def test_two_versions_of_the_code_do_not_write_one_table(location: str, table: TableName) -> None:
    """The newer one has a column more. The older one is refused after it, and says what to do; rows stay as they are."""
    with offline_store(location).connect() as newer:
        write(newer, table, DAYS[1], also=", 1 AS extra", addable=["extra"])
    with offline_store(location).connect() as older, pytest.raises(SchemaChangedError, match="extra.*version=2"):
        write(older, table, DAYS[2])
    assert contents(offline_store(location), table) == {DAYS[0]: (10, 45.0), DAYS[1]: (10, 45.0)}


@pytest.mark.soak
def test_a_backup_of_the_catalog_that_is_older_than_the_files_is_whole_and_goes_on(
    location: str, name: str, table: TableName
) -> None:
    if shutil.which("pg_dump") is None or shutil.which("pg_restore") is None:
        pytest.skip("pg_dump and pg_restore are not installed")
    server = ["-h", HOST.partition(":")[0], "-p", HOST.partition(":")[2], "-U", "postgres"]
    backup = subprocess.run(["pg_dump", *server, "-Fc", name], capture_output=True, check=True).stdout
    with offline_store(location).connect() as lake:
        write(lake, table, DAYS[0], DAYS[1], times=2)
    with database() as restored:
        subprocess.run(["pg_restore", *server, "-d", restored], input=backup, check=True)
        other = location.replace(f"/{name}?", f"/{restored}?")
        assert contents(offline_store(other), table) == {DAYS[0]: (10, 45.0)}
        with offline_store(other).connect() as lake:
            write(lake, table, DAYS[1])
        assert contents(offline_store(other), table) == {DAYS[0]: (10, 45.0), DAYS[1]: (10, 45.0)}
