"""A Spark of each kind: Sail in the tests' own process, and in ``make soak`` Spark's own, alone and with two workers.

One session a module, since a session costs more than most plans.
"""

from collections.abc import Iterator

import duckdb
import pytest

from fti_assets.engines.running import RunningEngine, SparkPlace
from tests.features import oracles
from tests.support.spark import spark_server

KINDS = ["sail", pytest.param("local", marks=pytest.mark.soak), pytest.param("workers", marks=pytest.mark.soak)]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with oracles.connection() as connection:
        yield connection


@pytest.fixture(scope="session", params=KINDS)
def spark_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Spark."""
    if request.param == "sail":
        yield "sail"
        return
    with spark_server(tmp_path_factory.mktemp("spark"), workers=2 if request.param == "workers" else 0) as server:
        yield server.url


@pytest.fixture(scope="module")
def spark(
    spark_url: str, connection: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningEngine]:
    place = SparkPlace(spark_url, tmp_path_factory.mktemp("scratch with [odd] {letters}%20"))
    with RunningEngine("spark", place, connection, what="tests", log=lambda _: None) as engine:
        yield engine
