"""Stores that are reached by environment variables, so that nothing of a machine is in the code.

===================  ==========================================================================
``FLIGHTS_LAKE``     ``postgresql://user:password@host/database?data=s3://bucket/folder``
``FLIGHTS_MODELS``   ``s3://bucket/folder``
``FLIGHTS_ONLINE``   ``redis://host:port/db?prefix=name``
``FLIGHTS_LANDING``  the folder in which the files of flights land
``AWS_...``          the bucket's key, region and endpoint
===================  ==========================================================================
"""

import dagster as dg

from examples.flight_delays.sources import LandingZone
from fti_assets.orchestration.resources import Stores

RESOURCES = {
    "fti": Stores(
        lake=dg.EnvVar("FLIGHTS_LAKE"), models=dg.EnvVar("FLIGHTS_MODELS"), online=dg.EnvVar("FLIGHTS_ONLINE")
    ),
    "landing": LandingZone(folder=dg.EnvVar("FLIGHTS_LANDING")),
}
