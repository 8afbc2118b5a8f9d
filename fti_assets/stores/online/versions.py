"""The versions of a key's row, and the one that wins at an instant."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from fti_assets.errors import DataError

Version = tuple[int | None, int | None, Sequence[Any]]
"""When a row became visible, its event time (microseconds since 1970, both None for a lookup), and its values."""

Key = tuple[Any, ...]
"""A key: text, whole numbers and booleans, in the order of the group's keys."""


class Winner(NamedTuple):
    """The row that wins at an instant; the times are microseconds since 1970, None for a lookup."""

    event_us: int | None
    visible_us: int | None
    values: tuple[Any, ...]


RawWinner = tuple[int | None, int | None, tuple[Any, ...]]
"""The fields of a ``Winner``, as a plain tuple, which is made faster."""


def check_times(versions: Sequence[Version], *, event_time: bool) -> None:
    """Refuse versions of a key that are not in order, or more than one of a lookup.

    Raises:
        DataError: visible times do not rise, event times fall, or a time is missing.
    """
    if not versions:
        raise DataError("a key needs at least one version")
    if not event_time:
        if len(versions) != 1:
            raise DataError(f"a lookup holds one row a key, not {len(versions)}")
        return
    visible, events = [version[0] for version in versions], [version[1] for version in versions]
    if None in visible or None in events:
        raise DataError("a version of a group with an event time has no times")
    if any(late <= early for early, late in pairwise(visible)):  # type: ignore[operator]
        raise DataError(f"the visible times {visible!r:.200} do not rise from version to version")
    if any(late < early for early, late in pairwise(events)):  # type: ignore[operator]
        raise DataError(f"the event times {events!r:.200} fall from version to version")
