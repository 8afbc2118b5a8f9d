"""A user's function in a step that reads one partition where there are several, or none."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-10")


def of_one_day(context: dg.AssetExecutionContext) -> pd.DataFrame:
    day = pd.Timestamp(context.partition_key)
    return pd.DataFrame({"customer": [1], "at": [day]})


days = fti.feature_group(name="days", keys=["customer"], event_time="at", partitions_def=DAYS)(of_one_day)
whole = fti.feature_group(name="whole", keys=["customer"], event_time="at")(of_one_day)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def failure(group: object, partition: object, folder: Path, instance: dg.DagsterInstance) -> str:
    """What the failed step says on the run's page."""
    stores = testing.stores_in(folder)
    ended = testing.materialize(
        group, stores=stores, partition=partition, instance=instance, raise_on_error=False  # type: ignore[arg-type]
    )  # fmt: skip
    assert not ended.success
    (run,) = ended.runs.values()
    data = run.get_step_failure_events()[0].step_failure_data
    return str((data.error.cause or data.error).message)


def test_one_day_is_stored(tmp_path: Path) -> None:
    assert len(testing.materialize(days, stores=testing.stores_in(tmp_path), partition="2024-01-02").rows(days)) == 1


def test_a_range_says_how_to_take_them_all(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    result = failure(days, ("2024-01-02", "2024-01-04"), tmp_path, instance)
    assert (
        "DataError: days_v1 reads context.partition_key, but this run is of 3 partitions, 2024-01-02 to 2024-01-04"
        in result
    )
    assert 'fti.read_files(context, "landing/{partition}.parquet")' in result
    assert "context.partition_keys" in result
    assert "backfill_policy=dg.BackfillPolicy.multi_run(1)" in result


def test_without_partitions_there_is_no_key(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    result = failure(whole, None, tmp_path, instance)
    assert "whole_v1 reads context.partition_key, but it has no partitions: leave that out" in result


def test_a_function_on_a_few_rows_says_the_same() -> None:
    with pytest.raises(DataError, match=r"days_v1 reads context.partition_key, but this run is of 2"):
        testing.rows(days, partition=("2024-01-02", "2024-01-03"))


def test_another_error_of_dagster_stays_as_it_is() -> None:
    @fti.feature_group(keys=["customer"])
    def odd(context: dg.AssetExecutionContext) -> pd.DataFrame:
        raise dg.DagsterInvariantViolationError("of my own")

    with pytest.raises(dg.DagsterInvariantViolationError, match="of my own"):
        testing.rows(odd)
