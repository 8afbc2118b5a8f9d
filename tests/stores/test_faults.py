"""A disk that fails at any one file operation: the library's own error, a store that is whole, and a process that goes on."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.errors import DamagedError, FtiError, StoreError
from fti_assets.features.publish import keep_rejected
from fti_assets.features.rows.staging import StagedRows
from fti_assets.stores.duckdb.extensions import connect_in_memory
from fti_assets.stores.files import files_under
from fti_assets.stores.lake.upkeep.rejected_rows import rejected_rows
from fti_assets.stores.lake.upkeep.repair import repair
from fti_assets.stores.lake.upkeep.unnamed_files import file_sizes
from tests.stores.faults import fault_at
from tests.stores.online_stores import load
from tests.stores.test_models import GRAPH, made, publish
from tests.stores.test_upkeep import ROWS, House, content, put
from tests.support.examples import SOAK

MOST = 100
"""No operation here has more steps, which the tests check."""
STRIDE = 1 if SOAK else 3
"""Of the steps that a disk fails at for a while each is tried, of those that it fails at for good each third, and all in ``make soak``."""


def rows_of(*keys: str, value: float = 2.0) -> list[tuple[tuple[str], list[tuple[int, int, tuple[float]]]]]:
    return [((key,), [(0, 0, (value,))]) for key in keys]


def promote(house: House) -> None:
    models, (first, second) = house.models, [build.reference for build in house.models.builds("delay_net")][:2]
    other = second if models.champion("delay_net").reference == first else first
    models.promote("delay_net", other, expected=models.champion("delay_net").reference, reason="by hand")


def roll_back(house: House) -> None:
    house.models.roll_back("delay_net", made(6).reference, reason="by hand")


def read_models(house: House) -> None:
    house.models.load("delay_net", house.models.champion("delay_net").reference)
    house.models.newest_accepted("delay_net")


def apply(house: House) -> None:
    with house.online.writing("weather_v1") as writer:
        writer.apply(iter([]), [b"a"], answers_from=None, snapshot=2, origin="")


def read_online(house: House) -> None:
    house.online.namespaces()
    house.online.reader("weather_v1").get(("a",), 0)


OPERATIONS: dict[str, Callable[[House], object]] = {
    "publish": lambda house: house.models.publish(made(7), GRAPH, "card"),
    "promote": promote,
    "roll back": roll_back,
    "read models": read_models,
    "load": lambda house: load(house.online, rows_of("b", "c", "d")),
    "apply": apply,
    "delete": lambda house: house.online.delete("weather_v1", [("a",)]),
    "drop": lambda house: house.online.drop("weather_v1"),
    "read online": read_online,
}


def filled_house(root: Path) -> Path:
    """Stores with a champion and another build, three keys online, and one partition."""
    house = House(root)
    first, _ = publish(house.models, made(5), made(6))
    house.models.promote("delay_net", first, expected=None, reason="by hand")
    load(house.online, rows_of("a", "b", "c", value=1.0))
    with house.offline.connect() as lake:
        put(lake, 1)
    return house.models.root.parent


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_house(tmp_path_factory.mktemp("seed"))


@pytest.fixture
def houses(seed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., House]]:
    monkeypatch.setattr(
        "fti_assets.stores.models.graph_trial.check_graph", lambda *arguments, **options: None
    )  # a process of its own

    def make(*, lake: bool = True) -> House:
        shutil.rmtree(tmp_path / "house", ignore_errors=True)
        shutil.copytree(seed, tmp_path / "house", ignore=None if lake else lambda folder, names: {"lake"} & {*names})
        return House(tmp_path / "house")

    return make


def online_rows(house: House) -> dict[str, object]:
    if "weather_v1" not in house.online.namespaces():
        return {}
    keys = [("a",), ("b",), ("c",), ("d",)]
    reader = house.online.reader("weather_v1")
    return {key[0]: winner.values for key in keys if (winner := reader.get(key, 0)) is not None}


def state(house: House) -> tuple[object, ...]:
    builds = [build.reference for build in house.models.builds("delay_net")]
    return builds, house.models.champion("delay_net").reference, online_rows(house)


@pytest.mark.parametrize(
    ("code", "lasting"), [(errno.ENOSPC, False), (errno.EIO, True)], ids=["full for a while", "broken for good"]
)
@pytest.mark.parametrize("name", OPERATIONS)
def test_any_failing_file_operation_leaves_all_or_nothing(
    houses: Callable[..., House], name: str, lasting: bool, code: int
) -> None:
    before = state(houses(lake=False))
    done = houses(lake=False)
    OPERATIONS[name](done)
    after = state(done)
    dropped = (*before[:2], {})  # a dropped namespace is empty before its file goes
    power_cuts = 0
    for number in range(1, MOST, STRIDE if lasting else 1):
        house = houses(lake=False)
        result = ""
        with fault_at(house.models.root.parent, number, code, lasting=lasting) as fault:
            try:
                OPERATIONS[name](house)
            except FtiError as error:  # whatever else is raised fails the test
                result = str(error)
        then = state(house)
        assert then in (before, after, dropped), fault.happened
        if "Nothing was changed" in result:
            assert then == before, fault.happened
        if "a power cut may undo it" in result:
            assert then == after, fault.happened
            power_cuts += 1
        if fault.happened is None:
            break
        if then == before:  # the same objects go on when the disk does
            OPERATIONS[name](house)
            assert state(house) == after
    assert fault.happened is None
    if STRIDE == 1 or not lasting:
        assert (power_cuts > 0) == (name in ("publish", "promote", "roll back"))  # those that rename


@pytest.mark.parametrize("number", range(1, 7))
def test_lake_on_failing_disk_is_librarys_error_and_goes_on(houses: Callable[[], House], number: int) -> None:
    house = houses()

    def check() -> None:
        with house.offline.connect() as lake, house.offline.lock():
            file_sizes(lake)

    with fault_at(house.offline.root, number, errno.EIO), suppress(FtiError):
        check()
    check()


def write_lake(house: House) -> None:
    with house.offline.connect() as lake:
        put(lake, 2)


def keep_lake(house: House) -> None:
    house.keep(grace=timedelta(0))


def repair_lake(house: House) -> None:
    repair(house.offline, {}, above=9)


LAKE: dict[str, Callable[[House], object]] = {
    "write": write_lake,
    "a new lake": write_lake,
    "upkeep": keep_lake,
    "repair": repair_lake,
}


def prepared(house: House, name: str) -> House:
    match name:
        case "a new lake":
            shutil.rmtree(house.offline.root)
        case "repair":
            for file in house.offline.root.glob("catalog.sqlite*"):
                file.unlink()
    return house


def lake_rows(house: House) -> list[tuple[object, ...]]:
    if not house.offline.has_catalog:
        return []
    with house.offline.connect() as lake:
        return content(lake, lake.snapshot()) if lake.has(ROWS) else []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "write" else pytest.mark.soak) for name in LAKE]
)
def test_a_lake_is_whole_whatever_kind_of_operation_fails(houses: Callable[[], House], name: str) -> None:
    """One of each kind that Python makes, for good; DuckDB's own do not pass by Python."""
    before = lake_rows(prepared(houses(), name))
    done = prepared(houses(), name)
    with fault_at(done.offline.root, 0, errno.EIO) as none:
        LAKE[name](done)
    after = lake_rows(done)
    assert len(after) == 20
    for number in sorted({kind: number for number, kind in enumerate(none.asked, start=1)}.values()):
        house = prepared(houses(), name)
        with (
            fault_at(house.offline.root, number, errno.EIO, lasting=True) as fault,
            suppress(FtiError),
        ):  # whatever else is raised fails the test
            LAKE[name](house)
        assert fault.happened is not None
        assert lake_rows(house) in (before, [], after), fault.happened
        LAKE[name](house)
        assert lake_rows(house) == after, fault.happened


