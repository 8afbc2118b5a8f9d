"""Two weeks of the year: the same replayer over a few of the flagship's sources and a small model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

import fti_assets as fti
from examples.flight_delays.features import daily
from examples.flight_delays.on_demand import calendar
from examples.flight_delays.sources import LandingZone
from examples.flight_delays.year.evaluation import Week, differences, landed_labels, offline, served
from examples.flight_delays.year.landing import Fault, Landings
from examples.flight_delays.year.page import account, write_page
from examples.flight_delays.year.picture import picture
from examples.flight_delays.year.replay import Deployment, Story, Timeline, replay
from examples.flight_delays.year.story import punctual
from examples.flight_delays.year.system import stores_of

HISTORY, FIRST, LAST = date(2013, 1, 1), date(2013, 1, 13), date(2013, 1, 22)
MONDAY = pd.Timestamp("2013-01-14")
FAULTS = (
    Fault("arrivals", date(2013, 1, 15), 2, "arrivals of 2013-01-15 do not land"),
    Fault("arrivals", date(2013, 1, 16), 2, "arrivals of 2013-01-16 are wrong", punctual),
    Fault("schedule", date(2013, 1, 19), 1, "the schedule of 2013-01-19 is cut short", lambda _: None),
)

pytestmark = pytest.mark.filterwarnings("ignore:Parameter .* is currently in beta")


@fti.feature_group(keys=["flight_id"], event_time="predict_at", partitions_def=daily)
def flights(context: dg.AssetExecutionContext, landing: LandingZone) -> pd.DataFrame:
    return landing.read("schedule", context.partition_keys)


@fti.feature_group(keys=["flight_id"], event_time="arrived_at", partitions_def=daily)
def outcomes(context: dg.AssetExecutionContext, landing: LandingZone) -> pd.DataFrame:
    return landing.read("arrivals", context.partition_keys)


@fti.new_data_sensor(targets=[flights, outcomes])
def new_files(landing: LandingZone) -> dict[Any, Any]:
    return {flights: landing.versions("schedule"), outcomes: landing.versions("arrivals")}


view = fti.FeatureView(
    name="two_weeks",
    spine=flights,
    prediction_time="predict_at",
    label=fti.Label(outcomes["is_late"], maturity="36h"),
    features=[flights["distance", "departure_hour"], calendar],
)
rows = fti.training_dataset(
    name="two_weeks_rows",
    view=view,
    partitions_def=dg.DailyPartitionsDefinition(start_date="2013-01-03", end_date="2013-02-01"),
    split=fti.TimeSplit(validation="1d", test="2d"),
)
METRICS = fti.Evaluation(metrics=["roc_auc", "log_loss"])
GATES = [fti.BeatsBaseline("roc_auc")]


def version(number: int, gates: list[Any], *, sign: int = 1) -> Any:
    trigger = fti.OnNewData(partitions=7) if sign == 1 else fti.OnSchedule("0 0 29 2 *")

    @fti.model(
        name="lateness",
        version=number,
        dataset=rows,
        task="binary",
        evaluate=METRICS,
        gates=gates,
        gates_fail_run=False,
        importance=False,
        retrain=[trigger],
        rollback="automatic",
    )
    def lateness(data: fti.TrainingData) -> LogisticRegression:
        y = data.train.y if sign == 1 else 1 - data.train.y
        return LogisticRegression(max_iter=200).fit(data.train.X, y)

    return lateness


lateness, challenger, ungated = version(1, GATES), version(2, GATES, sign=-1), version(3, [], sign=-1)
answers = fti.batch_predictions(name="lateness_answers", model=lateness, partitions_def=daily)
watch = fti.monitor(
    name="lateness_watch",
    predictions=answers,
    partitions_def=dg.WeeklyPartitionsDefinition(start_date="2013-01-07", day_offset=1),
    drift=[fti.Drift("psi", columns=["distance"])],
    quality=[fti.Quality("roc_auc"), fti.Quality("log_loss")],
    weeks=0,
)


@dataclass(frozen=True)
class Replayed:
    timeline: Timeline
    story: Story
    whole: Path


@pytest.fixture(scope="module")
def replayed(landing_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    home = tmp_path_factory.mktemp("two_weeks")
    stores = stores_of(home)

    def deployed(*models: Any) -> dg.Definitions:
        landing = LandingZone(folder=str(home / "landing"))
        resources = {"fti": stores, "landing": landing}
        return fti.build_definitions([answers, watch, *models], resources=resources, sensors=[new_files])

    story = Story(
        first=FIRST,
        last=LAST,
        history=HISTORY,
        landings=Landings(landing_folder, home / "landing", FAULTS, daily=("schedule", "arrivals"), lookups=()),
        start=deployed(),
        deployments={
            date(2013, 1, 16): Deployment("version 2 is deployed", deployed(challenger)),
            date(2013, 1, 17): Deployment("version 3 is deployed", deployed(ungated)),
        },
        model="lateness",
        monitor=watch,
        stores=stores,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Replayed(replay(story, instance, say=lambda _: None), story, landing_folder)


def said(replayed: Replayed, kind: str) -> list[tuple[str, str]]:
    return [(f"{one.at:%m-%d}", one.what) for one in replayed.timeline.events if one.kind == kind]


def test_late_and_wrong_files_are_made_good(replayed: Replayed) -> None:
    stored = fti.read(outcomes, stores=replayed.story.stores, partitions=["2013-01-15", "2013-01-16"])
    landed = pd.concat([pd.read_parquet(replayed.whole / "arrivals" / f"2013-01-{day}.parquet") for day in (15, 16)])
    both = stored.merge(landed, on="flight_id", suffixes=("", "_landed"), validate="one_to_one")
    assert len(both) == len(stored) == len(landed)
    assert both["is_late"].equals(both["is_late_landed"])


def test_a_broken_file_fails_its_run_and_is_run_again_when_mended(replayed: Replayed) -> None:
    ((day, why),) = said(replayed, "run")
    assert day == "01-20"
    assert "flights_v1 of 2013-01-19 fails" in why
    stored = fti.read(flights, stores=replayed.story.stores, partitions=["2013-01-19"])
    assert len(stored) == len(pd.read_parquet(replayed.whole / "schedule" / "2013-01-19.parquet"))


def test_builds_were_trained_for_reasons_and_one_was_turned_down(replayed: Replayed) -> None:
    first, challenging, hurried, *later = replayed.timeline.builds
    assert [one.version for one in (first, challenging, hurried, *later)] == [1, 2, 3, 1]
    assert (challenging.status, hurried.status) == ("rejected", "accepted")
    assert first.trained_because.startswith("first_build")
    assert later[0].trained_because.startswith("on_new_data")


def test_bad_deployment_is_rolled_back_on_evidence_and_undone(replayed: Replayed) -> None:
    (back,) = replayed.timeline.rollbacks
    first, _, hurried, _ = replayed.timeline.builds
    assert back.fresh is not None
    assert (back.previous, back.champion) == (hurried.reference, first.reference)
    assert back.fresh.interval is not None
    assert back.fresh.interval.low > 0
    assert ("01-20", "the deployment that was rolled back is undone") in said(replayed, "champion")


def test_served_quality_is_that_of_an_offline_evaluation(replayed: Replayed) -> None:
    (week,) = replayed.timeline.weeks
    labels = landed_labels(replayed.whole, "flight_id", "is_late")
    other = offline(answers, replayed.story.stores, labels, "predict_at", MONDAY)
    assert differences([week], [other]) == []
    assert len(week.builds) == 2
    stored = fti.read(answers, stores=replayed.story.stores)
    judged = stored[stored["predict_at"].between(MONDAY, MONDAY + pd.Timedelta("7D"), inclusive="left")].merge(labels)
    assert week.rows == len(judged)
    assert week.values["roc_auc"] == pytest.approx(roc_auc_score(judged["label"], judged["probability"]), abs=1e-12)
    assert week.values["log_loss"] == pytest.approx(log_loss(judged["label"], judged["probability"]), abs=1e-12)


def test_a_week_whose_labels_are_not_all_mature_is_left_out(replayed: Replayed) -> None:
    stores, end = replayed.story.stores, datetime(2013, 1, 21)
    assert served(watch, stores, end) == replayed.timeline.weeks
    assert served(watch, stores, end - timedelta(minutes=1)) == []


def test_a_difference_of_the_last_digit_is_told(replayed: Replayed) -> None:
    (week,) = replayed.timeline.weeks
    nudged = {**week.values, "roc_auc": week.values["roc_auc"] * (1 + 2**-52)}
    other = Week(week.start, week.rows, nudged, None, None, week.builds)
    (line,) = differences([week], [other])
    assert "roc_auc" in line


def test_the_page_has_the_figures_of_the_replay(replayed: Replayed) -> None:
    timeline = replayed.timeline
    page, drawing, lines = write_page(timeline, replayed.story), picture(timeline), "\n".join(account(timeline))
    (week,) = timeline.weeks
    assert f"{week.values['roc_auc']:.4f}" in page
    assert all(build.reference in page and build.reference in lines for build in timeline.builds)
    assert drawing.count("class='accepted'") == 3
    assert drawing.count("class='rejected'") == 1
    assert "rolled back on evidence" in drawing
