"""Files that are never half written, and what is said of a disk, or of a bucket, that cannot be read or written."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar, cast

from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores.buckets.client import BucketError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.file_kinds import FILE, FOLDER, check_file, file_for_folder, kind_of
from fti_assets.stores.places import Place

P = TypeVar("P", bound=Place)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What an operating system says of a disk, a user's share of it, or a file that may not grow."""


class _UnsyncedError(OSError):
    """What was renamed is in its place, and the folder that says so could not be made durable."""


def read_file(path: Place, remedy: str = "restore the file from a copy") -> bytes | None:
    """A file's content, None if it is not there.

    Args:
        path: the file.
        remedy: what to do if something else is in its place.

    >>> read_file(Path("no/such/file"))

    Raises:
        DamagedError: something else is in its place, such as a folder or a FIFO, or a file in that of its folder.
        StoreError: it cannot be read.
    """
    with readable(path), suppress(FileNotFoundError):
        if isinstance(path, BucketPath):
            return path.read_bytes()
        check_file(path, remedy)
        # Nobody waits for a writer, should a FIFO take its place meanwhile.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read()
    return None


def read_end(path: Place, size: int) -> bytes:
    """The last bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(path, BucketPath):
        return path.read_end(size)
    with path.open("rb") as content:
        content.seek(-min(size, path.stat().st_size), os.SEEK_END)
        return content.read()


@contextmanager
def readable(path: Place) -> Iterator[None]:
    """Say of a disk that cannot be read what could not be looked at by the block.

    >>> with readable(Path("models")):  # doctest: +SKIP
    ...     ...

    Raises:
        DamagedError: a file lies where a folder belongs.
        StoreError: the block raised another OSError.
    """
    try:
        yield
    except BucketError as error:
        raise StoreError(f"{error.filename} cannot be read: {error.strerror}. {error.remedy}") from error
    except OSError as error:
        raise _unreadable(Path(error.filename or str(path)), error) from error


def _unreadable(path: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return DamagedError(_file_for_a_folder(path))
    if isinstance(error, PermissionError):
        return StoreError(
            f"{path} cannot be read: {reason(error)}. Give this user the right to read it, and do it again"
        )
    return StoreError(f"{path} cannot be read: {reason(error)}. Mend the disk, and do it again")


@contextmanager
def guard_writes(path: Place) -> Iterator[None]:
    """Say of a full or read-only disk what could not be written by the block.

    >>> with guard_writes(Path("delay_net/aliases.json")):  # doctest: +SKIP
    ...     ...

    Raises:
        StoreError: the block raised an OSError.
    """
    try:
        yield
    except BucketError as error:
        raise StoreError(
            f"{path} could not be written: {error.strerror}. Nothing was changed. {error.remedy}"
        ) from error
    except _UnsyncedError as error:
        raise StoreError(
            f"{path} is written, but a power cut may undo it: {error.filename} could not be made durable, {reason(error)}. Mend the "
            "disk and look at what is there"
        ) from error
    except (NotADirectoryError, FileExistsError) as error:
        raise StoreError(
            f"{path} could not be written: {_file_for_a_folder(Path(error.filename or str(path)))}. Nothing was changed"
        ) from error
    except IsADirectoryError as error:
        raise StoreError(
            f"{path} could not be written: {error.filename or path} is a folder where a file belongs: remove it, and do it again. "
            "Nothing was changed"
        ) from error
    except OSError as error:
        raise StoreError(
            f"{path} could not be written: {reason(error)}. Nothing was changed; make room, or the folder writable, and "
            "do it again"
        ) from error


def _file_for_a_folder(path: Path) -> str:
    """Which part of a path is no folder, and what to do."""
    kind = FILE
    for part in (*reversed(path.parents), path):
        with suppress(OSError):
            kind = kind_of(part) or FILE
            if kind != FOLDER:
                return file_for_folder(part, kind)
    return file_for_folder(path, kind)


def reason(error: OSError) -> str:
    """What the operating system said, in its own few words."""
    return error.strerror or type(error).__name__


def may_write(folder: Place) -> bool:
    """Whether this process may make files in a folder; of a bucket, that is seen when it does.

    >>> may_write(Path("no/such/folder"))
    False
    """
    if isinstance(folder, BucketPath):
        return True
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def write_atomically(path: Place, content: bytes) -> None:
    """Replace a file's content: whoever reads it sees all of the old bytes or all of the new, also after a power cut.

    >>> write_atomically(Path("aliases.json"), b"{}")  # doctest: +SKIP

    Raises:
        OSError: the folder is missing, full or not writable. The old content is still there, unless it is the folder that could not
            be made durable, which ``guard_writes`` says.
    """
    if isinstance(path, BucketPath):
        path.write_bytes(content)
        return
    temporary = hidden_sibling(path)
    try:
        write_durably(temporary, content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_renamed(path)


def is_folder(path: Place) -> bool:
    """Whether a folder lies at a path; a folder above it that may not be entered is an error and not an answer.

    >>> is_folder(Path("/")), is_folder(Path("no/such/folder"))
    (True, False)

    Raises:
        DamagedError: a file lies where one of its parents belongs.
        StoreError: it cannot be looked at.
    """
    with readable(path):
        return kind_of(path) == FOLDER


def paths_in(folder: P, pattern: str = "*") -> list[P]:
    """What lies in a folder under names that fit a pattern, sorted; nothing if the folder is not there.

    ``Path.glob`` leaves out what it may not read, as if nothing were there.

    >>> paths_in(Path("no/such/folder"), "*.jsonl")
    []

    Raises:
        DamagedError: a file lies where the folder belongs.
        StoreError: the folder cannot be read.
    """
    with readable(folder), suppress(FileNotFoundError):
        if isinstance(folder, BucketPath):
            return [cast(P, one) for one in folder.iterdir() if fnmatchcase(one.name, pattern)]
        return sorted(cast(P, folder / name) for name in os.listdir(folder) if fnmatchcase(name, pattern))
    return []


def files_under(folder: P) -> Iterator[P]:
    """Every file under a folder, in no order; none if the folder is not there.

    >>> list(files_under(Path("no/such/folder")))
    []

    Raises:
        StoreError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:  # without it, os.walk leaves out what it cannot read
        if not isinstance(error, FileNotFoundError):
            raise error

    with readable(folder):
        if isinstance(folder, BucketPath):
            yield from (cast(P, path) for path, _ in folder.files())
            return
        for parent, _, names in os.walk(folder, onerror=refuse):
            yield from (cast(P, Path(parent, name)) for name in names)


def sized_files(folder: Place) -> Iterator[tuple[Place, int, float]]:
    """Every file under a folder, its bytes, and when it was written, in seconds since 1970; raises as ``files_under``.

    A bucket is asked once for all of them, and not for each.
    """
    with readable(folder):
        if isinstance(folder, BucketPath):
            yield from ((path, about.st_size, about.st_mtime) for path, about in folder.files())
            return
    for file in files_under(folder):
        with readable(file), suppress(FileNotFoundError):  # deleted meanwhile
            about = file.stat()
            yield file, about.st_size * S_ISREG(about.st_mode), about.st_mtime


def make_folder(folder: Place) -> None:
    """Make a folder and its parents, each of them durable; a bucket has none."""
    if isinstance(folder, BucketPath):
        return
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_file(file: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hidden_sibling(path: Path) -> Path:
    """A name beside a path at which nothing lies, for what is not done yet."""
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file, its content durable."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_renamed(path: Path) -> None:
    """Make the name of what was renamed durable.

    Raises:
        OSError: it could not be; ``guard_writes`` says that the change is made nevertheless.
    """
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise _UnsyncedError(error.errno, reason(error), str(path.parent)) from error