def keep_rejected_rows(folder: Path) -> None:
    staged = StagedRows("", 2, [], pd.DataFrame({"id": [1, 2]}))
    keep_rejected(folder / "rejected" / "run.jsonl", staged)


def remove_rejected_rows(folder: Path) -> None:
    assert rejected_rows(folder / "rejected", lambda row: row["id"] == 1, remove=True) == (1, 2)


def read_version(folder: Path) -> None:
    with connect_in_memory() as connection:
        fti.ParquetFiles(path=folder).version(connection)


ASIDE: dict[str, Callable[[Path], object]] = {
    "keep rejected rows": keep_rejected_rows,
    "remove rejected rows": remove_rejected_rows,
    "files under a folder": lambda folder: list(files_under(folder)),
    "version of Parquet files": read_version,
}


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO], ids=["forbidden", "broken"])
@pytest.mark.parametrize("name", ASIDE)
def test_what_lies_beside_stores_fails_with_librarys_error(tmp_path: Path, name: str, code: int) -> None:
    passed: list[str | None] = []
    seed = tmp_path / "seed"
    (seed / "rejected").mkdir(parents=True)
    (seed / "rejected" / "day.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    begun = seed / "rejected" / ".day.jsonl.0a1b2c3d.tmp"
    begun.write_text('{"id":')
    os.utime(begun, (0, 0))
    duckdb.sql("SELECT 1 AS id").write_parquet(str(seed / "a.parquet"))
    for number in range(1, MOST):
        folder = shutil.copytree(seed, tmp_path / str(number))
        with fault_at(folder, number, code) as fault:
            try:
                ASIDE[name](folder)
                passed.append(fault.happened)
            except StoreError:
                pass
        if fault.happened is None:
            break
    assert number < MOST - 1
    assert passed.pop() is None
    # Of a folder that is there, and of whether a folder is a link: nothing else is passed over.
    assert {str(happened).split()[0] for happened in passed} <= {"mkdir", "lstat"}


def test_a_rejected_row_that_is_none_is_damage(tmp_path: Path) -> None:
    (tmp_path / "day.jsonl").write_text('{"id": 1}\n{"id":\n')
    with pytest.raises(DamagedError, match=r"day\.jsonl keeps rejected rows aside"):
        rejected_rows(tmp_path, lambda row: False, remove=False)
