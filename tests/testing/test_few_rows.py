"""A feature function on a few rows."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DataError, DeclarationError, LookbackError
from tests.testing.shop import DAYS, FIRST, LAST, habits, outcomes, visits

OUTCOMES = pd.DataFrame(
    {
        "customer": [1, 1, 2],
        "t": pd.to_datetime(["2025-01-02 08:00", "2025-01-02 09:00", "2025-01-02 22:30"]),
        "known": pd.to_datetime(["2025-01-02 09:30", "2025-01-02 11:00", "2025-01-02 23:30"]),
        "bought": [1, 0, 1],
    }
)


class Limits(dg.Config):
    at_least: float = 0.0


class Doubler(dg.ConfigurableResource):  # type: ignore[type-arg]
    by: float = 2.0


@fti.feature_group(keys=["customer"], event_time="t", partitions_def=DAYS)
def large(context: dg.AssetExecutionContext, visits: fti.Table, config: Limits, doubler: Doubler) -> fti.Table:
    context.log.info(f"of {context.partition_keys}")
    kept = visits.relation.filter(f"spend >= {config.at_least}")
    return visits.with_relation(kept.project(f"customer, t, spend * {doubler.by} AS spend"))


def spent(*amounts: float) -> pd.DataFrame:
    times = pd.date_range("2025-01-02", periods=len(amounts), freq="1h")
    return pd.DataFrame({"customer": range(len(amounts)), "t": times, "spend": amounts})


def test_frame_becomes_lazy_table_with_grid_of_partition() -> None:
    made = testing.rows(habits, partition="2025-01-02", outcomes=OUTCOMES)
    of_one = made[made["customer"] == 1].set_index("hour")
    assert of_one.index[0] == pd.Timestamp("2025-01-02 10:00")  # known at 9:30, not true at 8:00
    assert of_one.loc["2025-01-02 10:00", ["bought_6h", "visits_6h"]].tolist() == [1.0, 1]
    assert of_one.loc["2025-01-02 11:00", ["bought_6h", "visits_6h"]].tolist() == [0.5, 2]
    assert made["hour"].max() == pd.Timestamp("2025-01-02 16:00")  # what is known at 23:30 counts from the next day on


def test_a_range_of_partitions_is_one_grid() -> None:
    made = testing.rows(habits, partition=("2025-01-02", "2025-01-03"), outcomes=OUTCOMES)
    assert made.loc[made["customer"] == 2, "hour"].tolist() == list(
        pd.date_range("2025-01-03 00:00", "2025-01-03 05:00", freq="1h")
    )


@pytest.mark.soak
def test_rows_are_those_of_a_real_run(tmp_path: Path) -> None:
    stores = testing.stores_in(tmp_path)
    testing.materialize(outcomes, stores=stores, partition=(FIRST, "2025-01-03"))
    done = testing.materialize(habits, stores=stores, partition="2025-01-03")
    frame = done.rows(outcomes)
    expected = done.rows(habits).sort_values(["customer", "hour"], ignore_index=True)
    # A frame holds all that there is, so the day before the lookback is left out as a run would leave it out.
    within = frame[frame["t"] >= "2025-01-02"]
    pd.testing.assert_frame_equal(testing.rows(habits, partition="2025-01-03", outcomes=within), expected)


def test_window_that_needs_row_from_before_lookback_is_refused() -> None:
    early = OUTCOMES.assign(t=OUTCOMES["t"] - pd.Timedelta("3D"), known=pd.Timestamp("2025-01-02 01:00"))
    with pytest.raises(LookbackError):
        testing.rows(habits, partition="2025-01-02", outcomes=early)


def test_context_config_and_resources_are_given_by_name_or_by_default() -> None:
    frame = spent(-1.0, 1.0, 3.0)
    assert testing.rows(large, partition="2025-01-02", visits=frame, doubler=Doubler())["spend"].tolist() == [2, 6]
    made = testing.rows(
        large, partition="2025-01-02", visits=frame, doubler=Doubler(by=3.0), config=Limits(at_least=2.0)
    )
    assert made["spend"].tolist() == [9]


def test_a_function_of_the_context_reads_its_partitions() -> None:
    assert len(testing.rows(visits, partition=(FIRST, LAST))) == 7 * 48
    assert testing.rows(visits, partition=LAST)["t"].min() == pd.Timestamp(LAST)


def test_what_the_function_raises_is_raised() -> None:
    @fti.feature_group(keys=["customer"])
    def broken(context: dg.AssetExecutionContext) -> pd.DataFrame:
        raise ZeroDivisionError("no visits")

    with pytest.raises(ZeroDivisionError, match="no visits"):
        testing.rows(broken)


def test_rows_that_break_rule_are_assertion_with_those_rows() -> None:
    @fti.feature_group(name="visits", keys=["visit_id"], event_time="t", schema=visits.schema, partitions_def=DAYS)
    def negative(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return visits(context).assign(customer=lambda rows: rows["customer"] - 1)

    with pytest.raises(testing.RowsRefused, match="nothing would be stored, because customer") as refused:
        testing.rows(negative, partition="2025-01-02")
    assert isinstance(refused.value, AssertionError)
    assert set(refused.value.rows["customer"]) == {-1}


def test_rows_outside_the_partition_are_refused() -> None:
    @fti.feature_group(keys=["customer"], event_time="t", partitions_def=DAYS)
    def tomorrow(visits: fti.Table) -> pd.DataFrame:
        return visits.df()[["customer", "t"]].assign(t=lambda rows: rows["t"] + pd.Timedelta("1D"))

    with pytest.raises(testing.RowsRefused, match="t outside the partitions of this run") as refused:
        testing.rows(tomorrow, partition="2025-01-02", visits=spent(1.0))
    assert refused.value.rows["customer"].tolist() == [0]


@pytest.mark.parametrize(
    ("group", "given", "message"),
    [
        (habits, {"partition": "2025-01-02"}, "habits_v1 reads 'outcomes_v1': give a frame of rows, outcomes=..."),
        (habits, {"outcomes": OUTCOMES}, "habits_v1 is partitioned: name a partition, as in partition='2025-01-01'"),
        (habits, {"partition": "2024-01-01", "outcomes": OUTCOMES}, "habits_v1 has no partition '2024-01-01'"),
        (large, {"partition": FIRST, "visits": spent(1.0)}, "large takes 'doubler', which was not given"),
        (habits, {"partition": FIRST, "outcomes": OUTCOMES, "x": 1}, "habits takes no 'x': it takes 'outcomes'"),
    ],
)
def test_what_is_missing_is_said(group: fti.FeatureGroup, given: dict[str, object], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        testing.rows(group, **given)


def test_frame_without_time_of_its_group_is_refused() -> None:
    with pytest.raises(DataError, match="outcomes_v1 has no column 't'"):
        testing.rows(habits, partition="2025-01-02", outcomes=OUTCOMES.drop(columns=["t"]))
