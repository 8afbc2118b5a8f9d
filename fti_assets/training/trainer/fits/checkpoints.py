"""Where trainings keep checkpoints: beside the builds of their model, one folder a cutoff, until the build is published."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from fti_assets.core.extras import require
from fti_assets.errors import ModelError
from fti_assets.stores.files import reason, write_atomically

FOLDER = ".training"
_MOST_FOLDERS = 4


@contextmanager
def checkpoint_folder(
    model: Path, cutoff: str, *about: object, say: Callable[[str], None] = lambda line: None
) -> Iterator[Path | None]:
    """A folder for the checkpoints of one training, with those that a killed run of the same has left.

    It is deleted when the block ends, the build being in the store then, or the training having failed by its own fault. Of the folders
    of other trainings that nobody uses, the newest few are kept.

    Args:
        model: the model's folder in the store.
        cutoff: the partition that is trained.
        about: what else the training rests on, such as code and rows: another text is another training.
        say: takes a line about what could not be done.

    Yields:
        the folder; None if another run trains the same now, or there is no room.
    """
    digest = hashlib.sha256("\x00".join(map(str, (cutoff, *about))).encode()).hexdigest()[:12]
    folder = model / FOLDER / f"{re.sub(r'[^0-9A-Za-z_.-]', '_', cutoff)[:60]}-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        say(f"no checkpoints are kept, as {error.filename or folder} cannot be made: {reason(error)}")
        yield None
        return
    try:
        if not _lock(descriptor):
            say(f"another run trains {cutoff} with the same code and rows now: this one keeps no checkpoints")
            yield None
            return
        os.utime(folder)
        _remove_others(folder)
        try:
            yield folder
        except ModelError:  # from where it got to, it would fail again
            shutil.rmtree(folder, ignore_errors=True)
            raise
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            with suppress(OSError):  # what is in there is for the next run
                folder.rmdir()
            with suppress(OSError):  # others train
                folder.parent.rmdir()
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _remove_others(folder: Path) -> None:
    old_folders = [one for one in folder.parent.iterdir() if one != folder and one.is_dir()]
    with suppress(OSError):  # one may be gone meanwhile
        old_folders.sort(key=lambda one: one.stat().st_mtime, reverse=True)
    for other in old_folders[_MOST_FOLDERS - 1 :]:
        with suppress(OSError):
            descriptor = os.open(other, os.O_RDONLY)
            try:
                if _lock(descriptor):
                    shutil.rmtree(other, ignore_errors=True)
            finally:
                os.close(descriptor)


def save_tensors(content: Any, path: Path) -> None:
    """Write what torch saves, as a file that is there whole or not at all.

    Raises:
        OSError: there is no room, where torch's own writer raises a RuntimeError that does not say so.
    """
    buffer = BytesIO()
    require("torch").save(content, buffer)
    write_atomically(path, buffer.getvalue())
