"""What holds for all tests: a busy machine is no failure, what no test asks for is not done, and no run of theirs is among the
runs of whoever tests."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from tests.support.examples import examples
from tests.support.graph_trials import graphs_tried_here
from tests.support.instances import instances_made_at_little_cost
from tests.support.lakes import databases_kept, new_catalogs_copied

settings.register_profile("busy", deadline=None, max_examples=examples(100))
# What fails is known as soon as one example does: for whoever counts failures and looks at none.
settings.register_profile("unshrunk", settings.get_profile("busy"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("busy")

os.environ.pop("DAGSTER_HOME", None)


def pytest_collection_finish() -> None:
    """Do not look through all modules for garbage again and again: an eighth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture(autouse=True, scope="session")
def cheap_instances() -> Iterator[None]:
    """What Dagster's instances would each read or make is read or made once."""
    with instances_made_at_little_cost():
        yield


@pytest.fixture(autouse=True, scope="session")
def copied_catalogs() -> Iterator[None]:
    """New lakes are copies of one that is empty, and one DuckDB serves many."""
    with new_catalogs_copied(), databases_kept():
        yield


@pytest.fixture(autouse=True, scope="session")
def graph_trials() -> Iterator[None]:
    """Graphs that are published are run in the process of the tests."""
    with graphs_tried_here():
        yield
