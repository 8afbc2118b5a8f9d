"""What the pooled event log stores and answers, beside Dagster's own."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import DagsterEventType
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import text
from sqlalchemy.engine import Connection

from fti_assets.event_log import PooledSqliteEventLogStorage, databases
from tests.event_log.events import entry, events_of_a_run, materialized, numbers, tables
from tests.event_log.files import open_files

SETTINGS = {"module": "fti_assets.event_log", "class": "PooledSqliteEventLogStorage"}


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[PooledSqliteEventLogStorage]:
    storage = PooledSqliteEventLogStorage(str(tmp_path / "pooled"))
    yield storage
    storage.dispose()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_so()


def instance_of(home: Path, **config: object) -> dg.DagsterInstance:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(
        yaml.safe_dump({"telemetry": {"enabled": False}, "event_log_storage": {**SETTINGS, **config}})
    )
    return dg.DagsterInstance.from_config(str(home))


def test_the_files_are_those_that_dagsters_own_makes(tmp_path: Path) -> None:
    held = []
    for kind in (SqliteEventLogStorage, PooledSqliteEventLogStorage):
        storage = kind(str(tmp_path / kind.__name__))
        for run in ("a_run", "another"):
            for event in events_of_a_run(run):
                storage.store_event(event)
        storage.dispose()
        held.append(tables(tmp_path / kind.__name__))
    assert list(held[0]) == ["a_run.db", "another.db", "index.db"]
    assert held[1] == held[0]


def test_tables_are_made_once_and_a_half_made_database_is_finished(
    storage: PooledSqliteEventLogStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run's database is a copy of the first; what another process has begun is not overwritten, and nothing is left beside."""
    made = []
    whole = PooledSqliteEventLogStorage._initdb

    def counted(self: PooledSqliteEventLogStorage, engine: Any, *others: Any, **more: Any) -> None:
        made.append(Path(engine.url.database).name)
        whole(self, engine, *others, **more)

    monkeypatch.setattr(PooledSqliteEventLogStorage, "_initdb", counted)
    for number in range(3):
        storage.store_event(materialized(f"run_{number}", number))
    assert made == ["run_0.db"]
    with closing(sqlite3.connect(tmp_path / "pooled" / "half.db")) as connection:
        connection.execute("CREATE TABLE begun (x)")
    storage.store_event(materialized("half", 7))
    assert made == ["run_0.db", "half.db"]
    with closing(sqlite3.connect(tmp_path / "pooled" / "half.db")) as connection:
        assert connection.execute("SELECT count(*) FROM begun").fetchone() == (0,)
    assert [numbers(storage, name) for name in ("run_0", "run_1", "run_2", "half")] == [[0], [1], [2], [7]]
    monkeypatch.setattr(databases.os.path, "exists", lambda path: False)
    storage._new._copy_to(str(tmp_path / "pooled" / "run_1.db"))
    assert numbers(storage, "run_1") == [1], "whoever comes second leaves the first one's file"
    assert not list((tmp_path / "pooled").glob(".new_*"))
    modes = []
    for name in ("run_0", "run_2"):
        with closing(sqlite3.connect(tmp_path / "pooled" / f"{name}.db")) as connection:
            modes.append(connection.execute("PRAGMA journal_mode").fetchone())
    assert modes == [("wal",), ("wal",)]


def test_a_home_passes_from_dagsters_own_and_back(tmp_path: Path) -> None:
    base = str(tmp_path / "runs")
    for number, kind in enumerate(
        [SqliteEventLogStorage, PooledSqliteEventLogStorage, SqliteEventLogStorage, PooledSqliteEventLogStorage]
    ):
        storage = kind(base)
        storage.store_event(materialized("a_run", number))
        storage.store_event(materialized(f"run_{number}", number))
        assert numbers(storage, "a_run") == list(range(number + 1))
        assert [numbers(storage, f"run_{earlier}") for earlier in range(number + 1)] == [
            [earlier] for earlier in range(number + 1)
        ]
        assert len(storage.get_materialized_partitions(dg.AssetKey("orders"))) == number + 1
        storage.dispose()


