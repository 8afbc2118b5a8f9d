"""Windows for each row of a source that is partitioned by when its rows arrive: a range is its days, late rows included."""

import random
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DeclarationError, LookbackError
from tests.features.oracles import Row
from tests.support.examples import SOAK, examples

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-01-20")
KEYS = [f"2025-01-{day:02}" for day in range(1, 11)]
START = datetime(2025, 1, 1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROWS: list[Row] = []


@fti.feature_group(
    keys=["shop", "id"], event_time="t", available_at="known", partition_by="landed", partitions_def=DAYS
)
def sales(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = pd.DataFrame(ROWS, columns=["shop", "id", "t", "known", "landed", "amount"])
    return rows[rows["landed"].dt.strftime("%Y-%m-%d").isin(context.partition_keys)]


STORED = ("shop", "landed", "n_30h", "sum_30h", "most_30h", "median_30h", "last_1_30h", "last_2_30h", "n_30h_delay_5h")


def windows_of(rows: fti.Table) -> fti.Table:
    return fti.window_aggregate(
        rows,
        keys=["shop"],
        windows=["30h", fti.Window("30h", delay="5h")],
        aggregates={
            "n": fti.Count(),
            "sum": fti.Sum("amount"),
            "most": fti.Max("amount"),
            "median": fti.Percentile("amount", 0.5),
            "last": fti.Last("amount", n=2),
        },
    )


@fti.feature_group(keys=["shop", "id"], event_time="t", partition_by="landed", partitions_def=DAYS, lookback="9d")
def habits(sales: fti.Table) -> fti.Table:
    return windows_of(sales)


def sale(id: int, day: int, late: int, *, shop: str = "a", known: int = 0, hour: int = 5) -> Row:
    """A sale that lands on a day, and was made so many hours before, or after if below 0."""
    landed = START + day * DAY + hour * HOUR
    t = landed - late * HOUR
    return {"shop": shop, "id": id, "t": t, "known": t + known * HOUR, "landed": landed, "amount": id / 8}


def expected(days: range) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Brute force: each sale in the partition in which its first version lands, by what has landed by the end of that day."""
    results = {}
    for shop, id, t in {(row["shop"], row["id"], row["t"]) for row in ROWS}:
        first = min(row["landed"] for row in ROWS if (row["shop"], row["id"], row["t"]) == (shop, id, t))
        day = (first - START) // DAY
        if day not in days:
            continue
        windows = [
            [
                row
                for row in ROWS
                if row["shop"] == shop
                and row["landed"] < START + (day + 1) * DAY
                and row["t"] < t
                and end - 30 * HOUR < max(row["t"], row["known"]) <= end
            ]
            for end in (t, t - 5 * HOUR)
        ]
        observed = [
            row["amount"] for row in sorted(windows[0], key=lambda row: (row["t"], row["known"], row["amount"]))
        ]
        of_window = (
            len(observed),
            sum(observed) if observed else None,
            max(observed, default=None),
            median(observed) if observed else None,
        )
        results[id, t] = (shop, first, *of_window, *[*reversed(observed), None, None][:2], len(windows[1]))
    return results


def stored(stores: fti.Stores) -> dict[tuple[int, datetime], tuple[Any, ...]]:
    rows = fti.read(habits, stores=stores, as_="dicts")
    assert len({(row["id"], row["t"]) for row in rows}) == len(rows)
    return {(row["id"], row["t"]): tuple(row[name] for name in STORED) for row in rows}


def versions(stores: fti.Stores) -> dict[str, str]:
    with stores.offline_store().connect() as lake:
        return {key: record.data_version for key, record in lake.ledger(habits.table).items()}


@settings(max_examples=examples(3) if SOAK else 1, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_a_range_equals_its_days_in_any_order(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = random.Random(seed)
    ROWS[:] = [
        sale(
            id, rng.randrange(10), rng.choice([1, 2, 7, 30, 60, -20]), shop=rng.choice("ab"), known=rng.choice([0, 0, 3]),
            hour=rng.randrange(24),
        )
        for id in range(60)
    ]  # fmt: skip
    for row in rng.sample(ROWS, 12):  # corrections that land later
        later = rng.choice([1, 30])
        ROWS.append({**row, "known": row["known"] + 2 * HOUR, "landed": row["landed"] + later * HOUR, "amount": -1.0})
    ROWS[:] = [row for row in ROWS if row["landed"] < START + 10 * DAY]
    stores = testing.stores_in(tmp_path_factory.mktemp("sales"))
    testing.materialize(sales, habits, stores=stores, partition=(KEYS[0], KEYS[-1]))
    together = stored(stores)
    assert together == expected(range(10))
    of_range = versions(stores)
    for day in rng.sample(range(10), 3 if SOAK else 2):
        testing.materialize(habits, stores=stores, partition=KEYS[day])
        assert stored(stores) == together
    assert versions(stores) == of_range


def test_a_row_that_lands_late_gets_its_features(tmp_path: Any) -> None:
    ROWS[:] = [sale(1, 3, 0), sale(2, 3, 0, hour=7)]
    stores = testing.stores_in(tmp_path)
    testing.materialize(sales, stores=stores, partition=(KEYS[0], KEYS[3]))
    testing.materialize(habits, stores=stores, partition=KEYS[3])
    before = stored(stores)
    ROWS.append(sale(3, 4, 23, hour=5))  # made at six on the day before
    testing.materialize(sales, habits, stores=stores, partition=KEYS[4])
    late = {(3, START + 3 * DAY + 6 * HOUR): ("a", START + 4 * DAY + 5 * HOUR, 1, 1 / 8, 1 / 8, 1 / 8, 1 / 8, None, 0)}
    assert stored(stores) == before | late
    testing.materialize(
        habits, stores=stores, partition=KEYS[3]
    )  # what landed later is not seen, and nothing is deleted
    assert stored(stores) == before | late


def test_lookback_that_late_row_needs_more_of_is_error(tmp_path: Any) -> None:
    @fti.feature_group(
        name="habits", keys=["shop", "id"], event_time="t", partition_by="landed", partitions_def=DAYS, lookback="1d"
    )
    def short(sales: fti.Table) -> fti.Table:
        return windows_of(sales)

    ROWS[:] = [sale(1, 2, 0), sale(2, 5, 70)]
    stores = testing.stores_in(tmp_path)
    testing.materialize(sales, stores=stores, partition=(KEYS[0], KEYS[5]))
    with pytest.raises(LookbackError, match="1 rows of sales_v1 that the lookback leaves out are needed"):
        testing.materialize(short, stores=stores, partition=KEYS[5])


def test_a_group_that_is_partitioned_otherwise_is_refused(tmp_path: Any) -> None:
    @fti.feature_group(keys=["shop", "id"], event_time="t", partitions_def=DAYS, lookback="9d")
    def by_event(sales: fti.Table) -> fti.Table:
        return windows_of(sales)

    ROWS[:] = [sale(1, 2, 0)]
    stores = testing.stores_in(tmp_path)
    testing.materialize(sales, stores=stores, partition=(KEYS[0], KEYS[2]))
    with pytest.raises(DeclarationError, match="declare the group with partition_by='landed'"):
        testing.materialize(by_event, stores=stores, partition=KEYS[2])


def test_loading_refuses_what_the_functions_source_tells() -> None:
    with pytest.raises(DeclarationError, match="feature group told_v1: sales_v1 is .*partition_by='landed'"):

        @fti.feature_group(keys=["shop", "id"], event_time="t", partitions_def=DAYS)
        def told(sales: fti.Table) -> fti.Table:
            return fti.window_aggregate(sales, keys=["shop"], windows=["1h"], aggregates={"n": fti.Count()})

    @fti.feature_group(keys=["shop"], event_time="t", partitions_def=DAYS)
    def hourly(sales: fti.Table) -> fti.Table:
        return fti.window_aggregate(sales, keys=["shop"], windows=["1h"], every="1h", aggregates={"n": fti.Count()})

    @fti.feature_group(keys=["shop", "id"], event_time="t", partitions_def=DAYS)
    def of_others(sales: fti.Table) -> fti.Table:
        sales = sales.with_relation(sales.relation.filter("amount > 0"))
        return fti.window_aggregate(sales, keys=["shop"], windows=["1h"], aggregates={"n": fti.Count()})

    assert [group.table_name for group in (hourly, of_others)] == ["hourly_v1", "of_others_v1"]


@pytest.mark.soak
def test_rows_of_a_shop_with_nul_arrive_once(tmp_path: Any) -> None:
    ROWS[:] = [sale(id, 0, 0, shop=f"s{id}") for id in range(1_000)]
    later = [sale(1, 3, 0, shop="a"), sale(2, 3, 0, shop="a\0b", hour=4), sale(3, 3, 0, shop="a\0b", hour=6)]
    ROWS.extend(later)

    @fti.feature_group(
        name="habits", keys=["shop", "id"], event_time="t", partition_by="landed", partitions_def=DAYS, lookback="1d"
    )
    def short(sales: fti.Table) -> fti.Table:
        return windows_of(sales)

    stores = testing.stores_in(tmp_path)
    testing.materialize(sales, stores=stores, partition=(KEYS[0], KEYS[3]))
    testing.materialize(short, stores=stores, partition=KEYS[3])
    assert stored(stores) == expected(range(3, 4))
