"""Stores that are reached by environment variables, so that nothing of a machine is in the code."""

import dagster as dg

from examples.flight_delays.sources import LandingZone
from fti_assets.orchestration.resources import Stores

RESOURCES = {
    "fti": Stores(
        lake=dg.EnvVar("FLIGHTS_LAKE"), models=dg.EnvVar("FLIGHTS_MODELS"), online=dg.EnvVar("FLIGHTS_ONLINE")
    ),
    "landing": LandingZone(folder=dg.EnvVar("FLIGHTS_LANDING")),
}
