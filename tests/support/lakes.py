"""New lakes of tests: making an empty catalog takes DuckLake a tenth of a second, copying one nothing."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fti_assets.stores.lake.folder import LakeFolder

ABOUT_NEW_LAKES = ("test_offline", "test_lost_catalog", "test_faults", "test_repair", "test_damage", "test_files")
"""The test files that look at how a catalog is made, which DuckLake makes there."""


@contextmanager
def new_catalogs_copied() -> Iterator[None]:
    """Within it, DuckLake makes the first catalog of the process, and each further one is a copy of it."""
    make = LakeFolder.new_catalog
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        template = Path(folder) / "catalog.sqlite"

        def new_catalog(lake: LakeFolder) -> Path:
            if any(name in os.environ.get("PYTEST_CURRENT_TEST", "") for name in ABOUT_NEW_LAKES):
                return make(lake)
            if not template.exists():
                shutil.copyfile(make(lake), template)
            half_made = lake.delete_half_made()
            shutil.copyfile(template, half_made)
            return half_made

        patch.setattr(LakeFolder, "new_catalog", new_catalog)
        yield
