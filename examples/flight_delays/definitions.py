"""The whole system as Dagster definitions."""

import os

import fti_assets as fti
from examples.flight_delays.inference import delay_predictions
from examples.flight_delays.sensors import new_landings
from resources import resources_for

defs = fti.build_definitions(
    [delay_predictions],
    name="flight_delays",
    resources=resources_for(os.environ.get("FTI_ENVIRONMENT", "local")),
    sensors=[new_landings],
)
