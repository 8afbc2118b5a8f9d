"""T: what the model needs, from when to when, and what it must pass."""

from typing import Any

import dagster as dg

import fti_assets as fti
from examples.flight_delays.features import airport_delays, arrivals, carrier_delays, planes, schedule, weather
from examples.flight_delays.on_demand import calendar

cutoffs = dg.MonthlyPartitionsDefinition(start_date="2013-06-01", end_date="2014-02-01", end_offset=1)

RATES = ("late_rate_3h", "late_rate_24h", "late_rate_7d", "late_rate_30d", "arrivals_3h")

arrival_delay = fti.FeatureView(
    name="arrival_delay",
    spine=schedule,
    prediction_time="predict_at",
    label=fti.Label(arrivals["is_late"], maturity="36h"),
    features=[
        schedule["carrier", "origin", "dest", "distance"],
        weather["temp", "humid", "wind_speed", "precip", "pressure", "visib"],
        carrier_delays.prefix("carrier_")[RATES],
        airport_delays.on(origin="airport").prefix("origin_")[RATES],
        airport_delays.on(dest="airport").prefix("dest_")[RATES],
        planes["year", "seats"],
        calendar,
    ],
    encoders={
        "carrier": fti.Embedding(max_categories=64),
        "origin": fti.OneHot(),
        "dest": fti.Embedding(max_categories=128),
        "hour_of_day": fti.Embedding(),
        "day_of_week": fti.OneHot(),
    },
)

delays_dataset = fti.training_dataset(
    name="delays_dataset",
    view=arrival_delay,
    partitions_def=cutoffs,
    split=fti.TimeSplit(validation="14d", test="30d"),
    window="365d",
    owners=["team:flights"],
)


class NetConfig(dg.Config):
    """How the network is trained; the run config of a materialization.

    Args:
        epochs: how often it sees the train split, at most.
        batch_size: rows of a step.
        learning_rate: of Adam.
    """

    epochs: int = 4
    batch_size: int = 4096
    learning_rate: float = 0.005


@fti.model(
    dataset=delays_dataset,
    task="binary",
    evaluate=fti.Evaluation(metrics=["roc_auc", "log_loss", "brier"], slices=["carrier", "origin"]),
    gates=[fti.BeatsBaseline("log_loss"), fti.NotWorseThanChampion("roc_auc", tolerance=0.005)],
    owners=["team:flights"],
)
def delay_net(context: dg.AssetExecutionContext, config: NetConfig, data: fti.TrainingData) -> Any:
    """A small network over rates, weather and the calendar, with embeddings of carrier, destination and hour."""
    from examples.flight_delays.net import DelayNet  # torch takes seconds to import, so only the step does

    net = DelayNet(data.dense_dim, data.cardinalities, config.learning_rate)
    return data.fit(net, epochs=config.epochs, batch_size=config.batch_size, log=context.log.info)
