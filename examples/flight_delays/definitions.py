"""The whole system as Dagster definitions."""

import os

import dagster as dg

import fti_assets as fti
from examples.flight_delays.inference import delay_quality
from examples.flight_delays.sensors import new_landings
from examples.flight_delays.training import delay_boosting
from resources import resources_for

upkeep = fti.upkeep_job(keep="30d")

defs = fti.build_definitions(
    [delay_quality, delay_boosting],
    name="flight_delays",
    resources=resources_for(os.environ.get("FTI_ENVIRONMENT", "local")),
    sensors=[new_landings],
    jobs=[upkeep],
    schedules=[
        dg.ScheduleDefinition(job=upkeep, cron_schedule="0 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
    ],
)
