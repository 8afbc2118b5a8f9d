"""A sum of whole numbers that 64 bits do not hold is one error, however it is asked for; what they hold is given to the last digit."""

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError

LARGEST = 2**63 - 1
DAYS = dg.DailyPartitionsDefinition(start_date="2025-03-01", end_date="2025-03-12")
ROWS = pd.DataFrame(
    {
        "payment": ["p1", "p2", "p3", "p4"],
        "card": ["a", "a", "a", "a"],
        "paid_at": pd.to_datetime(["2025-03-01 10:00", "2025-03-10 10:00", "2025-03-10 11:00", "2025-03-11 12:00"]),
        "cents": [1, LARGEST - 1, 1, 1],
    }
)
REFUSAL = r"the sum of 'cents' over 10d is 9223372036854775808, beyond the 64 bits of a whole number: store the column as DOUBLE"
SPENT = {"spent": fti.Sum("cents"), "mean": fti.Mean("cents")}


@fti.feature_group(keys=["payment"], event_time="paid_at", serving_delay="0s", partitions_def=DAYS)
def payments(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return ROWS[ROWS["paid_at"].dt.strftime("%Y-%m-%d").isin(context.partition_keys)]


spending = fti.request_windows(
    payments, name="spending", keys=["card"], every="1d", windows=["10d"], aggregates=SPENT, online=True
)


@fti.feature_group(keys=["card"], event_time="day", serving_delay="0s", partitions_def=DAYS, lookback="11d")
def by_day(payments: fti.Table) -> fti.Table:
    return fti.window_aggregate(payments, keys=["card"], every="1d", windows=["10d"], aggregates=SPENT)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    stores = testing.stores_in(tmp_path_factory.mktemp("sums"))
    testing.materialize(payments, spending, stores=stores, partition=("2025-03-01", "2025-03-11"))
    return stores


@pytest.mark.soak
def test_offline_and_online_windows_of_a_request_refuse_it_alike(stores):
    reader = fti.OnlineReader("spending_v1", online=stores.online)
    at = "2025-03-10T10:59:59Z"  # the first three rows but one
    [row] = fti.read(spending, at=at, as_="dicts", stores=stores)
    assert row["spent_10d"] == reader.read("a", at=at)["spent_10d"] == LARGEST
    at = "2025-03-10T11:00:00Z"
    with pytest.raises(DataError, match=REFUSAL):
        fti.read(spending, at=at, stores=stores)
    with pytest.raises(DataError, match=REFUSAL):
        reader.read("a", at=at)
    # A mean has no such end.
    [row] = fti.read(spending, at=at, as_="dicts", columns=["mean_10d"], stores=stores)
    assert row["mean_10d"] == float(2**63) / 3.0


@pytest.mark.soak
def test_a_grid_refuses_it_with_and_without_tiles(stores):
    testing.materialize(by_day, stores=stores, partition="2025-03-10")
    with pytest.raises(DataError, match=REFUSAL):
        testing.materialize(by_day, stores=stores, partition="2025-03-11")
