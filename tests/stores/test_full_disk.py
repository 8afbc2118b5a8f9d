"""A disk that is really full, at each step of what writes: the library's own error, and all goes on once there is room."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fti_assets.errors import DamagedError, FtiError
from tests.stores.test_faults import LAKE, OPERATIONS, filled_house, lake_rows, prepared, state
from tests.stores.test_upkeep import House
from tests.support.examples import repetitions
from tests.support.full_disks import files_at_most

WRITES: dict[str, Callable[[House], object]] = {
    **LAKE,
    **{name: operation for name, operation in OPERATIONS.items() if "read" not in name},
}
BYTES = [0, 20_000, 150_000, 260_000]
LAKE_BYTES = [20_000, 150_000]
"""Within the first transaction, and within a repair; 0 and 260,000 show of a lake what these show."""
PAGE = 4096


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_house(tmp_path_factory.mktemp("seed"))


@pytest.fixture(autouse=True)
def no_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fti_assets.stores.models.graph_trial.check_graph", lambda *arguments, **options: None
    )  # a process of its own


def house_of(seed: Path, root: Path, name: str) -> House:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(seed, root)
    return prepared(House(root), name)


def result(house: House, name: str) -> object:
    return lake_rows(house) if name in LAKE else state(house)


def refusal(name: str, house: House) -> FtiError | None:
    """What a write raises on a full disk: whatever is not the library's own fails the test."""
    error = None
    try:
        WRITES[name](house)
    except FtiError as refused:
        error = refused
    assert not isinstance(error, DamagedError), error
    assert error is None or re.search("room|mend the cause", str(error)), error
    return error


def check_goes_on(name: str, house: House, root: Path, done: object, number: int) -> None:
    """The same objects, or new ones, do it when there is room."""
    left = (house, House(root))[number % 2]
    WRITES[name](left)
    assert result(left, name) == done
    assert not [*root.rglob("catalog.new*"), *root.rglob("*.tmp")]


@pytest.mark.parametrize("name", WRITES)
def test_files_that_may_not_grow_leave_whole_stores(seed: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "house"
    house = house_of(seed, root, name)
    WRITES[name](house)
    done, refused = result(house, name), 0
    for number, size in enumerate(LAKE_BYTES if name in LAKE else BYTES):
        house = house_of(seed, root, name)
        with files_at_most(size):
            error = refusal(name, house)
        if error is None:
            assert result(house, name) == done
            continue
        refused += 1
        check_goes_on(name, house, root, done, number)
    assert refused


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("name", WRITES)
def test_refused_writes_leave_no_descriptor_open(seed: Path, tmp_path: Path, name: str) -> None:
    house, counts = house_of(seed, tmp_path / "house", name), []
    for _ in range(repetitions(20)):
        with files_at_most(0):
            assert refusal(name, house)
        counts.append(descriptors())
    assert counts[-1] == counts[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    mount = tmp_path / "disk"
    mount.mkdir()
    options = ["-t", "tmpfs", "-o", "size=12m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)


@contextmanager
def pages_left(disk: Path, pages: int) -> Iterator[None]:
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(os.statvfs(disk).f_bfree - pages, 1) * PAGE)
    try:
        yield
    finally:
        filler.unlink()


@pytest.mark.soak
@pytest.mark.parametrize("name", WRITES)
def test_every_page_at_which_a_disk_is_full(seed: Path, small_disk: Path, name: str) -> None:
    root: Any = small_disk / "house"
    house = house_of(seed, root, name)
    WRITES[name](house)
    done = result(house, name)
    whole = pages = 0
    while whole < 3:
        house = house_of(seed, root, name)
        with pages_left(small_disk, pages):
            error = refusal(name, house)
            if error is not None:
                error = refusal(name, house)  # there may be room now, since the first has left nothing
        whole = whole + 1 if error is None else 0
        if error is None:
            assert result(house, name) == done
        else:
            check_goes_on(name, house, root, done, pages)
        pages += 1
    assert pages > whole
