"""The default conditions on a set clock: what is requested at each tick, on a real instance and real stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from dagster._core.events import AssetMaterializationPlannedData
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core import clock
from tests.support.partitions import range_tags

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_offset=1)
WEEKS = dg.WeeklyPartitionsDefinition(start_date="2024-01-07", end_offset=1)  # Sundays


def launched(
    instance: dg.DagsterInstance,
    requested: dict[dg.AssetKey, set[str | None]],
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.CANCELED,
    tags: dict[str, str] | None = None,
) -> str:
    """Record a run of what was requested that came to a status without a step, as a daemon's launch does; its id."""
    run = dg.DagsterRun(job_name="job", run_id=str(uuid4()), status=status, tags=tags)
    instance.add_run(run)
    for key, partitions in requested.items():
        for partition in partitions:
            planned = AssetMaterializationPlannedData(key, partition=partition)
            event = dg.DagsterEvent.build_asset_materialization_planned_event("job", key.to_user_string(), planned)
            instance.report_dagster_event(event, run.run_id)
    return run.run_id


class Source:
    """What the source's function reads: a corrected day has other numbers, a day that is broken raises."""

    def __init__(self) -> None:
        self.corrections: dict[str, float] = {}
        self.worse = False


class System:
    """A small system on files, with ticks of its conditions and runs of what they request."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, **options: Any) -> None:
        self.source = source = Source()
        self.instance = instance
        self.cursor: Any = None

        @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
        def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
            return frame(context.partition_keys, source)[["id", "at", "x"]]

        @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
        def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
            return frame(context.partition_keys, source)[["id", "at", "y", "k"]]

        @fti.feature_group(
            keys=["k"], event_time="at", partitions_def=DAYS, lookback="1d", serving_delay="2h", ttl="1d"
        )
        def rates(outcomes: fti.Table) -> fti.Table:
            return fti.window_aggregate(
                outcomes, keys=["k"], every="6h", windows=["1d"], aggregates={"rate": fti.Mean("y")}
            )

        view = fti.FeatureView(
            name="view",
            spine=visits,
            label=fti.Label(outcomes["y"]),
            features=[visits["x"], rates.on(x="k")["rate_1d"]],
        )
        dataset = fti.training_dataset(
            name="rows", view=view, partitions_def=WEEKS, split=fti.TimeSplit(validation="1d", test="2d")
        )

        @fti.model(dataset=dataset, task="binary", gates=[fti.BeatsBaseline("log_loss")])
        def model(data: fti.TrainingData) -> Any:
            y = np.roll(data.train.y, 1) if source.worse else data.train.y
            return LogisticRegression().fit(data.train.X, y)

        answers = fti.batch_predictions(name="answers", model=model, partitions_def=DAYS)
        self.visits, self.outcomes, self.rates = visits, outcomes, rates
        self.dataset, self.model, self.answers = dataset, model, answers
        self.stores = fti.Stores(
            lake=str(folder / "lake"), models=str(folder / "models"), online=str(folder / "online")
        )
        self.defs = fti.build_definitions([answers], resources={"fti": self.stores})

    def tick(self, moment: str) -> dict[str, list[str]]:
        """What is requested at an instant, by asset."""
        declared = [self.visits, self.outcomes, self.rates, self.dataset, self.model, self.answers]
        with clock.at(moment):
            result = dg.evaluate_automation_conditions(
                self.defs,
                self.instance,
                dg.AssetSelection.assets(*(declaration.key for declaration in declared)),
                evaluation_time=datetime.fromisoformat(moment).replace(tzinfo=UTC),
                cursor=self.cursor,
            )
        self.cursor = result.cursor
        requested = {one.key: result.get_requested_partitions(one.key) for one in declared}
        launched(self.instance, requested)
        return {key.to_user_string(): sorted(map(str, keys)) for key, keys in requested.items() if keys}

    def run(self, moment: str, declarations: list[Any], first: str, last: str | None = None) -> bool:
        tags = range_tags(first, last or first)
        with clock.at(moment):
            return dg.materialize(
                [declaration.assets_def for declaration in declarations],
                instance=self.instance,
                resources={"fti": self.stores},
                raise_on_error=False,
                **({"tags": tags} if last is not None else {"partition_key": first}),
            ).success


def frame(days: list[str], source: Source) -> pd.DataFrame:
    parts = []
    for day in days:
        at = pd.date_range(day, periods=24, freq="h", unit="us")
        x = np.arange(24) % 2 + source.corrections.get(day, 0.0)
        parts.append(
            pd.DataFrame({"id": [f"{day}/{n}" for n in range(24)], "at": at, "x": x, "k": x, "y": np.arange(24) % 2})
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield System(tmp_path, instance)


def test_a_changed_day_reaches_only_days_that_read_it(system: System) -> None:
    sources = [system.visits, system.outcomes]
    assert system.tick("2024-01-10T12:00") == {}
    assert system.run("2024-01-10T12:00", sources, "2024-01-01", "2024-01-09")
    assert system.tick("2024-01-10T12:01") == {"rates_v1": [f"2024-01-0{n}" for n in range(1, 10)]}
    assert system.run("2024-01-10T12:02", [system.rates], "2024-01-01", "2024-01-09")
    system.tick("2024-01-10T12:03")
    assert system.run("2024-01-10T12:04", sources, "2024-01-03")
    assert "rates_v1" not in system.tick("2024-01-10T12:05"), "a rerun with the same rows is no change"
    system.source.corrections["2024-01-03"] = 10.0
    assert system.run("2024-01-10T12:06", sources, "2024-01-03")
    assert system.tick("2024-01-10T12:07")["rates_v1"] == ["2024-01-03", "2024-01-04"]
    assert "rates_v1" not in system.tick("2024-01-10T12:08")


@pytest.mark.soak
def test_day_run_before_its_end_is_rerun_after(system: System) -> None:
    sources = [system.visits, system.outcomes, system.rates]
    system.tick("2024-01-03T11:00")
    assert system.run("2024-01-03T12:00", sources, "2024-01-01", "2024-01-03")
    assert system.tick("2024-01-03T23:00") == {}, "the run that made them has read them"
    assert system.run("2024-01-03T23:00", sources[2:], "2024-01-01", "2024-01-03")
    assert system.tick("2024-01-03T23:30") == {}
    assert system.tick("2024-01-04T00:10") == {"visits_v1": ["2024-01-03"], "outcomes_v1": ["2024-01-03"]}
    assert system.tick("2024-01-04T01:00") == {}, "asked for once"
    assert system.tick("2024-01-04T02:00") == {"rates_v1": ["2024-01-03"]}, "its serving delay has passed"
    assert system.run("2024-01-04T02:00", sources, "2024-01-03")
    assert system.tick("2024-01-04T02:10") == {}


@pytest.mark.soak
def test_a_cutoff_waits_for_its_last_days_final_run(system: System) -> None:
    groups = [system.visits, system.outcomes, system.rates]
    system.tick("2024-01-06T11:00")
    assert system.run("2024-01-06T12:00", groups, "2024-01-01", "2024-01-06")
    assert "rows_v1" not in system.tick("2024-01-06T23:00"), "the cutoff has not come"
    assert "rows_v1" not in system.tick("2024-01-07T03:00"), "the last day was run before its end"
    assert system.run("2024-01-07T01:00", groups, "2024-01-06")
    assert "rows_v1" not in system.tick("2024-01-07T03:05"), "the delay of the rates had not passed"
    assert system.run("2024-01-07T02:00", groups[2:], "2024-01-06")
    assert system.tick("2024-01-07T03:10")["rows_v1"] == ["2024-01-07"]
    assert "rows_v1" not in system.tick("2024-01-07T03:11")


@pytest.mark.soak
def test_only_the_newest_missed_cutoff_is_made(system: System) -> None:
    groups = [system.visits, system.outcomes, system.rates]
    assert system.run("2024-01-23T00:00", groups, "2024-01-01", "2024-01-22")
    assert system.tick("2024-01-23T12:00")["rows_v1"] == ["2024-01-21"], "not the two before it"
    assert system.run("2024-01-23T12:01", [system.dataset], "2024-01-07", "2024-01-21")
    assert system.tick("2024-01-23T12:02")["model_v1"] == ["2024-01-21"]
    system.source.corrections["2024-01-05"] = 1.0
    assert system.run("2024-01-23T12:03", groups, "2024-01-05")
    assert "rows_v1" not in system.tick("2024-01-23T12:04")


@pytest.mark.soak
def test_cutoff_whose_run_failed_is_asked_for_again_when_input_changes(system: System) -> None:
    groups = [system.visits, system.outcomes, system.rates]
    assert system.run("2024-01-08T03:00", groups, "2024-01-01", "2024-01-07")
    assert system.tick("2024-01-08T03:01")["rows_v1"] == ["2024-01-07"]
    for minute in (2, 3):
        assert "rows_v1" not in system.tick(f"2024-01-08T03:0{minute}"), "not once more for the same data"
    system.source.corrections["2024-01-02"] = 1.0
    assert system.run("2024-01-08T03:04", groups, "2024-01-02")
    requests = system.tick("2024-01-08T03:05")
    assert requests["rates_v1"] == ["2024-01-03"], "that run has made the second day of the rates itself"
    assert "rows_v1" not in requests, "it waits until what follows from the change is under way"
    assert system.run("2024-01-08T03:06", groups[2:], "2024-01-02", "2024-01-03")
    assert "rows_v1" not in system.tick("2024-01-08T03:07")
    assert system.tick("2024-01-08T03:08")["rows_v1"] == ["2024-01-07"]


@pytest.mark.soak
def test_predictions_wait_for_a_first_build_only(system: System) -> None:
    groups = [system.visits, system.outcomes, system.rates]
    system.tick("2024-01-15T02:00")
    assert system.run("2024-01-15T03:00", groups, "2024-01-01", "2024-01-14")
    assert "answers_v1" not in system.tick("2024-01-15T03:01"), "no build can answer"
    assert system.run("2024-01-15T03:02", [system.dataset], "2024-01-07", "2024-01-14")
    assert system.run("2024-01-15T03:03", [system.model], "2024-01-07")
    days = [f"2024-01-{n:02}" for n in range(7, 15)]
    assert system.tick("2024-01-15T03:04")["answers_v1"] == days, "from the first cutoff on"
    assert system.run("2024-01-15T03:05", [system.answers], days[0], days[-1])
    system.source.worse = True
    assert not system.run("2024-01-15T03:06", [system.model], "2024-01-14"), "the gate turns it down"
    assert system.run("2024-01-16T03:00", groups, "2024-01-15")
    assert system.tick("2024-01-16T03:01")["answers_v1"] == ["2024-01-15"]


@pytest.mark.soak
def test_change_between_request_and_next_tick_is_not_lost(system: System) -> None:
    sources = [system.visits, system.outcomes]
    system.tick("2024-01-04T12:00")
    assert system.run("2024-01-04T12:00", sources, "2024-01-01", "2024-01-02")
    assert system.tick("2024-01-04T12:01")["rates_v1"] == ["2024-01-01", "2024-01-02"]
    system.source.corrections["2024-01-01"] = 10.0
    assert system.run("2024-01-04T12:02", sources, "2024-01-01")
    assert system.tick("2024-01-04T12:03")["rates_v1"] == ["2024-01-01", "2024-01-02"]
    assert "rates_v1" not in system.tick("2024-01-04T12:04")


@pytest.mark.soak
def test_what_a_run_has_made_and_read_is_not_asked_for_again(system: System) -> None:
    """By hand, of one partition and of a range, by a step that fails and by one whose build is turned down, and after a person's retry."""
    groups, both = [system.visits, system.outcomes, system.rates], [system.dataset, system.model]
    assert system.run("2024-01-15T03:00", groups, "2024-01-01", "2024-01-14")
    system.tick("2024-01-15T03:01")
    assert system.run("2024-01-15T03:02", both, "2024-01-14")
    assert "model_v1" not in system.tick("2024-01-15T03:03")
    system.source.corrections["2024-01-02"] = 1.0
    assert system.run("2024-01-15T03:04", groups, "2024-01-01", "2024-01-14")
    assert not {"rates_v1", "model_v1"} & set(system.tick("2024-01-15T03:05")), "a range that was read within its run"
    system.source.worse = True
    assert not system.run("2024-01-15T03:06", both, "2024-01-14"), "the gate turns it down"
    for minute in (7, 8):
        assert "model_v1" not in system.tick(f"2024-01-15T03:0{minute}"), "though nothing was materialized"
    assert not system.run("2024-01-15T03:09", [system.model], "2024-01-14")
    assert "model_v1" not in system.tick("2024-01-15T03:10")
    system.source.corrections["2024-01-03"] = 1.0
    assert system.run("2024-01-15T03:11", groups, "2024-01-03")
    assert system.run("2024-01-15T03:12", [system.dataset], "2024-01-14")
    assert not system.run("2024-01-15T03:13", [system.model], "2024-01-14"), "a person was quicker than the tick"
    assert "model_v1" not in system.tick("2024-01-15T03:14")
    system.source.corrections["2024-01-04"] = 1.0
    assert system.run("2024-01-15T03:15", groups, "2024-01-04")
    assert system.run("2024-01-15T03:16", [system.dataset], "2024-01-14")
    assert system.tick("2024-01-15T03:17")["model_v1"] == ["2024-01-14"], "new rows are a reason to train again"


