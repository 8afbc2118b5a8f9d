"""What the tests of the help for tests share; what it is made with is imported then, as ``tests/conftest.py`` says."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.worlds import made_once

if TYPE_CHECKING:
    from examples.flight_delays import sources


@pytest.fixture(scope="session")
def landing(tmp_path_factory: pytest.TempPathFactory) -> "sources.LandingZone":
    """Everything that landed in 2013."""
    from examples.flight_delays import sources
    from tests.support.flights import landed_year

    return sources.LandingZone(folder=str(landed_year(tmp_path_factory)[0]))


@pytest.fixture(scope="session")
def shop_made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's week and the buyer that learned from it, which nobody changes."""

    def make(folder: Path) -> None:
        from fti_assets import testing
        from tests.testing.shop import FIRST, LAST, buyer, dataset, habits, outcomes, visits

        stores = testing.stores_in(folder)
        testing.materialize(visits, outcomes, habits, stores=stores, partition=(FIRST, LAST))
        testing.materialize(dataset, buyer, stores=stores, partition="2025-01-07")

    return made_once(tmp_path_factory, "shop", make)


@pytest.fixture(scope="module")
def shop_of_module(shop_made_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shop that a module's tests add to."""
    folder = tmp_path_factory.mktemp("shop") / "copy"
    shutil.copytree(shop_made_once, folder)
    return folder
