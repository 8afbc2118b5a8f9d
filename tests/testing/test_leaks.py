"""Leaks that are found, and what is honest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DeclarationError
from tests.on_demand import doubled, relative
from tests.testing.shop import DAYS, LAST, buyer, dataset, habits, outcomes, relation_name, visits


@pytest.fixture(scope="module")
def stores(shop_of_module: Path) -> fti.Stores:
    return testing.stores_in(shop_of_module)


def by_day(rows: pd.DataFrame) -> pd.DataFrame:
    """What each customer bought on a day, said to be known when the day begins."""
    day = rows["t"].dt.floor("D")
    return rows.groupby(["customer", day])["bought"].mean().reset_index()


def since_yesterday(rows: pd.DataFrame) -> pd.DataFrame:
    """What each customer bought on a day, known when the last outcome of the day is."""
    made = rows.groupby(["customer", rows["t"].dt.floor("D")])["bought"].mean().reset_index()
    return made.assign(known=made["t"] + pd.Timedelta("26h"))


def scaled(rows: pd.DataFrame) -> pd.DataFrame:
    """Each outcome against the mean of the whole partition."""
    return rows[["customer", "t", "known"]].assign(bought=rows["bought"] - rows["bought"].mean())


def filled_from_the_next(rows: pd.DataFrame) -> pd.DataFrame:
    ordered = rows.sort_values("t")
    return ordered[["customer", "t", "known"]].assign(bought=ordered["bought"].shift(-1))


def without_those_who_come_back(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values("t").groupby("customer").tail(1)[["customer", "t", "known", "bought"]]


def so_far(rows: pd.DataFrame) -> pd.DataFrame:
    ordered = rows.sort_values("t")
    return ordered[["customer", "t", "known"]].assign(
        bought=ordered.groupby("customer")["bought"].transform(lambda one: one.expanding().mean())
    )


def group_of(computes: Callable[[pd.DataFrame], pd.DataFrame], **times: Any) -> fti.FeatureGroup:
    @fti.feature_group(
        name=computes.__name__, keys=["customer"], event_time="t", partitions_def=DAYS, ins={"rows": outcomes}, **times
    )
    def made(rows: fti.Table) -> pd.DataFrame:
        return computes(rows.df())

    return made


@pytest.mark.parametrize(
    ("computes", "times", "column"),
    [
        (by_day, {}, "bought"),
        (scaled, {"available_at": "known"}, "bought"),
        (filled_from_the_next, {"available_at": "known"}, "bought"),
        (without_those_who_come_back, {"available_at": "known"}, "bought"),
    ],
)
def test_a_group_that_knows_the_future_is_found(
    stores: fti.Stores, computes: Callable[[pd.DataFrame], pd.DataFrame], times: dict[str, str], column: str
) -> None:
    leaky = group_of(computes, **times)
    with pytest.raises(
        testing.LeakFound, match=f"{leaky.table_name} knows the future: .*'outcomes_v1' that became visible"
    ) as result:
        testing.assert_no_leak(leaky, stores=stores, partition="2025-01-05")
    rows = result.value.rows
    assert set(rows["column"]) <= {column, "known"}
    assert {"customer", "t", "with the future", "without"} <= set(rows.columns)
    assert len(rows)


@pytest.mark.parametrize("computes", [since_yesterday, so_far])
def test_an_honest_group_of_frames_passes(stores: fti.Stores, computes: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    testing.assert_no_leak(group_of(computes, available_at="known"), stores=stores, partition="2025-01-05", sample=48)


def test_windows_pass_at_every_instant(stores: fti.Stores) -> None:
    testing.assert_no_leak(habits, stores=stores, partition="2025-01-05", sample=8)
    testing.assert_no_leak(habits, stores=stores, partition=("2025-01-03", "2025-01-05"), sample=2)


def test_windows_that_reach_past_their_instant_are_found(stores: fti.Stores) -> None:
    @fti.feature_group(keys=["customer"], event_time="hour", partitions_def=DAYS, lookback="1d")
    def shifted(outcomes: fti.Table) -> Any:
        made = fti.window_aggregate(
            outcomes, keys=["customer"], every="1h", windows=["3h"], aggregates={"bought": fti.Mean("bought")}
        )
        return made.relation.project("customer, hour - INTERVAL 1 HOUR AS hour, bought_3h").filter(
            "hour >= '2025-01-05'"
        )

    with pytest.raises(testing.LeakFound, match="shifted_v1 knows the future"):
        testing.assert_no_leak(shifted, stores=stores, partition="2025-01-05")


def test_a_lookup_of_what_becomes_known_is_found(stores: fti.Stores) -> None:
    @fti.feature_group(keys=["customer"])
    def ever(outcomes: fti.Table) -> Any:
        return outcomes.relation.aggregate("customer, max(bought) AS bought")

    testing.materialize(ever, stores=stores)
    with pytest.raises(testing.LeakFound, match="ever_v1 has no event time, so it is visible at every instant"):
        testing.assert_no_leak(ever, stores=stores)
    with pytest.raises(testing.LeakFound, match="ever_v1 has no event time"):
        testing.assert_no_leak(relation_name(ever.prefix("ever_")["bought"]), stores=stores, partition=LAST)


@pytest.mark.soak
def test_a_view_its_dataset_and_its_model_pass(stores: fti.Stores) -> None:
    for declaration, sample in ((dataset.view, 1), (dataset, 1), (buyer, 8)):
        testing.assert_no_leak(declaration, stores=stores, partition=LAST, sample=sample)


def test_on_demand_feature_that_looks_at_other_rows_is_found(stores: fti.Stores) -> None:
    testing.assert_no_leak(relation_name(doubled), stores=stores, partition=LAST, sample=4)
    with pytest.raises(testing.LeakFound, match="depend on the other rows of the batch.*: relative_spend") as results:
        testing.assert_no_leak(relation_name(relative), stores=stores, partition=LAST)
    assert set(results.value.rows["alone"]) == {0.0}


def test_outcome_known_at_its_own_prediction_is_found(stores: fti.Stores) -> None:
    @fti.feature_group(keys=["visit_id"], event_time="t", partitions_def=DAYS)
    def verdicts(outcomes: fti.Table) -> Any:
        return outcomes.relation.project("visit_id, t, bought AS verdict").filter("t >= '2025-01-07'")

    testing.materialize(verdicts, stores=stores, partition=LAST)
    with pytest.raises(testing.LeakFound, match=r"verdicts_v1 knows the future"):
        testing.assert_no_leak(verdicts, stores=stores, partition=LAST)

    @fti.feature_group(name="verdicts", version=2, keys=["visit_id"], event_time="t", partitions_def=DAYS)
    def landed_verdicts() -> pd.DataFrame:
        return stored_verdicts(stores)

    testing.materialize(landed_verdicts, stores=stores, partition=LAST)
    with pytest.raises(
        testing.LeakFound, match="the label 'verdict' of view 'buying' was visible at its own prediction time"
    ):
        testing.assert_no_leak(relation_name(label=landed_verdicts["verdict"]), stores=stores, partition=LAST)


def stored_verdicts(stores: fti.Stores) -> pd.DataFrame:
    rows = fti.read(outcomes, stores=stores, partitions=[LAST])
    return rows[["visit_id", "t"]].assign(verdict=rows["bought"])


def test_a_group_without_inputs_has_nothing_to_take_away(stores: fti.Stores) -> None:
    with pytest.raises(DeclarationError, match="visits_v1 reads no other group"):
        testing.assert_no_leak(visits, stores=stores, partition=LAST)


def test_a_join_that_brings_another_row_is_found(stores: fti.Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search row by row does not rest on the join that it checks."""
    from fti_assets.features.point_in_time import frontier
    from fti_assets.features.rows.visibility import available_sql as honest

    view = relation_name(habits["bought_6h"])
    testing.assert_no_leak(view, stores=stores, partition=LAST, sample=4)
    # The join takes rows of habits as soon as they are true, ten minutes before they are available.
    monkeypatch.setattr(frontier, "available_sql", lambda times: honest(replace(times, serving_delay_us=0)))
    with pytest.raises(testing.LeakFound, match="joins rows that were not the newest known.*: bought_6h"):
        testing.assert_no_leak(view, stores=stores, partition=LAST, sample=12)
