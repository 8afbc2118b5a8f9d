from pathlib import Path

import pytest

from examples.flight_delays import sources
from tests.support.flights import landed_year


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    return landed_year(tmp_path_factory)


@pytest.fixture(scope="session")
def landing_folder(landed: tuple[Path, dict[str, int]]) -> Path:
    return landed[0]


@pytest.fixture(scope="session")
def landed_rows(landed: tuple[Path, dict[str, int]]) -> dict[str, int]:
    return landed[1]


@pytest.fixture(scope="session")
def landing(landing_folder: Path) -> sources.LandingZone:
    return sources.LandingZone(folder=str(landing_folder))