def test_an_instance_keeps_its_log_where_dagster_would(tmp_path: Path) -> None:
    with instance_of(tmp_path / "home") as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("orders"))
        assert type(instance.event_log_storage) is PooledSqliteEventLogStorage
        with dg.DagsterInstance.from_ref(instance.get_ref()) as again:  # as a run's process gets it
            assert again.get_latest_materialization_event(dg.AssetKey("orders")) is not None
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as plain:
        assert type(plain.event_log_storage) is SqliteEventLogStorage
        assert plain.get_latest_materialization_event(dg.AssetKey("orders")) is not None


def test_an_instance_keeps_its_log_where_it_is_told(tmp_path: Path) -> None:
    with instance_of(tmp_path / "home", config={"base_dir": str(tmp_path / "elsewhere")}) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("orders"))
        instance.dispose()
        assert (tmp_path / "elsewhere" / "index.db").exists()


def test_commit_waits_for_no_disk_in_wal_mode_alone(storage: PooledSqliteEventLogStorage, tmp_path: Path) -> None:
    def settings(run: str) -> tuple[str, int]:
        with storage.run_connection(run) as connection:
            mode, synchronous = (
                connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")
            )
        return mode, synchronous

    assert settings("a_run") == ("wal", 1)
    assert settings("index") == ("wal", 1)
    storage.dispose()
    with closing(sqlite3.connect(storage.path_for_shard("a_run"))) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").close()
    assert settings("a_run") == ("delete", 2)  # where NORMAL could damage the file


def test_end_of_run_and_what_has_no_run_wait_for_disk(tmp_path: Path) -> None:
    waited: list[tuple[str, int]] = []

    class Told(PooledSqliteEventLogStorage):
        @contextmanager
        def _connect(self, shard: str) -> Iterator[Connection]:
            with super()._connect(shard) as connection:
                waited.append((shard, connection.exec_driver_sql("PRAGMA synchronous").scalar_one()))
                yield connection

    storage = Told(str(tmp_path))
    storage.store_event(materialized("a_run", 0))  # makes the database
    waited.clear()
    storage.store_event(materialized("a_run", 1))
    assert waited == [("a_run", 1), ("index", 1)]
    waited.clear()
    storage.store_event(entry("a_run", 2, DagsterEventType.RUN_SUCCESS))
    assert waited == [("a_run", 2), ("index", 2)]
    waited.clear()
    storage.store_event(materialized("", 3))
    assert waited == [("", 2), ("index", 2)]
    waited.clear()
    storage.store_event(materialized("a_run", 4))
    assert waited == [("a_run", 1), ("index", 1)]
    storage.dispose()


def test_many_runs_take_a_bounded_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fti_assets.event_log.storage.OPEN_DATABASES", 4)
    storage = PooledSqliteEventLogStorage(str(tmp_path))
    for _ in range(2):
        for run in range(12):
            storage.store_event(materialized(f"run_{run}", run))
            assert len(open_files(tmp_path)) <= 3 * 4 + 1  # one that SQLite closes later
    assert [numbers(storage, f"run_{run}") for run in range(12)] == [[run, run] for run in range(12)]
    storage.dispose()
    assert open_files(tmp_path) == []
    assert numbers(storage, "run_0") == [0, 0]  # it opens again what is asked for
    storage.dispose()


def test_a_database_that_was_deleted_meanwhile_is_made_anew(
    storage: PooledSqliteEventLogStorage, tmp_path: Path
) -> None:
    storage.store_event(entry("a_run", 1))
    assert numbers(storage, "a_run") == [1]
    other = PooledSqliteEventLogStorage(str(tmp_path / "pooled"))
    other.wipe()
    assert numbers(storage, "a_run") == []
    other.wipe()
    other.store_event(entry("a_run", 2))
    storage.store_event(entry("a_run", 3))
    assert numbers(storage, "a_run") == numbers(other, "a_run") == [2, 3]
    other.dispose()
    storage.dispose()
    assert numbers(SqliteEventLogStorage(str(tmp_path / "pooled")), "a_run") == [2, 3]


@pytest.mark.soak
def test_the_events_of_a_deleted_run_are_gone_everywhere(tmp_path: Path) -> None:
    with instance_of(tmp_path / "home") as instance, instance_of(tmp_path / "home") as beside:

        @dg.asset
        def orders() -> None: ...

        kept, deleted = (dg.materialize([orders], instance=instance).run_id for _ in range(2))
        assert beside.all_logs(deleted)
        instance.delete_run(deleted)
        assert instance.all_logs(deleted) == beside.all_logs(deleted) == []
        assert beside.all_logs(kept)
        assert [record.run_id for record in beside.fetch_materializations(orders.key, limit=5).records] == [kept]