@pytest.mark.soak
def test_a_step_that_its_run_never_came_to_is_asked_for(system: System) -> None:
    """The run has made what the step reads and has ended before it, as one whose machine was lost."""
    groups = [system.visits, system.outcomes, system.rates]
    assert system.run("2024-01-15T03:00", groups, "2024-01-01", "2024-01-14")
    assert "rows_v1" in system.tick("2024-01-15T03:01")
    assert system.run("2024-01-15T03:02", [system.dataset], "2024-01-14")
    launched(system.instance, {system.model.key: {"2024-01-14"}}, dg.DagsterRunStatus.FAILURE)
    assert system.tick("2024-01-15T03:03")["model_v1"] == ["2024-01-14"]


def ticks_of(defs: dg.Definitions, instance: dg.DagsterInstance, moments: list[str]) -> list[dict[str, list[str]]]:
    """What is requested at some instants, by asset."""
    cursor, requests = None, []
    keys = [key for key in defs.resolve_asset_graph().get_all_asset_keys() if key != dg.AssetKey("elsewhere")]
    for moment in moments:
        with clock.at(moment):
            result = dg.evaluate_automation_conditions(
                defs,
                instance,
                dg.AssetSelection.assets(*keys),
                evaluation_time=datetime.fromisoformat(moment).replace(tzinfo=UTC),
                cursor=cursor,
            )
        cursor = result.cursor
        results = {key.to_user_string(): result.get_requested_partitions(key) for key in keys}
        requests.append({name: sorted(map(str, partitions)) for name, partitions in results.items() if partitions})
    return requests


