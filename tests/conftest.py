"""What holds for all tests: a busy machine is no failure, what no test asks for is not done, and no run of theirs is among the
runs of whoever tests."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from fti_assets.testing.instance import EventsInMemory, RunsInMemory
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
def copied_instances() -> Iterator[None]:
    """Dagster's own ephemeral instances are as those of ``fti_assets.testing``, on copies of an empty database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dagster._core.storage.runs.InMemoryRunStorage", RunsInMemory)
        patch.setattr("dagster._core.storage.event_log.InMemoryEventLogStorage", EventsInMemory)
        yield


@pytest.fixture(autouse=True, scope="session")
def copied_catalogs() -> Iterator[None]:
    """New lakes are copies of one that is empty."""
    with new_catalogs_copied():
        yield
