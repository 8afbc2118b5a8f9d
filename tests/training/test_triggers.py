"""Triggers: what asks for training, which cutoff is trained, and what is remembered between ticks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.names import MONITORING, TableName
from fti_assets.core.times import Partition, instant
from fti_assets.errors import DataError, DeclarationError
from fti_assets.monitoring.measurement import IDENTITY, Measurement, Subject, Verdict
from fti_assets.stores.models.builds.facts import facts_of
from fti_assets.training.retraining.memory import Memory
from fti_assets.training.retraining.situation import ModelSituation
from fti_assets.training.triggers.breaches import QUALITY, SERVICE
from fti_assets.training.triggers.retraining import RETRAIN
from fti_assets.training.triggers.trigger import Breach, Cause
from tests.support.partitions import range_tags

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_offset=1)
NOW = datetime(2024, 1, 10, 12)


@dataclass(frozen=True)
class Told:
    """What triggers are told in these tests."""

    now: datetime = NOW
    came: Sequence[datetime] = ()
    warnings: Sequence[Breach] = ()

    def changes(self, group: str | None) -> Sequence[datetime]:
        return self.came

    def breaches(self, monitor: str) -> Sequence[Breach]:
        return self.warnings


def breach(subject: str, statistic: str, column: str = "x", day: int = 9, **more: Any) -> Breach:
    fields = {"reference": "training", "slice": "", "value": 0.31, "threshold": 0.2, "estimated": False, **more}
    return Breach(datetime(2024, 1, day), subject, column, statistic, **fields)


@pytest.mark.parametrize(
    ("cron", "zone", "last"),
    [
        ("0 6 * * 1", "UTC", "2024-01-08T06:00"),
        ("0 12 * * *", "UTC", "2024-01-10T12:00"),
        ("1 12 * * *", "UTC", "2024-01-09T12:01"),
        ("0 6 * * *", "America/New_York", "2024-01-10T11:00"),
    ],
)
def test_a_schedule_asks_for_its_last_instant(cron: str, zone: str, last: str) -> None:
    cause = fti.OnSchedule(cron, timezone=zone).cause(Told())
    assert cause is not None
    assert cause.at == datetime.fromisoformat(last)


def test_new_data_asks_once_enough_has_come() -> None:
    came = [NOW - timedelta(days=n) for n in range(3)]
    assert fti.OnNewData(partitions=4).cause(Told(came=came)) is None
    assert fti.OnNewData(partitions=3).cause(Told(came=came)) == Cause(
        NOW, "3 partitions of the spine are new or have changed"
    )


@pytest.mark.parametrize(
    ("trigger", "day"),
    [
        (fti.OnDrift("watch"), 9),
        (fti.OnDrift("watch", statistics=["ks"]), 8),
        (fti.OnDrift("watch", columns=["z"]), None),
        (fti.OnDrift("watch", slices=True), 10),
        (fti.OnDegradation("roc_auc", monitor="watch"), 7),
        (fti.OnDegradation("roc_auc", monitor="watch", estimated=True), 9),
        (fti.OnDegradation("log_loss", monitor="watch"), None),
    ],
)
def test_breaches_count_as_a_trigger_says(trigger: Any, day: int | None) -> None:
    warnings = [
        breach("feature", "psi", day=9),
        breach("label", "ks", day=8),
        breach("feature", "psi", day=10, slice="origin=JFK"),
        breach("quality", "roc_auc", "", day=7),
        breach("quality", "roc_auc", "", day=9, estimated=True),
        breach("service", "latency", "", day=10),
    ]
    cause = trigger.cause(Told(warnings=warnings))
    assert (None if cause is None else cause.at.day) == day


def test_reason_of_a_drift_names_the_partition_of_each_figure() -> None:
    warnings = [breach("feature", "psi", day=8), *(breach("feature", "ks", f"x{n}", day=9) for n in range(5))]
    cause = fti.OnDrift("watch").cause(Told(warnings=warnings[:2]))
    assert cause is not None
    assert cause.days == (datetime(2024, 1, 9), datetime(2024, 1, 8))
    assert cause.reason == (
        "ks of x0 0.31 (threshold 0.2) in watch at 2024-01-09 00:00, psi of x 0.31 (threshold 0.2) in watch at 2024-01-08 00:00"
    )
    cause = fti.OnDrift("watch").cause(Told(warnings=warnings))
    assert cause is not None
    assert cause.reason.endswith("ks of x4 0.31 (threshold 0.2) in watch at 2024-01-09 00:00 and 1 more")


def test_reason_of_a_drift_names_figure_and_threshold() -> None:
    cause = fti.OnDrift("watch").cause(Told(warnings=[breach("feature", "psi")]))
    assert cause is not None
    assert cause.reason == "psi of x 0.31 (threshold 0.2) in watch at 2024-01-09 00:00"


def test_a_cause_is_over_until_a_later_one() -> None:
    memory = Memory.of(Memory().text)
    memory.remember({"drift": Cause(datetime(2024, 1, 9), "")})
    memory = Memory.of(memory.text)
    assert memory.is_over("drift", Cause(datetime(2024, 1, 9), ""), NOW)
    assert not memory.is_over("drift", Cause(datetime(2024, 1, 10), ""), NOW)
    assert not memory.is_over("drift", Cause(datetime(2024, 1, 1), ""), datetime(2024, 1, 2)), "the clock was set back"


def test_cool_down_goes_by_the_one_clock() -> None:
    memory = Memory(requested_at="2024-01-09T12:00:00")
    assert memory.cools_until(timedelta(days=2), NOW) == datetime(2024, 1, 11, 12)
    assert memory.cools_until(timedelta(days=1), NOW) is None
    assert memory.cools_until(timedelta(days=2), datetime(2024, 1, 1)) is None, "the clock was set back"


def test_a_partition_that_was_measured_late_is_news_once() -> None:
    memory, ninth, eighth = Memory(), datetime(2024, 1, 9), datetime(2024, 1, 8)
    memory.remember({"drift": Cause(ninth, "", (ninth,))})
    assert not memory.is_over("drift", Cause(ninth, "", (ninth, eighth)), NOW)
    memory.remember({"drift": Cause(eighth, "", (eighth,))})
    memory = Memory.of(memory.text)
    assert memory.is_over("drift", Cause(ninth, "", (ninth, eighth)), NOW)
    assert memory.days_of("drift", ninth - timedelta(hours=1)) == {eighth}, "the clock was set back"
    by_an_earlier_release = Memory.of('{"causes": {"drift": "2024-01-09T00:00:00"}, "requested_at": ""}')
    assert by_an_earlier_release.is_over("drift", Cause(ninth, "", (ninth,)), NOW)


@pytest.mark.parametrize(
    "text",
    [None, "", "[]", "nonsense", '{"causes": {"a": 1}}', '{"requested_at": "then"}', '{"days": {"a": ["then"]}}', '{"days": []}'],
)  # fmt: skip
def test_an_unreadable_cursor_is_a_new_one(text: str | None) -> None:
    assert Memory.of(text) == Memory()


def test_breaches_are_read_from_the_columns_of_monitors() -> None:
    names = {*IDENTITY, "partition_start", "value", "threshold", "estimated", "verdict"}
    assert names <= {one.name for one in fields(Measurement)}
    assert {one.name for one in fields(Breach)} <= names
    assert {"ok", "warning"} <= set(get_args(Verdict))
    assert {QUALITY, SERVICE} <= set(get_args(Subject))


FAULTS: set[str] = set()


@dataclass
class World:
    """A small system on files, the ticks of its triggers and the runs that they request."""

    folder: Path
    instance: dg.DagsterInstance
    shift: dict[str, float] = field(default_factory=dict)
    cursor: str | None = None

    def __post_init__(self) -> None:
        shift = self.shift

        @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
        def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
            parts = []
            for day in context.partition_keys:
                at = pd.date_range(day, periods=24, freq="h", unit="us")
                x = np.arange(24) % 2 + shift.get(day, 0.0)
                ids = [f"{day}/{n}" for n in range(24)]
                parts.append(pd.DataFrame({"id": ids, "at": at, "x": x, "y": np.arange(24) % 2}))
            return pd.concat(parts, ignore_index=True)

        view = fti.FeatureView(name="view", spine=visits, label=fti.Label(visits["y"]), features=[visits["x"]])
        split = fti.TimeSplit(validation="1d", test="2d")
        rows = fti.training_dataset(name="rows", view=view, partitions_def=DAYS, split=split)

        @fti.model(
            dataset=rows,
            task="binary",
            retrain=[fti.OnNewData(partitions=3), fti.OnDrift("watch"), fti.OnSchedule("0 0 1 * *")],
            cooldown="2d",
            importance=False,
            evaluate=fti.Evaluation(metrics=["log_loss"], confidence=None),
        )
        def net(data: fti.TrainingData) -> Any:
            if "fail" in FAULTS:
                raise RuntimeError("too few rows")
            return LogisticRegression().fit(data.train.X, data.train.y)

        answers = fti.batch_predictions(name="answers", model=net, partitions_def=DAYS)
        watch = fti.monitor(name="watch", predictions=answers)
        self.visits, self.rows, self.net = visits, rows, net
        self.stores = fti.Stores(**{name: str(self.folder / name) for name in ("lake", "models", "online")})
        self.defs = fti.build_definitions([watch], resources={"fti": self.stores})

    def tick(self, moment: str) -> Any:
        """The request of a tick, or why there is none."""
        with (
            clock.at(moment),
            dg.build_sensor_context(
                self.instance,
                cursor=self.cursor,
                definitions=self.defs,
                sensor_name="net_v1_retraining",
                resources={"fti": self.stores},
            ) as context,
        ):
            [sensor] = (one for one in self.defs.sensors or () if one.name == "net_v1_retraining")
            result = sensor.evaluate_tick(context)  # type: ignore[union-attr]
        self.cursor = result.cursor
        return result.run_requests[0] if result.run_requests else result.skip_message

    def run(self, moment: str, request: dg.RunRequest) -> bool:
        with clock.at(moment):
            return dg.materialize(
                [self.visits.assets_def, self.rows.assets_def, self.net.assets_def],
                selection=request.asset_selection,
                instance=self.instance,
                resources={"fti": self.stores},
                partition_key=request.partition_key,
                tags={**request.tags, "dagster/run_key": request.run_key},
                raise_on_error=False,
            ).success

    def visit(self, moment: str, first: str, last: str) -> None:
        with clock.at(moment):
            dg.materialize(
                [self.visits.assets_def],
                instance=self.instance,
                resources={"fti": self.stores},
                tags=range_tags(first, last),
            )

    def warn(self, *days: str, verdict: str = "warning") -> None:
        """What the monitor says of these days, each measured as it began."""
        self.measure(*((day, verdict, "") for day in days))

    def measure(self, *figures_of: tuple[str, str, str]) -> None:
        """What the monitor says of days, and when it measured each."""
        figures = ", ".join(
            f"(TIMESTAMP '{day}', TIMESTAMP '{measured or day}', 'feature', 'x', 'psi', 'training', '', '', '', 0.31, 0.2, "
            f"false, '{verdict}', '')"
            for day, verdict, measured in figures_of
        )
        with self.stores.offline_store().connect() as lake:
            lake.connection.execute(
                "CREATE OR REPLACE TEMP TABLE figures AS SELECT * FROM (VALUES "
                f"{figures}) t(partition_start, measured_at, subject, column_name, statistic, reference, slice, build, arm, value, "
                "threshold, estimated, verdict, _partition)"
            )
            lake.replace(TableName(MONITORING, "watch_v1"), "figures", [""], asset="watch_v1", run_id="")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A system with a first build at the cutoff of 9 January, after one that failed: the cool-down does not hold up the next."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(tmp_path_factory.mktemp("world"), instance)
        assert world.tick("2024-01-09T01:00") == "nothing is stored yet"
        world.visit("2024-01-08T01:00", "2024-01-01", "2024-01-07")
        failing = world.tick("2024-01-08T01:01")
        FAULTS.add("fail")
        assert not world.run("2024-01-08T01:01", failing)
        FAULTS.clear()
        assert isinstance(world.tick("2024-01-08T03:00"), str), "nothing has changed since"
        world.visit("2024-01-09T01:00", "2024-01-08", "2024-01-08")
        request = world.tick("2024-01-09T01:01")
        assert request.partition_key == "2024-01-09"
        assert {key.to_user_string() for key in request.asset_selection} == {"rows_v1", "net_v1"}
        assert request.tags[RETRAIN] == "first_build: there is no build of version 1 yet"
        again = world.tick("2024-01-09T01:03")
        assert (again.run_key, again.tags[RETRAIN]) == (f"{request.run_key} again 1", request.tags[RETRAIN]), (
            "no run was made"
        )
        assert world.run("2024-01-09T01:03", again)
        yield world


def test_triggers_take_the_place_of_the_conditions(world: World) -> None:
    assert not world.net.assets_def.automation_conditions_by_key
    assert not world.rows.assets_def.automation_conditions_by_key, "it is made in the runs of its model"
    assert "net_v1_retraining" in {sensor.name for sensor in world.defs.sensors or ()}


def test_a_year_of_ticks_in_small(world: World) -> None:
    """One after another, since each rests on the builds before: once a cause, after the cool-down, with something to learn."""
    store = world.stores.model_store()
    assert world.tick("2024-01-09T02:00") == "no trigger asks for training"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelSituation, "changes", lambda *_: pytest.fail("nothing was stored since"))
        assert world.tick("2024-01-09T02:01") == "no trigger asks for training"
    world.warn("2024-01-08")
    assert "waits for the cool-down until 2024-01-11 01:01" in world.tick("2024-01-10T03:00")
    assert "no cutoff" not in (kept := world.tick("2024-01-11T02:00")), kept
    assert "has learned from all that there is at the newest cutoff that is ready, 2024-01-09" in kept
    assert "which waits for visits_v1 2024-01-10 before the cutoff 2024-01-11" in kept
    world.visit("2024-01-11T03:00", "2024-01-09", "2024-01-09")
    request = world.tick("2024-01-11T03:01")
    assert request.partition_key == "2024-01-10", "the newest that is ready, not the newest that has come"
    reason = "on_drift_in_watch: psi of x 0.31 (threshold 0.2) in watch at 2024-01-08 00:00"
    assert request.tags[RETRAIN] == reason
    assert world.tick("2024-01-11T03:01:30") == "the run at 2024-01-10 has not ended"
    assert world.run("2024-01-11T03:03", request)
    newest = store.newest_of_version("net", 1)
    assert newest is not None
    assert newest.trained_because == reason
    assert reason in (store.folder(newest) / "card.md").read_text()
    assert facts_of(newest)["data"]["trained because of"] == reason
    # The same day's warning asks no more, a later one does, and joins what else asks.
    assert world.tick("2024-01-14T02:00") == "no trigger asks for training"
    world.visit("2024-01-14T03:00", "2024-01-10", "2024-01-13")
    world.warn("2024-01-08", "2024-01-12")
    request = world.tick("2024-01-14T03:01")
    assert request.partition_key == "2024-01-14"
    assert request.tags[RETRAIN].startswith(
        "on_new_data: 4 partitions of the spine are new or have changed; on_drift_in_"
    )
    assert world.run("2024-01-14T03:02", request)
    # A figure that is well again asks for nothing.
    world.visit("2024-01-16T03:30", "2024-01-14", "2024-01-15")
    world.warn("2024-01-15", verdict="ok")
    assert world.tick("2024-01-17T00:01") == "no trigger asks for training"
    # A corrected day is learned from at the cutoff that is there, by the schedule of the month.
    request = world.tick("2024-02-01T00:01")
    assert request.partition_key == "2024-01-16"
    assert request.tags[RETRAIN] == "on_schedule: 0 0 1 * * at 2024-02-01 00:00"
    assert world.run("2024-02-01T00:02", request)
    world.shift["2024-01-03"] = 0.25
    world.visit("2024-02-05T00:00", "2024-01-03", "2024-01-03")
    world.warn("2024-01-16")
    assert world.tick("2024-02-05T00:01").partition_key == "2024-01-16"


def test_what_a_build_has_seen_is_told_without_its_snapshot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = world.stores.model_store().newest_of_version("net", 1)
    assert learned is not None
    cutoff = max(instant(learned.created_at), instant(learned.cutoff)) + timedelta(days=1)
    target, corrected_at = Partition("", cutoff), cutoff - timedelta(hours=1)
    monkeypatch.setitem(world.shift, "2024-01-02", world.shift.get("2024-01-02", 0.0) + 0.5)
    with world.stores.offline_store().connect() as lake, lake.one_snapshot():
        told_before = ModelSituation(world.net, lake, target, learned, "", {}, cutoff).changes(None)
    world.visit(corrected_at.isoformat(), "2024-01-02", "2024-01-02")
    with world.stores.offline_store().connect() as lake, lake.one_snapshot():
        messages = [
            ModelSituation(world.net, lake, target, build, "", {}, cutoff).changes(None)
            for build in (learned, replace(learned, snapshot=10**6))
        ]
    assert sorted(messages[0]) == sorted(messages[1]) == sorted([*told_before, corrected_at]), "the corrected day"


LATE = "2024-02-09T12:00"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("figures_of", "days"),
    [
        ([("2024-02-05", "warning", ""), ("2024-02-06", "ok", "")], []),
        ([("2024-02-05", "warning", LATE), ("2024-02-06", "ok", "")], ["2024-02-05"]),
        ([("2024-02-05", "warning", LATE), ("2024-02-06", "ok", LATE)], ["2024-02-05"]),
        ([("2024-02-05", "warning", LATE), ("2024-02-06", "ok", LATE), ("2024-02-07", "ok", LATE)], []),
        ([("2024-02-05", "ok", LATE), ("2024-02-06", "ok", "")], []),
        ([("2024-02-05", "warning", LATE), ("2024-02-06", "warning", "")], ["2024-02-05", "2024-02-06"]),
        ([("2024-01-15", "warning", LATE), ("2024-01-16", "ok", "")], []),
        ([("2024-01-15", "warning", "")], ["2024-01-15"]),
    ],
    ids=["over", "late", "in one run", "too far back", "well", "both", "learned from", "newest"],
)  # fmt: skip
def test_a_warning_that_came_late_counts_within_the_cool_down(
    world: World, figures_of: list[tuple[str, str, str]], days: list[str]
) -> None:
    """The cool-down is two days, and the newest build is of the cutoff of 16 January."""
    newest = world.stores.model_store().newest_of_version("net", 1)
    assert newest is not None
    learned = replace(newest, cutoff="2024-01-16T00:00:00Z")
    world.measure(*figures_of)
    table = {"watch": TableName(MONITORING, "watch_v1")}
    with world.stores.offline_store().connect() as lake:
        messages = ModelSituation(world.net, lake, Partition("", None), learned, "", table, NOW).breaches("watch")
    assert [f"{one.partition_start:%Y-%m-%d}" for one in messages] == days


def test_a_late_warning_trains_again_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "cursor", Memory(causes={"on_schedule": "2024-02-01T00:00:00"}).text)
    world.measure(("2024-02-06", "warning", ""))
    world.visit("2024-02-08T00:00", "2024-01-09", "2024-02-07")
    with monkeypatch.context() as patch:
        patch.setattr(fti.OnNewData, "cause", lambda *_: None)
        assert world.tick("2024-02-08T01:00").tags[RETRAIN].endswith("at 2024-02-06 00:00")
        memory = Memory.of(world.cursor)
        memory.open_requests.clear()
        monkeypatch.setattr(world, "cursor", memory.text)
        world.measure(("2024-02-05", "warning", LATE), ("2024-02-06", "warning", ""))
        assert "waits for the cool-down until 2024-02-10" in world.tick("2024-02-09T13:00")
        request = world.tick("2024-02-10T01:01")
        assert request.tags[RETRAIN].endswith("at 2024-02-05 00:00"), "the sixth was asked for"
        memory = Memory.of(world.cursor)
        memory.open_requests.clear()
        monkeypatch.setattr(world, "cursor", memory.text)
        assert world.tick("2024-02-15T01:01") == "no trigger asks for training"


def test_a_build_of_a_later_cutoff_has_nothing_to_learn_from_an_earlier(world: World) -> None:
    learned = world.stores.model_store().newest_of_version("net", 1)
    assert learned is not None
    before = instant(learned.cutoff) - timedelta(days=1)
    earlier = Partition(f"{before:%Y-%m-%d}", before)
    with world.stores.offline_store().connect() as lake:
        assert not ModelSituation(world.net, lake, earlier, learned, "", {}, NOW).has_news


def test_other_schema_stops_retraining(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from fti_assets.stores.lake.lake import Lake

    types = Lake.column_types

    def other_types(lake: Lake, table: TableName) -> Any:
        return {**types(lake, table), "x": "text"}

    monkeypatch.setattr(Lake, "column_types", other_types)
    monkeypatch.setattr(world, "cursor", None)
    with pytest.raises(DataError, match=r"visits_v1\.x was number and is text.*give the group a new version"):
        world.tick("2024-03-01T00:01")


def declared(**options: Any) -> Any:
    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def seen() -> pd.DataFrame: ...

    view = fti.FeatureView(name="view", spine=seen, label=fti.Label(seen["y"]), features=[seen["x"]])

    @fti.model(dataset=view, task="binary", **options)
    def net(data: fti.TrainingData) -> Any: ...

    return net


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retrain": []}, r"has retrain=\[\], with no trigger: write retrain=\[fti.OnSchedule"),
        ({"retrain": [fti.OnNewData]}, "has the trigger"),
        ({"retrain": [fti.OnNewData(3), fti.OnNewData(4)]}, "has the same trigger twice"),
        ({"retrain": [fti.OnNewData(3, group="seem")]}, r"counts partitions of 'seem': .* there is 'seen'"),
        ({"retrain": [fti.OnNewData(3)], "automation_condition": None}, "both say when it is trained"),
        ({"cooldown": "1d"}, "has cooldown= and no triggers"),
        ({"retrain": [fti.OnNewData(3)], "cooldown": "soon"}, "cooldown 'soon' is not a duration"),
    ],
)
def test_impossible_triggers_are_refused_at_load(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declared(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fti.OnNewData(partitions=0), "give a whole number above 0"),
        (lambda: fti.OnSchedule("every day"), "which are no schedule: write five fields"),
        (lambda: fti.OnSchedule("0 6 * * *", timezone="Nowhere"), "which are no schedule"),
        (lambda: fti.OnDrift(7), "OnDrift has the monitor 7: give its name as text"),
    ],
)
def test_impossible_trigger_says_what_to_write(make: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        make()


MONTHS = dg.MonthlyPartitionsDefinition(start_date="2024-01-01")
SHOPS = dg.StaticPartitionsDefinition(["a", "b"])


@pytest.mark.parametrize(
    ("partitions_def", "window", "most"),
    [(None, None, 1), (SHOPS, None, 2), (DAYS, "5d", 5), (DAYS, "132h", 6), (MONTHS, "29d", 2), (MONTHS, "28d", 1), (DAYS, None, 9_999)],
)  # fmt: skip
def test_no_more_new_partitions_are_asked_for_than_there_are(partitions_def: Any, window: Any, most: int) -> None:
    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def seen() -> pd.DataFrame: ...

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=partitions_def)
    def shops() -> pd.DataFrame: ...

    view = fti.FeatureView(name="view", spine=seen, label=fti.Label(seen["y"]), features=[shops["x"]])
    rows = fti.training_dataset(name="rows", view=view, window=window)

    def asked(partitions: int) -> None:
        triggers = [fti.OnNewData(partitions, group="shops")]
        fti.model(name="net", dataset=rows, task="binary", retrain=triggers)(lambda data: None)

    asked(most)
    if most < 9_999:
        with pytest.raises(DeclarationError, match="which can never fire, since shops_v1 has"):
            asked(most + 1)


def test_an_unknown_monitor_is_refused_at_load() -> None:
    net = declared(retrain=[fti.OnDrift("watches")])
    watch = fti.monitor(name="watch", predictions=fti.batch_predictions(name="answers", model=net, partitions_def=DAYS))
    with pytest.raises(
        DeclarationError, match=r"monitor 'watches', which is not declared here.*there is 'watch' or 'watch_v1'"
    ):
        fti.build_definitions([watch])
    with pytest.raises(DeclarationError, match="there is none"):
        fti.build_definitions([net])


BOUND = [fti.Quality("roc_auc", at_least=0.7), fti.Quality("brier")]


@pytest.mark.parametrize(
    ("trigger", "rules", "message"),
    [
        (fti.OnDegradation("roc_auc", monitor="watch"), {}, "has no rule for it: it judges no metric"),
        (fti.OnDegradation("roc_acu", monitor="watch"), {"quality": BOUND}, "has no rule for it: it judges 'roc_auc'"),
        (fti.OnDegradation("brier", monitor="watch"), {"quality": BOUND}, "measures it without a bound"),
        (fti.OnDegradation("roc_auc", monitor="watch"), {"quality": BOUND}, None),
        (fti.OnDegradation("label_rate", monitor="watch"), {"quality": [fti.Quality("label_rate", at_least=0.9)]}, "that brings none"),
        (fti.OnDrift("watch", statistics=["psi", "psy"]), {}, "has no rule for 'psy': it judges 'psi'"),
        (fti.OnDrift("watch", statistics=["ks"]), {}, "has no rule for 'ks'"),
        (fti.OnDrift("watch", columns=["nope"]), {}, "does not measure 'nope': there is 'probability', 'x' and 'y'"),
        (fti.OnDrift("watch", columns=["y"]), {"drift": [fti.Drift("psi", columns=["x"])]}, "has no rule for 'y'"),
        (fti.OnDrift("watch"), {"drift": []}, "judges no drift"),
        (fti.OnDrift("watch", statistics=["psi"], columns=["x", "probability"]), {}, None),
        (fti.OnDrift("watch", columns=["x"]), {"drift": [fti.Drift("ks", columns=["x"])]}, None),
    ],
)  # fmt: skip
def test_a_trigger_that_can_never_fire_is_refused(trigger: Any, rules: dict[str, Any], message: str | None) -> None:
    net = declared(retrain=[trigger])
    answers = fti.batch_predictions(name="answers", model=net, partitions_def=DAYS)
    watch = fti.monitor(name="watch", predictions=answers, **rules)
    with pytest.raises(DeclarationError, match=message) if message else nullcontext():
        fti.build_definitions([watch])
