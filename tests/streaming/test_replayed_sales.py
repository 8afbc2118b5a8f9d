"""A year of sales to the second, several of one pizza in many seconds, as a stream and as batches."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.times import microseconds
from fti_assets.testing import MemoryStream, stores_in, take_events

SALES = Path(__file__).parents[1] / "data/pizzaplace/sales.parquet"
MONTHS = dg.MonthlyPartitionsDefinition(start_date="2015-01-01", end_date="2016-01-01")


class Sales(pa.DataFrameModel):
    name: str
    sold_at: datetime
    stored_at: datetime
    order: int
    size: str = pa.Field(isin=["S", "M", "L", "XL", "XXL"])
    price: float = pa.Field(gt=0)


def sales() -> pd.DataFrame:
    rows = pd.read_parquet(SALES).astype({"name": str, "size": str, "order": "int64", "sold_at": "datetime64[us]"})
    # A second after the sale, one after the other.
    rows["stored_at"] = rows.sold_at + pd.Timedelta(seconds=1) + pd.to_timedelta(np.arange(len(rows)), unit="us")
    return rows


def group_over(rows: pd.DataFrame, stream: MemoryStream):
    @fti.feature_group(
        name="sales", keys=["name"], event_time="sold_at", available_at="stored_at", schema=Sales, partitions_def=MONTHS, stream=stream,
    )  # fmt: skip
    def declared(context: dg.AssetExecutionContext) -> pd.DataFrame:
        start, end = (at.replace(tzinfo=None) for at in context.partition_time_window)
        return rows[(rows.sold_at >= start) & (rows.sold_at < end)]

    return declared


@pytest.mark.parametrize("months", [2, pytest.param(12, marks=pytest.mark.soak)])
def test_sales_hash_alike_streamed_and_in_batches(tmp_path, months):
    rows, stream = sales(), MemoryStream("sales")
    assert len(rows) == 49_574
    end = pd.Timestamp(2015, 1, 1) + pd.DateOffset(months=months)
    rows = rows[rows.sold_at < end]
    group = group_over(rows, stream)
    spending = fti.request_windows(
        group, name="sold", keys=["name"], every="1h", windows=["30min", "7d"], online=True,
        aggregates={"n": fti.Count(), "taken": fti.Sum("price"), "dearest": fti.Max("price")},
    )  # fmt: skip
    events = rows.drop(columns="stored_at").assign(sold_at=rows.sold_at.dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    for event, at in zip(events.to_dict("records"), rows.stored_at.astype("int64").tolist(), strict=True):
        stream.put(event, at=at)
    stores = stores_in(tmp_path)
    taken = take_events(group, spending, stores=stores)
    assert taken.rows == {"sales_v1": len(rows)}
    assert not taken.dead_letters
    with stores.offline_store().connect() as lake:
        streamed = {key: one.data_version for key, one in lake.ledger(group.table).items()}

    # The same table, written by runs alone.
    batch = stores_in(tmp_path / "batch")
    plain = group_over(rows, MemoryStream("sales"))
    with clock.at(f"{(end + pd.Timedelta(days=1)).isoformat()}Z"):
        for key in MONTHS.get_partition_keys()[:months]:
            dg.materialize([plain.assets_def], partition_key=key, resources={"fti": batch})
    with batch.offline_store().connect() as lake:
        assert {key: one.data_version for key, one in lake.ledger(plain.table).items()} == streamed
    assert len(streamed) == months

    # And online each pizza's windows at the last sale are what pandas makes of the rows.
    now = rows.stored_at.max().to_pydatetime()
    reader = stores.online_store().reader("sold_v1", columns=["n_30min", "dearest_30min", "n_7d", "taken_7d"])
    week = (now - timedelta(days=7)).replace(minute=0, second=0, microsecond=0)
    for name, of_name in rows.groupby("name"):
        short, long = (of_name[of_name.stored_at > begin] for begin in (now - timedelta(minutes=30), week))
        answer = reader.get((name,), microseconds(now))
        values = [0, None, 0, 0.0] if answer is None else list(answer.values)
        expected = [len(short), short.price.max() if len(short) else None, len(long), long.price.sum()]
        assert values[:3] == expected[:3]
        assert values[3] == pytest.approx(expected[3], rel=1e-12)
