"""What a trigger is asked by, and what it answers: an instant and a reason in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from fti_assets.errors import DeclarationError, excerpt


@dataclass(frozen=True)
class Cause:
    """Why a model is to be trained again.

    Args:
        at: naive UTC; a trigger fires once for it, and again for a later one.
        reason: in words, for the run's tags and the build's record.
        days: the partitions of a monitor that it rests on, by their start; then a trigger fires once for each of these, in whichever
            order they were measured. None of another cause.
    """

    at: datetime
    reason: str
    days: tuple[datetime, ...] = ()


@dataclass(frozen=True)
class Breach:
    """A figure of a monitor that is a warning, in its newest judged partition or in one that was measured late."""

    partition_start: datetime
    subject: str
    column_name: str
    statistic: str
    reference: str
    slice: str
    value: float | None
    threshold: float | None
    estimated: bool

    @property
    def text(self) -> str:
        """It in words: ``psi of temp 0.31 (threshold 0.2)``."""
        of = f" of {self.column_name}" if self.column_name else ""
        where = f" for {self.slice}" if self.slice else ""
        value = "" if self.value is None else f" {self.value:.4g}"
        threshold = "" if self.threshold is None else f" (threshold {self.threshold:.4g})"
        return f"{self.statistic}{of}{where}{value}{threshold}{', estimated' if self.estimated else ''}"


class Situation(Protocol):
    """What triggers may ask about a model at an instant."""

    @property
    def now(self) -> datetime:
        """By the one clock, naive UTC."""

    def changes(self, group: str | None) -> Sequence[datetime]:
        """When each partition of a group came that the newest build has not seen and the next would; the spine's by default."""

    def breaches(self, monitor: str) -> Sequence[Breach]:
        """The figures of a monitor that are warnings: in the newest partition in which they were judged, or measured late in an earlier."""


class Trigger(Protocol):
    """What any trigger can do."""

    @property
    def name(self) -> str:
        """Its name among those of its model."""

    def cause(self, situation: Situation) -> Cause | None:
        """Why it asks for training; None if it does not."""


@runtime_checkable
class MonitoredTrigger(Trigger, Protocol):
    """A trigger that rests on a monitor."""

    @property
    def monitor_name(self) -> str:
        """The monitor's name, or its table's, ``delays_v1``."""


@runtime_checkable
class ScheduledTrigger(Trigger, Protocol):
    """A trigger at instants that a person has chosen: it waits for no cool-down, and is over if there is nothing new to learn."""

    @property
    def cron(self) -> str:
        """Its cron expression."""


_MOST_TOLD = 5


def joined_reasons(causes: dict[str, Cause]) -> str:
    """Several causes as one text, by the names of their triggers.

    >>> joined_reasons({"on_schedule": Cause(datetime(2013, 5, 6), "0 6 * * 1 at 2013-05-06 06:00")})
    'on_schedule: 0 6 * * 1 at 2013-05-06 06:00'
    """
    return "; ".join(f"{name}: {cause.reason}" for name, cause in causes.items())


def breach_cause(breaches: Sequence[Breach], monitor: str) -> Cause | None:
    """The cause of some breaches: as late as the latest of them, with those of the latest partitions in its reason."""
    if not breaches:
        return None
    by_day: dict[datetime, dict[str, None]] = {}
    for one in breaches:
        by_day.setdefault(one.partition_start, {})[one.text] = None
    days, parts, left = sorted(by_day, reverse=True), [], _MOST_TOLD
    for day in days:
        texts = list(by_day[day])[:left]
        left -= len(texts)
        if texts:
            parts.append(f"{', '.join(texts)} in {monitor} at {day:%Y-%m-%d %H:%M}")
    more = sum(map(len, by_day.values())) - _MOST_TOLD
    return Cause(days[0], f"{', '.join(parts)}{f' and {more} more' if more > 0 else ''}", tuple(days))


def checked_monitor(monitor: object, *, what: str) -> str:
    """The name of a monitor that is given as its name, or as itself.

    Raises:
        DeclarationError: it is neither.
    """
    name = monitor if isinstance(monitor, str) else getattr(monitor, "asset_name", None)
    if not isinstance(name, str) or not name:
        raise DeclarationError(
            f"{what} has the monitor {excerpt(monitor)}: give its name as text, such as 'delay_monitor'"
        )
    return name
