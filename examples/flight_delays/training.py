"""T: what the model needs, from when to when, and what it must pass."""

from typing import Any

import dagster as dg

import fti_assets as fti
from examples.flight_delays.features import (
    LONG_WINDOWS,
    WINDOWS,
    airport_delays,
    arrivals,
    carrier_delays,
    hour_delays,
    plane_legs,
    planes,
    route_delays,
    schedule,
    weather,
)
from examples.flight_delays.on_demand import calendar

cutoffs = dg.MonthlyPartitionsDefinition(start_date="2013-10-01", end_date="2014-02-01", end_offset=1)

LONG_RATES = (
    *(f"late_rate_{window}" for window in LONG_WINDOWS),
    *(f"left_late_rate_{window}" for window in LONG_WINDOWS),
    "delay_24h",
    "left_delay_24h",
)
RATES = (
    *(f"late_rate_{window}" for window in WINDOWS),
    *(f"left_late_rate_{window}" for window in WINDOWS),
    *(f"delay_{window}" for window in WINDOWS[:3]),
    *(f"left_delay_{window}" for window in WINDOWS[:3]),
    "arrivals_3h",
)

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
        route_delays.prefix("route_")[RATES],
        hour_delays.prefix("hour_")[LONG_RATES],
        plane_legs["last_leg", "last_leg_delay"],
        planes["year", "seats"],
        calendar,
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
        learning_rate: the highest of its schedule.
        dropout: the share of hidden units that a step leaves out.
        seed: of the first weights, the shuffles and the dropout.
    """

    epochs: int = 4
    batch_size: int = 2048
    learning_rate: float = 0.003
    dropout: float = 0.2
    seed: int = 0


@fti.model(
    dataset=delays_dataset,
    task="binary",
    evaluate=fti.Evaluation(metrics=["roc_auc", "log_loss", "brier"], slices=["carrier", "origin"]),
    gates=[
        fti.BeatsBaseline("log_loss"),
        fti.NotWorseThanChampion("roc_auc", tolerance=0.005),
        fti.SliceGap("roc_auc", by="origin", at_most=0.15, min_rows=500),
    ],
    owners=["team:flights"],
    metadata={"framework": "PyTorch Lightning", "accelerator": "CPU"},
)
def delay_net(context: dg.AssetExecutionContext, config: NetConfig, data: fti.TrainingData) -> Any:
    """A small network over late rates and delays, weather, the plane and the calendar; what has many names is embedded."""
    import torch  # it takes seconds to import, so only the step does

    from examples.flight_delays.net import DelayNet

    torch.manual_seed(config.seed)
    net = DelayNet(data.dense_dim, data.cardinalities, config.learning_rate, config.dropout)
    return data.fit(net, epochs=config.epochs, batch_size=config.batch_size, seed=config.seed, log=context.log.info)
