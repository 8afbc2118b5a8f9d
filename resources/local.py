"""Everything embedded: files under ``FTI_HOME``, by default ``./.fti``."""

from examples.flight_delays.sources import LandingZone
from fti_assets.core.home import home
from fti_assets.orchestration.resources import Stores

RESOURCES = {"fti": Stores(), "landing": LandingZone(folder=str(home() / "landing"))}
