"""What one code location makes starts what rests on it in another, as if both were one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.testing import stores_in
from tests.automation.test_conditions import report

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_offset=1)
WEEKS = dg.WeeklyPartitionsDefinition(start_date="2024-01-07", end_offset=1)
FIRST = "2024-01-01"


def rows(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.DataFrame({"id": [1], "seen_at": [pd.Timestamp(context.partition_key)], "x": [1.0], "y": [1]})


@fti.feature_group(keys=["id"], event_time="seen_at", partitions_def=DAYS, serving_delay="6h")
def raw(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return rows(context)


@fti.feature_group(keys=["id"], event_time="seen_at", partitions_def=DAYS)
def derived(raw: fti.Table) -> fti.Table:
    return raw


def consumers(raw: Any, derived: Any) -> list[Any]:
    """What another team rests on two groups: a group, a dataset and a model."""

    @fti.feature_group(
        keys=["id"], event_time="seen_at", partitions_def=DAYS, lookback="2d", ins={"raw": raw, "derived": derived}
    )
    def sums(raw: fti.Table, derived: fti.Table) -> fti.Table:
        return raw

    view = fti.FeatureView(
        name="view", spine=raw, label=fti.Label(raw["y"]), features=[derived["x"], sums["x"].prefix("s_")]
    )
    dataset = fti.training_dataset(
        name="rows", view=view, partitions_def=WEEKS, split=fti.TimeSplit(validation="1d", test="2d")
    )

    @fti.model(dataset=dataset, task="binary")
    def net(data: fti.TrainingData) -> Any: ...

    return [sums, dataset, net, fti.batch_predictions(name="answers", model=net, partitions_def=DAYS)]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    """Where the owner has made its first day."""
    stores = stores_in(tmp_path_factory.mktemp("owner"))
    with clock.at("2024-01-02T08:00"):
        dg.materialize([raw.assets_def, derived.assets_def], partition_key=FIRST, resources={"fti": stores})
    return stores


def published(stores: fti.Stores) -> tuple[Any, Any]:
    return fti.group("raw", stores=stores), fti.group("derived", stores=stores)


WEEK = [f"2024-01-0{day}" for day in range(1, 7)]
OURS = ["sums_v1", "rows_v1", "net_v1", "answers_v1"]
ALL = {"raw_v1": WEEK, "derived_v1": WEEK, "sums_v1": WEEK}

CASES: dict[str, tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]] = {
    "the first day": ({}, {"raw_v1": [FIRST], "derived_v1": [FIRST]}, {"sums_v1": [FIRST]}),
    "an input is missing": ({}, {"raw_v1": [FIRST]}, {}),
    "a cutoff has come": (ALL, {}, {"rows_v1": ["2024-01-07"], "net_v1": ["2024-01-07"]}),
    "a group far behind is not final": ({**ALL, "early": ["raw_v1"]}, {}, {}),
    "a group near is not final": ({**ALL, "early": ["derived_v1"]}, {}, {}),
    "the dataset is there": ({**ALL, "rows_v1": ["2024-01-07"]}, {}, {"net_v1": ["2024-01-07"]}),
    "an early day changes": (ALL, {"raw_v1": ["2024-01-03"]}, {"sums_v1": WEEK[2:5]}),
    "the last day becomes final": (
        {**ALL, "early": ["raw_v1"]},
        {"raw_v1": ["2024-01-06"]},
        {"sums_v1": ["2024-01-06"]},
    ),
}
"""What was made before a first tick, what changes before a second one, and what the last of these asks for."""


@pytest.mark.parametrize("case", CASES)
def test_a_location_asks_for_what_one_for_everything_would(case: str, stores: fti.Stores) -> None:
    before, changes, expected = CASES[case]
    split, single = consumers(*published(stores)), consumers(raw, derived)
    requested = [asked(declarations, stores, before, changes) for declarations in (split, single)]
    assert requested[0] == requested[1] == expected


def asked(
    declarations: list[Any], stores: fti.Stores, before: dict[str, list[str]], changes: dict[str, list[str]]
) -> dict[str, list[str]]:
    """What is asked for of what this team owns, at the last tick."""
    definitions = fti.build_definitions(declarations, resources={"fti": stores})
    selection = dg.AssetSelection.assets(*OURS)
    with dg.DagsterInstance.ephemeral() as instance:
        cursor, result = None, None
        for moment, events in (("2024-01-07T08:00", before), ("2024-01-07T08:01", changes)):
            for name, partitions in events.items():
                if name != "early":
                    *rest, last = partitions
                    report(instance, dg.AssetKey(name), *rest, early=moment)
                    report(instance, dg.AssetKey(name), last, early=name in events.get("early", []) or moment)
            if events or result is None:
                with clock.at(moment):
                    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
                    result = dg.evaluate_automation_conditions(
                        definitions, instance, selection, evaluation_time=at, cursor=cursor
                    )
                cursor = result.cursor
        assert result is not None
        results = {name: sorted(map(str, result.get_requested_partitions(dg.AssetKey(name)))) for name in OURS}
        return {name: partitions for name, partitions in results.items() if partitions}


def test_what_another_location_owns_has_its_key_and_partitions_and_no_step(stores: fti.Stores) -> None:
    graph = fti.build_definitions(consumers(*published(stores)), resources={"fti": stores}).resolve_asset_graph()
    node = graph.get(raw.key)
    assert (node.is_external, node.is_executable, node.partitions_def) == (True, False, DAYS)
    assert node.automation_condition is None
    assert graph.get(dg.AssetKey("rows_v1")).parent_keys == {raw.key, derived.key, dg.AssetKey("sums_v1")}
