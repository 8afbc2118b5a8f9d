"""What lies at a path: a FIFO or a device in place of a file would be waited for, or read, without end."""

import errno
import os
import stat

from fti_assets.errors import DamagedError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.places import Place

FILE, FOLDER = "a file", "a folder"
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of(path: Place) -> str | None:
    """What lies at a path or where its links lead: a file, a folder, a FIFO, a socket, a device, or a link that leads nowhere or in
    a circle; None where nothing does.

    >>> from pathlib import Path
    >>> kind_of(Path("/")), kind_of(Path("/dev/null")), kind_of(Path("no/such/file"))
    ('a folder', 'a device', None)

    Raises:
        OSError: it cannot be looked at.
    """
    if isinstance(path, BucketPath):
        return FILE if path.is_file() else FOLDER if path.is_dir() else None
    try:
        return _KINDS[stat.S_IFMT(os.stat(path).st_mode)]
    except ValueError:  # a NUL, which no file's name has
        return None
    except FileNotFoundError:
        return "a link that leads nowhere" if path.is_symlink() else None
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            return "a link that leads in a circle"
        raise


def check_file(path: Place, remedy: str) -> None:
    """Refuse what is no file where a file belongs; nothing may be there.

    >>> from pathlib import Path
    >>> check_file(Path("no/such/file"), "restore the file from a copy")

    Raises:
        DamagedError: something else is.
        OSError: it cannot be looked at.
    """
    if isinstance(path, BucketPath):  # where an object and a folder of one name can be side by side
        return
    if (kind := kind_of(path)) not in (FILE, None):
        raise DamagedError(f"{path} is {kind} where a file belongs: {remedy}")


def check_folder(path: Place) -> None:
    """Refuse what is no folder where a folder belongs; nothing may be there.

    >>> from pathlib import Path
    >>> check_folder(Path("no/such/folder"))

    Raises:
        DamagedError: something else is.
        OSError: it cannot be looked at.
    """
    if isinstance(path, BucketPath):
        return
    if (kind := kind_of(path)) not in (FOLDER, None):
        raise DamagedError(file_for_folder(path, str(kind)))


def file_for_folder(path: Place, kind: str) -> str:
    """That something is where a folder belongs, and what to do."""
    return f"{path} is {kind} where a folder belongs: move it away, and restore the folder from a copy if there was one"
