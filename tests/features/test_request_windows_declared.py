"""Windows at the time of a request as they are declared, read and joined."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pandera
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DeclarationError, LookbackError, NotMaterializedError, StoreError
from fti_assets.features.windows import Aggregate

PAYMENTS = pd.DataFrame(
    {
        "payment": ["p1", "p2", "p3", "p4"],
        "card": ["a", "a", "b", "a"],
        "paid_at": pd.to_datetime(["2025-03-10 08:10", "2025-03-10 08:40", "2025-03-10 09:00", "2025-03-10 10:00"]),
        "amount": [5.0, 7.0, 1.0, 30.0],
        "shop": ["x", "y", "x", "y"],
    }
)


@fti.feature_group(keys=["payment"], event_time="paid_at", serving_delay="0s")
def payments() -> pd.DataFrame:
    return PAYMENTS


SPENT: Mapping[str, Aggregate] = {"spent": fti.Sum("amount"), "paid": fti.Count(), "shop": fti.Last("shop")}


def spending_of(source: fti.FeatureGroup = payments, **changes: Any) -> fti.FeatureGroup:
    terms = {"name": "spending", "keys": ["card"], "every": "1h", "windows": ["30min", "2h"], "aggregates": SPENT}
    return fti.request_windows(source, **(terms | changes))


def test_reading_at_an_instant_gives_what_a_request_then_would_get(tmp_path: Path) -> None:
    stores = testing.stores_in(tmp_path)
    spending = spending_of()
    testing.materialize(payments, spending, stores=stores)
    columns = ["card", "spent_30min", "spent_2h", "paid_2h", "shop_2h"]
    result = fti.read(spending, at="2025-03-10T10:00:00Z", columns=columns, stores=stores)
    assert result.sort_values("card").fillna(-1.0).values.tolist() == [
        ["a", 30.0, 42.0, 3, "y"],
        ["b", -1.0, 1.0, 1, "x"],
    ]
    # The far end of two hours is the full hour before: at 10:39 still 8:00, at 11:00 9:00.
    later = fti.read(spending, at="2025-03-10T10:59:59Z", columns=["card", "paid_2h", "paid_30min"], stores=stores)
    assert sorted(later.values.tolist()) == [["a", 3, 0], ["b", 1, 0]]
    last = fti.read(spending, at="2025-03-10T11:00:00Z", columns=["card", "paid_2h"], stores=stores)
    assert last.values.tolist() == [["a", 1]]
    # No key has a row there: no row, of the same columns and types.
    for some in (None, ["card", "spent_2h", "shop_30min"]):
        some_rows, none = (
            fti.read(spending, at=f"2025-03-10T{hour}:00:00Z", columns=some, as_="arrow", stores=stores)
            for hour in ("10", "08")
        )
        assert (len(none), none.schema) == (0, some_rows.schema)
    with pytest.raises(StoreError, match="spending_v1 has no rows of its own.*payments_v1"):
        fti.read(spending, stores=stores)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keys": ["payment", "payment"]}, "more than once"),
        ({"windows": []}, "at least one window"),
        ({"windows": ["0s"]}, "has no length"),
        ({"windows": ["lifetime"]}, "'lifetime', which is a lifetime: .*fti.window_aggregate computes it"),
        (
            {"windows": [fti.Window("2h", delay="1h")]},
            "'2h_delay_1h', which ends some time before.*fti.window_aggregate",
        ),
        ({"every": "0s"}, "a length of time"),
        ({"aggregates": {}}, "one aggregate"),
        ({"aggregates": {"a b": fti.Count()}}, "a b"),
        ({"aggregates": {"n": "count"}}, "aggregate 'n' is 'count', which is not an aggregate: use 'fti.Count'"),
        ({"aggregates": {"shops": fti.Last("shop", n=2), "shops_1": fti.Count()}}, "two columns 'shops_1_30min'"),
        ({"aggregates": {"_fti_n": fti.Count()}}, "plans keep"),
        ({"windows": ["2h", fti.Window("2 h")]}, "has the window '2h' more than once"),
        ({"keys": ["paid_2h"]}, "two columns 'paid_2h'"),
        ({"partitions_def": dg.StaticPartitionsDefinition(["x"])}, "leave partitions_def out"),
    ],
)
def test_windows_that_cannot_be_are_refused(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        spending_of(**changes)


def test_windows_over_what_has_no_rows_of_its_own_are_refused() -> None:
    with pytest.raises(DeclarationError, match="over spending_v1, request windows themselves"):
        spending_of(spending_of(), name="other", aggregates={"n": fti.Count()})
    lookup = fti.feature_group(name="cards", keys=["card"])(lambda: pd.DataFrame())
    with pytest.raises(DeclarationError, match="cards_v1, a lookup"):
        spending_of(lookup, aggregates={"n": fti.Count()})
    undelayed = fti.feature_group(name="payments", keys=["payment"], event_time="paid_at")(lambda: pd.DataFrame())
    with pytest.raises(DeclarationError, match="online, but payments_v1 does not say when"):
        spending_of(undelayed, online=True)
    with pytest.raises(DeclarationError, match="takes spending_v1 as its input 'spending'.*window_aggregate"):
        fti.sql_feature_group(name="s", keys=["card"], sql="SELECT card FROM spending", ins={"spending": spending_of()})
    view: dict[str, Any] = {
        "name": "v",
        "features": [spending_of()["spent_2h"]],
        "label": fti.Label(payments["amount"]),
    }
    with pytest.raises(DeclarationError, match="has spending_v1 as its spine"):
        fti.FeatureView(**(view | {"spine": spending_of(), "features": [payments["amount"]]}))


def test_types_are_those_of_the_source() -> None:
    types = {"payment": str, "card": str, "paid_at": "datetime64[ns]", "amount": float, "shop": str}
    schema = pandera.DataFrameSchema({name: pandera.Column(kind) for name, kind in types.items()})
    typed = fti.feature_group(
        name="payments", keys=["payment"], schema=schema, event_time="paid_at", serving_delay="0s"
    )(lambda: PAYMENTS)
    group = spending_of(typed, windows=["2h"])
    assert group.columns == {"card": "text", "spent_2h": "number", "paid_2h": "integer", "shop_2h": "text"}
    for aggregate, what in ((fti.Sum("shop"), "sum"), (fti.Percentile("shop", 0.5), "percentile")):
        with pytest.raises(DeclarationError, match=f"the {what} of 'shop', which payments_v1 has as text"):
            spending_of(typed, aggregates={"s": aggregate})
    ordered = {
        "median": fti.Percentile("amount", 0.5), "shops": fti.Last("shop", n=2, distinct=True), "visits": fti.Sessions(gap="10min"),
        "seconds": fti.Sessions(gap="10min", of="seconds"),
    }  # fmt: skip
    group = spending_of(typed, windows=["2h"], aggregates=ordered)
    assert group.columns == {
        "card": "text", "median_2h": "number", "shops_1_2h": "text", "shops_2_2h": "text", "visits_2h": "integer", "seconds_2h": "number",
    }  # fmt: skip
    with pytest.raises(DeclarationError, match="no column 'shops'"):
        spending_of(typed, aggregates={"s": fti.Last("shops")})


DAYS = dg.DailyPartitionsDefinition(start_date="2025-03-08", end_date="2025-03-12")


@fti.feature_group(keys=["payment"], event_time="paid_at", serving_delay="0s", partitions_def=DAYS)
def daily(context: dg.AssetExecutionContext) -> pd.DataFrame:
    days = [pd.Timestamp(key) for key in context.partition_keys]
    return pd.DataFrame(
        {"payment": [f"{day:%d}" for day in days], "card": "a", "paid_at": [day + pd.Timedelta("12h") for day in days], "amount": 1.0}
    )  # fmt: skip


def test_a_run_needs_every_partition_within_reach_and_changes_with_them(tmp_path: Path) -> None:
    stores = testing.stores_in(tmp_path)
    spending = spending_of(daily, windows=["2d"], aggregates={"paid": fti.Count()}, every="1d")
    testing.materialize(daily, stores=stores, partition="2025-03-10")
    with pytest.raises(LookbackError, match="spending_v1 needs daily_v1 .*2025-03-08"):
        testing.materialize(spending, stores=stores, partition="2025-03-10")
    testing.materialize(daily, stores=stores, partition=("2025-03-08", "2025-03-11"))
    versions = {}
    with dg.DagsterInstance.ephemeral() as instance:
        for day in ("2025-03-10", "2025-03-11"):
            testing.materialize(spending, stores=stores, partition=day, instance=instance)
            event = instance.get_latest_materialization_event(spending.key)
            assert event is not None
            assert event.asset_materialization is not None
            versions[day] = event.asset_materialization.tags["dagster/data_version"]
    assert len(set(versions.values())) == 2
    with pytest.raises(NotMaterializedError, match="payments_v1"):
        testing.materialize(spending_of(), stores=stores)
