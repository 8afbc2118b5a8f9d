"""Everything embedded: files under ``FTI_HOME``, by default ``./.fti``."""

from examples.flight_delays.sources import LandingZone
from fti_assets.resources import Stores
from fti_assets.stores.home import home

RESOURCES = {"fti": Stores(), "landing": LandingZone(folder=str(home() / "landing"))}
