"""The flagship's first days for several machines: what each worker has a copy of."""

import os
import time
from typing import Any

from dagster_celery import celery_executor

import fti_assets as fti
from examples.flight_delays.features import airport_now, arrivals, carrier_delays, daily, departures, schedule, weather
from resources import resources_for


@fti.feature_group(keys=["carrier"], event_time="hour", serving_delay="15min", partitions_def=daily)
def slow_counts(arrivals: fti.Table) -> fti.Table:
    """What is waited for: whoever makes it says so, and goes on once nobody holds it up."""
    import redis

    board = redis.Redis.from_url(os.environ["MACHINES_BOARD"])
    board.rpush("began", f"{os.environ['MACHINE']} {os.getpid()}")
    while board.exists("hold"):
        time.sleep(0.1)
    return fti.window_aggregate(
        arrivals, keys=["carrier"], every="1h", windows=["3h"], aggregates={"landed": fti.Count()}
    )


GROUPS: list[Any] = [schedule, departures, arrivals, weather, carrier_delays, airport_now, slow_counts]

defs = fti.build_definitions(GROUPS, resources=resources_for("production"), executor=celery_executor)
