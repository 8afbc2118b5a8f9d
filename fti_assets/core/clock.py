"""The one clock. Everything that asks what time it is asks here, so that tests and replays can set it.

``FTI_NOW`` (ISO text) sets it for a whole process and its children; ``clock.at`` sets it for a block.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from fti_assets.core.times import instant
from fti_assets.errors import DeclarationError, excerpt

_frozen: ContextVar[datetime | None] = ContextVar("fti_clock", default=None)


def now() -> datetime:
    """The current instant as naive UTC, or the one that was set.

    Raises:
        DeclarationError: ``FTI_NOW`` is no instant.
    """
    frozen = _frozen.get()
    if frozen is not None:
        return frozen
    text = os.environ.get("FTI_NOW")
    if not text:
        return datetime.now(UTC).replace(tzinfo=None)
    try:
        return instant(text)
    except ValueError as error:
        raise DeclarationError(
            f"FTI_NOW is {excerpt(text)}, which is not an instant: write ISO text such as 2014-01-05T00:00:00Z, or unset it"
        ) from error


def is_set() -> bool:
    """Whether somebody has set the clock, so that it says something else than the system's own.

    >>> with at("2013-06-01T12:00:00Z"):
    ...     is_set()
    True
    """
    return _frozen.get() is not None or bool(os.environ.get("FTI_NOW"))


def of_wall(seconds: float) -> datetime:
    """What the clock said when the system's own said so many seconds since 1970, for what is put into words later.

    >>> with at("2013-06-01T12:00:00Z"):
    ...     of_wall(0.0)
    datetime.datetime(2013, 6, 1, 12, 0)
    """
    if not is_set():
        return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return now()


@contextmanager
def at(moment: str | datetime) -> Iterator[None]:
    """Set the clock for a block.

    >>> with at("2013-06-01T12:00:00Z"):
    ...     now()
    datetime.datetime(2013, 6, 1, 12, 0)
    """
    token = _frozen.set(instant(moment))
    try:
        yield
    finally:
        _frozen.reset(token)
