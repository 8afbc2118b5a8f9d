from pathlib import Path

import pytest

from examples.flight_delays import sources


@pytest.fixture(scope="session")
def landing(tmp_path_factory: pytest.TempPathFactory) -> sources.LandingZone:
    """Everything that landed in 2013; nobody changes the folder."""
    folder: Path = tmp_path_factory.mktemp("landing")
    sources.land(folder)
    return sources.LandingZone(folder=str(folder))
