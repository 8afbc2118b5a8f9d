from pathlib import Path

import pytest

from examples.flight_delays import sources


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """The whole year, landed once a test session, and the rows of each source; nobody changes the folder."""
    folder = tmp_path_factory.mktemp("landing")
    return folder, sources.land(folder)


@pytest.fixture(scope="session")
def landing_folder(landed: tuple[Path, dict[str, int]]) -> Path:
    return landed[0]


@pytest.fixture(scope="session")
def landed_rows(landed: tuple[Path, dict[str, int]]) -> dict[str, int]:
    return landed[1]


@pytest.fixture(scope="session")
def landing(landing_folder: Path) -> sources.LandingZone:
    return sources.LandingZone(folder=str(landing_folder))
