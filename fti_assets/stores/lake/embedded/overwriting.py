"""A catalog's file written again, so that nothing that was deleted from it is left in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fti_assets.errors import StoreError

_WAIT_SECONDS = 30.0
_OVERWRITE = """
import sqlite3, sys
catalog = sqlite3.connect(sys.argv[1], timeout=float(sys.argv[2]), isolation_level=None)
catalog.execute("VACUUM")
print(catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
"""


def overwrite_file(catalog: Path) -> None:
    """Write a SQLite catalog again; the caller holds the writers' lock.

    Raises:
        StoreError: others read the catalog all the time.
    """
    # A process of its own: Python's SQLite and DuckDB's are two, and POSIX locks are a process's. Closing the file here would let go of
    # the locks of all lakes that are open here, and delete the journal that they read and write (sqlite.org/howtocorrupt.html, 2.2.1).
    child = subprocess.run(
        [sys.executable, "-I", "-c", _OVERWRITE, str(catalog), str(_WAIT_SECONDS)],
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        reason = (child.stderr.strip().splitlines() or [f"the process ended with {child.returncode}"])[-1]
        raise StoreError(f"the catalog {catalog} cannot be written again: {reason}")
    busy = child.stdout.strip() != "0"
    if busy:
        raise StoreError(
            f"{catalog} is read all the time, so that what was deleted from it may still be in its journal: stop the "
            "readers and run it again"
        )
