"""The flagship's landing zone: the whole year, landed once for all processes of a test run; nobody changes the folder."""

import json
from pathlib import Path

import pytest

from examples.flight_delays import sources
from tests.support.worlds import made_once


def landed_year(factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """The folder, and the rows of each source."""

    def land(world: Path) -> None:
        (world / "rows.json").write_text(json.dumps(sources.land(world / "landing")))

    world = made_once(factory, "flights_of_2013", land)
    return world / "landing", json.loads((world / "rows.json").read_text())
