"""Changing an object that others change, too: it is replaced only if it is still the one that was read."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from fti_assets.errors import StoreError
from fti_assets.stores.buckets.client import ChangedError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import guard_writes, readable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0


def replace_object(path: BucketPath, change: Callable[[bytes | None], bytes], seconds: float) -> None:
    """Write what ``change`` makes of the content of an object, None if there is none, and ask it again whenever others came first.

    Raises:
        StoreError: the store cannot be used, or others came first for so many seconds.
    """
    deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE_S
    while True:
        with readable(path):
            before, tag = _tagged(path)
        content = change(before)
        if content == before:
            return
        try:
            with guard_writes(path):
                try:
                    if tag is None:
                        path.write_new(content)
                    else:
                        path.replace_tagged(content, tag)
                    return
                except ChangedError:
                    # A store's answer can be lost on its way, and the client asks again: then the content is this one.
                    if _tagged(path)[0] == content:
                        return
                    if time.monotonic() > deadline:
                        raise
        except StoreError as error:
            if isinstance(error.__cause__, ChangedError):
                raise StoreError(
                    f"{path} was changed by others again and again for {seconds:g} s: nothing was changed, do it again when fewer "
                    "runs promote"
                ) from error
            raise
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _tagged(path: BucketPath) -> tuple[bytes | None, str | None]:
    try:
        return path.read_tagged()
    except FileNotFoundError:
        return None, None
