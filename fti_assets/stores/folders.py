"""Folders of files that are there whole or not at all."""

import errno
from contextlib import suppress
from pathlib import Path

from fti_assets.errors import StoreError
from fti_assets.stores.buckets.client import ChangedError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import hidden_sibling, make_folder, sync_folder, sync_renamed, write_durably
from fti_assets.stores.places import Place


def publish_folder(folder: Place, files: dict[str, bytes], *, last: str = "") -> None:
    """Write a folder of files in one step: it is there with all of them or not at all.

    Args:
        folder: what to make; its parents are made too.
        files: the content of each file by its name in the folder, or its path there.
        last: the file that is written last in a bucket, whose readers take the folder for there when they see it.

    >>> publish_folder(Path("v1/build"), {"card.md": b"# A card"})  # doctest: +SKIP

    Raises:
        StoreError: the folder is already there; nothing was written.
    """
    problem = f"{folder} is already there and never overwritten: publish under another name"
    if folder.exists():
        raise StoreError(problem)
    if isinstance(folder, BucketPath):
        from fti_assets.stores.buckets.publish import put_objects  # not at the top: who only reads starts without it

        try:
            put_objects(folder, files, last=last)
        except ChangedError as error:
            raise StoreError(problem) from error
        return
    make_folder(folder.parent)
    temporary = hidden_sibling(folder)
    try:
        _write_folder(temporary, files)
        temporary.rename(folder)
    except BaseException as error:
        remove_folder(temporary)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise StoreError(problem) from error
        raise
    sync_renamed(folder)


def replace_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Put a folder of files in the place of another: whoever looks finds the old one, or for an instant none, or the new one.

    Args:
        folder: what to replace.
        files: as of ``publish_folder``.

    >>> replace_folder(Path("export"), {"card.md": b"# A card"})  # doctest: +SKIP

    Raises:
        OSError: it could not be; the old one is there as it was.
    """
    temporary, before = hidden_sibling(folder), hidden_sibling(folder)
    try:
        _write_folder(temporary, files)
        folder.rename(before)
        try:
            temporary.rename(folder)
        except BaseException:
            before.rename(folder)
            raise
    except BaseException:
        remove_folder(temporary)
        raise
    remove_folder(before)
    sync_renamed(folder)


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        make_folder((folder / name).parent)
        write_durably(folder / name, content)
    sync_folder(folder)


def remove_folder(folder: Place) -> None:
    """Remove a folder with all that is in it, as far as it can be."""
    if isinstance(folder, BucketPath):
        with suppress(OSError):
            for path, _ in folder.files():
                path.unlink(missing_ok=True)
        return
    import shutil  # not at the top: who only reads starts without it

    shutil.rmtree(folder, ignore_errors=True)
