"""What holds for all tests: a busy machine is no failure, what no test asks for is not done, and no run of theirs is among the
runs of whoever tests.

Dagster and the library are imported by the fixtures, since the process that hands tests to workers runs none.
"""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from tests.support.examples import examples

settings.register_profile("busy", deadline=None, max_examples=examples(100))
# What fails is known as soon as one example does: for whoever counts failures and looks at none.
settings.register_profile("unshrunk", settings.get_profile("busy"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("busy")

os.environ.pop("DAGSTER_HOME", None)


@pytest.fixture(autouse=True, scope="session")
def cheap_instances() -> Iterator[None]:
    """What Dagster's instances would each read or make is read or made once."""
    from tests.support.instances import instances_made_at_little_cost

    with instances_made_at_little_cost():
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Runs log to the console where a test reads it."""
    from tests.support.instances import CONSOLE

    CONSOLE["is read"] = not {"capsys", "capfd", "caplog", "capsysbinary", "capfdbinary"}.isdisjoint(
        getattr(item, "fixturenames", ())
    )


@pytest.fixture(autouse=True, scope="module")
def old_objects_not_searched() -> None:
    """What imports and earlier modules left is not searched again by each collection of garbage: by then it is a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def copied_catalogs() -> Iterator[None]:
    """New lakes are copies of one that is empty, and one DuckDB serves many."""
    from tests.support.lakes import databases_kept, new_catalogs_copied

    with new_catalogs_copied(), databases_kept():
        yield


@pytest.fixture(autouse=True, scope="session")
def graph_trials() -> Iterator[None]:
    """Graphs that are published are run in the process of the tests."""
    from tests.support.graph_trials import graphs_tried_here

    with graphs_tried_here():
        yield


SPARKS = ["sail", pytest.param("local", marks=pytest.mark.soak), pytest.param("workers", marks=pytest.mark.soak)]


@pytest.fixture(scope="session", params=SPARKS)
def spark_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Spark: Sail in the tests' own process, and in ``make soak`` Spark's own, alone and with two workers."""
    if request.param == "sail":
        yield "sail"
        return
    from tests.support.spark import spark_server

    with spark_server(tmp_path_factory.mktemp("spark"), workers=2 if request.param == "workers" else 0) as server:
        yield server.url