def report(instance: dg.DagsterInstance, key: dg.AssetKey, *partitions: str | None, early: bool | str = False) -> None:
    tags = {"dagster/data_version": f"{key} {partitions} {early}", "dagster/data_version_is_user_provided": "true"}
    tags |= {"fti/provisional": "true"} if early is True else {}
    for partition in partitions:
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition, tags=tags))


def test_cutoff_waits_for_group_behind_its_groups_to_be_final() -> None:
    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS, serving_delay="6h")
    def raw() -> pd.DataFrame: ...

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def derived(raw: fti.Table) -> fti.Table:
        return raw

    view = fti.FeatureView(name="view", spine=derived, label=fti.Label(derived["y"]), features=[derived["x"]])
    rows = fti.training_dataset(
        name="rows", view=view, partitions_def=WEEKS, split=fti.TimeSplit(validation="1d", test="2d")
    )
    with dg.DagsterInstance.ephemeral() as instance:
        report(instance, derived.key, "2024-01-06")
        report(instance, raw.key, "2024-01-06", early=True)
        assert "rows_v1" not in ticks_of(fti.build_definitions([rows]), instance, ["2024-01-07T00:05"])[0]
        report(instance, raw.key, "2024-01-06")
        assert ticks_of(fti.build_definitions([rows]), instance, ["2024-01-07T06:05"]) == [{"rows_v1": ["2024-01-07"]}]


