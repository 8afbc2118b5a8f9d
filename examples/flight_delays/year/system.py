"""The flagship as it is rehearsed: its own sources, sensor and groups but for six, a smaller model, and what trains and guards it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

import fti_assets as fti
from examples.flight_delays.features import arrivals, daily, plane_legs, planes, schedule, weather
from examples.flight_delays.on_demand import calendar, turnaround
from examples.flight_delays.sensors import new_landings
from examples.flight_delays.sources import LandingZone

LEFT_OUT = ("carrier_delays", "airport_delays", "route_delays", "hour_delays", "flight_number_delays", "airport_now")
"""The groups of rates over windows of up to 30 days, which would take more than twice the time of all others."""

cutoffs = dg.DailyPartitionsDefinition(start_date="2013-02-01", end_date="2014-01-03")
weeks = dg.WeeklyPartitionsDefinition(start_date="2013-02-04", end_date="2014-01-06", day_offset=1)  # from Mondays

view = fti.FeatureView(
    name="year_delay_view",
    spine=schedule,
    prediction_time="predict_at",
    label=fti.Label(arrivals["is_late"], maturity="36h"),
    features=[
        schedule["carrier", "origin", "dest", "distance"],
        weather["temp", "wind_speed", "precip", "pressure", "visib"],
        plane_legs["last_leg", "last_leg_delay", "last_leg_minute"],
        planes["year", "seats"],
        calendar,
        turnaround,
    ],
    encoders={
        "carrier": fti.Embedding(max_categories=64),
        "origin": fti.OneHot(),
        "dest": fti.Embedding(max_categories=128),
        "hour_of_day": fti.Embedding(),
        "day_of_week": fti.OneHot(),
        "last_leg": fti.OneHot(),
    },
)

dataset = fti.training_dataset(
    name="year_delays",
    view=view,
    partitions_def=cutoffs,
    split=fti.TimeSplit(validation="7d", test="14d"),
    window="90d",
)

EVALUATION = fti.Evaluation(metrics=["roc_auc", "log_loss"])
GATES: list[Any] = [fti.BeatsBaseline("log_loss"), fti.NotWorseThanChampion("roc_auc")]
NEVER = "0 0 29 2 *"  # a day that 2013 does not have: such a version is trained once, when it is deployed
WATCHED = ["temp", "visib", "last_leg_delay", "since_last_leg"]


def boosting(data: fti.TrainingData, trees: int, leaves: int) -> Any:
    """Gradient boosting, stopped when the validation part gets no better."""
    from lightgbm import LGBMClassifier, early_stopping

    model = LGBMClassifier(
        n_estimators=trees, learning_rate=0.1, num_leaves=leaves, min_child_samples=100, random_state=0, verbose=-1
    )
    return model.fit(
        data.train.frame,
        data.train.y,
        eval_X=data.validation.frame,
        eval_y=data.validation.y,
        callbacks=[early_stopping(20, verbose=False)],
    )


@fti.model(
    name="year_delay",
    dataset=dataset,
    task="binary",
    evaluate=EVALUATION,
    gates=GATES,
    gates_fail_run=False,
    importance=False,
    retrain=[
        fti.OnSchedule("0 5 1 * *"),
        fti.OnDrift("year_watch", columns=WATCHED),
        fti.OnDegradation("roc_auc", monitor="year_watch"),
    ],
    cooldown="14d",
    rollback="automatic",
)
def year_delay(data: fti.TrainingData) -> Any:
    """The model that serves all year."""
    return boosting(data, trees=150, leaves=15)


def hurried(version: int, gates: list[Any]) -> Any:
    """A version of the model that somebody deploys in a hurry: three trees of two leaves."""

    @fti.model(
        name="year_delay",
        version=version,
        dataset=dataset,
        task="binary",
        evaluate=EVALUATION,
        gates=gates,
        gates_fail_run=False,
        importance=False,
        retrain=[fti.OnSchedule(NEVER)],
        rollback="automatic",
    )
    def year_delay_in_a_hurry(data: fti.TrainingData) -> Any:
        return boosting(data, trees=3, leaves=2)

    return year_delay_in_a_hurry


challenger = hurried(2, GATES)
ungated = hurried(3, [])

predictions = fti.batch_predictions(name="year_predictions", model=year_delay, partitions_def=daily)

watch = fti.monitor(
    name="year_watch",
    predictions=predictions,
    partitions_def=weeks,
    drift=[fti.Drift("psi", at_most=0.25, columns=WATCHED)],
    quality=[fti.Quality("roc_auc", drop=0.05), fti.Quality("log_loss")],
    weeks=0,
)


def stores_of(home: Path) -> fti.Stores:
    """The stores under a folder."""
    return fti.Stores(lake=str(home / "lake"), models=str(home / "models"), online=str(home / "online"))


def deployed(home: Path, *models: Any) -> dg.Definitions:
    """The system with its stores and its landing folder under a folder, and other versions of the model beside its own."""
    return fti.build_definitions(
        [predictions, watch, *models],
        name="year",
        resources={"fti": stores_of(home), "landing": LandingZone(folder=str(home / "landing"))},
        sensors=[new_landings],
    )
