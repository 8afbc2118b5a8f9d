"""Labels that come later than a monitor's condition looks for them: exactly the days that they are of are measured again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.names import PartitionRecord
from fti_assets.errors import NotMaterializedError
from fti_assets.monitors.late_labels import tick
from fti_assets.monitors.late_labels.days import Look, late_days
from fti_assets.monitors.late_labels.memory import Memory
from fti_assets.training.judging.evaluation import evaluate
from tests.monitors.test_quality import answered, measure, one, store_outcomes, watch
from tests.support.examples import examples
from tests.support.visits import LATER, Bench, in_day, outcomes

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-03-01")
FIRST = datetime(2024, 1, 1)


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def seen() -> pd.DataFrame: ...


@fti.feature_group(keys=["id"], event_time="settled", available_at="known", partitions_def=DAYS)
def settled() -> pd.DataFrame: ...


@fti.feature_group(keys=["shop"], event_time="settled", available_at="known", partitions_def=DAYS)
def complaints() -> pd.DataFrame: ...


@fti.feature_group(keys=["id"], event_time="settled", available_at="known")
def whole() -> pd.DataFrame: ...


def monitor_of(name: str, label: fti.Label) -> Any:
    view = fti.FeatureView(name=f"{name}_view", spine=seen, label=label, features=[seen["x"]])

    @fti.model(name=name, dataset=view, task="binary")
    def train(data: fti.TrainingData) -> Any: ...

    answers = fti.batch_predictions(name=f"{name}_answers", model=train, partitions_def=DAYS)
    return fti.monitor(name=f"{name}_watch", predictions=answers, drift=[], weeks=0, quality=[fti.Quality("log_loss")])


BY_KEY = monitor_of("by_key", fti.Label(settled["y"], maturity="1d"))
WITHIN = monitor_of("within", fti.Label(complaints["y"], within="2d"))
WHOLE = monitor_of("whole", fti.Label(whole["y"], maturity="1d"))

# An answer is of a visit (0 to 7), 9 hours apart; a shop has every third visit.
ANSWERS = [(number, FIRST + timedelta(hours=9 * number), number % 3) for number in range(8)]

# A label's row: whose it is, the day on which it was settled, by how many days it was known later, and what it says.
ROWS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 12), st.integers(0, 3), st.integers(0, 1)), max_size=6, unique_by=lambda one: one[:3]
)  # fmt: skip
Row = tuple[int, int, int, int]


class FakeLake:
    """Two snapshots of a label's rows beside answers that stay."""

    def __init__(self, monitor: Any, of_snapshots: list[list[Row]], gone: int = 0) -> None:
        self.connection, self.monitor, self.of_snapshots, self.gone = duckdb.connect(), monitor, of_snapshots, gone
        (self.group,) = (label.group for label in monitor.labels)
        self._answers = pd.DataFrame(ANSWERS, columns=["id", "at", "shop"]).astype({"at": "datetime64[us]"})

    def has(self, table: Any) -> bool:
        return True

    def snapshot(self) -> int:
        return len(self.of_snapshots)

    def frame(self, snapshot: int | None) -> pd.DataFrame:
        if snapshot is not None and snapshot <= self.gone:
            raise NotMaterializedError("it is expired")
        rows = self.of_snapshots[(snapshot or self.snapshot()) - 1]
        key = self.group.keys[0]
        frame = pd.DataFrame(rows, columns=[key, "settled", "late", "y"])
        at = FIRST + pd.to_timedelta(frame["settled"], unit="D") + pd.Timedelta(hours=1)
        known = at + pd.to_timedelta(frame["late"], unit="D")
        partition = at.dt.strftime("%Y-%m-%d") if self.group.partitions_def else ""
        times = {
            "settled": at.astype("datetime64[us]"),
            "known": known.astype("datetime64[us]"),
            "_partition": partition,
        }
        return frame.drop(columns=["late"]).assign(**times).astype({"_partition": str})

    def rows(
        self, table: Any, *, snapshot: int | None = None, partitions: Any = None, with_partition: bool = False
    ) -> Any:
        if table == self.group.table:
            rows = self.frame(snapshot)
            return self.connection.from_df(rows if partitions is None else rows[rows["_partition"].isin(partitions)])
        return self.connection.from_df(self._answers)

    def ledger(self, table: Any, *, snapshot: int | None = None) -> dict[str, PartitionRecord]:
        if table == self.group.table:
            rows = self.frame(snapshot)
            versions = {key: str(sorted(map(str, of.to_numpy().tolist()))) for key, of in rows.groupby("_partition")}
        else:
            versions = dict.fromkeys((f"{FIRST + timedelta(days=n):%Y-%m-%d}" for n in range(4)), "same")
        at = FIRST + timedelta(days=30 + (snapshot or self.snapshot()))
        return {str(key): PartitionRecord(str(key), version, 1, at, at, "", "{}") for key, version in versions.items()}


def day_of(at: datetime) -> datetime:
    return datetime(at.year, at.month, at.day)


