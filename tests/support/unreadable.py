"""Folders that the process may not read, which root could."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, whom no mode of a file keeps out; everybody else stays who it is."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@contextmanager
def home_of_nobody() -> Iterator[Path]:
    """A folder outside pytest's own, which another user may not enter; it is removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="fti-unreadable-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def unreadable(folder: Path, home: Path) -> Iterator[None]:
    """As the owner of all that is at home, but for one folder that may not even be looked into."""
    if os.geteuid() == 0:
        for path in [home, *home.rglob("*")]:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    mode = folder.stat().st_mode
    folder.chmod(0)
    try:
        with as_nobody():
            yield
    finally:
        folder.chmod(mode)
