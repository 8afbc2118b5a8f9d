"""Whoever reads a column that had no values on its first day reads it right, before and after its type came."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.core import clock
from fti_assets.core.times import instant, microseconds
from fti_assets.errors import DataError
from fti_assets.orchestration.resources import Stores

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-02-01")
VISITS = 12
"""In a day, one every two hours."""


@fti.feature_group(keys=["id"], event_time="t", serving_delay="0s", partitions_def=DAYS, online=True)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.concat([day_of(key) for key in context.partition_keys])


def day_of(key: str) -> pd.DataFrame:
    """On the first day nothing is known of a visit but when it was; ``never`` is never known."""
    t = pd.Timestamp(key) + pd.to_timedelta(np.arange(VISITS) * 2, "h")
    known: dict[str, Any] = {name: [None] * VISITS for name in ("mood", "spend", "bought", "never")}
    day = int(key[-2:])
    if day > 1:
        known["mood"] = ["good", "bad"] * (VISITS // 2)
        known["spend"] = [0.5 * number for number in range(VISITS)]
        known["bought"] = [number % 2 for number in range(VISITS)]
    return pd.DataFrame({"id": np.arange(VISITS) + 100 * day, "t": t, "shop": "a", **known})


loud = fti.sql_feature_group(
    name="loud", keys=["id"], event_time="t", ins={"visits": visits}, partitions_def=DAYS,
    sql="SELECT id, t, mood, spend + 1 AS spend, never FROM visits WHERE t >= $start AND t < $end",
)  # fmt: skip


@fti.feature_group(keys=["shop"], event_time="t", lookback="5d", partitions_def=DAYS)
def sums(visits: fti.Table) -> fti.Table:
    aggregates = {"spent": fti.Sum("spend"), "moods": fti.DistinctCount("mood"), "visits": fti.Count()}
    return fti.window_aggregate(visits, keys=["shop"], every="1d", windows=["3d"], aggregates=aggregates)


view = fti.FeatureView(
    name="buying",
    spine=visits,
    label=fti.Label(visits["bought"]),
    features=[visits["spend", "mood", "never"]],
    encoders={"mood": fti.OneHot()},
)
dataset = fti.training_dataset(
    name="buying_dataset", view=view, split=fti.TimeSplit(validation="12h", test="12h"), partitions_def=DAYS
)


@dataclass
class World:
    """Days as they were run, and what each reader had of the first before there was another."""

    stores: Stores
    before: dict[str, Any]

    def online(self, key: int) -> tuple[Any, ...] | None:
        reader = self.stores.online_store().reader("visits_v1", columns=["mood", "spend", "never"])
        results = reader.get((key,), microseconds(instant("2025-01-09T00:00:00")))
        return None if results is None else results.values

    @property
    def snapshot(self) -> int:
        with self.stores.offline_store().connect() as lake:
            return lake.snapshot()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(testing.stores_in(tmp_path_factory.mktemp("stores")), {})
    with clock.at("2025-01-09T00:00:00"):
        for first, last in (("2025-01-01", "2025-01-01"), ("2025-01-02", "2025-01-04")):
            days = (first, last) if first != last else first
            for group in (visits, loud, sums):
                testing.materialize(group, stores=world.stores, partition=days)
            if not world.before:
                world.before = {
                    "snapshot": world.snapshot, "online": world.online(101), "features": fti.read(visits, stores=world.stores)
                }  # fmt: skip
        yield world


def test_frames_of_every_kind_have_both_days(world: World) -> None:
    moods = [None] * VISITS + ["good", "bad"] * (VISITS // 2)
    two = {"stores": world.stores, "partitions": ["2025-01-01", "2025-01-02"], "columns": ["id", "mood", "never"]}
    pandas = fti.read(visits, as_="pandas", **two).sort_values("id")
    assert [None if pd.isna(mood) else mood for mood in pandas["mood"]] == moods
    assert fti.read(visits, as_="polars", **two).sort("id")["mood"].to_list() == moods
    assert fti.read(visits, as_="arrow", **two).sort_by("id")["mood"].to_pylist() == moods
    assert [mood for _, mood, _ in fti.read(visits, as_="relation", **two).order("id").fetchall()] == moods
    assert pandas["never"].isna().all()


def test_a_pinned_snapshot_is_read_as_it_was(world: World) -> None:
    rows = fti.read(visits, stores=world.stores, snapshot=world.before["snapshot"])
    pd.testing.assert_frame_equal(rows, world.before["features"])


def test_online_answers_are_those_of_the_newest_rows(world: World) -> None:
    assert world.before["online"] == (None, None, None)
    assert world.online(101) == (None, None, None)
    assert world.online(203) == ("bad", 1.5, None)


def test_sql_over_it_has_both_days(world: World) -> None:
    rows = fti.read(loud, stores=world.stores).sort_values("id").set_index("id")
    assert rows["mood"].isna().tolist() == [True] * VISITS + [False] * 3 * VISITS
    assert (rows.loc[203, "mood"], rows.loc[203, "spend"]) == ("bad", 2.5)
    assert rows["never"].isna().all()


def test_windows_over_it_count_its_values(world: World) -> None:
    rows = fti.read(sums, stores=world.stores).set_index("t").sort_index()
    spent = sum(0.5 * number for number in range(VISITS))
    third = rows.loc[pd.Timestamp("2025-01-03")]
    assert (third["visits_3d"], third["spent_3d"], third["moods_3d"]) == (2 * VISITS + 1, spent, 2)
    second = rows.loc[pd.Timestamp("2025-01-02")]
    assert (second["visits_3d"], second["moods_3d"]) == (VISITS + 1, 1)


def test_dataset_takes_new_labels_and_null_first_features(world: World) -> None:
    with clock.at("2025-01-09T00:00:00"):
        testing.materialize(dataset, stores=world.stores, partition="2025-01-04")
    rows = fti.read(dataset, stores=world.stores).sort_values("t")
    assert rows["id"].min() == 200
    assert rows["bought"].tolist()[:4] == [0, 1, 0, 1]
    assert rows["mood"].tolist()[:4] == ["good", "bad", "good", "bad"]
    assert rows["never"].isna().all()


def test_labels_that_are_all_null_are_refused_by_name(world: World) -> None:
    with clock.at("2025-01-09T00:00:00"), pytest.raises(DataError, match=f"no row to train on: .* {VISITS} unlabelled"):
        testing.materialize(dataset, stores=world.stores, partition="2025-01-02")


@pytest.mark.soak
def test_changes_give_a_column_its_type(tmp_path: Path) -> None:
    stores = testing.stores_in(tmp_path)

    def run(**columns: Any) -> tuple[dict[int, Any], str]:
        @fti.feature_group(keys=["id"])
        def balances() -> Any:
            return fti.Changes(upserts=pd.DataFrame(columns))

        testing.materialize(balances, stores=stores)
        with stores.offline_store().connect() as lake:
            (record,) = lake.ledger(balances.table).values()
        rows = fti.read(balances, stores=stores, as_="dicts")
        return {row["id"]: row["x"] for row in rows}, record.data_version

    assert run(id=[1, 2], x=[None, None])[0] == {1: None, 2: None}
    rows, version = run(id=[2, 3], x=["a", None])
    assert rows == {1: None, 2: "a", 3: None}
    assert run(id=[3], x=[None]) == (rows, version)
