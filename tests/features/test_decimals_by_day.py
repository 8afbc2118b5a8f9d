"""Days of a decimal column whose values fit what is stored."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow
import pytest
from pandera.engines.pandas_engine import Decimal as Digits

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError
from fti_assets.features.rows.stored_types import holds_all


@pytest.mark.parametrize(
    ("given", "kind", "stored", "fits"),
    [
        ("4", "BIGINT", "DECIMAL(18,2)", True),
        ("10 ** 17", "BIGINT", "DECIMAL(18,2)", False),
        ("2.50", "DECIMAL(18,2)", "DECIMAL(18,1)", True),
        ("2.25", "DECIMAL(18,2)", "DECIMAL(18,1)", False),
        ("12345.5", "DECIMAL(38,1)", "DECIMAL(4,2)", False),
    ],
)
def test_a_stored_decimal_takes_what_it_holds_exactly(given: str, kind: str, stored: str, fits: bool) -> None:
    held = holds_all("x", kind, stored)
    assert duckdb.sql(f"SELECT {held} FROM (SELECT ({given})::{kind} AS x)").fetchall() == [(fits,)]


DAYS = {
    "2024-01-01": [Decimal("1.5")],
    "2024-01-02": [4],
    "2024-01-03": [Decimal("2.25"), None],
    "2024-01-04": [None],
    "2024-01-05": [Decimal("2.12345")],
}


def prices(**options: Any) -> fti.FeatureGroup:
    days = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-06")

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=days, **options)
    def prices(context: dg.AssetExecutionContext) -> pd.DataFrame:
        values = pd.Series(DAYS[context.partition_key], dtype=object)
        return pd.DataFrame({"id": range(len(values)), "at": pd.Timestamp(context.partition_key), "price": values})

    return prices


def test_declared_digits_do_not_depend_on_the_day(tmp_path: Path) -> None:
    columns = {"id": pa.Column(int), "at": pa.Column("datetime64[ns]", coerce=True)}
    price = pa.Column(Digits(18, 4), nullable=True, coerce=True)
    group, stores = prices(schema=pa.DataFrameSchema(columns | {"price": price})), testing.stores_in(tmp_path)
    for day in ("2024-01-04", "2024-01-01", "2024-01-02", "2024-01-03"):
        testing.materialize(group, stores=stores, partition=day)
    with stores.offline_store().connect() as lake:
        assert lake.types(group.table)["price"] == "DECIMAL(18,4)"
        stored = lake.connection.execute(f"SELECT price FROM {group.table.sql}").fetchall()
    assert sorted(value for (value,) in stored if value is not None) == [Decimal("1.5"), Decimal("2.25"), Decimal(4)]
    assert len(stored) == 5


def test_more_digits_than_stored_name_where_to_state_them(tmp_path: Path) -> None:
    group, stores = prices(), testing.stores_in(tmp_path)
    testing.materialize(group, stores=stores, partition="2024-01-01")
    with pytest.raises(
        Exception, match=r"price was DECIMAL\(18,1\) and is now DECIMAL\(18,2\); .*pa\.Column\(pa\.Decimal\(19, 2\)\)"
    ):
        testing.materialize(group, stores=stores, partition="2024-01-03")


@pytest.mark.parametrize("later", ["pandas", "arrow"])
def test_digits_that_are_not_stored_are_refused_with_what_to_do(tmp_path: Path, later: str) -> None:
    """The first day's type is Arrow's, which has the digits of its values alone."""
    days = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-03")

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=days)
    def prices(context: dg.AssetExecutionContext) -> Any:
        first = context.partition_key == "2024-01-01"
        values = [Decimal("-0.000001")] if first else [Decimal("2"), Decimal("12345.678901")]
        columns = {
            "id": list(range(len(values))),
            "at": [pd.Timestamp(context.partition_key)] * len(values),
            "price": values,
        }
        return arrow.table(columns) if first or later == "arrow" else pd.DataFrame(columns)

    stores = testing.stores_in(tmp_path)
    testing.materialize(prices, stores=stores, partition="2024-01-01")
    with pytest.raises(DataError, match="round the values to") as caught:
        testing.materialize(prices, stores=stores, partition="2024-01-02")
    message = str(caught.value)
    digits = "(18, 6)" if later == "pandas" else "(11, 6)"
    assert (
        "a decimal has the digits of the values that came first, unless its schema states them: state those of price in the new version's "
        f"schema, pa.Column(pa.Decimal{digits}) in Pandera, or round the values to DECIMAL(6,6)"
    ) in message
    assert "Raise the version" in message
    assert "Conversion Error" not in message
    assert len(fti.read(prices, stores=stores)) == 1
