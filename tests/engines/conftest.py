"""One session of each Spark a module, since a session costs more than most plans."""

from collections.abc import Iterator

import duckdb
import pytest

from fti_assets.engines.running import RunningEngine, SparkPlace
from tests.features import oracles


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with oracles.connection() as connection:
        yield connection


@pytest.fixture(scope="module")
def spark(
    spark_url: str, connection: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningEngine]:
    place = SparkPlace(spark_url, tmp_path_factory.mktemp("scratch with [odd] {letters}%20"))
    with RunningEngine("spark", place, connection, what="tests", log=lambda _: None) as engine:
        yield engine
