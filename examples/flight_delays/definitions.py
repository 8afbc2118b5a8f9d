"""The whole system as Dagster definitions."""

import os

import fti_assets as fti
from examples.flight_delays.inference import delay_predictions
from resources import resources_for

defs = fti.build_definitions([delay_predictions], resources=resources_for(os.environ.get("FTI_ENVIRONMENT", "local")))
