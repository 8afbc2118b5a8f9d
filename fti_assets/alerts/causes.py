"""What is wrong, and what becomes of it from one look to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from fti_assets.core import clock
from fti_assets.core.times import span

_LINES = 5
_LEAST_TOLD = timedelta(minutes=1)


@dataclass(frozen=True)
class Cause:
    """Something that is wrong now.

    Args:
        subject: what it is about; of one subject there is one cause at a time, which is over once nothing is wrong with the subject.
        occurrence: another one of the same subject is news: a rejected build after a rejected build. Empty where it is not: a check
            that fails again. Of several, a line each, one that ends is no news, and one more is.
        title: one line that says what is wrong.
        text: what a person needs to begin with: the reason, the run, what to do.
        end: what is said when it is over.
        since: when it began, naive UTC; None if nobody knows: then when it was seen first.
        places: the partitions of which it is, where it is of some; if all of them were told there is no news.
    """

    subject: str
    title: str
    text: str
    occurrence: str = ""
    end: str = ""
    since: datetime | None = None
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What a look finds: what is wrong, and the subjects of which nobody can tell now.

    Args:
        causes: what is wrong.
        unseen: subjects that stay as they were; one that ends with ``*`` stands for all that begin so.
    """

    causes: tuple[Cause, ...] = ()
    unseen: frozenset[str] = frozenset()

    def __add__(self, other: Findings) -> Findings:
        return Findings((*self.causes, *other.causes), self.unseen | other.unseen)


@dataclass(frozen=True)
class OpenCause:
    """A cause that was told: what it was, since when (naive UTC ISO text), what is said when it is over, and of which partitions it is."""

    occurrence: str
    title: str
    end: str
    since: str
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changes:
    """What has begun, what is over, and what is wrong by now, by subject."""

    begun: tuple[Cause, ...]
    over: tuple[OpenCause, ...]
    open: dict[str, OpenCause]


def changes_of(before: Mapping[str, OpenCause], findings: Findings, now: datetime) -> Changes:
    """What has changed since the last look.

    Args:
        before: what was wrong then.
        findings: what is wrong now.
        now: the instant of this look, naive UTC.

    >>> cause = Cause("check a", "check a failed", "", end="check a passes again")
    >>> first = changes_of({}, Findings((cause,)), datetime(2024, 1, 1))
    >>> [one.title for one in first.begun], changes_of(first.open, Findings((cause,)), datetime(2024, 1, 2)).begun
    (['check a failed'], ())
    >>> [(one.end, one.since) for one in changes_of(first.open, Findings(), datetime(2024, 1, 3)).over]
    [('check a passes again', '2024-01-01T00:00:00')]
    """
    present = {cause.subject: cause for cause in findings.causes}
    starts = tuple(subject.removesuffix("*") for subject in findings.unseen if subject.endswith("*"))
    begun, remaining = [], dict[str, OpenCause]()
    for subject, cause in present.items():
        old = before.get(subject)
        is_same = old is not None and _is_told(cause, old)
        since = min(cause.since or now, now).isoformat()  # the clock of whoever noted it may run ahead
        remaining[subject] = (
            replace(old, occurrence=cause.occurrence, title=cause.title, end=cause.end, places=cause.places)
            if is_same and old
            else OpenCause(cause.occurrence, cause.title, cause.end, since, cause.places)
        )
        if not is_same:
            begun.append(cause)
    for subject, old in before.items():
        if subject not in present and (subject in findings.unseen or subject.startswith(starts)):
            remaining[subject] = old
    over = tuple(old for subject, old in before.items() if subject not in remaining)
    return Changes(tuple(begun), over, remaining)


def _is_told(cause: Cause, old: OpenCause) -> bool:
    """Whether nothing of a cause is news beside what was told of its subject."""
    are_places_told = bool(cause.places) and {*cause.places} <= {*old.places}
    return are_places_told or {*cause.occurrence.split("\n")} <= {*old.occurrence.split("\n")}


def age_text(since: datetime, now: datetime) -> str:
    """When something began and how long ago that is, as a sentence.

    >>> age_text(datetime(2024, 1, 1, 6), datetime(2024, 1, 1, 8, 5))
    'It began at 2024-01-01 06:00 UTC, 2h 5min ago.'
    """
    length = now - since
    ago = f", {span(length)} ago" if length >= _LEAST_TOLD else ""
    return f"It began at {since:%Y-%m-%d %H:%M} UTC{ago}."


def length_text(since: datetime, until: datetime) -> str:
    """For how long something was wrong, as a part of a sentence.

    >>> length_text(datetime(2024, 1, 1, 6), datetime(2024, 1, 1, 8, 5))
    'It lasted 2h 5min, from 2024-01-01 06:00 to 2024-01-01 08:05 UTC'
    """
    return (
        f"It lasted {span(max(until - since, timedelta(0)))}, from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
    )


def event_time(timestamp: float) -> datetime | None:
    """When Dagster noted something, naive UTC; None where the clock is set, which Dagster's does not follow."""
    return None if clock.is_set() else datetime.fromtimestamp(timestamp, UTC).replace(tzinfo=None, microsecond=0)


def shortened(reason: str) -> str:
    """The first lines of a reason."""
    lines = reason.strip().splitlines()
    return "\n".join([*lines[:_LINES], *(["..."] if lines[_LINES:] else [])])
