"""A team's lake on Spark: its catalog in Postgres, its files and the rows on their way in a bucket."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd
import pytest
from pyspark.sql import DataFrame

import fti_assets as fti
from tests.support.buckets import BucketServer, bucket_server
from tests.support.team_lakes import team_lake


@pytest.fixture
def server() -> Iterator[BucketServer]:
    with bucket_server("team") as server, pytest.MonkeyPatch.context() as patch:
        for variable, value in {**server.environment, "AWS_ALLOW_HTTP": "true"}.items():
            patch.setenv(variable, value)
        yield server


def test_a_group_and_its_rows_go_by_the_bucket(server: BucketServer) -> None:
    @fti.feature_group(keys=["id"])
    def houses() -> pd.DataFrame:
        return pd.DataFrame({"id": range(100), "size": [float(number % 7) for number in range(100)]})

    @fti.feature_group(keys=["id"], engine="spark", ins={"houses": houses})
    def large(houses: DataFrame) -> DataFrame:
        return houses.filter("size > 5")

    with team_lake(server) as lake, dg.DagsterInstance.ephemeral() as instance:
        stores = fti.Stores(lake=lake, spark=fti.SparkEngine(url="sail"))
        for group in (houses, large):
            dg.materialize([group.assets_def], instance=instance, resources={"fti": stores})
        assert len(fti.read(large, stores=stores)) == 14
        assert [key for key in server.keys("team") if "scratch" in key] == []
        assert any("scratch" in path for _, path in server.requests)
