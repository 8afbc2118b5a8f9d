"""T: what the model needs, from when to when, and what it must pass."""

from typing import Any

import dagster as dg

import fti_assets as fti
from examples.flight_delays.features import (
    LONG_WINDOWS,
    WINDOWS,
    airport_delays,
    airport_now,
    arrivals,
    carrier_delays,
    flight_number_delays,
    hour_delays,
    plane_legs,
    planes,
    route_delays,
    schedule,
    weather,
)
from examples.flight_delays.on_demand import calendar, turnaround

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

NOW = (
    *(f"left_late_rate_{window}" for window in ("30min", "1h", "2h")),
    *(f"left_delay_{window}" for window in ("30min", "1h", "2h")),
    *(f"waiting_{window}" for window in ("1h", "2h", "4h")),
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
        flight_number_delays.prefix("number_")["late_rate_7d", "late_rate_30d", "delay_7d", "delay_30d"],
        airport_now.prefix("now_")[NOW],
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


EVALUATION = fti.Evaluation(metrics=["roc_auc", "log_loss", "brier"], slices=["carrier", "origin"])
SIMPLER = fti.BeatsBaseline("log_loss", baseline="logistic")
EVENLY = fti.SliceGap("roc_auc", by="origin", at_most=0.15, min_rows=500)

# The network and gradient boosting are versions of one model, so that each month's better one is its champion.


@fti.model(
    name="delay",
    version=1,
    dataset=delays_dataset,
    task="binary",
    evaluate=EVALUATION,
    gates=[SIMPLER, fti.NotWorseThanChampion("roc_auc", tolerance=0.005), EVENLY],
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


class BoostingConfig(dg.Config):
    """How the trees are grown; the run config of a materialization.

    Args:
        trees: how many there are, at most: fewer if the validation part gets no better.
        learning_rate: how much each of them counts.
        leaves: of each tree.
        seed: of the features that each tree looks at.
    """

    trees: int = 500
    learning_rate: float = 0.1
    leaves: int = 15
    seed: int = 0


@fti.model(
    name="delay",
    version=2,
    dataset=delays_dataset,
    task="binary",
    evaluate=EVALUATION,
    gates=[SIMPLER, fti.NotWorseThanChampion("log_loss"), EVENLY],
    gates_fail_run=False,  # to lose against the network is no failure
    owners=["team:flights"],
    metadata={"framework": "LightGBM", "accelerator": "CPU"},
)
def delay_boosting(config: BoostingConfig, data: fti.TrainingData) -> Any:
    """Gradient boosting over the same features, with carriers and airports as they are."""
    from lightgbm import LGBMClassifier, early_stopping

    model = LGBMClassifier(
        n_estimators=config.trees,
        learning_rate=config.learning_rate,
        num_leaves=config.leaves,
        min_child_samples=100,
        colsample_bytree=0.25,
        reg_lambda=5.0,
        random_state=config.seed,
        verbose=-1,
    )
    return model.fit(
        data.train.frame,
        data.train.y,
        eval_X=data.validation.frame,
        eval_y=data.validation.y,
        callbacks=[early_stopping(30, verbose=False)],
    )