def expected(monitor: Any, before: list[Row], after: list[Row]) -> set[str]:
    """By hand: the day of each answer that a row is of which came, went or changed, without those near its partition."""
    (label,) = monitor.labels
    days = set()
    for row in (Counter(after) - Counter(before)) + (Counter(before) - Counter(after)):
        whose, day, _, _ = row
        settled_on = FIRST + timedelta(days=day)
        event = settled_on + timedelta(hours=1)
        for number, at, shop in ANSWERS:
            is_of = whose == (shop if label.horizon else number)
            if label.horizon:
                is_of = is_of and at < event <= at + label.horizon
            answered_on = day_of(at)
            near = label.group.partitions_def and (
                answered_on < settled_on + timedelta(days=1)
                and answered_on + timedelta(days=1) > settled_on - label.age
            )
            if is_of and not near:
                days.add(f"{answered_on:%Y-%m-%d}")
    return days


@pytest.mark.parametrize("monitor", [BY_KEY, WITHIN, WHOLE], ids=["by key", "within a horizon", "without partitions"])
@settings(max_examples=examples(200))
@given(before=ROWS, after=ROWS)
def test_days_are_those_of_a_search(monitor: Any, before: list[Row], after: list[Row]) -> None:
    lake: Any = FakeLake(monitor, [before, after])
    with clock.at("2024-02-20"):
        results = {one.key for one in late_days(lake, monitor, Look(1, datetime(2024, 2, 1)))}
    assert results == expected(monitor, before, after)


def test_each_row_of_a_changed_partition_counts_where_the_snapshot_of_before_is_gone() -> None:
    rows: list[Row] = [(0, 9, 0, 1), (3, 9, 0, 1), (7, 12, 0, 0)]
    lake: Any = FakeLake(BY_KEY, [rows, [*rows, (1, 12, 0, 1)]], gone=1)
    look = Look(1, datetime(2024, 1, 31))
    with clock.at("2024-02-20"):
        everything = {one.key for one in late_days(lake, BY_KEY, look)}
        later = {one.key for one in late_days(lake, BY_KEY, replace(look, at=datetime(2024, 2, 20)))}
    assert everything == {"2024-01-01", "2024-01-02", "2024-01-03"}
    assert later == set(), "nothing was stored since"


def test_a_first_look_finds_what_was_measured_before_its_labels_came() -> None:
    lake: Any = FakeLake(BY_KEY, [[(0, 9, 0, 1)]])
    own = lake.ledger
    with clock.at("2024-02-20"):
        assert late_days(lake, BY_KEY, None) == [], "it was measured when they had come"
        early = {key: replace(one, run_at=FIRST) for key, one in own(BY_KEY.table).items()}
        lake.ledger = lambda table, **of: early if table == BY_KEY.table else own(table, **of)
        assert [one.key for one in late_days(lake, BY_KEY, None)] == ["2024-01-01"]


@pytest.mark.parametrize("text", [None, "", "[]", "no", '{"look": {"snapshot": "x"}}', '{"open_requests": [{}]}'])
def test_an_unreadable_cursor_is_a_new_one(text: str | None) -> None:
    assert Memory.of(text) == Memory()


class Ticks:
    """The sensor of late labels of the week's monitor."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.cursor = bench, ""
        self.defs = fti.build_definitions([watch], resources={"fti": bench.stores})

    def tick(self, moment: str = LATER) -> Any:
        name = "watch_v1_late_labels"
        with (
            clock.at(moment),
            dg.build_sensor_context(
                self.bench.instance,
                cursor=self.cursor,
                definitions=self.defs,
                sensor_name=name,
                resources={"fti": self.bench.stores},
            ) as context,
        ):
            (sensor,) = (one for one in self.defs.sensors or () if one.name == name)
            result = sensor.evaluate_tick(context)  # type: ignore[union-attr]
        self.cursor = result.cursor or ""
        keys = [
            one.partition_key or one.tags["dagster/asset_partition_range_start"] for one in result.run_requests or []
        ]
        return keys or result.skip_message


def test_labels_that_come_after_their_maturity_are_measured_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(bench)
    assert ticks.tick() == "no label came late", "nothing is measured yet"
    bench.predict(day="06")
    measure(bench, day="06", now="2013-01-10")
    p, y, _ = answered(bench)
    assert ticks.tick("2013-01-10") == "no label came late"
    rows = in_day(6).assign(t=pd.Timestamp("2013-01-15"))
    with clock.at("2013-01-16"):
        store_outcomes(bench, rows.assign(bought=1 - rows["bought"]), "2013-01-15")
    assert ticks.tick("2013-01-16") == "no label came late", "Dagster has heard of nothing"
    event = dg.AssetMaterialization(outcomes.key, partition="2013-01-15")
    bench.instance.report_runless_asset_event(event)
    with monkeypatch.context() as patch:
        patch.setattr(tick, "_is_under_way", lambda *_: True)
        assert "came late, which wait for the run" in ticks.tick("2013-01-16")
    assert ticks.tick("2013-01-16") == ["2013-01-06"]
    measure(bench, day="06", now="2013-01-16")
    wrong = evaluate("binary", ["brier"], {"probability": p}, 1 - y)["brier"]
    assert one(bench, statistic="brier")["value"] == wrong
    memory = Memory.of(ticks.cursor)
    assert [one.first for one in memory.open_requests] == ["2013-01-06"], "asked for again if its run never begins"
    ticks.cursor = replace(memory, open_requests=[]).text
    bench.instance.report_runless_asset_event(event)
    assert ticks.tick("2013-01-17") == "no label came late"
