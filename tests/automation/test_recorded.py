"""A lake that lost its newest commits is told from one that is whole, by what Dagster recorded."""

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.core.names import TableName
from fti_assets.orchestration.upkeep.recorded import lost_partitions, tables_of
from fti_assets.stores.lake.store import OfflineStore
from tests.stores.test_contents import flip_value
from tests.stores.test_damage import without_checksums
from tests.stores.test_lost_catalog import age, lose, of_data
from tests.support.instances import instance_at_home
from tests.support.partitions import range_tags

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")
RUNS = {"number": 0}


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def daily_things(context: dg.AssetExecutionContext) -> pd.DataFrame:
    days = [pd.Timestamp(day) for day in context.partition_keys]
    return pd.DataFrame({"id": 1, "at": days, "number": RUNS["number"]})


@fti.feature_group(keys=["id"])
def whole_things(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.DataFrame({"id": [1], "number": [RUNS["number"]]})


@fti.feature_group(keys=["id"], online=True)
def served_things(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.DataFrame({"id": [1], "number": [RUNS["number"]]})


GROUPS = [daily_things, whole_things]
ALL = [*GROUPS, served_things]


class System:
    """A lake under a home, and the Dagster that fills it."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.store, self.instance = OfflineStore(home / "lake"), instance
        self.stores = fti.Stores(lake=str(self.store.root), models=str(home / "models"), online=str(home / "online"))
        self.defs = fti.build_definitions(ALL, resources={"fti": self.stores}, jobs=[fti.upkeep_job()])

    def run(self, number: int, group: fti.FeatureGroup, days: str | None = None) -> None:
        RUNS["number"] = number
        tags = None
        if days is not None:
            tags = range_tags(*days.split(".."))
        assert dg.materialize(
            [group.assets_def], resources={"fti": self.stores}, instance=self.instance, tags=tags
        ).success

    def keep(self) -> bool:
        job = self.defs.resolve_job_def("upkeep")
        return job.execute_in_process(instance=self.instance, raise_on_error=False).success

    def lost(self) -> list[str]:
        tables = tables_of(self.defs.get_repository_def().assets_defs_by_key.values())
        with self.store.connect() as lake:
            return [str(one) for one in lost_partitions(lake, self.instance, tables)]

    def numbers(self) -> list[int]:
        return [int(number) for group in GROUPS for number in fti.read(group, stores=self.stores)["number"]]


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    with instance_at_home(tmp_path / "dagster", monkeypatch) as instance:
        yield System(tmp_path, instance)


def put_back(store: OfflineStore, copy: Path) -> None:
    lose(store, "gone")
    shutil.copy(copy, store.catalog)


def test_commits_that_an_old_catalog_lost_are_told(system: System, tmp_path: Path) -> None:
    system.run(1, daily_things, "2024-01-01..2024-01-03")
    system.run(1, whole_things)
    copy = shutil.copy(system.store.catalog, tmp_path / "copy")
    system.run(2, daily_things, "2024-01-03..2024-01-04")
    system.run(2, whole_things)
    numbers = system.numbers()
    assert (system.lost(), system.keep()) == ([], True)
    put_back(system.store, Path(copy))
    age(system.store)
    files = of_data(system.store)
    lost = [
        "features.daily_things_v1 2024-01-03",
        "features.daily_things_v1 2024-01-04",
        "features.whole_things_v1 all",
    ]
    assert (system.lost(), system.keep()) == (lost, False)
    assert of_data(system.store) == files
    system.run(3, daily_things, "2024-01-02..2024-01-02")  # takes the number of a snapshot that is lost
    assert system.lost() == lost
    assert main(["lake", "repair", "--lake", str(system.store.root)]) == 0
    assert (system.lost(), system.keep()) == ([], True)
    assert system.numbers() == [1, 3, *numbers[2:]]


def test_what_was_stored_after_it_was_recorded_is_no_loss(system: System) -> None:
    system.run(1, whole_things)
    table = TableName("features", "whole_things_v1")
    with system.store.connect() as lake:  # as of a run that was killed before it could tell Dagster
        lake.connection.execute(
            "CREATE TEMP TABLE staged AS SELECT 1::BIGINT AS id, 5::BIGINT AS number, 'all' AS _partition"
        )
        lake.replace(table, "staged", ["all"], asset="whole_things_v1")
    assert (system.lost(), system.keep()) == ([], True)


@pytest.mark.soak
def test_the_command_says_what_is_lost(
    system: System, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system.py").write_text(
        "import fti_assets as fti\nfrom tests.automation.test_recorded import GROUPS\n"
        f"defs = fti.build_definitions(GROUPS, resources={{'fti': fti.Stores(lake={str(system.store.root)!r})}})\n"
    )
    check = ["lake", "check", "-f", str(tmp_path / "system.py")]
    assert main(check) == 1
    assert "there is no offline store" in capsys.readouterr().err
    system.run(1, whole_things)
    copy = shutil.copy(system.store.catalog, tmp_path / "copy")
    system.run(2, whole_things)
    assert main(check) == 0
    assert "every partition is as Dagster recorded it, or newer" in capsys.readouterr().out
    put_back(system.store, Path(copy))
    assert main(check) == 1
    output = capsys.readouterr().err
    assert "lacks what Dagster recorded of 1 partition" in output
    assert f"fti lake repair --lake {system.store.root}" in output
    monkeypatch.delenv("DAGSTER_HOME")
    assert main(check) == 0
    assert "not compared with Dagster" in capsys.readouterr().out


@pytest.mark.soak
def test_a_lost_catalog_is_made_again_from_the_records(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        system.run(number, daily_things, "2024-01-01..2024-01-02")
        system.run(number, whole_things)
    rows = [fti.read(group, stores=system.stores) for group in GROUPS]
    lose(system.store, "gone")
    assert main(["lake", "repair", "--lake", str(system.store.root)]) == 0
    assert "is a new catalog" in capsys.readouterr().out
    for group, before in zip(GROUPS, rows, strict=True):
        after = fti.read(group, stores=system.stores).sort_values(list(before.columns), ignore_index=True)
        pd.testing.assert_frame_equal(after, before.sort_values(list(before.columns), ignore_index=True))
    assert (system.lost(), system.keep()) == ([], True)
    assert main(["lake", "repair", "--lake", str(system.store.root)]) == 0
    assert "nothing was missing" in capsys.readouterr().out


def test_a_missing_or_shortened_file_is_told(
    system: System, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system.run(1, daily_things, "2024-01-01..2024-01-04")
    (tmp_path / "system.py").write_text(
        "import fti_assets as fti\nfrom tests.automation.test_recorded import GROUPS\n"
        f"defs = fti.build_definitions(GROUPS, resources={{'fti': fti.Stores(lake={str(system.store.root)!r})}})\n"
    )
    check = ["lake", "check", "-f", str(tmp_path / "system.py")]
    assert main(check) == 0
    one, other, *_ = of_data(system.store)
    one.unlink()
    other.write_bytes(other.read_bytes()[:-1])
    assert main(check) == 1
    output = capsys.readouterr().err
    assert "2 files" in output
    assert one.name in output
    assert other.name in output


def test_a_flipped_value_is_told_by_the_command_and_by_upkeep(
    system: System, check: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    system.run(1, daily_things, "2024-01-01..2024-01-04")
    file = sorted(of_data(system.store))[2]
    flip_value(file, 'number, "at"')
    assert main(check) == 1
    assert f"do not have the bytes that were written: {str(file)!r}" in capsys.readouterr().err
    without_checksums(system.store)
    assert main(check) == 0
    assert main([*check, "--contents"]) == 1
    output = capsys.readouterr().err
    assert file.parent.name.removeprefix("_partition=") in output
    assert str(file) in output
    job = system.defs.resolve_job_def("upkeep")
    for contents in (False, True):
        config = {"ops": {"run_upkeep": {"config": {"contents": contents}}}}
        done = job.execute_in_process(instance=system.instance, raise_on_error=False, run_config=config)
        assert done.success is not contents
    (failed,) = [event for event in done.all_events if event.is_step_failure]
    assert str(file) in str(failed.step_failure_data.error)
    system.run(1, daily_things, "2024-01-01..2024-01-04")
    capsys.readouterr()
    assert main([*check, "--contents"]) == 0
    assert "4 of 4 partitions hold what was committed" in capsys.readouterr().out


def test_unnamed_files_are_deleted_by_the_command(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    system.run(1, whole_things)
    (named,) = of_data(system.store)
    shutil.copy(named, named.with_name("left.parquet"))
    delete = ["lake", "delete-unnamed", "--lake", str(system.store.root)]
    assert main(delete) == 0  # nobody can be asked
    output = capsys.readouterr().out
    assert f"left.parquet, {named.stat().st_size} bytes" in output
    assert "nothing was deleted" in output
    assert len(of_data(system.store)) == 2
    assert main([*delete, "--yes"]) == 0
    assert "deleted 1 file " in capsys.readouterr().out
    assert list(of_data(system.store)) == [named]


def test_unnamed_files_are_deleted_if_somebody_agrees(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.run(1, whole_things)
    (named,) = of_data(system.store)
    shutil.copy(named, named.with_name("left.parquet"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, left in (("n", 2), ("y", 1)):
        monkeypatch.setattr("builtins.input", lambda prompt, answer=answer: answer)
        assert main(["lake", "delete-unnamed", "--lake", str(system.store.root)]) == 0
        assert len(of_data(system.store)) == left


def test_only_copies_are_not_deleted_by_the_command(
    system: System, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    system.run(1, daily_things, "2024-01-01..2024-01-01")
    copy = shutil.copy(system.store.catalog, tmp_path / "copy")
    system.run(2, daily_things, "2024-01-02..2024-01-03")
    put_back(system.store, Path(copy))
    before = of_data(system.store)
    for problem in ("lacks what Dagster recorded of 2 partitions", "lacks 2 partitions"):
        assert main(["lake", "delete-unnamed", "--yes", "--lake", str(system.store.root)]) == 1
        output = capsys.readouterr().err
        assert problem in output
        assert "features.daily_things_v1 2024-01-02" in output
        assert of_data(system.store) == before
        monkeypatch.delenv("DAGSTER_HOME", raising=False)  # the second time nobody can be asked


def test_files_of_a_killed_first_run_can_be_deleted(system: System) -> None:
    system.run(1, daily_things, "2024-01-01..2024-01-01")
    (named,) = of_data(system.store)
    other = named.parent.with_name("_partition=2024-01-02")
    other.mkdir()
    shutil.copy(named, other)
    age(system.store)
    assert system.keep()  # Dagster knows the group, and no such partition of it
    assert list(of_data(system.store)) == [named]


def test_repair_names_what_is_lost_for_good(system: System, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    system.run(1, daily_things, "2024-01-01..2024-01-01")
    copy = shutil.copy(system.store.catalog, tmp_path / "copy")
    (first,) = of_data(system.store)
    system.run(2, daily_things, "2024-01-02..2024-01-03")
    put_back(system.store, Path(copy))
    for file in set(of_data(system.store)) - {first}:
        file.unlink()
    assert main(["lake", "repair", "--lake", str(system.store.root)]) == 1
    output = capsys.readouterr()
    assert "nothing was missing" not in output.out
    for day in ("2024-01-02", "2024-01-03"):
        assert f"features.daily_things_v1 {day}: lost, no file that is there holds the version" in output.out
    assert "2 partitions that Dagster recorded are not there" in output.err
    system.run(2, daily_things, "2024-01-02..2024-01-03")
    assert main(["lake", "repair", "--lake", str(system.store.root)]) == 0


def test_check_says_what_it_did_not_compare(system: System, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    system.run(1, daily_things, "2024-01-01..2024-01-03")
    file = tmp_path / "system.py"
    definitions = (
        "import fti_assets as fti\nfrom tests.automation.test_recorded import daily_things, whole_things\n"
        f"defs = fti.build_definitions([{{}}], resources={{{{'fti': fti.Stores(lake={str(system.store.root)!r})}}}})\n"
    )
    file.write_text(definitions.format("whole_things"))
    other = "features.daily_things_v1 is not in these definitions and was not compared"
    assert main(["lake", "check", "-f", str(file)]) == 1
    output = capsys.readouterr()
    assert other in output.out
    assert "as Dagster recorded it" not in output.out
    assert "nothing of the offline store" in output.err
    system.run(1, whole_things)
    assert main(["lake", "check", "-f", str(file)]) == 0
    output = capsys.readouterr()
    assert other in output.out
    assert "compared 1 partition of 1 table: every partition is as Dagster recorded it" in output.out
    file.write_text(definitions.format("daily_things, whole_things"))
    assert main(["lake", "check", "-f", str(file)]) == 0
    output = capsys.readouterr()
    assert "not compared" not in output.out
    assert "compared 4 partitions of 2 tables" in output.out


HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1])
held.execute("SELECT count(*) FROM sqlite_master").fetchone()
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def killed_writers(file: Path) -> Iterator[None]:
    """Leave a database and its journal behind as they are at the end of the block, as of a machine that stops there.

    The last one to close it would empty the journal; DuckDB's SQLite sees no other one that has it open in its own process.
    """
    command = [sys.executable, "-c", HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield
        left = {path: path.read_bytes() for path in (file, file.with_name(f"{file.name}-wal"))}
        holder.communicate("")
    for path, content in left.items():
        path.write_bytes(content)
    file.with_name(f"{file.name}-shm").unlink(missing_ok=True)


def flip(file: Path, place: Callable[[int], int]) -> None:
    content = bytearray(file.read_bytes())
    content[place(len(content))] ^= 0x10
    file.write_bytes(content)


PLACES: dict[str, Callable[[int], int]] = {
    "header": lambda size: 17,
    "first frame": lambda size: 200,
    "last frame": lambda size: size - 100,
}


@pytest.fixture
def check(system: System, tmp_path: Path) -> list[str]:
    """The command line of ``fti lake check``."""
    folders = {name: str(getattr(system.stores, name)) for name in ("lake", "models", "online")}
    (tmp_path / "system.py").write_text(
        "import fti_assets as fti\nfrom tests.automation.test_recorded import ALL\n"
        f"defs = fti.build_definitions(ALL, resources={{'fti': fti.Stores(**{folders!r})}})\n"
    )
    return ["lake", "check", "-f", str(tmp_path / "system.py")]


def put(files: dict[Path, bytes]) -> None:
    """Put a database and its journal where they were, as a machine that stopped left them."""
    for path, content in files.items():
        path.write_bytes(content)
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)


@pytest.mark.soak
def test_flipped_bit_in_journal_of_catalog_is_told(
    system: System, check: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    system.run(1, whole_things)
    catalog, journal = system.store.catalog, system.store.catalog.with_name("catalog.sqlite-wal")
    # Else the end of the journal is the checksum's, without which no row is lost.
    monkeypatch.setattr("fti_assets.stores.lake.lake.record_checksums", lambda lake, after: None)
    with killed_writers(catalog):
        system.run(2, whole_things)
    left = {path: path.read_bytes() for path in (catalog, journal)}
    for place in PLACES.values():
        put(left)
        flip(journal, place)
        assert int(fti.read(whole_things, stores=system.stores)["number"].iloc[0]) == 1  # SQLite says nothing
        assert system.lost() == ["features.whole_things_v1 all"]
        assert main(check) == 1
        assert "lacks what Dagster recorded of 1 partition" in capsys.readouterr().err
    assert not system.keep()
    assert main(["lake", "repair", "--lake", str(system.store.root)]) == 0
    assert int(fti.read(whole_things, stores=system.stores)["number"].iloc[0]) == 2
    assert (system.lost(), system.keep(), main(check)) == ([], True, 0)


def served(system: System) -> int:
    winner = system.stores.online_store().reader("served_things_v1").get((1,), 0)
    assert winner is not None
    return int(str(winner.values[0]))


def test_a_namespace_that_lost_its_newest_load_is_told(
    system: System, check: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    system.run(1, served_things)
    assert main(check) == 0
    file = tmp_path / "online" / "served_things_v1.sqlite"
    journal, copy = file.with_name(f"{file.name}-wal"), file.read_bytes()
    with killed_writers(file):
        system.run(2, served_things)
    left = {path: path.read_bytes() for path in (file, journal)}
    for place in (PLACES["first frame"], None):  # the other places are the catalog's, above
        put(left)
        if place is not None:
            flip(journal, place)
        else:  # an older copy
            journal.unlink()
            file.write_bytes(copy)
        assert served(system) == 1  # SQLite says nothing
        capsys.readouterr()
        assert main(check) == 1
        output = capsys.readouterr()
        assert "warning: the online namespace of served_things_v1" in output.err
        assert "Materialize served_things_v1 again" in output.err
        assert "every partition is as Dagster recorded it" in output.out
    assert system.keep()
    assert "Materialize served_things_v1 again" in capsys.readouterr().err  # where Dagster logs to
    system.run(2, served_things)
    assert (served(system), main(check)) == (2, 0)


def test_a_namespace_that_is_gone_is_told(system: System, check: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    system.run(1, served_things)
    system.stores.online_store().drop("served_things_v1")
    assert main(check) == 1
    assert "served_things_v1 in" in (output := capsys.readouterr().err)
    assert "is not there, and Dagster recorded its load" in output


def test_a_namespace_whose_rows_were_removed_is_told_and_mended_by_the_next_run(
    system: System, check: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    system.run(1, served_things)
    with closing(sqlite3.connect(tmp_path / "online" / "served_things_v1.sqlite")) as connection, connection:
        connection.execute("DELETE FROM rows")
    assert main(check) == 1
    assert re.search("served_things_v1 in .* says that it has [0-9]+ keys, and has 0: someone", capsys.readouterr().err)
    assert system.keep()
    assert "Materialize served_things_v1 again" in capsys.readouterr().err
    system.run(1, served_things)
    assert (served(system), main(check)) == (1, 0)
