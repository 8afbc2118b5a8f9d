"""A copy of a catalog that cannot be opened where it lies, as it was at one instant, whoever commits meanwhile."""

from __future__ import annotations

import filecmp
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from fti_assets.errors import StoreError
from fti_assets.stores.files import readable

_ATTEMPTS, _PAUSE_S = 50, 0.02
_PARTS = ("", "-wal", "-journal")


def copied_catalog(catalog: Path, folder: Path) -> Path:
    """Copy a SQLite catalog into a folder and give the copy.

    Raises:
        StoreError: it cannot be read, or changed during each of many copies.
    """
    copy = folder / catalog.name
    for _ in range(_ATTEMPTS):
        with readable(catalog):
            if _backed_up(catalog, copy) or _copy(catalog, copy):
                return copy
        time.sleep(_PAUSE_S)
    raise StoreError(
        f"{catalog} changed during each of {_ATTEMPTS} copies, which this user needs since it may not write beside it: do it again "
        f"when fewer runs write, or give this user the right to write in {catalog.parent}"
    )


def _backed_up(catalog: Path, copy: Path) -> bool:
    """Whether SQLite could copy it by itself: where a writer has it open, the files are there by which it tells readers of changes."""
    # Closing it lets go of this process's locks on the file, of which there are none: it opens such a catalog nowhere else.
    _delete(copy)
    try:
        with (
            closing(sqlite3.connect(f"{catalog.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.Error:  # no such files, or a damaged one, which is said by whoever opens the copy
        return False
    return True


def _copy(catalog: Path, copy: Path) -> bool:
    """Whether its files could be copied as they were at one instant.

    All are read twice, one after another. What is the same both times did not change from its first reading to its second, and
    between the last first one and the first second one all were so.
    """
    _delete(copy)
    present = _present(catalog)
    try:
        for part in present:
            shutil.copyfile(_part(catalog, part), _part(copy, part))
        is_same = all(filecmp.cmp(_part(catalog, part), _part(copy, part), shallow=False) for part in present)
    except FileNotFoundError:
        if not catalog.exists():
            raise
        return False
    if not is_same or _present(catalog) != present:
        return False
    if "-journal" in present:  # of a transaction that was cut off, which opening the copy takes back
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    return True


def _present(catalog: Path) -> list[str]:
    return [part for part in _PARTS if not part or _part(catalog, part).exists()]


def _part(catalog: Path, part: str) -> Path:
    return catalog.with_name(catalog.name + part)


def _delete(copy: Path) -> None:
    filecmp.clear_cache()  # which goes by times that a quick change leaves as they were
    for part in (*_PARTS, "-shm"):
        _part(copy, part).unlink(missing_ok=True)
