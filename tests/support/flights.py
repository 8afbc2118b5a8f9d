"""The flagship's landing zone: the whole year, landed once for all processes of a test run; nobody changes the folder."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from examples.flight_delays import sources


def landed_year(factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """The folder, and the rows of each source."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, counts = shared / "landing_of_2013", shared / "landing_of_2013.json"
    with open(shared / "landing_of_2013.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process lands, the others wait for it
        if not counts.exists():
            counts.write_text(json.dumps(sources.land(folder)))
    return folder, json.loads(counts.read_text())