def test_wiping_leaves_nothing(storage: PooledSqliteEventLogStorage, tmp_path: Path) -> None:
    for event in events_of_a_run("a_run"):
        storage.store_event(event)
    storage.wipe()
    assert sorted(path.name for path in (tmp_path / "pooled").glob("*.db")) == ["index.db"]
    assert numbers(storage, "a_run") == []
    assert not storage.has_asset_key(dg.AssetKey("orders"))
    storage.store_event(materialized("a_run", 5))
    assert numbers(storage, "a_run") == [5]


def test_an_old_home_is_migrated_as_by_dagsters_own(tmp_path: Path) -> None:
    migrated = []
    for kind in (SqliteEventLogStorage, PooledSqliteEventLogStorage):
        base = tmp_path / kind.__name__
        made = SqliteEventLogStorage(str(base))
        made.store_event(materialized("a_run", 1))
        for file in base.glob("*.db"):  # as they were before the newest migration
            with closing(sqlite3.connect(file)) as connection:
                connection.execute("ALTER TABLE concurrency_limits DROP COLUMN using_default_limit")
                connection.execute("UPDATE alembic_version SET version_num = '6b7fb194ff9c'")
                connection.commit()
        storage = kind(str(base))
        storage.store_event(materialized("a_run", 2))
        before, head = storage.alembic_version()
        assert before == "6b7fb194ff9c" != head
        assert not storage.has_default_pool_limit_col
        storage.upgrade()
        assert storage.alembic_version() == (head, head)
        storage.store_event(materialized("a_run", 3))
        storage.store_event(materialized("new_run", 4))
        storage.dispose()
        assert kind(str(base)).has_default_pool_limit_col
        migrated.append(tables(base))
    assert migrated[1] == migrated[0]


def test_result_read_in_part_holds_nobody_at_old_state(storage: PooledSqliteEventLogStorage, tmp_path: Path) -> None:
    for number in range(300):
        storage.store_event(entry("a_run", number))
    with storage.run_connection("a_run") as connection:
        held = connection.execute(text("SELECT * FROM event_logs"))
        held.fetchone()
    other = PooledSqliteEventLogStorage(str(tmp_path / "pooled"))
    other.store_event(entry("a_run", 300))
    assert len(numbers(storage, "a_run")) == 301
    storage.store_event(entry("a_run", 301))
    assert len(numbers(other, "a_run")) == 302
    assert not held.closed
    other.dispose()


def test_who_watches_run_is_told_of_each_event_of_another_storage(
    storage: PooledSqliteEventLogStorage, tmp_path: Path
) -> None:
    storage.store_event(entry("a_run", 0))
    cursor = storage.get_records_for_run("a_run").cursor
    writer = PooledSqliteEventLogStorage(str(tmp_path / "pooled"))
    heard: list[str] = []

    def hear(event: dg.EventLogEntry, _: str) -> None:
        heard.append(event.user_message)

    storage.watch("a_run", cursor, hear)
    for number in range(1, 60):  # one at a time: the last of a few is the one that is easily missed
        writer.store_event(entry("a_run", number))
        wait_until(lambda number=number: len(heard) == number)
    for number in range(60, 200):
        writer.store_event(entry("a_run", number))
        writer.store_event(entry("another", number))
    wait_until(lambda: len(heard) == 199)
    assert heard == [str(number) for number in range(1, 200)]
    storage.end_watch("a_run", hear)
    writer.store_event(entry("a_run", 200))
    time.sleep(0.3)
    assert len(heard) == 199
    writer.dispose()


def test_a_transaction_that_is_being_written_is_waited_for(storage: PooledSqliteEventLogStorage) -> None:
    storage.store_event(entry("a_run", 0))
    writer = sqlite3.connect(storage.path_for_shard("a_run"), check_same_thread=False, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO event_logs (run_id, event, timestamp) SELECT run_id, event, timestamp FROM event_logs")
    ended = threading.Timer(0.5, lambda: writer.execute("COMMIT"))
    ended.start()
    storage.wait_for_writer("a_run")
    assert numbers(storage, "a_run") == [0, 0]
    ended.join()
    writer.close()
