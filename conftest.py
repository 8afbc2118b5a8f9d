"""How tests are collected: of thousands of them, in each process that runs some, so that little is read and nothing twice."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.doctest import DoctestModule

LONGEST = (
    "tests/integration/test_daemon.py",
    "tests/examples/test_text.py",
    "tests/examples/test_flight_delays.py",
    "tests/inference/test_batch.py",
    "tests/forgetting/test_forget.py",
    "tests/examples/test_year.py",
    "tests/features/test_feature_group.py",
    "tests/integration/test_ui.py",
    "tests/automation/test_conditions.py",
    "tests/automation/test_recorded.py",
    "tests/alerts/test_alerts.py",
    "tests/stores/test_faults.py",
    "tests/stores/test_offline.py",
    "tests/inference/test_prediction_log.py",
    "tests/automation/test_once_a_change.py",
)
"""The files that take longest, the longest first: one of them at the end would keep one process busy while the others have nothing."""

MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 8 << 30

# A lake waits for the disk at each commit, a fifth of a small run, and no test is about what a power cut leaves.
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES:
    os.environ["TMPDIR"], tempfile.tempdir = str(MEMORY), None

# No test is to find a key of whoever runs it, nor to ask the machine for one.
for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
    os.environ[variable] = os.devnull
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

# What is imported stays, so nothing is gained by looking through it for garbage again and again.
gc.disable()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Iterator[None]:
    """Read no module for examples that has none: each would be imported, and all that it has looked through."""
    collectors = yield
    return [one for one in collectors if not isinstance(one, DoctestModule) or b">>>" in file_path.read_bytes()]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: ``make test`` gives each process the next file of the tests in their order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish() -> None:
    """Do not look through all modules again and again while tests run either: an eighth of the time."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    gc.enable()
