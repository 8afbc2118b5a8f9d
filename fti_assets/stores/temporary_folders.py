"""Folders among the temporary files, which show that they are in use as long as their process lives."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fti_assets.errors import StoreError
from fti_assets.stores.files import readable, reason

TEMPORARY = ("fti_spill_", "fti_catalog_", "fti_fit_", "fti_rows_", "fti_metrics_", "fti_sink_")
"""The prefixes of the folders that are made among the temporary files, where upkeep looks for what killed processes left."""


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Make a folder among the temporary files for a block, and show other processes that it is in use.

    Args:
        prefix: one of ``TEMPORARY``.

    Raises:
        StoreError: there is no room for it, or no folder for temporary files.
    """
    import tempfile  # not at the top: who only reads starts without it

    try:
        temporary = tempfile.TemporaryDirectory(
            prefix=prefix, ignore_cleanup_errors=True
        )  # upkeep deletes what is left
    except OSError as error:
        raise StoreError(
            f"{error.filename or 'a folder for temporary files'} could not be made: {reason(error)}. Make room there, or name another "
            "folder in TMPDIR, and do it again"
        ) from error
    with temporary as folder, used_folder(Path(folder)):
        yield Path(folder)


@contextmanager
def used_folder(folder: Path) -> Iterator[None]:
    """Show other processes that a folder is in use, until the block or this process ends, however it does.

    Raises:
        StoreError: it cannot be opened.
    """
    with readable(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep a folder that nobody uses to oneself for a block.

    Raises:
        OSError: it is in use, or gone.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
