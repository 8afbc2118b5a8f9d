"""The folder through which rows go between DuckDB and Spark, which both can reach, and which is gone after the step."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fti_assets.errors import StoreError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import reason
from fti_assets.stores.places import Place
from fti_assets.stores.temporary_folders import locked_folder, used_folder

_PREFIX = "fti_spark_"
_LEFT_AFTER_S = 24 * 3600


class Scratch:
    """A folder with a new place for each set of rows.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Place) -> None:
        self._folder = folder
        self._number = 0

    def place(self, what: str) -> Place:
        """A folder that nobody has written to."""
        self._number += 1
        folder = self._folder / f"{self._number:03}_{what}"
        if isinstance(folder, Path):  # a bucket has no folders of its own
            folder.mkdir()
        return folder


@contextmanager
def scratch(root: Place) -> Iterator[Scratch]:
    """A scratch folder below a folder for a block. What killed steps left there more than a day ago is deleted.

    Raises:
        StoreError: it cannot be made, or the bucket refuses it.
    """
    folder = root / f"{_PREFIX}{secrets.token_hex(8)}"
    if isinstance(folder, BucketPath):
        assert isinstance(root, BucketPath)
        _delete(root, older_than=_LEFT_AFTER_S)
        try:
            yield Scratch(folder)
        finally:
            with suppress(Exception):  # it would hide the cause; the next step deletes what is left
                _delete(folder)
        return
    assert isinstance(root, Path)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _clean(root)
        folder.mkdir()
    except OSError as error:
        raise StoreError(
            f"{folder}, through which rows go to Spark and back, cannot be made: {reason(error)}. Make room there, or give "
            "fti.SparkEngine(scratch=...) another folder, which Spark's workers reach too"
        ) from error
    try:
        with used_folder(folder):
            yield Scratch(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _delete(folder: BucketPath, *, older_than: float = -1) -> None:
    """Delete the objects below a folder of a bucket that were written so many seconds ago."""
    for one, status in list(folder.files()):
        if time.time() - status.st_mtime > older_than:
            one.unlink(missing_ok=True)


def _clean(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - os.stat(folder).st_mtime > _LEFT_AFTER_S:
                with locked_folder(folder):
                    shutil.rmtree(folder, ignore_errors=True)
