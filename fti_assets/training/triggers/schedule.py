"""Training at instants that a person has chosen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.concise import Concise
from fti_assets.core.times import naive_utc
from fti_assets.errors import DeclarationError, excerpt
from fti_assets.training.triggers.trigger import Cause, Situation


@checked_arguments()
@dataclass(frozen=True, repr=False)
class OnSchedule(Concise):
    """Retrain at the instants of a cron expression, if there are new data to learn from.

    It does not wait for the cool-down. An instant without new data is skipped. An instant that was missed because nothing was running is
    made up for once.

    Args:
        cron: five fields, ``"0 6 * * 1"`` for Mondays at six.
        timezone: the time zone of the fields, such as ``"Europe/Berlin"``.

    Raises:
        DeclarationError: ``cron`` is not a cron expression, or there is no such time zone.

    >>> OnSchedule("0 6 * * 1").name
    'on_schedule'
    """

    cron: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            _calendar(self.cron, self.timezone)
        except Exception as error:  # Dagster's checks and those of time zones share no class
            raise DeclarationError(
                f"OnSchedule has cron={excerpt(self.cron)} and timezone={excerpt(self.timezone)}, which are no schedule: write five "
                "fields such as '0 6 * * 1' for Mondays at six, and a time zone such as 'Europe/Berlin'"
            ) from error

    @property
    def name(self) -> str:
        """``on_schedule``."""
        return "on_schedule"

    def cause(self, situation: Situation) -> Cause | None:
        """The last instant of the schedule."""
        at = self.last(situation.now)
        return Cause(at, f"{self.cron} at {at:%Y-%m-%d %H:%M}")

    def last(self, now: datetime) -> datetime:
        """The last instant at or before ``now``, both naive UTC.

        >>> OnSchedule("0 6 * * 1").last(datetime(2013, 5, 8))
        datetime.datetime(2013, 5, 6, 6, 0)
        """
        window = _calendar(self.cron, self.timezone).get_prev_partition_window(
            now.replace(tzinfo=UTC), respect_bounds=False
        )
        assert window is not None
        return naive_utc(window.end)


@lru_cache(100)
def _calendar(cron: str, timezone: str) -> dg.TimeWindowPartitionsDefinition:
    """The schedule as partitions, whose ends are its instants: Dagster's own reading of cron expressions."""
    calendar = dg.TimeWindowPartitionsDefinition(
        start=datetime(2000, 1, 1), fmt="%Y-%m-%dT%H:%M:%S%z", cron_schedule=cron, timezone=timezone
    )
    calendar.get_prev_partition_window(datetime(2001, 1, 1, tzinfo=UTC), respect_bounds=False)
    return calendar
