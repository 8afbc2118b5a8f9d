import pytest

from examples.flight_delays import sources
from tests.support.flights import landed_year


@pytest.fixture(scope="session")
def landing(tmp_path_factory: pytest.TempPathFactory) -> sources.LandingZone:
    """Everything that landed in 2013."""
    return sources.LandingZone(folder=str(landed_year(tmp_path_factory)[0]))