def test_cutoff_after_a_groups_last_day_is_ready() -> None:
    ended = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-04")

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=ended)
    def seen() -> pd.DataFrame: ...

    view = fti.FeatureView(name="view", spine=seen, label=fti.Label(seen["y"]), features=[seen["x"]])
    rows = fti.training_dataset(
        name="rows", view=view, partitions_def=WEEKS, split=fti.TimeSplit(validation="1d", test="1d")
    )
    with dg.DagsterInstance.ephemeral() as instance:
        report(instance, seen.key, "2024-01-03")
        assert ticks_of(fti.build_definitions([rows]), instance, ["2024-01-08T00:05"]) == [{"rows_v1": ["2024-01-07"]}]


def test_unpartitioned_assets_run_on_what_is_stored() -> None:
    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def seen() -> pd.DataFrame: ...

    @fti.feature_group(keys=["id"], deps=[dg.AssetKey("elsewhere")])
    def totals(seen: fti.Table) -> fti.Table:
        return seen

    defs = fti.build_definitions([totals], assets=[dg.AssetSpec("elsewhere")])
    with dg.DagsterInstance.ephemeral() as instance:
        report(instance, seen.key, "2024-01-02")
        keys = [seen.key, totals.key]

        def tick(cursor: Any, moment: str) -> Any:
            at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
            with clock.at(moment):
                return dg.evaluate_automation_conditions(
                    defs, instance, dg.AssetSelection.assets(*keys), evaluation_time=at, cursor=cursor
                )

        first = tick(None, "2024-01-04T09:00")
        report(instance, seen.key, "2024-01-03")
        assert tick(first.cursor, "2024-01-04T09:01").get_requested_partitions(totals.key) == {None}


