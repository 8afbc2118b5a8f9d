"""Most files of a lake are ones that its catalog does not name: Dagster's record tells killed writers' from the only copies of rows."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from fti_assets.errors import DamagedError
from fti_assets.forget import Forgotten, forget
from tests.automation.test_recorded import System, daily_things, put_back, whole_things
from tests.stores.test_lost_catalog import age, of_data
from tests.support.instances import instance_at_home


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    with instance_at_home(tmp_path / "dagster", monkeypatch) as instance:
        yield System(tmp_path, instance)


def leave_orphans(system: System, day: str, number: int = 8, *, after_run: float = 0.0) -> set[Path]:
    """Files with rows that nobody stored, as the last run would have written them, or another so many seconds after its end."""
    [record] = system.instance.get_run_records(limit=1)
    written_ms = int((record.end_time or 0.0) * 1000 + after_run * 1000)
    folder = system.store.root / "data" / "features" / "daily_things_v1" / f"_partition={day}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in range(number):
        rows = duckdb.sql(f"SELECT 1 AS id, TIMESTAMP '{day}' AS at, {100 + name} AS number, '{day}' AS _partition")
        time = f"{written_ms:012x}"
        rows.write_parquet(str(folder / f"ducklake-{time[:8]}-{time[8:]}-7000-8000-00000000000{name}.parquet"))
    return set(folder.glob("ducklake-*-7000-8000-*"))


def forget_key(system: System, key: str = "1") -> Forgotten:
    return forget(system.defs, "daily_things", {"id": key}, stores=system.stores, expire=True)


DAYS = ("2024-01-02", "2024-01-04")
"""One that is stored, and one that was never run to its end."""


def test_forget_expires_beside_many_orphans(system: System) -> None:
    system.run(1, daily_things, "2024-01-01..2024-01-03")
    system.run(1, whole_things)
    orphans = {file for day in DAYS for file in leave_orphans(system, day)}
    done = forget_key(system)
    assert done.expired is not None
    assert not done.expired.holding
    assert not orphans & set(of_data(system.store))
    assert system.numbers() == [1]  # of the other group


def test_upkeep_deletes_many_orphans(system: System) -> None:
    system.run(1, daily_things, "2024-01-01..2024-01-03")
    orphans = {file for day in DAYS for file in leave_orphans(system, day)}
    age(system.store)
    assert system.keep()
    assert not orphans & set(of_data(system.store))
    assert len(of_data(system.store)) == 3


def test_orphans_of_a_table_never_stored_go(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.run(1, whole_things)
    with monkeypatch.context() as patch:
        patch.setattr("tests.automation.test_recorded.pd.DataFrame", interrupt)
        with pytest.raises(dg.DagsterExecutionInterruptedError):
            system.run(1, daily_things, "2024-01-01..2024-01-03")
    orphans = leave_orphans(system, "2024-01-01")
    age(system.store)
    assert system.keep()
    assert not orphans & set(of_data(system.store))


def interrupt(*_: object, **__: object) -> None:
    raise dg.DagsterExecutionInterruptedError


@pytest.mark.soak
def test_an_old_catalog_lets_nothing_be_deleted(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether Dagster's record is there, is none, is another Dagster's, or is of one that began later."""
    system.run(1, daily_things, "2024-01-01..2024-01-02")
    copy = shutil.copy(system.store.catalog, tmp_path / "copy")
    for number in range(2, 5):
        system.run(number, daily_things, "2024-01-02..2024-01-04")
    put_back(system.store, Path(copy))
    age(system.store)

    def refuses() -> None:
        before = of_data(system.store)
        assert not system.keep()
        with pytest.raises(DamagedError, match=r"(lacks what Dagster recorded|the catalog seems to be an old one)"):
            forget_key(system)
        assert of_data(system.store) == before

    refuses()
    with monkeypatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.delenv("DAGSTER_HOME")
        system.instance = instance
        refuses()
    with instance_at_home(tmp_path / "other", monkeypatch) as instance:
        system.instance = instance
        refuses()
        system.run(7, daily_things, "2024-01-02..2024-01-02")
        age(system.store)
        refuses()


@pytest.mark.soak
def test_a_record_as_old_as_the_catalog_lets_nothing_be_deleted(system: System) -> None:
    system.run(1, daily_things, "2024-01-01..2024-01-03")
    orphans = leave_orphans(system, "2024-01-02", after_run=3600)
    age(system.store)
    system.run(2, whole_things)
    assert not system.keep()
    with pytest.raises(DamagedError, match="the catalog seems to be an old one"):
        forget_key(system)
    assert orphans <= set(of_data(system.store))
