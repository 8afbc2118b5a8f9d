"""A lock that threads and processes share."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fti_assets.errors import StoreError
from fti_assets.stores.file_kinds import check_file
from fti_assets.stores.files import guard_writes, readable

_POLL_SECONDS = 0.01
_threads: dict[str, threading.Lock] = {}
# A lock that a thread of the parent held would stay locked in the child for ever.
os.register_at_fork(after_in_child=_threads.clear)


@contextmanager
def hold_lock(path: Path, timeout: float = 60.0) -> Iterator[None]:
    """Hold an advisory lock for a block, against every other thread and process that asks for it.

    Args:
        path: the lock's file; it is made, with its folder, and left there.
        timeout: how long to wait, in seconds.

    A thread that asks for a lock it already holds waits for itself until the time is out.

    >>> with hold_lock(Path("delay_net/.lock"), timeout=10):  # doctest: +SKIP
    ...     ...

    Raises:
        StoreError: someone else held it for the whole of ``timeout``.
        DamagedError: something that is no file is in its place.
    """
    deadline = time.monotonic() + timeout
    with guard_writes(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # Threads wait for a lock of their own, which wakes them at once; the file's is polled. Always in this order.
    thread = _threads.setdefault(str(path.absolute()), threading.Lock())
    if not thread.acquire(timeout=max(timeout, 0)):
        raise _timed_out(path, timeout)
    try:
        descriptor = _flock(path, deadline, timeout)
        try:
            yield
        finally:
            fcntl.flock(
                descriptor, fcntl.LOCK_UN
            )  # a child forked meanwhile shares the descriptor: closing is not enough
            os.close(descriptor)
    finally:
        thread.release()


def _flock(path: Path, deadline: float, timeout: float) -> int:
    while True:
        with guard_writes(path):
            check_file(path, "remove it, and do it again")  # where a link leads nowhere, a file would be made there
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            while not _try_flock(descriptor):
                if time.monotonic() >= deadline:
                    raise _timed_out(path, timeout)
                time.sleep(_POLL_SECONDS)
            with readable(path):
                if _is_same_file(descriptor, path):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # someone removed the file while we waited: what we hold excludes nobody


def _try_flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # Polling instead of a blocking flock, which no deadline could end.
    except BlockingIOError:
        return False
    return True


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _timed_out(path: Path, timeout: float) -> StoreError:
    return StoreError(
        f"the lock {path} was held by another thread or process for {timeout:g} s: wait until it is done and try again "
        "(a lock ends with its process; removing the file does not help)"
    )