@pytest.mark.parametrize("partitions_def", [WEEKS, None], ids=["weekly", "unpartitioned"])
def test_a_composite_is_made_when_a_model_of_it_is(partitions_def: Any) -> None:
    """Once for both, and again with the build before of a model that was turned down."""

    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def visits() -> pd.DataFrame: ...

    view = fti.FeatureView(name="view", spine=visits, label=fti.Label(visits["y"]), features=[visits["x"]])
    rows = fti.training_dataset(
        name="rows", view=view, partitions_def=partitions_def, split=fti.TimeSplit(validation="1d", test="1d")
    )
    one, other = (fti.model(dataset=rows, task="binary", name=name)(lambda data: None) for name in ("one", "other"))
    both = fti.composite(name="both", models=[one, other])
    defs = fti.build_definitions([both])
    first, second = ("2024-01-07", "2024-01-14") if partitions_def is not None else (None, None)
    with dg.DagsterInstance.ephemeral() as instance:
        cursor: Any = None

        def requested(moment: str, *built: Any) -> set[str | None]:
            nonlocal cursor
            for model, partition in built:
                report(instance, model.key, partition, early=moment)
            with clock.at(moment):
                result = dg.evaluate_automation_conditions(
                    defs,
                    instance,
                    dg.AssetSelection.assets(both.key, one.key, other.key),
                    evaluation_time=datetime.fromisoformat(moment).replace(tzinfo=UTC),
                    cursor=cursor,
                )
            cursor = result.cursor
            partitions = set(result.get_requested_partitions(both.key))
            if partitions:
                launched(instance, {both.key: partitions})
            return partitions

        assert not requested("2024-01-14T09:00")
        assert not requested("2024-01-14T09:01", (one, first))
        assert requested("2024-01-14T09:02", (other, first)) == {first}
        assert not requested("2024-01-14T09:03")
        assert requested("2024-01-14T09:04", (one, second)) == {second}
