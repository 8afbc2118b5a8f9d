"""Several processes on one home's event log: writers, a reader, kills and forks. Dagster's own stands the same tests."""

import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from fti_assets.event_log import PooledSqliteEventLogStorage
from tests.event_log import workers
from tests.event_log.events import mirrored, numbers

KINDS = [SqliteEventLogStorage, PooledSqliteEventLogStorage]
PATIENCE_S = 240
processes = get_context("forkserver")
processes.set_forkserver_preload(["dagster", "fti_assets.event_log", "tests.event_log.workers"])


# That Dagster's own stands the same test shows that it is a fair one.
@pytest.fixture(
    params=[pytest.param(KINDS[0], marks=pytest.mark.soak, id="dagster"), pytest.param(KINDS[1], id="pooled")]
)
def kind(request: pytest.FixtureRequest) -> Iterator[type[SqliteEventLogStorage]]:
    return request.param


def materialized_days(storage: SqliteEventLogStorage, asset: str) -> int:
    return len(storage.get_materialized_partitions(dg.AssetKey(asset)))


@pytest.mark.parametrize(
    "kinds", [pytest.param(KINDS[1:] * 2, marks=pytest.mark.soak), KINDS], ids=["two pooled", "one of each"]
)
def test_two_writers_and_a_reader_lose_nothing(tmp_path: Path, kinds: list[type[SqliteEventLogStorage]]) -> None:
    events, base = 60, str(tmp_path)
    reader = PooledSqliteEventLogStorage(base)
    writers = [
        processes.Process(target=workers.write, args=(kind, base, f"run_{number}", "shared", events))
        for number, kind in enumerate(kinds)
    ]
    for writer in writers:
        writer.start()
    observed = [0, 0, 0]
    while any(writer.is_alive() for writer in writers):
        for number in range(2):
            results = numbers(reader, f"run_{number}")
            assert results == list(range(len(results)))
            assert len(results) >= observed[number]
            observed[number] = len(results)
        shared = numbers(reader, "shared")
        assert len(shared) >= observed[2]
        observed[2] = len(shared)
    for writer in writers:
        writer.join(PATIENCE_S)
        assert writer.exitcode == 0
    assert sorted(numbers(reader, "shared")) == sorted([*range(events)] * 2)
    for number in range(2):
        assert numbers(reader, f"run_{number}") == list(range(events))
        assert materialized_days(reader, f"run_{number}") == 28
        assert numbers(reader, f"planned_run_{number}")[-1] == 41
    with reader.index_connection() as connection:
        (planned,) = connection.exec_driver_sql(
            "SELECT count(*) FROM asset_check_executions WHERE execution_status = 'PLANNED'"
        ).fetchone()
    assert planned == 2 * (39 + 40)  # by day but the one that was evaluated, and of the whole
    reader.dispose()


def test_a_killed_writer_loses_no_event(tmp_path: Path, kind: type[SqliteEventLogStorage]) -> None:
    chance, base, stored, first = random.Random(), str(tmp_path), set[int](), 0
    for _ in range(6):
        heard, result = processes.Pipe(duplex=False)
        writer = processes.Process(target=workers.write_until_killed, args=(kind, base, "a_run", first, result))
        writer.start()
        result.close()
        until = first + chance.randrange(1, 25)
        while until - 1 not in stored:
            assert heard.poll(PATIENCE_S)
            stored.add(heard.recv())
        writer.kill()
        writer.join(PATIENCE_S)
        assert writer.exitcode == -signal.SIGKILL
        with suppress(EOFError):
            while heard.poll():
                stored.add(heard.recv())
        for reading in KINDS:  # whichever opens it next
            storage = reading(base)
            results = numbers(storage, "a_run")
            assert results == list(range(len(results)))
            assert len(results) in {
                max(stored) + 1,
                max(stored) + 2,
            }  # the last may have been stored before it was said
            assert stored <= set(mirrored(storage))
            storage.dispose()
        first = len(results)
    for file in tmp_path.glob("*.db"):
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_forked_children_and_their_parent_store_beside_each_other(tmp_path: Path) -> None:
    heard, result = processes.Pipe(duplex=False)
    parent = processes.Process(
        target=workers.fork_while_writing, args=(PooledSqliteEventLogStorage, str(tmp_path), 25, result)
    )
    parent.start()
    assert heard.poll(PATIENCE_S)
    assert heard.recv() == []
    parent.join(PATIENCE_S)
    assert parent.exitcode == 0
    storage = SqliteEventLogStorage(str(tmp_path))
    assert numbers(storage, "children") == list(range(75))
    assert all(numbers(storage, f"child_{child}") == [0, 1, 2] for child in range(25))
    assert len(mirrored(storage)) == 150 + len(numbers(storage, "parent"))
