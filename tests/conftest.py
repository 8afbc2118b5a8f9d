"""What holds for all tests: a busy machine is no failure, what no test asks for is not done, and no run of theirs is among the
runs of whoever tests."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.examples import examples
from tests.support.lakes import new_catalogs_copied

settings.register_profile("busy", deadline=None, max_examples=examples(100))
settings.load_profile("busy")

os.environ.pop("DAGSTER_HOME", None)


def pytest_collection_finish() -> None:
    """Do not look through all modules for garbage again and again: an eighth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture(autouse=True, scope="session")
def unstamped() -> Iterator[None]:
    """Dagster's storages in memory do not note which migrations they have, for which they would read a hundred files each."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("event_log", "runs"):
            patch.setattr(f"dagster._core.storage.{kind}.in_memory.stamp_alembic_rev", lambda *_: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def copied_catalogs() -> Iterator[None]:
    """New lakes are copies of one that is empty."""
    with new_catalogs_copied():
        yield
