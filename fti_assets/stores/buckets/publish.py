"""Several objects that are there together or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from fti_assets.stores.buckets.client import ChangedError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import guard_writes


def put_objects(folder: BucketPath, files: Mapping[str, bytes], *, last: str) -> None:
    """Put objects below a path at which nothing is, and take them away again if one of them cannot be put.

    Args:
        folder: where.
        files: their contents by name.
        last: the one that is put last, by which readers know that all are there.

    Raises:
        ChangedError: somebody puts others there.
        BucketError: the store cannot be reached, or refuses one.
    """
    begun: list[BucketPath] = []
    try:
        for name in sorted(files, key=lambda name: name == last):
            path = folder / name
            try:
                path.write_new(files[name])
            except ChangedError:
                if path.read_bytes() != files[name]:  # else it is our own, whose answer was lost on its way
                    raise
            begun.append(path)
    except BaseException:
        for one in reversed(begun):
            with suppress(OSError):  # it would hide the cause
                one.unlink(missing_ok=True)
        raise


def remove_objects(folder: BucketPath, *, first: str) -> None:
    """Delete everything below a path, one object first, without which readers take the others for not there.

    Raises:
        StoreError: the store cannot be reached, or refuses it.
    """
    with guard_writes(folder):
        (folder / first).unlink(missing_ok=True)
        for path, _ in folder.files():
            path.unlink(missing_ok=True)
