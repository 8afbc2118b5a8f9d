"""How sources are loaded: by partition, whole, both at once; late and corrected rows, by event time and by arrival."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.testing import materialize, stores_in

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-11")
LAST = "2024-01-10"


def day(key: str, x: float = 1.0) -> pd.DataFrame:
    at = pd.date_range(key, periods=4, freq="6h", unit="us")
    return pd.DataFrame({"id": ["a", "b", "a", "b"], "at": at, "arrived_at": at, "x": x})


class System:
    """A source and a group that looks back three days over it, with ticks of their conditions."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, **options: Any) -> None:
        self.landed = {key: day(key) for key in DAYS.get_partition_keys()}
        self.instance, self.cursor, self.stores = instance, None, stores_in(folder)

        @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS, **options)
        def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
            return pd.concat([self.landed[key] for key in context.partition_keys])

        @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS, lookback="3d")
        def sums(visits: fti.Table) -> fti.Table:
            return fti.window_aggregate(
                visits, keys=["id"], every="6h", windows=["2d"], aggregates={"x": fti.Sum("x"), "n": fti.Count()}
            )

        self.visits, self.sums = visits, sums
        self.defs = fti.build_definitions([sums], resources={"fti": self.stores})

    def run(self, group: FeatureGroup, *partition: str) -> None:
        span = partition[0] if len(partition) == 1 else (partition[0], partition[1])
        materialize(group, stores=self.stores, partition=span, instance=self.instance, now="2024-01-11T01:00")

    def tick(self) -> list[str]:
        with clock.at("2024-01-11T02:00"):
            result = dg.evaluate_automation_conditions(
                self.defs,
                self.instance,
                dg.AssetSelection.assets(self.visits.key, self.sums.key),
                evaluation_time=datetime(2024, 1, 11, 2, tzinfo=UTC),
                cursor=self.cursor,
            )
        self.cursor = result.cursor
        assert not result.get_requested_partitions(self.visits.key)
        return sorted(map(str, result.get_requested_partitions(self.sums.key)))

    def versions(self) -> dict[str, str]:
        with self.stores.offline_store().connect() as lake:
            return {key: record.data_version for key, record in lake.ledger(self.sums.table).items()}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.mark.soak
def test_corrected_day_makes_only_its_lookback_stale(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    system = System(tmp_path, instance)
    system.run(system.visits, "2024-01-01", LAST)
    system.run(system.sums, "2024-01-04", LAST)
    system.tick()
    before = system.versions()
    system.run(system.visits, "2024-01-05")
    assert system.tick() == [], "the same rows again are no change"
    system.landed["2024-01-05"] = day("2024-01-05", x=2.0)
    system.run(system.visits, "2024-01-05")
    touched = ["2024-01-05", "2024-01-06", "2024-01-07", "2024-01-08"]
    assert system.tick() == touched
    system.run(system.sums, touched[0], touched[-1])
    after = system.versions()
    # The window is two days long, so the third day after came out as it was; the fourth was never asked for.
    assert sorted(key for key in after if after[key] != before[key]) == touched[:3]
    assert system.tick() == []


def test_a_late_row_touches_only_days_since_arrival(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    system = System(tmp_path, instance, available_at="arrived_at", partition_by="arrived_at")
    system.run(system.visits, "2024-01-01", LAST)
    system.run(system.sums, "2024-01-04", LAST)
    system.tick()
    before = system.versions()
    late = day("2024-01-08").assign(
        at=pd.Timestamp("2024-01-07 23:00").as_unit("us") + pd.to_timedelta(range(4), "min"), x=9.0
    )
    system.landed["2024-01-09"] = pd.concat(
        [day("2024-01-09"), late.assign(arrived_at=pd.Timestamp("2024-01-09 12:00"))]
    )
    system.run(system.visits, "2024-01-09")
    assert system.tick() == ["2024-01-09", "2024-01-10"]
    system.run(system.sums, "2024-01-09", LAST)
    after = system.versions()
    assert sorted(key for key in after if after[key] != before[key]) == ["2024-01-09", "2024-01-10"]
    rows = fti.read(system.sums, stores=system.stores, partitions=["2024-01-09"]).sort_values(["at", "id"])
    # By arrival they became visible at noon: the instant before does not know them, although they are older.
    assert rows[rows.id == "a"]["x_2d"].tolist() == [4.0, 4.0, 22.0, 22.0]


def test_a_correction_by_arrival_is_a_new_row(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    system = System(tmp_path, instance, available_at="arrived_at", partition_by="arrived_at")
    system.run(system.visits, "2024-01-01", "2024-01-03")
    corrected = day("2024-01-02", x=5.0).assign(arrived_at=pd.Timestamp("2024-01-03 09:00").as_unit("us"))
    system.landed["2024-01-03"] = pd.concat([day("2024-01-03"), corrected])
    system.run(system.visits, "2024-01-03")
    rows = fti.read(system.visits, stores=system.stores)
    assert sorted(rows[rows["at"] == pd.Timestamp("2024-01-02")]["x"]) == [1.0, 5.0]


def test_a_range_is_backfilled_while_today_lands(tmp_path: Path) -> None:
    """The backfill has read and computed, today commits in between, and neither loses a row."""
    computed, landed = threading.Event(), threading.Event()
    backfilling = [key for key in DAYS.get_partition_keys() if key != LAST]

    def visits_with(meanwhile: bool) -> FeatureGroup:
        @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
        def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
            if meanwhile:
                computed.set()
                assert landed.wait(120)
            return pd.concat([day(key, x=float(key[-2:])) for key in context.partition_keys])

        return visits

    def backfill() -> None:
        materialize(visits_with(True), stores=stores_in(tmp_path), partition=(backfilling[0], backfilling[-1]))

    thread = threading.Thread(target=backfill)
    thread.start()
    assert computed.wait(120)
    materialize(visits_with(False), stores=stores_in(tmp_path), partition=LAST)
    landed.set()
    thread.join(120)
    rows = fti.read(visits_with(False), stores=stores_in(tmp_path))
    assert sorted(rows["x"]) == sorted(4 * [float(key[-2:]) for key in DAYS.get_partition_keys()])


def test_full_reload_replaces_everything_and_leaves_unchanged_version(tmp_path: Path) -> None:
    landed = {"rows": pd.DataFrame({"id": [1, 2, 3], "seats": [100, 200, 300]})}

    @fti.feature_group(keys=["id"])
    def planes() -> pd.DataFrame:
        return landed["rows"]

    def loaded() -> tuple[list[tuple[int, int]], str]:
        materialize(planes, stores=stores_in(tmp_path))
        with stores_in(tmp_path).offline_store().connect() as lake:
            return sorted(lake.rows(planes.table).fetchall()), lake.ledger(planes.table)["all"].data_version

    first = loaded()
    landed["rows"] = landed["rows"].iloc[::-1]
    assert loaded() == first
    landed["rows"] = pd.DataFrame({"id": [3, 4], "seats": [301, 400]})
    assert loaded()[0] == [(3, 301), (4, 400)]
