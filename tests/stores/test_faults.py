"""A disk that fails at any one file operation: the library's own error, a store that is whole, and a process that goes on."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fti_assets.errors import FtiError
from fti_assets.stores import models as models_module
from fti_assets.stores.unnamed_files import file_sizes
from tests.stores.faults import fault_at
from tests.stores.online_stores import load
from tests.stores.test_models import GRAPH, made, publish
from tests.stores.test_upkeep import House, put

MOST = 60
"""No operation here has more steps, which the tests check."""


def rows_of(*keys: str, value: float = 2.0) -> list[tuple[tuple[str], list[tuple[int, int, tuple[float]]]]]:
    return [((key,), [(0, 0, (value,))]) for key in keys]


def promote(house: House) -> None:
    models, (first, second) = house.models, [build.reference for build in house.models.builds("delay_net")][:2]
    other = second if models.champion("delay_net").reference == first else first
    models.promote("delay_net", other, expected=models.champion("delay_net").reference, reason="")


def roll_back(house: House) -> None:
    house.models.roll_back("delay_net", made(6).reference, reason="")


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


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    house = House(tmp_path_factory.mktemp("seed"))
    first, _ = publish(house.models, made(5), made(6))
    house.models.promote("delay_net", first, expected=None, reason="")
    load(house.online, rows_of("a", "b", "c", value=1.0))
    with house.offline.connect() as lake:
        put(lake, 1)
    return house.models.root.parent


@pytest.fixture
def houses(seed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], House]]:
    monkeypatch.setattr(models_module, "check_graph", lambda *arguments, **options: None)  # a process of its own

    def make() -> House:
        shutil.rmtree(tmp_path / "house", ignore_errors=True)
        shutil.copytree(seed, tmp_path / "house")
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
    houses: Callable[[], House], name: str, lasting: bool, code: int
) -> None:
    before = state(houses())
    done = houses()
    OPERATIONS[name](done)
    whole = {
        repr(before),
        repr(state(done)),
        repr((*before[:2], {})),
    }  # a dropped namespace is empty before its file goes
    for number in range(1, MOST):
        house = houses()
        with (
            fault_at(house.models.root.parent, number, code, lasting=lasting) as fault,
            suppress(FtiError),
        ):  # whatever else is raised fails the test
            OPERATIONS[name](house)
        assert repr(state(house)) in whole, fault.happened
        if fault.happened is None:
            break
        if repr(state(house)) == repr(before):  # the same objects go on when the disk does
            OPERATIONS[name](house)
            assert state(house) == state(done)
    assert number < MOST - 1


@pytest.mark.parametrize("number", range(1, 7))
def test_a_lake_on_a_failing_disk_is_the_librarys_error_and_goes_on(houses: Callable[[], House], number: int) -> None:
    house = houses()

    def check() -> None:
        with house.offline.connect() as lake, house.offline.lock():
            file_sizes(lake)

    with fault_at(house.offline.root, number, errno.EIO), suppress(FtiError):
        check()
    check()
